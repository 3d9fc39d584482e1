"""Which facts a fault goes with: more often where a fact has one value, or soon after it changed, than elsewhere.

What is counted are units (nodes or boards), each once per value however often
it failed, against the time for which units with that value were heard.  Two
facts that go together are told apart where the fleet allows it: a pattern is
explained by another if it vanishes among nodes that are alike in the other,
and the other does not vanish the other way round.  Where both vanish nothing
can be said, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from probes.named import NamedTuple
from triage.fleet import chance
from triage.fleet.census import Census, Event, Stay, board_of, identity, part_of
from triage.fleet.hypotheses import Hypotheses, Hypothesis
from triage.fleet.model import Part

RECENT, NOT_RECENT = "soon after", "long after"
"""The values of the fact whether another one had just changed."""
MOST_VALUES = 5000
"""Values of one fact that are looked at, the most affected first; job numbers know no end."""


class Tally(NamedTuple):
    """Units with a value and without, how many of each are affected, and for how long they were heard (seconds)."""

    affected: int
    units: int
    heard: float
    affected_elsewhere: int
    units_elsewhere: int
    heard_elsewhere: float

    @property
    def share(self) -> float:
        """The share of the time heard that units with the value had."""
        whole = self.heard + self.heard_elsewhere
        return self.heard / whole if whole > 0 else 1.0

    @property
    def all_affected(self) -> int:
        """Affected units with and without the value."""
        return self.affected + self.affected_elsewhere

    @property
    def lift(self) -> float:
        """How many times more often than elsewhere."""
        return chance.lift(self.affected, self.all_affected, self.share)


class Pattern(NamedTuple):
    """A fault that goes with one value of one fact.

    `chance` is the corrected probability that it only looks so.  `explained_by` names the hypothesis
    and the value that account for it, `tangled_with` those that cannot be told from it.
    """

    hypothesis: Hypothesis
    rule: str
    value: str
    tally: Tally
    chance: float
    explained_by: tuple[str, str] | None = None
    tangled_with: tuple[str, str] | None = None

    @property
    def stands(self) -> bool:
        """Whether it is evidence."""
        return self.explained_by is None and self.tangled_with is None


class Row(NamedTuple):
    """For how long units were heard with a value in one stay: seconds, those of all units added up."""

    stay: int
    value: str
    heard: float


class Times(NamedTuple):
    """All rows of one fact, and by value the seconds heard and the units there were."""

    rows: Sequence[Row]
    heard: Mapping[str, float]
    units: Mapping[str, int]
    whole: float
    everyone: int


class Facts:
    """Every unit's time with every value of a fact, and every event's; each is worked out once."""

    def __init__(self, census: Census) -> None:
        self.census = census
        self._stay_number = {id(stay): number for number, stay in enumerate(census.stays)}
        self._times: dict[str, Times] = {}
        self._hits: dict[tuple[str, str], Mapping[tuple[str, str], int]] = {}
        self._changes: dict[tuple[str, str], Sequence[float]] = {}
        self._of_rule: dict[str, list[Event]] = {}
        for event in census.events:
            self._of_rule.setdefault(event.rule, []).append(event)

    @property
    def rules(self) -> Sequence[str]:
        """The rules that opened any incident."""
        return sorted(self._of_rule)

    def events(self, rule: str) -> Sequence[Event]:
        """Return the events of a rule in order of time."""
        return self._of_rule.get(rule, ())

    def value(self, hypothesis: Hypothesis, event: Event) -> str | None:
        """Return the value of the hypothesis' fact when the event was, None if unknown."""
        stay = self.census.stay(event)
        if stay is None:
            return None
        if hypothesis.kind == "changed":
            changes = self.changes(event.node, hypothesis.of)
            return RECENT if any(c <= event.at < c + hypothesis.within for c in changes) else NOT_RECENT
        if hypothesis.unit == "gpu":
            part = part_of(stay, event)
            return _of_part(part, hypothesis.of) if part is not None else None
        return self.census.fact(event, hypothesis.of)

    def unit(self, hypothesis: Hypothesis, event: Event) -> str | None:
        """Return the node or the board that the event counts for."""
        return event.node if hypothesis.unit == "node" else board_of(self.census, event)

    def times(self, hypothesis: Hypothesis) -> Times:
        """Return who was heard with which value for how long."""
        kept = self._times.get(hypothesis.id)
        if kept is None:
            kept = self._times[hypothesis.id] = self._timed(hypothesis)
        return kept

    def hits(self, hypothesis: Hypothesis, rule: str) -> Mapping[tuple[str, str], int]:
        """Return the affected (unit, value) pairs of a rule, each with the number of the stay of its first event."""
        kept = self._hits.get((hypothesis.id, rule))
        if kept is None:
            found: dict[tuple[str, str], int] = {}
            for event in self.events(rule):
                unit, value = self.unit(hypothesis, event), self.value(hypothesis, event)
                stay = self.census.stay(event)
                if unit is not None and value is not None and stay is not None:
                    found.setdefault((unit, value), self._stay_number[id(stay)])
            kept = self._hits[hypothesis.id, rule] = found
        return kept

    def changes(self, node: str, of: str) -> Sequence[float]:
        """Return when a fact of a node, or its boards (`parts`), changed: UTC epoch seconds."""
        kept = self._changes.get((node, of))
        if kept is None:
            told = [(stay.start, _told(stay, of)) for stay in self.census.stays_of(node)]
            known = [(start, value) for start, value in told if value is not None]
            kept = [after[0] for before, after in pairwise(known) if before[1] != after[1]]
            self._changes[node, of] = kept
        return kept

    def _timed(self, hypothesis: Hypothesis) -> Times:
        rows: list[Row] = []
        units: dict[str, set[str]] = {}
        for number, stay in enumerate(self.census.stays):
            heard: dict[str, float] = {}
            for unit, value, seconds in self._of_stay(stay, hypothesis):
                heard[value] = heard.get(value, 0.0) + seconds
                if seconds > 0:  # who was not heard cannot have been seen to be well
                    units.setdefault(value, set()).add(unit)
            rows += [Row(number, value, seconds) for value, seconds in heard.items()]
        by_value: dict[str, float] = {}
        for row in rows:
            by_value[row.value] = by_value.get(row.value, 0.0) + row.heard
        counts = {value: len(found) for value, found in units.items()}
        return Times(rows, by_value, counts, sum(by_value.values()), sum(counts.values()))

    def _of_stay(self, stay: Stay, hypothesis: Hypothesis) -> Iterable[tuple[str, str, float]]:
        """Yield (unit, value, seconds heard)."""
        if hypothesis.kind == "changed":
            lasted = stay.end - stay.start
            if lasted > 0:
                spans = [(c, c + hypothesis.within) for c in self.changes(stay.node, hypothesis.of)]
                recent = sum(max(0.0, min(stay.end, end) - max(stay.start, start)) for start, end in spans)
                share = min(1.0, recent / lasted)
                yield stay.node, RECENT, stay.heard * share
                yield stay.node, NOT_RECENT, stay.heard * (1 - share)
        elif hypothesis.unit == "gpu":
            for part in stay.gpus:
                unit, value = identity(part), _of_part(part, hypothesis.of)
                if unit is not None and value is not None:
                    yield unit, value, stay.heard
        else:
            value = stay.facts.get(hypothesis.of)
            if value is not None:
                yield stay.node, value, stay.heard


