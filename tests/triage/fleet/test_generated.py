"""Injected causes are found again in a made-up fleet, and a bad driver is never called hardware."""

from __future__ import annotations

import pytest

from tests.generated_fleet import fleet
from tests.triage.fleet.places import rulebook
from triage.fleet.gather import gather
from triage.fleet.hypotheses import load
from triage.fleet.report import to_fleet_report
from triage.fleet.testify import find

FAMILY = {"rollout": "driver", "board": "hardware", "rack": "site", "job": "workload", "vbios": "driver"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_incident_gets_the_cause_that_was_injected(seed: int) -> None:
    """Nine of ten at least; the others stay open, and none gets another family than its own."""
    made = fleet(800, seed)
    findings = find(gather(made.answers, made.places), load(rulebook()))
    report = to_fleet_report(findings, made.answers, rulebook(), generated_at=31 * 86400.0)
    said: dict[str | None, list[str]] = {}
    for incident in report["incidents"]:
        cause = made.truth[f"{incident['fingerprint']}@{incident['opened_at']}"]
        said.setdefault(cause, []).append(incident["verdict"]["family"])

    assert set(FAMILY) <= set(said)
    for cause, family in FAMILY.items():
        assert {*said[cause]} <= {family, "undetermined"}, cause
    right = sum(said[cause].count(family) for cause, family in FAMILY.items())
    assert right >= 0.9 * sum(len(said[cause]) for cause in FAMILY)


def test_a_fleet_without_an_injected_cause_shows_no_pattern() -> None:
    """Half a dozen background incidents prove nothing."""
    made = fleet(100, 4)
    background = {key for key, cause in made.truth.items() if cause is None}
    answers = [
        answer._replace(
            incidents=tuple(i for i in answer.incidents if f"{i['fingerprint']}@{i['opened_at']}" in background)
        )
        for answer in made.answers
    ]
    findings = find(gather(answers, made.places), load(rulebook()))

    assert ((), ()) == (findings.patterns, findings.coincidences)
