"""What the rest of the fleet says about one incident, and the verdict with that.

Each incident keeps what its node could answer; the questions that only a fleet
can answer (`spread` across nodes) are answered here, and what the fleet's
patterns say is added as evidence of its own.  Then the one place that weighs,
`triage.verdict`, weighs again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from probes.named import NamedTuple
from triage.fleet.census import Census, Event
from triage.fleet.follow import Facts, Pattern, patterns, tally
from triage.fleet.hypotheses import Hypotheses, Hypothesis
from triage.fleet.model import Json
from triage.fleet.together import Coincidence, coincidences
from triage.model import UNDETERMINED, Evidence
from triage.report import bearing, leading, verdict_of
from triage.rulebook.model import Item, Rule, Rulebook, Spread
from triage.verdict import counted, decide
from triage.whatnext import steps, to_settle

TANGLED = "cannot be told from {other} here; one node with only one of the two would tell"
EXPLAINED = "explained by {other}"


class Findings(NamedTuple):
    """Everything that was found in a census: what faults go with, and what keeps to boards, seats and moments."""

    facts: Facts
    hypotheses: Hypotheses
    patterns: tuple[Pattern, ...]
    coincidences: tuple[Coincidence, ...]


def find(census: Census, hypotheses: Hypotheses) -> Findings:
    """Look for all patterns of a census."""
    facts = Facts(census)
    found = patterns(facts, hypotheses)
    return Findings(facts, hypotheses, tuple(found), tuple(coincidences(facts, hypotheses, found)))


def testify(findings: Findings, events: Iterable[Event], rulebook: Rulebook) -> list[Json]:
    """Return the incidents of these events, in order, with the fleet's evidence and the verdict that follows."""
    rules = {rule.id: rule for rule in rulebook.rules}
    by_member: dict[str, list[Coincidence]] = {}
    for coincidence in findings.coincidences:
        for member in coincidence.members:
            by_member.setdefault(member, []).append(coincidence)
    told = []
    for event in events:
        own = [c for c in by_member.get(event.fingerprint, ()) if c.rule == event.rule]
        said = [*_followed(findings, event), *map(_together, own)]
        answers = _asked(findings, event, rules.get(event.rule))
        told.append(_decided(event.incident, said, answers, rules.get(event.rule), rulebook))
    return told


def sentence(pattern: Pattern) -> str:
    """Return the counts of a pattern in words."""
    counts, unit = pattern.tally, "nodes" if pattern.hypothesis.unit == "node" else "GPUs"
    there = (
        f"within {pattern.hypothesis.within / 86400:g} days of a change of {pattern.hypothesis.named}"
        if pattern.hypothesis.kind == "changed"
        else f"with {pattern.hypothesis.named} {pattern.value}"
    )
    return (
        f"{counts.affected} of {counts.units} {unit} {there} show it,"
        f" {counts.affected_elsewhere} of {counts.units_elsewhere} others"
    )


def _followed(findings: Findings, event: Event) -> Iterable[Evidence]:
    """Yield what the event's own values say: those that a pattern names, and those that keep silent."""
    facts = findings.facts
    found = {(p.hypothesis.id, p.value): p for p in findings.patterns if p.rule == event.rule}
    for hypothesis in findings.hypotheses.all:
        if hypothesis.kind not in ("follows", "changed"):
            continue
        value = facts.value(hypothesis, event)
        pattern = found.get((hypothesis.id, value)) if value is not None else None
        if pattern is not None and pattern.stands:
            why = f"{sentence(pattern)}. {hypothesis.why}"
            yield Evidence(
                hypothesis.id, hypothesis.group, "seen", hypothesis.points, {}, why, count=pattern.tally.affected
            )
        elif pattern is not None:
            other, form = pattern.explained_by, EXPLAINED
            if other is None:
                other, form = pattern.tangled_with, TANGLED
            named = {h.id: h.named for h in findings.hypotheses.all}
            assert other is not None
            reason = f"{sentence(pattern)}; {form.format(other=f'{named[other[0]]} {other[1]}')}"
            state, points = ("quiet", {}) if pattern.explained_by is not None else ("unknown", hypothesis.points)
            yield Evidence(hypothesis.id, hypothesis.group, state, {}, points, hypothesis.why, reason)
        elif value is not None and hypothesis.otherwise is not None:
            counts = tally(facts, hypothesis, event.rule, value)
            if counts.units >= findings.hypotheses.enough and counts.lift < hypothesis.lift:
                unit = "nodes" if hypothesis.unit == "node" else "GPUs"
                why = (
                    f"{counts.affected} of {counts.units} {unit} with {hypothesis.named} {value} show it,"
                    f" {counts.affected_elsewhere} of {counts.units_elsewhere} others. {hypothesis.otherwise.why}"
                )
                yield Evidence(hypothesis.id, hypothesis.group, "quiet", hypothesis.otherwise.points, {}, why)


def _together(coincidence: Coincidence) -> Evidence:
    hypothesis = coincidence.hypothesis
    why = f"{coincidence.counts}. {hypothesis.why}"
    return Evidence(hypothesis.id, hypothesis.group, "seen", hypothesis.points, {}, why, count=len(coincidence.members))


class _Answer(NamedTuple):
    state: str
    reason: str | None


def _asked(findings: Findings, event: Event, rule: Rule | None) -> Mapping[str, _Answer]:
    """Return the answers to the rule's own questions about other nodes."""
    answers: dict[str, _Answer] = {}
    for item in rule.evidence if rule is not None else ():
        if isinstance(item.clause, Spread) and (item.clause.across == "node" or item.clause.lift is not None):
            answers[item.id] = _spread(findings, event, item)
    return answers


