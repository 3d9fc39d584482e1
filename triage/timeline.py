"""One time axis for the signals of all sources.

Signals keep the order of their log; logs are merged by wall time where they
have it.  Equal signals in a row are folded into one with a count, so that a
storm costs no memory and is counted, not repeated.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from probes.model import LogRecord
from probes.named import NamedTuple
from triage.heard import Heard
from triage.model import Signal
from triage.storm import Burst, Crowds

FOLD = 180.0
"""Seconds of silence that end a burst; NVIDIA's fleet tooling uses the same."""
FOLDED = -1
"""The `last_order` of a signal that was folded where its log was read, in another process."""
MOST_SIGNALS = 20000
"""Distinct signals kept; beyond it only counts of those already seen grow."""

_VOLATILE = re.compile(r"0x[0-9a-fA-F_]+|\b[0-9a-fA-F]{6,}\b|\d+")
_NOT_KEY = frozenset({"pid", "name", "text", "comm"})


class Span(NamedTuple):
    """What one boot of one source covered: its first and last clock readings and its first record."""

    first_at: float | None
    last_at: float | None
    first_monotonic: float | None
    last_monotonic: float | None
    from_boot: bool
    plain: int


class Timeline(NamedTuple):
    """The folded signals in order, and where they can be looked up (`by_name`)."""

    signals: tuple[Signal, ...]
    by_name: Mapping[str, tuple[Signal, ...]]
    spans: Mapping[tuple[str, str | None], Span]
    notices: tuple[str, ...]

    def named(self, names: Iterable[str]) -> Iterator[Signal]:
        """Yield all signals of these names in order, each name's in turn."""
        for name in names:
            yield from self.by_name.get(name, ())

    def last(self, name: str, field: str, before: int) -> str | None:
        """Return the latest value of a field of these signals at or before a place on the axis."""
        signals = self.by_name.get(name, ())
        place = bisect_left(signals, before + 1, key=lambda signal: signal.order)
        for signal in reversed(signals[:place]):
            if field in signal.fields:
                return signal.fields[field]
        return None


