"""The report of a fleet: one object of plain JSON values, from which every form of output is rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from triage import __version__
from triage.fleet.census import Event
from triage.fleet.chance import least_lift
from triage.fleet.follow import Pattern
from triage.fleet.gather import silent_of, unheard
from triage.fleet.model import ANSWERED, Answer, Json
from triage.fleet.testify import Findings, sentence, testify
from triage.fleet.together import Coincidence
from triage.model import SEVERITIES
from triage.report import TOOL, iso
from triage.rulebook.model import Rulebook

SCHEMA_VERSION = 1


def to_fleet_report(
    findings: Findings,
    answers: Sequence[Answer],
    rulebook: Rulebook,
    *,
    generated_at: float,
    complete: bool = True,
    notices: Sequence[str] = (),
) -> Json:
    """Return what all nodes said, what faults go with, and every incident with its new verdict, worst first."""
    census = findings.facts.census
    incidents = testify(findings, census.events, rulebook)
    ordered = sorted(zip(census.events, incidents, strict=True), key=_worst_first)
    told = {answer.node for answer in answers if answer.state == ANSWERED}
    silent, fallen = silent_of(answers)
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "fleet-report",
        "tool": {"name": TOOL, "version": __version__},
        "generated_at": iso(generated_at),
        "complete": complete,
        "from": iso(census.since) if census.stays else None,
        "to": iso(census.until) if census.stays else None,
        "nodes": {
            "told": len(told),
            "status": _counts(answers),
            "silent": [{"node": answer.node, "state": answer.state, "reason": answer.reason} for answer in silent],
        },
        "patterns": [
            *map(_pattern, findings.patterns),
            *map(_coincidence, findings.coincidences),
        ],
        "incidents": [incident for _, incident in ordered],
        "notices": [*notices, *unheard(fallen)],
    }


def _counts(answers: Sequence[Answer]) -> dict[str, int]:
    """Count the nodes by the status of their last answer."""
    last: dict[str, Answer] = {}
    for answer in answers:
        if answer.state == ANSWERED and (answer.node not in last or (answer.at or 0) >= (last[answer.node].at or 0)):
            last[answer.node] = answer
    counts = dict.fromkeys(("ok", "warning", "critical", "unknown"), 0)
    for answer in last.values():
        counts[answer.status] = counts.get(answer.status, 0) + 1
    return counts


def _worst_first(pair: tuple[Event, Json]) -> tuple[bool, int, float, str]:
    event, incident = pair
    severity = incident.get("severity")
    rank = SEVERITIES.index(severity) if severity in SEVERITIES else 0
    return (incident.get("state") != "open", -rank, event.at, event.fingerprint)


def _pattern(pattern: Pattern) -> Json:
    counts = pattern.tally
    return {
        "id": pattern.hypothesis.id,
        "rule": pattern.rule,
        "of": pattern.hypothesis.of,
        "value": pattern.value,
        "says": sentence(pattern),
        "affected": counts.affected,
        "units": counts.units,
        "affected_elsewhere": counts.affected_elsewhere,
        "units_elsewhere": counts.units_elsewhere,
        "lift": _rounded(counts.lift),
        "lift_at_least": _rounded(least_lift(counts.affected, counts.all_affected, counts.share)),
        "chance": _rounded(pattern.chance),
        "explained_by": _name(pattern.explained_by),
        "tangled_with": _name(pattern.tangled_with),
    }


def _coincidence(found: Coincidence) -> Json:
    return {
        "id": found.hypothesis.id,
        "rule": found.rule,
        "of": found.hypothesis.of or found.hypothesis.kind,
        "value": found.value,
        "says": found.counts,
        "affected": len(found.members),
        "chance": _rounded(found.chance),
        "explained_by": None,
        "tangled_with": None,
    }


def _name(other: tuple[str, str] | None) -> Mapping[str, str] | None:
    return None if other is None else {"id": other[0], "value": other[1]}


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