def _spread(findings: Findings, event: Event, item: Item) -> _Answer:
    clause = item.clause
    assert isinstance(clause, Spread)
    census = findings.facts.census
    if not clause.select.trigger:
        return _Answer("unknown", "the fleet's history keeps incidents, not single lines")
    if not clause.alike:
        near = {e.node for e in findings.facts.events(event.rule) if abs(e.at - event.at) <= clause.over}
        if len(near) >= (clause.at_least or 1):
            return _Answer("seen", f"{len(near)} nodes within that time")
        alone = census.nodes < findings.hypotheses.enough
        return _Answer("unknown", f"only {census.nodes} nodes were asked") if alone else _Answer("quiet", None)
    for name in clause.alike:
        hypothesis = _by_fact(findings.hypotheses, name)
        value = findings.facts.value(hypothesis, event) if hypothesis is not None else None
        if hypothesis is None or value is None:
            return _Answer("unknown", f"{name} of this node is not known")
        counts = tally(findings.facts, hypothesis, event.rule, value)
        pattern = next(
            (p for p in findings.patterns
             if (p.rule, p.hypothesis.id, p.value) == (event.rule, hypothesis.id, value)), None,
        )  # fmt: skip
        if pattern is not None and pattern.tangled_with is not None:
            return _Answer("unknown", f"{sentence(pattern)}, but something else goes with it that may be the cause")
        enough = counts.affected >= (clause.at_least or 1) and counts.lift >= (clause.lift or 1.0)
        if pattern is None or not pattern.stands or not enough:
            if counts.units < findings.hypotheses.enough or counts.units_elsewhere < findings.hypotheses.enough:
                return _Answer(
                    "unknown", f"{counts.units} nodes with {name} {value} and {counts.units_elsewhere} others"
                )
            return _Answer("quiet", None)
    return _Answer("seen", sentence(pattern) if pattern is not None else None)


def _by_fact(hypotheses: Hypotheses, name: str) -> Hypothesis | None:
    return next((h for h in hypotheses.all if h.kind == "follows" and h.of == name), None)


def _decided(
    incident: Json, said: Sequence[Evidence], answers: Mapping[str, _Answer], rule: Rule | None, rulebook: Rulebook
) -> Json:
    items = {item.id: item for item in rule.evidence} if rule is not None else {}
    old: dict[str, Json] = {}
    evidence: list[Evidence] = []
    for told in incident.get("evidence", ()):
        kept = _read(told)
        if kept is None:
            continue
        old[kept.id] = told
        if kept.id in items:
            kept = kept._replace(settle=items[kept.id].settle)
        answer = answers.get(kept.id)
        if answer is not None and kept.state == "unknown":
            kept = _answered(kept, items[kept.id], answer)
        evidence.append(kept)
    weighed = counted([*evidence, *said])
    verdict = decide(weighed, rulebook)
    family, _ = leading(verdict)
    shown = [
        {
            **(old.get(item.id) or _blank(item)),
            "state": item.state,
            "bearing": None if item.state == "unknown" else bearing(item.points, verdict.by_leaf, family),
            "points": dict(item.points),
            "would_be": dict(item.would_be),
            "counted": item.counted,
            "why": item.why,
            "reason": item.reason,
        }
        for item in weighed
    ]
    first = next(iter(verdict.by_leaf))
    after: Json = {
        **incident,
        "verdict": verdict_of(verdict, rulebook.causes),
        "evidence": shown,
        "fleet": {"before": incident.get("verdict"), "evidence": [item.id for item in said]},
    }
    if rule is not None:
        next_steps = steps(rule, verdict.family, verdict.leaf or UNDETERMINED, first, rulebook)
        after["next"] = [
            *_remedies(incident, rule, verdict.family),
            *({"do": step.do, "risk": step.risk, "owner": step.owner} for step in next_steps),
        ]
        after["settle"] = list(to_settle(rule, weighed, verdict.by_family, rulebook))
    return after


def _remedies(incident: Json, rule: Rule, family: str) -> Iterable[Json]:
    """Return the steps that the node added to its rule's, as against a known bug, if its verdict still stands."""
    before = incident.get("verdict")
    if not isinstance(before, dict) or before.get("family") != family:
        return ()
    usual = {action.do for action in rule.actions}
    said = incident.get("next")
    return [s for s in said if isinstance(s, dict) and s.get("do") not in usual] if isinstance(said, list) else ()


def _answered(kept: Evidence, item: Item, answer: _Answer) -> Evidence:
    if answer.state == "seen":
        return kept._replace(state="seen", points=item.points, would_be={}, reason=answer.reason)
    if answer.state == "quiet":
        points = item.otherwise.points if item.otherwise is not None else {}
        why = item.otherwise.why if item.otherwise is not None else item.why
        return kept._replace(state="quiet", points=points, would_be={}, why=why, reason=None)
    return kept._replace(reason=answer.reason)


def _read(told: Any) -> Evidence | None:
    """Rebuild a piece of evidence from a report, which may be of another version or anybody's."""
    if not isinstance(told, dict) or told.get("state") not in ("seen", "quiet", "unknown"):
        return None
    count = told.get("count")
    return Evidence(
        id=str(told.get("id")),
        group=str(told.get("group")),
        state=told["state"],
        points=_points(told.get("points")),
        would_be=_points(told.get("would_be")),
        why=str(told.get("why") or ""),
        reason=told.get("reason"),
        count=count if isinstance(count, int) else 1,
    )


def _points(told: Any) -> dict[str, int]:
    if not isinstance(told, dict):
        return {}
    return {str(leaf): value for leaf, value in told.items() if isinstance(value, int) and abs(value) <= 100}


def _blank(item: Evidence) -> Json:
    return {"id": item.id, "group": item.group, "at": None, "count": item.count, "source": None}
