"""What is asked about: one incident with everything around it, and which signals a question means.

The clauses of `triage.clauses` and of `triage.known_bugs` are built on this.
"""

# No postponed annotations here: typing would compile each of them, which is half of what this module takes to load.

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import re2

from probes.model import LogRecord, Reading
from probes.named import NamedTuple
from probes.pci import same_device
from triage.model import Signal
from triage.rulebook.model import DriverBug, Rule, Select
from triage.timeline import Timeline, seconds_between

if TYPE_CHECKING:
    from triage.history.past import Past

NEIGHBOURS = 8
"""Triggers on either side of a signal that are asked how near they are; bursts can overlap, so one is not enough."""
WHOLE_LOG = 20
"""Other kernel lines that a log must hold before its silence about something counts."""


class Answer(NamedTuple):
    """What came of a question.  `reason` explains `unknown`; the rest points at the witness.

    `why`, `settle` and `do` are said instead of, or besides, what the rule has to say.  A `moot`
    question is quiet without its silence meaning anything.
    """

    state: str
    reason: str | None = None
    record: LogRecord | None = None
    at: float | None = None
    reading: Reading | None = None
    count: int = 1  # type: ignore[assignment]  # shadows tuple.count
    why: str | None = None
    settle: str | None = None
    do: str | None = None
    moot: bool = False


class Case(NamedTuple):
    """What is asked about: the signals that opened an incident, and everything around them.

    `product` is the name of the GPU, where it is known; `bugs` are the known ones of drivers.
    """

    rule: Rule
    timeline: Timeline
    triggers: Sequence[Signal]
    pci: str | None
    gpus: frozenset[str]
    readings: Mapping[tuple[str | None, str], Reading]
    facts: Mapping[str, str]
    live: bool
    history: "Past | None" = None
    product: str | None = None
    bugs: Sequence[DriverBug] = ()


def selected(select: Select, timeline: Timeline, triggers: Sequence[Signal] = ()) -> list[Signal]:
    """Return the signals that a selector means, in order."""
    names = (*select.signals, *(f"xid-{code}" for code in select.xids))
    chosen = triggers if select.trigger else timeline.named(names)
    found = [*_holding(select.where, chosen)] if select.where else [*chosen]
    found.sort(key=lambda s: s.order)
    return found


def _holding(where: Mapping[str, str], signals: Iterable[Signal]) -> Iterator[Signal]:
    """Yield those whose fields hold.  Lines that say the same share their fields, which are asked once."""
    asked: dict[int, bool] = {}
    for signal in signals:
        place = id(signal.fields)
        if place not in asked:
            asked[place] = holds(where, signal.fields)
        if asked[place]:
            yield signal


def readable(case: Case, before: float) -> str | None:
    """Return None if the kernel log reaches back `before` seconds from the trigger, else why not."""
    if not case.triggers:
        # Readings alone (nvidia-smi -q, say) are no kernel log that was silent.
        return None if case.live and case.timeline.spans else "no kernel log was read"
    first = case.triggers[0].record
    span = case.timeline.spans.get((first.origin, first.boot))
    if span is None:
        return "no kernel log was read"
    if span.plain < WHOLE_LOG:
        return "the log looks like an excerpt, so its silence proves nothing"
    if span.from_boot:
        return None
    back: float | None = None
    if first.monotonic is not None and span.first_monotonic is not None:
        back = first.monotonic - span.first_monotonic
    elif first.at is not None and span.first_at is not None:
        back = first.at - span.first_at
    if back is None:
        return "the log has no times, so what it covers is not known"
    if back < before:
        return f"the log begins only {back:.0f} s before the event"
    return None


_regex = cache(re2.compile)


@lru_cache(1024)
def matches(pattern: str, text: str) -> bool:
    """Whether a linear-time regex is found in a text.  Thousands of lines differ in other fields than the one asked.

    ASCII is asked as bytes, which takes a third of the time.
    """
    if text.isascii():
        return _regex(pattern.encode()).search(text.encode()) is not None
    return _regex(pattern).search(text) is not None


def holds(where: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    """Whether each of these fields is there and holds a match of its regex."""
    for field, pattern in where.items():  # noqa: SIM110 - asked of every line of a storm, and faster than `all`
        if field not in fields or not matches(pattern, fields[field]):
            return False
    return True


def belongs(case: Case, signal: Signal, same: str) -> bool:
    """Whether a signal is of the incident's GPU, of the way to it, or of the node."""
    if same == "node" or case.pci is None or signal.pci is None:
        return True
    if same_device(signal.pci, case.pci):
        return True
    # Without the topology any port may be the one above this GPU; another GPU is not.
    return same == "pci-path" and not any(same_device(signal.pci, gpu) for gpu in case.gpus)


def meant(select: Select, case: Case, same: str) -> list[Signal]:
    """Return the signals that a selection means, of the incident's GPU, the way to it, or the node."""
    return [signal for signal in selected(select, case.timeline, case.triggers) if belongs(case, signal, same)]


def nearby(case: Case, signals: Iterable[Signal], before: float, after: float, when: str) -> list[Signal]:
    """Return those of the signals that stand near a trigger, in their order."""
    if not case.triggers:
        return list(signals)
    orders = [trigger.order for trigger in case.triggers]
    return [signal for signal in signals if _near(case, signal, orders, before, after, when)]


def _near(case: Case, signal: Signal, orders: Sequence[int], before: float, after: float, when: str) -> bool:
    """Whether a signal stands near a trigger.  The next ones on the axis are asked: others are further away."""
    place = bisect_left(orders, signal.order)
    if when == "near" and place < len(orders) and orders[place] == signal.order:
        return True
    for trigger in case.triggers[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1]:
        if signal.record.boot != trigger.record.boot and None in (signal.record.at, trigger.record.at):
            continue
        if when != "near" and (signal.record.origin, signal.record.line) == (
            trigger.record.origin,
            trigger.record.line,
        ):
            continue  # one line is not its own past or future
        gap = seconds_between(trigger, signal)
        if gap is None or gap == 0.0:
            if when == "near" or (signal.order < trigger.order) == (when == "before"):
                return True
        elif -before <= gap <= after:
            return True
    return False


def ended(case: Case) -> float | None:
    """When the last line that opened the incident was, in UTC epoch seconds."""
    return case.triggers[-1].last_at if case.triggers else None


def witness(hits: Sequence[Signal], total: int) -> Answer:
    """Return that these signals were seen, the first of them pointed at."""
    first = hits[0]
    return Answer("seen", None, first.record, first.record.at, None, total)
