"""A sweep that asks the history and leaves it as it is."""

from __future__ import annotations

from pathlib import Path

from tests.triage.history import sweeps
from triage.history.store import FILE
from triage.history.sweep import rehearse


def test_it_is_told_what_a_sweep_is_told_and_writes_nothing(tmp_path: Path) -> None:
    with sweeps.open_memory(tmp_path) as memory:
        sweeps.sweep(memory, sweeps.at(0), incidents=[sweeps.incident(-50.0)])
    before = (tmp_path / FILE).read_bytes()

    with rehearse(tmp_path, now=sweeps.START + 60.0) as memory:
        report = sweeps.sweep(memory, sweeps.at(60), incidents=[sweeps.incident(50.0, first=-50.0, seen=2)])

    (told,) = report["incidents"]
    assert "open" == told["state"]
    assert told["opened_at"] == "2026-05-28T20:25:50.000Z"
    assert (told["history"]["reopened"], told["history"]["first_opened_at"]) == (0, told["opened_at"])
    assert [] == report["notices"]
    assert before == (tmp_path / FILE).read_bytes()


def test_without_a_history_it_makes_none_and_has_nothing_to_say(tmp_path: Path) -> None:
    with rehearse(tmp_path / "none", now=sweeps.START) as memory:
        report = sweeps.sweep(memory, sweeps.at(0), incidents=[sweeps.incident(-50.0)])

    assert 1 == len(report["incidents"])
    assert [] == report["notices"]
    assert not (tmp_path / "none").exists()


def test_a_history_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()

    with rehearse(tmp_path, now=sweeps.START) as memory:
        report = sweeps.sweep(memory, sweeps.at(0))

    assert any("no history: " in notice for notice in report["notices"])
