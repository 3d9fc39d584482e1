"""Answers the questions that rules ask: seen, quiet or unknown, each with its witness.

A question is `quiet` only if the source that would have told was readable for
the whole time asked about; otherwise it is `unknown`, with the reason.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from fnmatch import fnmatchcase
from math import inf

from probes.model import Missing, Reading, Value
from triage.case import (
    NEIGHBOURS,
    WHOLE_LOG,
    Answer,
    Case,
    belongs,
    ended,
    holds,
    meant,
    nearby,
    readable,
    selected,
    witness,
)
from triage.known_bugs import known_bug
from triage.model import Signal
from triage.rulebook.model import (
    Absent,
    Clause,
    Count,
    Delta,
    Fact,
    KnownBug,
    Metric,
    Seen,
    Select,
    Spread,
)
from triage.rulebook.model import (
    Sequence as SequenceClause,
)
from triage.storm import names
from triage.timeline import seconds_between

__all__ = ["WHOLE_LOG", "Answer", "Case", "answer", "events", "meets", "readable", "selected"]


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
    if isinstance(clause, KnownBug):
        return known_bug(clause, case)
    assert isinstance(clause, Delta)
    return _delta(clause, case)


def _seen(clause: Seen, case: Case) -> Answer:
    before = clause.within if clause.within is not None else case.rule.look_before
    after = clause.within if clause.within is not None else case.rule.look_after
    if clause.when == "before":
        after = 0.0
    elif clause.when == "after":
        before = 0.0
    hits = nearby(case, meant(clause.select, case, clause.same), before, after, clause.when)
    total = sum(signal.count for signal in hits)
    if hits and total >= clause.at_least:
        return witness(hits, total)
    if _about_the_trigger(clause.select, case):
        return Answer("quiet")
    return _silent(readable(case, before))


def _silent(reason: str | None) -> Answer:
    """What silence answers: no, or nothing for this reason."""
    return Answer("quiet") if reason is None else Answer("unknown", reason)


def _reading(of: str, case: Case) -> Reading | None:
    """The reading of this name of the incident's GPU, else of the node."""
    return case.readings.get((case.pci, of)) or case.readings.get((None, of))


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


def _metric(clause: Metric, case: Case) -> Answer:
    reading = _reading(clause.of, case)
    if reading is None:
        return Answer("unknown", "not in a log" if not case.live else "not read on this machine")
    value = reading.value
    hit = meets(clause, value)
    if hit is None:
        reason = value.reason if isinstance(value, Missing) else f"not a number: {value}"
        return Answer("unknown", reason, reading=reading)
    return Answer("seen" if hit else "quiet", None, None, reading.at, reading)


def meets(clause: Metric, value: Value) -> bool | None:
    """Whether a value is what is asked for; None if it cannot be held against the limit."""
    if isinstance(value, Missing):
        return True if clause.is_ == value.reason else None
    if clause.is_ is not None:
        return str(value).lower() == clause.is_.lower()
    if isinstance(value, str):
        return None
    if clause.at_least is not None:
        return value >= clause.at_least
    assert clause.at_most is not None
    return value <= clause.at_most


def _delta(clause: Delta, case: Case) -> Answer:
    """How far a counter moved up to the event, as far as the sweeps before it can tell."""
    reading = _reading(clause.of, case)
    if reading is None:
        return Answer("unknown", "not read" if case.live else "not in a log")
    if isinstance(reading.value, Missing):
        return Answer("unknown", reading.value.reason, reading=reading)
    if case.history is None:
        return Answer("unknown", "no history of this counter: it needs earlier sweeps by `gpu-triage check`")
    moved = case.history.distance(case.pci, clause.of, clause.over, ended(case))
    most = inf if moved.high is None else moved.high
    if clause.at_least is not None:
        hit, miss = moved.low >= clause.at_least, most < clause.at_least
    else:
        assert clause.at_most is not None
        hit, miss = most <= clause.at_most, moved.low > clause.at_most
    if not hit and not miss:
        return Answer("unknown", moved.reason, reading=reading)
    return Answer("seen" if hit else "quiet", None, None, reading.at, reading)


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