class Spans:
    """Watches records go by and notes what each boot of each source covered."""

    def __init__(self) -> None:
        self._spans: dict[tuple[str, str | None], list[float | None]] = {}
        self._counts: dict[tuple[str, str | None], list[int]] = {}
        self.heard = Heard()

    def watch(self, records: Iterable[LogRecord]) -> Iterator[LogRecord]:
        """Pass the records on unchanged."""
        known: tuple[str, str | None] | None = None
        span: list[float | None] = []
        counts = [0, 0]
        for record in records:
            if known is None or record.boot != known[1] or record.origin != known[0]:
                known = (record.origin, record.boot)
                span, counts = self._of(known, record)
            at, monotonic = record.at, record.monotonic
            if at is not None:
                if span[0] is None or at < span[0]:
                    span[0] = at
                if span[1] is None or at > span[1]:
                    span[1] = at
            if monotonic is not None:
                if span[2] is None or monotonic < span[2]:
                    span[2] = monotonic
                if span[3] is None or monotonic > span[3]:
                    span[3] = monotonic
            counts[1] += 1
            yield record

    def _of(self, key: tuple[str, str | None], record: LogRecord) -> tuple[list[float | None], list[int]]:
        """What is noted of a source and boot, begun with its first record."""
        if key not in self._spans:
            early = record.monotonic is not None and record.monotonic < 1.0
            starts = early or record.message.startswith("Linux version ")
            self._spans[key] = [record.at, record.at, record.monotonic, record.monotonic]
            self._counts[key] = [int(starts), 0]
        return self._spans[key], self._counts[key]

    def skip(
        self,
        key: tuple[str, str | None],
        number: int,
        at: tuple[float, float] | None,
        monotonic: tuple[float, float] | None,
    ) -> None:
        """Note so many further records of a source and boot, and between which times they stand."""
        span = self._spans[key]
        for place, times in ((0, at), (2, monotonic)):
            first, last = span[place], span[place + 1]
            if times is not None:
                span[place] = times[0] if first is None else min(first, times[0])
                span[place + 1] = times[1] if last is None else max(last, times[1])
        self._counts[key][1] += number

    def forget(self, origin: str, lost: Sequence[Signal]) -> None:
        """Note that what this source said until the last of these signals is known no more."""
        for (source, boot), span in self._spans.items():
            mine = [signal for signal in lost if signal.record.boot == boot] if source == origin else []
            for place, times in (
                (0, [s.last_at for s in mine if s.last_at is not None]),
                (2, [s.last_monotonic for s in mine if s.last_monotonic is not None]),
            ):
                first = span[place]
                if times and first is not None:
                    span[place] = max(first, *times)
            if mine:
                counts = self._counts[source, boot]
                counts[0] = 0
                counts[1] -= sum(signal.count for signal in mine)

    def missed(self, key: tuple[str, str | None], at: float | None, monotonic: float | None) -> None:
        """Note that records of this source and boot were lost: it is heard from these times on, not before."""
        if key in self._spans:
            span = self._spans[key]
            for place, time in ((0, at), (2, monotonic)):
                if time is not None:
                    span[place] = time
            self._counts[key][0] = 0

    def adopt(self, other: Spans) -> None:
        """Take over what another has noted of other sources."""
        self._spans.update(other._spans)
        self._counts.update(other._counts)
        self.heard.adopt(other.heard)

    def go_on(self, other: Spans) -> None:
        """Take over what another has noted of a later part of the same source."""
        for key, (first_at, last_at, first_up, last_up) in other._spans.items():
            starts, number = other._counts[key]
            if key not in self._spans:
                self._spans[key], self._counts[key] = [first_at, last_at, first_up, last_up], [starts, number]
                continue
            at = None if first_at is None or last_at is None else (first_at, last_at)
            self.skip(key, number, at, None if first_up is None or last_up is None else (first_up, last_up))
        self.heard.go_on(other.heard)

    def moved(self, moved: Callable[[str | None], str | None], lines: int) -> Spans:
        """The same with other names of the boots, of a source that stands so many lines further down."""
        new = Spans()
        new._spans = {(origin, moved(boot)): span for (origin, boot), span in self._spans.items()}
        new._counts = {(origin, moved(boot)): counts for (origin, boot), counts in self._counts.items()}
        new.heard = self.heard.moved(moved, lines)
        return new

    def knows(self, key: tuple[str, str | None]) -> bool:
        """Whether a record of this source and boot has gone by."""
        return key in self._spans

    def result(self, signals: Iterable[Signal]) -> dict[tuple[str, str | None], Span]:
        """Return the spans; `plain` is how many records were not signals, folded ones and echoes counted fully."""
        hits = dict(self.heard.echoes)
        for signal in signals:
            key = (signal.record.origin, signal.record.boot)
            hits[key] = hits.get(key, 0) + signal.count
        return {
            key: Span(span[0], span[1], span[2], span[3], bool(counts[0]), max(0, counts[1] - hits.get(key, 0)))
            for (key, span), counts in zip(self._spans.items(), self._counts.values(), strict=True)
        }


def build(signals: Iterable[Signal], spans: Spans) -> Timeline:
    """Fold, merge and number the signals; consumes the iterator."""
    axis = Axis(spans)
    for signal in signals:
        axis.take(signal)
    return axis.timeline()


