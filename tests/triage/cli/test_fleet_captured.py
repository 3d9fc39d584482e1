"""A generated fleet's captures end to end: the same verdicts by `fleet report` and by `explain`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import captured_fleet
from tests.triage.cli.conftest import Run

NOW = "1793000000"


def families(report: dict, rule: str = "gsp-fault") -> list[str]:  # type: ignore[type-arg]
    """The families of a rule's incidents."""
    return [each["verdict"]["family"] for each in report["incidents"] if each["rule"]["id"] == rule]


@pytest.mark.parametrize("confounded", [False, True])
def test_a_rollout_is_the_drivers_where_it_can_be_told_and_open_where_it_cannot(
    run: Run, tmp_path: Path, confounded: bool
) -> None:
    """It is never hardware."""
    folder = tmp_path / "captures"
    folder.mkdir()
    inventory = captured_fleet.make(folder, 96, confounded=confounded)
    words = ("--now", NOW, "--format", "json")
    report = json.loads(run("fleet", "report", str(folder), "--inventory", str(inventory), *words).stdout)
    said = families(report)

    assert len(said) >= 8
    assert "hardware" not in said
    if confounded:
        assert "driver" not in said
        assert any(pattern["tangled_with"] for pattern in report["patterns"])
    else:
        assert said.count("driver") >= len(said) - 3


def test_explain_lets_captures_of_several_nodes_testify(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    folder.mkdir()
    captured_fleet.make(folder, 48, confounded=False)
    words = ("--now", NOW, "--format", "json")
    together = run("explain", str(folder), *words)

    assert together.stdout == run("fleet", "report", str(folder), *words).stdout
    assert "driver" in families(json.loads(together.stdout))


def test_explain_says_what_a_fleet_cannot_be_asked(run: Run, tmp_path: Path) -> None:
    captured_fleet.make(tmp_path, 4, confounded=False)
    done = run("explain", str(tmp_path), "--context", "3")

    assert (2, 1, True) == (done.returncode, done.stderr.count("\n"), "gpu-triage fleet report" in done.stderr)