def _count(clause: Count, case: Case) -> Answer:
    near = nearby(case, meant(clause.select, case, clause.same), clause.over, clause.over, "near")
    number = events(near, clause.fold) if clause.fold > 0 else sum(s.count for s in near)
    number += _before_the_log(clause, case)
    reason = _covered(clause.select, case, clause.over)
    if clause.at_least is not None:
        if number >= clause.at_least:
            return witness(near, number)
        return _silent(reason)
    assert clause.at_most is not None
    if reason is not None:
        return Answer("unknown", reason)
    return Answer("seen" if number <= clause.at_most else "quiet", count=number)


def _before_the_log(clause: Count, case: Case) -> int:
    """How many events of this incident earlier sweeps saw in the time asked about, before the log at hand begins."""
    last = ended(case)
    if not clause.select.trigger or clause.select.where or case.history is None or last is None:
        return 0
    begins = min((span.first_at for span in case.timeline.spans.values() if span.first_at is not None), default=last)
    return case.history.earlier(case.rule.id, case.pci, last - clause.over, begins)


def _covered(select: Select, case: Case, over: float) -> str | None:
    """Return None if the log, or for the incident itself the history, tells of all this time, else why not."""
    reason = readable(case, over)
    remembered = select.trigger and not select.where and case.history is not None and case.history.covers(over)
    return None if remembered else reason


def _sequence(clause: SequenceClause, case: Case) -> Answer:
    firsts, thens = meant(clause.first, case, clause.same), meant(clause.then, case, clause.same)
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
        return witness(pairs, len(pairs))
    return _silent(readable(case, clause.within))


def _absent(clause: Absent, case: Case) -> Answer:
    asked = meant(clause.select, case, clause.same)
    hits = nearby(case, asked, clause.over, case.rule.look_after, "near")
    if hits:
        return Answer("quiet", None, hits[0].record, hits[0].record.at)
    reason = readable(case, clause.over)
    return Answer("seen") if reason is None else Answer("unknown", reason)


def _spread(clause: Spread, case: Case) -> Answer:
    if clause.across == "node" or clause.lift is not None:
        return Answer("unknown", "one node cannot answer this; ask the fleet (gpu-triage fleet report)")
    if clause.select.trigger:
        kinds = {(s.name, s.fields.get("xid")) for s in case.triggers}
        everywhere = [
            s
            for s in case.timeline.signals
            if (s.name, s.fields.get("xid")) in kinds and holds(clause.select.where, s.fields)
        ]
    else:
        everywhere = selected(clause.select, case.timeline)
    near = nearby(case, everywhere, clause.over, clause.over, "near")
    if clause.across != "gpu":
        near = [s for s in near if belongs(case, s, "gpu")]
    things: dict[str, Signal] = {}
    for signal in near:
        for thing in _things(signal, clause.across):
            things.setdefault(thing, signal)
    if clause.select.trigger and not clause.select.where and case.history is not None and case.triggers:
        for life in case.history.lives(case.rule.id, case.pci, clause.across, clause.over):
            things.setdefault(life, case.triggers[0])
    if not things:
        return Answer("unknown", f"the log does not say which {clause.across} it was")
    if clause.at_least is not None:
        if len(things) >= clause.at_least:
            return witness(list(things.values()), len(things))
        return _silent(_covered(clause.select, case, clause.over))
    assert clause.at_most is not None
    total = sum(s.count for s in near)
    if total < 2:
        return Answer("unknown", "it happened only once")
    return Answer("seen" if len(things) <= clause.at_most else "quiet", None, near[0].record, count=total)


def _things(signal: Signal, across: str) -> Sequence[str]:
    """What the lines of a signal name of this kind: one, but for processes."""
    if across == "process":
        return names(signal)
    if across == "boot":
        return (signal.record.boot or "#1",)
    thing = signal.pci if across == "gpu" else signal.fields.get(across)
    return () if thing is None else (thing,)


def _fact(clause: Fact, case: Case) -> Answer:
    value = case.facts.get(clause.name)
    if value is None:
        return Answer("unknown", f"{clause.name} is not known here")
    return Answer("seen" if any(fnmatchcase(value, glob) for glob in clause.globs) else "quiet")
