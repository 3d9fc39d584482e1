"""What changed of a machine lately, as its history tells it."""

from __future__ import annotations

from pathlib import Path

from probes.model import NODE, Entity, Reading
from tests.triage.history import sweeps
from triage.history.changes import lately
from triage.history.sweep import Memory

DAY = 86400.0


def fact(name: str, value: str, about: Entity = NODE) -> Reading:
    return Reading(about, name, value, "", sweeps.START)


def told(memory: Memory, now: float, over: float = 14 * DAY) -> list[str]:
    assert memory.store is not None
    return [change.says for change in lately(memory.store.db, sweeps.START + now, over)]


def test_a_driver_that_became_another_is_a_change_and_the_first_one_is_none(tmp_path: Path) -> None:
    with sweeps.open_memory(tmp_path) as memory:
        sweeps.sweep(memory, sweeps.at(0), readings=[fact("driver.version", "570.86.15")])
        assert [] == told(memory, 1)
        sweeps.sweep(memory, sweeps.at(60), readings=[fact("driver.version", "570.86.15")])
        sweeps.sweep(memory, sweeps.at(120), readings=[fact("driver.version", "580.65.06")])

        assert ["driver.version: 570.86.15 became 580.65.06"] == told(memory, 200)


def test_gpus_that_changed_alike_are_one_change_and_a_single_one_is_named_by_its_slot(tmp_path: Path) -> None:
    one, two = sweeps.board(1), sweeps.board(2, sweeps.OTHER_SLOT, 1)
    with sweeps.open_memory(tmp_path) as memory:
        for when, of_one, of_two in ((0, "A", "A"), (60, "B", "B"), (120, "B", "C")):
            read = [fact("gpu.vbios", of_one, one), fact("gpu.vbios", of_two, two), sweeps.gpus(2)]
            sweeps.sweep(memory, sweeps.at(when), readings=read)

        assert [f"gpu.vbios of {sweeps.OTHER_SLOT}: B became C", "gpu.vbios of 2 GPUs: A became B"] == told(memory, 200)


def test_another_board_a_restart_and_what_is_too_long_ago(tmp_path: Path) -> None:
    with sweeps.open_memory(tmp_path) as memory:
        sweeps.sweep(memory, sweeps.at(0))
        sweeps.sweep(memory, sweeps.at(10 * DAY, boot=sweeps.LATER_BOOT, up=60.0),
                     readings=[sweeps.counter(0, gpu=sweeps.board(7)), sweeps.gpus(1)])  # fmt: skip

        says = told(memory, 11 * DAY)
        assert any("the node was rebooted" in each for each in says)
        assert any(f"the GPU at {sweeps.SLOT} is another" in each for each in says)
        assert [] == told(memory, 30 * DAY)


def test_other_rules_are_a_change(tmp_path: Path) -> None:
    with sweeps.open_memory(tmp_path) as memory:
        for when, rules in ((0, "a" * 64), (60, "b" * 64)):
            report = sweeps.report_of((), (sweeps.LOG,), sweeps.at(when))
            report["tool"]["rules"] = rules
            memory.began = sweeps.at(when)
            memory.remember(report, incidents=(), lasts={}, read=[], sources=(sweeps.LOG,), now=sweeps.at(when))

        assert ["rules: aaaaaaaaaaaa became bbbbbbbbbbbb"] == told(memory, 100)