def patterns(facts: Facts, hypotheses: Hypotheses) -> list[Pattern]:
    """Return what every rule's incidents go with, strongest first.

    Those that another explains or that cannot be told from another are marked, not dropped.
    """
    tallies: dict[tuple[str, str, str], Tally] = {}
    chances: dict[tuple[str, str, str], float] = {}
    named = {h.id: h for h in hypotheses.all if h.kind in ("follows", "changed")}
    tried = 0
    for rule in facts.rules:
        for hypothesis in named.values():
            for value, counted in _tallies(facts, hypothesis, rule):
                tried += 1
                if counted.affected >= hypothesis.at_least and counted.lift >= hypothesis.lift:
                    key = (rule, hypothesis.id, value)
                    tallies[key] = counted
                    chances[key] = chance.at_least(counted.affected, counted.all_affected, counted.share)
    sure = chance.corrected(chances, tried)
    found = [
        Pattern(named[key[1]], key[0], key[2], tallies[key], sure[key])
        for key in sorted(sure, key=lambda key: (chances[key], -tallies[key].affected, key))
        if sure[key] <= hypotheses.alpha
    ]
    by_rule: dict[str, list[Pattern]] = {}
    for pattern in found:
        by_rule.setdefault(pattern.rule, []).append(pattern)
    return [told for rivals in by_rule.values() for told in _told_apart(facts, rivals, hypotheses.alpha)]


