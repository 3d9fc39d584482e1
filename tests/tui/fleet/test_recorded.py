"""A stored report of a fleet on the screens: what it names, and what it cannot."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from tests.tui.fleets import TAKEN, write_fleet
from triage.cli import tui
from triage.cli.dispatch import main
from triage.cli.exits import Refused
from tui.fleet.picture import Picture
from tui.fleet.recorded import FleetReportSource, answers_of, unnamed
from tui.source import Failed


@pytest.fixture
def report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """What `gpu-triage fleet report --format json` printed of 40 nodes."""
    captures = write_fleet(tmp_path / "captures", 40)
    main(["fleet", "report", str(captures), "--format", "json", "--now", str(TAKEN + 60.0)])
    path = tmp_path / "fleet.json"
    path.write_text(capsys.readouterr().out)
    return path


def opened(path: Path, folder: Path) -> FleetReportSource:
    source = tui.source(tui.parser().parse_args([str(path)]), folder)
    assert isinstance(source, FleetReportSource)
    return source


def test_it_shows_the_incidents_patterns_and_silent_nodes_and_says_that_others_are_not_named(
    report: Path, tmp_path: Path
) -> None:
    found = next(opened(report, tmp_path).snapshots(threading.Event(), threading.Event()))

    assert isinstance(found, Picture)
    assert {"gpu-0003", *(f"gpu-{n:04d}" for n in range(20, 32)), "gpu-9999"} == {row.node for row in found.nodes}
    assert (13, 1) == (found.counts.states["critical"], found.counts.states["unread"])
    assert "gpu-[0020-0031]" in {group.nodes for group in found.groups}
    assert "27 more nodes answered without an incident; a stored report does not name them" == found.notices[0]
    detail = found.detail("gpu-0003")
    assert detail is not None
    assert ["gpu-off-bus"] == [each["rule"]["id"] for each in detail["report"]["incidents"]]


def test_there_is_no_capture_behind_it(report: Path, tmp_path: Path) -> None:
    told = opened(report, tmp_path).read("g1", [], threading.Event())

    assert isinstance(told, Failed)
    assert "open the captures it was made from" in told.reason


@pytest.mark.parametrize(
    "wrong",
    ['{"schema_version": 1, "kind": "fleet-report", "nodes": ', '{"schema_version": 2, "kind": "fleet-report"}'],
)
def test_one_that_is_cut_or_of_another_version_is_refused(wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    path.write_text(wrong)

    with pytest.raises(Refused, match=r"no JSON|another version"):
        opened(path, tmp_path)


def test_whatever_is_missing_or_of_the_wrong_kind_is_unknown() -> None:
    for odd in ({}, {"nodes": 3, "incidents": "x"}, {"nodes": {"silent": [3, {}], "told": "x"}, "incidents": [{}]}):
        assert 0 == unnamed(odd)
        assert all(answer.at is None for answer in answers_of(odd))
    assert [("None", "failed", "None")] == [each[:3] for each in answers_of({"nodes": {"silent": [{}]}})]


def test_a_report_that_is_edited_still_opens(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    path.write_text(json.dumps({"schema_version": 1, "kind": "fleet-report", "incidents": [{"where": {"node": "n"}}]}))

    found = next(opened(path, tmp_path).snapshots(threading.Event(), threading.Event()))

    assert isinstance(found, Picture), found
    assert ["n"] == [row.node for row in found.nodes]