class Axis:
    """Folds signals as they come; `timeline` is what there is so far, and more may come after it."""

    def __init__(self, spans: Spans, most: int = MOST_SIGNALS) -> None:
        self.spans = spans
        self.kept = 0
        self._most = most
        self._logs: dict[str, list[Burst]] = {}
        self._latest: dict[tuple[object, ...], Burst] = {}
        self._crowds = Crowds()
        self._dropped = 0

    def take(self, signal: Signal) -> None:
        """Take one signal: a new one, or a further one of a burst."""
        heard, record = self.spans.heard, signal.record
        folded = signal.last_order == FOLDED
        if not folded and heard.before(signal):
            here = (record.origin, record.boot)
            heard.echoes[here] = heard.echoes.get(here, 0) + 1
            return
        log = self._logs.setdefault(record.origin, [])
        key = _fold_key(signal)
        burst = self._latest.get(key)
        if burst is not None:
            gap = _gap(burst, record)
            if gap is None or gap <= FOLD:
                self._crowds.add(burst, signal)
                at, monotonic = (signal.last_at, signal.last_monotonic) if folded else (record.at, record.monotonic)
                burst.last_at = at or burst.last_at
                burst.last_monotonic = monotonic or burst.last_monotonic
                return
        if self.kept >= self._most:
            self._dropped += signal.count
            return
        self.kept += 1
        last = (signal.last_at, signal.last_monotonic) if folded else (record.at, record.monotonic)
        self._latest[key] = burst = Burst(signal, *last)
        self._crowds.add(burst, signal)
        log.append(burst)

    def forget(self, most: int) -> int:
        """Keep only the latest `most` signals of each log, and say of what was before that it was not heard.

        Returns how many went.  A burst that goes on stays, whenever it began.
        """
        lost: set[Burst] = set()
        for origin, log in self._logs.items():
            old = sorted(log, key=_ended, reverse=True)[most:]
            if not old:
                continue
            lost.update(old)
            self._logs[origin] = [burst for burst in log if burst not in lost]
            self.spans.forget(origin, [burst.signal() for burst in log if burst in lost])
        if lost:
            self._latest = {key: burst for key, burst in self._latest.items() if burst not in lost}
            for burst in lost:
                self._crowds.forget(burst)
        self.kept -= len(lost)
        return len(lost)

    def timeline(self) -> Timeline:
        """Merge and number what was taken so far."""
        notices = [f"{self._dropped} further distinct signals were counted but not kept"] if self._dropped else []
        merged, unmerged = _merge([[burst.signal() for burst in log] for log in self._logs.values()])
        if unmerged:
            notices.append(
                "no wall-clock times in "
                + ", ".join(sorted(unmerged))
                + ": its records stand after those of the other logs; order between them is unknown"
            )
        numbered = tuple(signal._replace(order=i, last_order=i) for i, signal in enumerate(merged))
        return Timeline(numbered, by_name(numbered), self.spans.result(numbered), tuple(notices))


def by_name(signals: Iterable[Signal]) -> dict[str, tuple[Signal, ...]]:
    """Return the signals of each name, and of each Xid under its number, as `xid-79`, in their order."""
    found: dict[str, list[Signal]] = {}
    for signal in signals:
        found.setdefault(signal.name, []).append(signal)
        if signal.name == "xid":
            found.setdefault(f"xid-{signal.fields.get('xid')}", []).append(signal)
    return {name: tuple(those) for name, those in found.items()}


def _ended(burst: Burst) -> tuple[float, float]:
    return (burst.last_monotonic or 0.0, burst.last_at or 0.0)


def seconds_between(one: Signal, other: Signal) -> float | None:
    """Return the seconds from the last repeat of the earlier signal to the later one; negative if `other` is earlier.

    Where the repeats of the two overlap it is zero; None if their clocks cannot tell.
    """
    a, b = one.record, other.record
    if a.monotonic is not None and b.monotonic is not None and a.boot == b.boot and a.origin == b.origin:
        return _apart(a.monotonic, one.last_monotonic, b.monotonic, other.last_monotonic)
    if a.at is not None and b.at is not None:
        return _apart(a.at, one.last_at, b.at, other.last_at)
    return None


def _apart(first: float, first_end: float | None, second: float, second_end: float | None) -> float:
    first_end, second_end = max(first, first_end or first), max(second, second_end or second)
    if second > first_end:
        return second - first_end
    return second_end - first if second_end < first else 0.0


def _gap(burst: Burst, record: LogRecord) -> float | None:
    """Return how long a burst has been silent before its next line."""
    if record.at is not None and burst.last_at is not None:
        return record.at - burst.last_at
    if record.monotonic is not None and burst.last_monotonic is not None:
        return record.monotonic - burst.last_monotonic
    return None


def _fold_key(signal: Signal) -> tuple[object, ...]:
    fields = tuple([pair for pair in signal.fields.items() if pair[0] not in _NOT_KEY])
    text = signal.fields.get("text")
    shape = _VOLATILE.sub("#", text)[:120] if text else ""
    return (signal.name, signal.pci, signal.record.boot, signal.record.origin, fields, shape)


def _merge(logs: Sequence[list[Signal]]) -> tuple[list[Signal], set[str]]:
    if len(logs) <= 1:
        return (logs[0] if logs else []), set()
    timed: list[tuple[float, int, Signal]] = []
    untimed: list[Signal] = []
    unmerged: set[str] = set()
    for log in logs:
        known = next((s.record.at for s in log if s.record.at is not None), None)
        if known is None:
            untimed.extend(log)
            unmerged.update(s.record.origin for s in log)
            continue
        at = known
        for signal in log:
            at = max(at, signal.record.at) if signal.record.at is not None else at
            timed.append((at, len(timed), signal))
    timed.sort(key=lambda entry: entry[:2])
    return [signal for _, _, signal in timed] + untimed, unmerged