def tally(facts: Facts, hypothesis: Hypothesis, rule: str, value: str) -> Tally:
    """Count one value."""
    hits = facts.hits(hypothesis, rule)
    return _tally(sum(1 for _, own in hits if own == value), len(hits), value, facts.times(hypothesis))


def _tallies(facts: Facts, hypothesis: Hypothesis, rule: str) -> Iterable[tuple[str, Tally]]:
    counts: dict[str, int] = {}
    hits = facts.hits(hypothesis, rule)
    for _, value in hits:
        counts[value] = counts.get(value, 0) + 1
    times = facts.times(hypothesis)
    for value in sorted(counts, key=lambda value: (-counts[value], value))[:MOST_VALUES]:
        if value != NOT_RECENT and value in times.heard:
            yield value, _tally(counts[value], len(hits), value, times)


def _tally(affected: int, all_affected: int, value: str, times: Times) -> Tally:
    heard, units = times.heard.get(value, 0.0), times.units.get(value, 0)
    return Tally(affected, units, heard, all_affected - affected, times.everyone - units, times.whole - heard)


def _told_apart(facts: Facts, rivals: Sequence[Pattern], alpha: float) -> list[Pattern]:
    """Mark the patterns of one rule that another explains, then those that cannot be told from one that is left."""
    beside = {
        (i, j): _beside(facts, one, other)
        for i, one in enumerate(rivals)
        for j, other in enumerate(rivals)
        if i != j and one.hypothesis.group != other.hypothesis.group
    }
    told = list(rivals)
    for i, j in beside:
        if beside[i, j] > alpha >= beside[j, i] and told[i].explained_by is None:
            told[i] = told[i]._replace(explained_by=(rivals[j].hypothesis.id, rivals[j].value))
    for i, j in beside:
        both = told[i].explained_by is None and told[j].explained_by is None
        if both and beside[i, j] > alpha and beside[j, i] > alpha and told[i].tangled_with is None:
            told[i] = told[i]._replace(tangled_with=(rivals[j].hypothesis.id, rivals[j].value))
    return told


def _beside(facts: Facts, pattern: Pattern, other: Pattern) -> float:
    """Return the chance of a pattern among stays that are alike in another one."""
    inside = {row.stay for row in facts.times(other.hypothesis).rows if row.value == other.value and row.heard > 0}
    ours, whole = [0.0, 0.0], [0.0, 0.0]
    for row in facts.times(pattern.hypothesis).rows:
        side = row.stay in inside
        whole[side] += row.heard
        if row.value == pattern.value:
            ours[side] += row.heard
    affected, found = [0, 0], [0, 0]
    for (_, value), stay in facts.hits(pattern.hypothesis, pattern.rule).items():
        side = stay in inside
        affected[side] += 1
        found[side] += value == pattern.value
    strata = [(affected[side], ours[side] / whole[side]) for side in (0, 1) if 0.0 < ours[side] < whole[side]]
    kept = sum(found[side] for side in (0, 1) if 0.0 < ours[side] < whole[side])
    return chance.at_least_in_strata(kept, strata) if strata else 1.0


def _of_part(part: Part, of: str) -> str | None:
    if of == "slot":
        return part.pci
    return part.name if of == "gpu.name" else part.facts.get(of)


def _told(stay: Stay, of: str) -> str | None:
    if of != "parts":
        return stay.facts.get(of)
    known = [f"{part.pci}={identity(part)}" for part in stay.gpus if identity(part) is not None]
    return " ".join(sorted(known)) if known else None
