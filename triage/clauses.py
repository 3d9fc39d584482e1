"""Answers the questions that rules ask: seen, quiet or unknown, each with its witness.

A question is `quiet` only if the source that would have told was readable for
the whole time asked about; otherwise it is `unknown`, with the reason.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

import re2

from probes.model import LogRecord, Missing, Reading
from probes.pci import same_device
from triage.model import Signal
from triage.rulebook.model import (
    Absent,
    Clause,
    Count,
    Delta,
    Fact,
    Metric,
    Rule,
    Seen,
    Select,
    Spread,
)
from triage.rulebook.model import (
    Sequence as SequenceClause,
)
from triage.timeline import Timeline, seconds_between

if TYPE_CHECKING:
    from triage.history.past import Past

NEIGHBOURS = 8
"""Triggers on either side of a signal that are asked how near they are; bursts can overlap, so one is not enough."""
WHOLE_LOG = 20
"""Other kernel lines that a log must hold before its silence about something counts."""


class Answer(NamedTuple):
    """What came of a question.  `reason` explains `unknown`; the rest points at the witness."""

    state: str
    reason: str | None = None
    record: LogRecord | None = None
    at: float | None = None
    reading: Reading | None = None
    count: int = 1  # type: ignore[assignment]  # shadows tuple.count


class Case(NamedTuple):
    """What is asked about: the signals that opened an incident, and everything around them."""

    rule: Rule
    timeline: Timeline
    triggers: Sequence[Signal]
    pci: str | None
    gpus: frozenset[str]
    readings: Mapping[tuple[str | None, str], Reading]
    facts: Mapping[str, str]
    live: bool
    history: Past | None = None


def answer(clause: Clause, case: Case) -> Answer:
    """Answer one clause for one case."""
    if isinstance(clause, Seen):
        return _seen(clause, case)
    if isinstance(clause, Metric):
        return _metric(clause, case)
    if isinstance(clause, Count):
        return _count(clause, case)
    if isinstance(clause, SequenceClause):
        return _sequence(clause, case)
    if isinstance(clause, Absent):
        return _absent(clause, case)
    if isinstance(clause, Spread):
        return _spread(clause, case)
    if isinstance(clause, Fact):
        return _fact(clause, case)
    assert isinstance(clause, Delta)
    return _delta(clause, case)


def selected(select: Select, timeline: Timeline, triggers: Sequence[Signal] = ()) -> list[Signal]:
    """Return the signals that a selector means, in order."""
    chosen: Iterable[Signal]
    if select.trigger:
        chosen = triggers
    else:
        chosen = timeline.named(select.signals)
        if select.xids:
            codes = {str(code) for code in select.xids}
            xids = (s for s in timeline.named(("xid",)) if s.fields.get("xid") in codes)
            chosen = [*chosen, *xids]
    found = [s for s in chosen if _where(select.where, s.fields)]
    found.sort(key=lambda s: s.order)
    return found


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


def _where(where: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    return all(field in fields and _regex(pattern).search(fields[field]) for field, pattern in where.items())


_compiled: dict[str, Any] = {}


def _regex(pattern: str) -> Any:
    if pattern not in _compiled:
        _compiled[pattern] = re2.compile(pattern)
    return _compiled[pattern]


def _same(case: Case, signal: Signal, same: str) -> bool:
    if same == "node" or case.pci is None or signal.pci is None:
        return True
    if same_device(signal.pci, case.pci):
        return True
    # Without the topology any port may be the one above this GPU; another GPU is not.
    return same == "pci-path" and not any(same_device(signal.pci, gpu) for gpu in case.gpus)


def _seen(clause: Seen, case: Case) -> Answer:
    before = clause.within if clause.within is not None else case.rule.look_before
    after = clause.within if clause.within is not None else case.rule.look_after
    if clause.when == "before":
        after = 0.0
    elif clause.when == "after":
        before = 0.0
    hits = _nearby(case, _meant(clause.select, case, clause.same), before, after, clause.when)
    total = sum(signal.count for signal in hits)
    if hits and total >= clause.at_least:
        return _witness(hits, total)
    if _about_the_trigger(clause.select, case):
        return Answer("quiet")
    reason = readable(case, before)
    return Answer("quiet") if reason is None else Answer("unknown", reason)


def _about_the_trigger(select: Select, case: Case) -> bool:
    """Whether the question is what kind of trigger it was, which the lines that are there answer."""
    if select.trigger:
        return True
    names: set[str] = set()
    codes: set[int] = set()
    for clause in case.rule.trigger.any:
        if isinstance(clause, Seen):
            names.update(clause.select.signals)
            codes.update(clause.select.xids)
    return bool(case.triggers) and names.issuperset(select.signals) and codes.issuperset(select.xids)


def _meant(select: Select, case: Case, same: str) -> list[Signal]:
    return [signal for signal in selected(select, case.timeline, case.triggers) if _same(case, signal, same)]


def _nearby(case: Case, signals: Iterable[Signal], before: float, after: float, when: str) -> list[Signal]:
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


def _witness(hits: Sequence[Signal], total: int) -> Answer:
    first = hits[0]
    return Answer("seen", None, first.record, first.record.at, None, total)


def _metric(clause: Metric, case: Case) -> Answer:
    reading = case.readings.get((case.pci, clause.of)) or case.readings.get((None, clause.of))
    if reading is None:
        return Answer("unknown", "not in a log" if not case.live else "not read on this machine")
    value = reading.value
    if isinstance(value, Missing):
        if clause.is_ == value.reason:
            return Answer("seen", None, None, reading.at, reading)
        return Answer("unknown", value.reason, reading=reading)
    if clause.is_ is not None:
        hit = str(value).lower() == clause.is_.lower()
    elif isinstance(value, str):
        return Answer("unknown", f"not a number: {value}", reading=reading)
    elif clause.at_least is not None:
        hit = value >= clause.at_least
    else:
        assert clause.at_most is not None
        hit = value <= clause.at_most
    return Answer("seen" if hit else "quiet", None, None, reading.at, reading)


def _delta(clause: Delta, case: Case) -> Answer:
    """How far a counter moved up to the event, as far as the sweeps before it can tell."""
    reading = case.readings.get((case.pci, clause.of)) or case.readings.get((None, clause.of))
    if reading is None:
        return Answer("unknown", "not read" if case.live else "not in a log")
    if isinstance(reading.value, Missing):
        return Answer("unknown", reading.value.reason, reading=reading)
    if case.history is None:
        return Answer("unknown", "no history of this counter: it needs earlier sweeps by `gpu-triage check`")
    moved = case.history.distance(case.pci, clause.of, clause.over, _ended(case))
    low = _limits(moved.low, clause.at_least, clause.at_most)
    high = moved.high is not None and _limits(moved.high, clause.at_least, clause.at_most)
    if clause.at_least is not None and low:
        hit: bool | None = True
    elif clause.at_most is not None and not low:
        hit = False
    else:
        hit = None if moved.high is None or low != high else low
    if hit is None:
        return Answer("unknown", moved.reason, reading=reading)
    return Answer("seen" if hit else "quiet", None, None, reading.at, reading)


def _ended(case: Case) -> float | None:
    """When the last of the triggers was, in UTC epoch seconds."""
    last = case.triggers[-1] if case.triggers else None
    return None if last is None else last.last_at if last.last_at is not None else last.record.at


def events(signals: Sequence[Signal], fold: float) -> int:
    """Count events: signals closer than `fold` seconds to the one before are the same event."""
    count = 0
    last: Signal | None = None
    for signal in signals:
        gap = None if last is None else seconds_between(last, signal)
        if last is None or last.record.boot != signal.record.boot or (gap is not None and gap > fold):
            count += 1
        last = signal
    return count


def _limits(number: float, at_least: float | None, at_most: float | None) -> bool:
    return (at_least is None or number >= at_least) and (at_most is None or number <= at_most)


def _count(clause: Count, case: Case) -> Answer:
    near = _nearby(case, _meant(clause.select, case, clause.same), clause.over, clause.over, "near")
    number = events(near, clause.fold) if clause.fold > 0 else sum(s.count for s in near)
    number += _before_the_log(clause, case)
    reason = _covered(clause.select, case, clause.over)
    if clause.at_least is not None:
        if number >= clause.at_least:
            return _witness(near, number) if near else Answer("seen", count=number)
        return Answer("quiet") if reason is None else Answer("unknown", reason)
    if reason is not None:
        return Answer("unknown", reason)
    return Answer("seen" if _limits(number, None, clause.at_most) else "quiet", count=number)


def _before_the_log(clause: Count, case: Case) -> int:
    """How many events of this incident earlier sweeps saw in the time asked about, before the log at hand begins."""
    ended = _ended(case)
    if not clause.select.trigger or clause.select.where or case.history is None or ended is None:
        return 0
    begins = min((span.first_at for span in case.timeline.spans.values() if span.first_at is not None), default=ended)
    return case.history.earlier(case.rule.id, case.pci, ended - clause.over, begins)


def _covered(select: Select, case: Case, over: float) -> str | None:
    """Return None if the log, or for the incident itself the history, tells of all this time, else why not."""
    reason = readable(case, over)
    remembered = select.trigger and not select.where and case.history is not None and case.history.covers(over)
    return None if remembered else reason


def _sequence(clause: SequenceClause, case: Case) -> Answer:
    firsts, thens = _meant(clause.first, case, clause.same), _meant(clause.then, case, clause.same)
    orders = [first.order for first in firsts]
    pairs: list[Signal] = []
    for then in thens:
        place = bisect_left(orders, then.order)
        for first in firsts[max(0, place - NEIGHBOURS) : place]:
            gap = seconds_between(first, then)
            if gap is None or 0 <= gap <= clause.within:
                pairs.append(first)
                break
    if len(pairs) >= clause.at_least:
        return _witness(pairs, len(pairs))
    reason = readable(case, clause.within)
    return Answer("quiet") if reason is None else Answer("unknown", reason)


def _absent(clause: Absent, case: Case) -> Answer:
    meant = _meant(clause.select, case, clause.same)
    hits = _nearby(case, meant, clause.over, case.rule.look_after, "near")
    if hits:
        return Answer("quiet", None, hits[0].record, hits[0].record.at)
    reason = readable(case, clause.over)
    return Answer("seen") if reason is None else Answer("unknown", reason)


def _spread(clause: Spread, case: Case) -> Answer:
    if clause.across == "node" or clause.lift is not None:
        return Answer("unknown", "one node cannot answer this; sweep the fleet")
    everywhere = selected(
        clause.select._replace(trigger=False) if clause.select.trigger else clause.select, case.timeline
    )
    if clause.select.trigger:
        kinds = {(s.name, s.fields.get("xid")) for s in case.triggers}
        everywhere = [
            s
            for s in case.timeline.signals
            if (s.name, s.fields.get("xid")) in kinds and _where(clause.select.where, s.fields)
        ]
    near = _nearby(case, everywhere, clause.over, clause.over, "near")
    if clause.across != "gpu":
        near = [s for s in near if _same(case, s, "gpu")]
    things: dict[str, Signal] = {}
    for signal in near:
        thing = _thing(signal, clause.across)
        if thing is not None:
            things.setdefault(thing, signal)
    if clause.select.trigger and not clause.select.where and case.history is not None and case.triggers:
        for life in case.history.lives(case.rule.id, case.pci, clause.across, clause.over):
            things.setdefault(life, case.triggers[0])
    if not things:
        return Answer("unknown", f"the log does not say which {clause.across} it was")
    if clause.at_least is not None:
        if len(things) >= clause.at_least:
            return _witness(list(things.values()), len(things))
        reason = _covered(clause.select, case, clause.over)
        return Answer("quiet") if reason is None else Answer("unknown", reason)
    total = sum(s.count for s in near)
    if total < 2:
        return Answer("unknown", "it happened only once")
    return Answer("seen" if len(things) <= (clause.at_most or 0) else "quiet", None, near[0].record, count=total)


def _thing(signal: Signal, across: str) -> str | None:
    if across == "gpu":
        return signal.pci
    if across == "boot":
        return signal.record.boot or "#1"
    if across == "process":
        return signal.fields.get("name") or signal.fields.get("pid")
    if across == "unit":
        return signal.fields.get("unit")
    return signal.fields.get(across)


def _fact(clause: Fact, case: Case) -> Answer:
    value = case.facts.get(clause.name)
    if value is None:
        return Answer("unknown", f"{clause.name} is not known here")
    return Answer("seen" if any(fnmatchcase(value, glob) for glob in clause.globs) else "quiet")
