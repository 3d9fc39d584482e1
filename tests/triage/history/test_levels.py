"""What was usual of a level: kept by stretches of time, longer the older they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from probes.model import NODE, Missing, Reading
from tests.triage.history.sweeps import START, at, board, counter, open_memory, sweep
from triage.history import levels
from triage.history.levels import FINE, Stretch, course, keep, thin
from triage.history.schema import MIGRATIONS
from triage.history.store import FILE, in_memory, open_store

HOUR, DAY = 3600.0, 86400.0
BEGAN = START // DAY * DAY
GPU = board().uuid or ""


def hot(degrees: float, gpu: int = 1) -> Reading:
    return Reading(board(gpu), "gpu.temperature", degrees, "celsius", START)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    store = in_memory()
    yield store.db
    store.close()


def of(db: sqlite3.Connection, since: float = 0.0, gpu: str = GPU) -> list[Stretch]:
    return course(db, gpu, since).get("gpu.temperature", [])


def test_sweeps_of_ten_minutes_make_one_stretch(db: sqlite3.Connection) -> None:
    for seconds, degrees in ((0, 60), (599, 90), (300, 66), (600, 70)):
        keep(db, BEGAN + seconds, [hot(degrees)])

    assert [Stretch(BEGAN, 60, 72, 90), Stretch(BEGAN + FINE, 70, 70, 70)] == of(db)
    assert [Stretch(BEGAN + FINE, 70, 70, 70)] == of(db, BEGAN)


def test_what_is_not_known_or_no_level_of_a_gpu_is_not_kept(db: sqlite3.Connection) -> None:
    unknown = Reading(board(), "gpu.temperature", Missing("lost"), "celsius", START)
    keep(db, BEGAN, [unknown, counter(3), Reading(NODE, "gpu.temperature", 50, "celsius", START)])

    assert {} == course(db, GPU, 0.0)


def test_a_board_takes_its_past_along_and_has_no_other(db: sqlite3.Connection) -> None:
    keep(db, BEGAN, [hot(60), hot(80, gpu=2)])
    keep(db, BEGAN + HOUR, [Reading(board(pci="0000:9d:00.0"), "gpu.temperature", 61, "celsius", START)])

    assert [60, 61] == [stretch.mean for stretch in of(db)]
    assert [80] == [stretch.mean for stretch in of(db, gpu=board(2).uuid or "")]
    assert [] == of(db, gpu="GPU-nobody")


def test_old_stretches_become_longer_and_lose_neither_their_least_nor_their_greatest(db: sqlite3.Connection) -> None:
    for n in range(int(20 * DAY / FINE)):
        keep(db, BEGAN + n * FINE, [hot(n % 100)])
    now = BEGAN + 20 * DAY
    for _ in range(2):  # a second time changes nothing
        thin(db, now)
        found = of(db)
        steps = [int(b.at - a.at) for a, b in pairwise(found)]
        assert ([86400] * 6, [3600] * 12 * 24, [600] * (2 * 144 - 1)) == (steps[:6], steps[6:294], steps[294:])
        assert all((0, 99) == (each.least, each.most) for each in found[:6])
        whole = range(144)  # of the first day
        assert pytest.approx(sum(n % 100 for n in whole) / 144) == found[0].mean


def test_a_stretch_that_was_made_longer_before_takes_in_what_comes_late(db: sqlite3.Connection) -> None:
    """The wall clock was set back by three days, and goes on."""
    keep(db, BEGAN, [hot(10)])
    keep(db, BEGAN + 1800, [hot(20)])
    thin(db, BEGAN + 3 * DAY)
    keep(db, BEGAN + 1800, [hot(60)])
    thin(db, BEGAN + 3 * DAY)

    assert [Stretch(BEGAN, 10, 30, 60)] == of(db)


def test_what_is_too_old_too_much_or_yet_to_come_is_forgotten(
    db: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "MOST_STRETCHES", 3)
    for day in (0, 1, 398, 399, 400, 401, 800):
        keep(db, BEGAN + day * DAY, [hot(day)])
    thin(db, BEGAN + 401 * DAY)

    assert [399, 400, 401] == [stretch.least for stretch in of(db)]


def test_every_sweep_writes_its_levels_and_the_history_stays_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(levels, "MOST_STRETCHES", 100)
    with open_memory(tmp_path) as memory:
        for n in range(300):
            sweep(memory, at(n * DAY), readings=[hot(n)])
    with open_store(tmp_path, now=START) as store:
        assert 299 == of(store.db)[-1].most
        assert 100 <= len(of(store.db)) <= 100 + 64
        assert (1,) == store.db.execute("SELECT count(*) FROM series").fetchone()


def test_a_history_from_before_there_were_levels_keeps_them_from_now_on(tmp_path: Path) -> None:
    with open_memory(tmp_path) as memory:
        sweep(memory, at(0), readings=[counter(7)])
    db = sqlite3.connect(tmp_path / FILE)
    db.executescript(f"DROP TABLE level; PRAGMA user_version = {len(MIGRATIONS) - 1}")
    db.close()
    with open_memory(tmp_path) as memory:
        report = sweep(memory, at(HOUR), readings=[counter(9), hot(55)])

    assert [] == report["notices"]
    with open_store(tmp_path, now=START) as store:
        assert [55] == [stretch.mean for stretch in of(store.db)]
        assert [(7.0,), (9.0,)] == store.db.execute("SELECT value FROM run ORDER BY first").fetchall()
