"""A generated fleet in the form that real nodes send, read as theirs is: the injected causes are found."""

from __future__ import annotations

from pathlib import Path

from tests.generated_captures import BEGIN, cause_of, make
from tests.generated_fleet import SWEEPS, fleet
from tests.triage.fleet.places import DAY, rulebook
from triage.fleet import inventory, sweep
from triage.fleet.gather import gather
from triage.fleet.hypotheses import load
from triage.fleet.model import Answer
from triage.fleet.read import Lean, called, read_all
from triage.fleet.report import to_fleet_report
from triage.fleet.testify import find


def test_a_fleet_is_read_from_the_folders_of_its_sweeps(tmp_path: Path) -> None:
    made = fleet(44, 2)
    swept = make(made, tmp_path)
    small, answers = Lean(), list[Answer]()
    for folder in swept.folders:
        kept = sweep.kept(folder)
        assert kept is not None
        read = read_all(
            list(kept.captures.values()), rulebook(), root=None, overlays=(), now=BEGIN, tz_offset=0.0, jobs=1
        )
        answers += (small(called(answer, node)) for node, answer in zip(kept.captures, read, strict=True))
        answers += kept.silent
    places = inventory.load(swept.inventory)
    findings = find(gather(answers, places), load(rulebook()))
    report = to_fleet_report(findings, answers, rulebook(), generated_at=BEGIN + (SWEEPS[-1] + 1) * DAY)

    told = [(cause_of(swept, incident), incident) for incident in report["incidents"]]
    assert all(known for (known, _), _ in told)
    assert len(swept.truth) - len(told) <= 2  # two of one board within a sweep are one
    rack = [incident["verdict"]["family"] for (_, cause), incident in told if cause == "rack"]
    assert len(rack) > 10
    assert {"site"} == set(rack)
    assert {len(answer.gpus) for answer in answers if answer.gpus} == {8}
    assert places["gpu00000"] == {"rack": "r0", "leaf": "l0"}
