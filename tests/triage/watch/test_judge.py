"""The history that a watch keeps open: still its directory's at each decision, and given up when it is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from probes.model import LogRecord, Source
from probes.moment import moment
from triage.history.store import FILE
from triage.rulebook.cache import load
from triage.watch.judge import Judge

LOG = Source("kernel-log", "/dev/kmsg", True)


@pytest.fixture
def judge(tmp_path: Path) -> Iterator[Judge]:
    made = Judge(load(None, ()), tmp_path)
    yield made
    made.close()


def xid(judge: Judge, bus: int) -> None:
    now = moment()
    text = f"NVRM: Xid (PCI:0000:{bus:02x}:00): 79, pid=811, name=python, GPU has fallen off the bus."
    judge.feed([LogRecord(text, at=now.at, monotonic=now.monotonic, boot=now.boot, origin="/dev/kmsg", line=bus)])


def decided(judge: Judge) -> dict[str, Any]:
    """Decide as a watch does: three times at most."""
    for _ in range(3):
        with judge.open() as memory:
            said = judge.decide(memory, LOG, None, been_here=True)
        if said is not None:
            return said
    raise AssertionError("it decided nothing")


def gpus(directory: Path) -> set[str]:
    """Return the GPUs whose incidents stand in the file."""
    with sqlite3.connect(directory / FILE) as db:
        return {name.split("/")[1] for (name,) in db.execute("SELECT fingerprint FROM incident")}


def test_the_file_stays_open_from_one_decision_to_the_next(judge: Judge, tmp_path: Path) -> None:
    xid(judge, 0x15)
    decided(judge)
    with judge.open() as first:
        pass
    with judge.open() as second:
        assert first.store is second.store is not None

    assert (tmp_path / f"{FILE}-wal").exists()
    judge.close()
    assert not (tmp_path / f"{FILE}-wal").exists()


def test_a_file_that_somebody_took_away_is_made_anew(judge: Judge, tmp_path: Path) -> None:
    xid(judge, 0x15)
    decided(judge)
    for path in tmp_path.glob(f"{FILE}*"):
        path.unlink()
    xid(judge, 0x16)
    decided(judge)

    assert {"0000:15:00.0", "0000:16:00.0"} == gpus(tmp_path)


def test_a_file_that_is_damaged_while_it_is_open_is_set_aside(judge: Judge, tmp_path: Path) -> None:
    xid(judge, 0x15)
    decided(judge)
    judge.close()  # what is written stands in the file itself
    decided(judge)
    size = (tmp_path / FILE).stat().st_size
    for name, content in ((FILE, b"\0" * size), (f"{FILE}-wal", b"")):
        with (tmp_path / name).open("r+b") as file:
            file.truncate(0)
            file.write(content)
    xid(judge, 0x16)
    said = decided(judge)

    assert 2 == len(said["incidents"])
    assert list(tmp_path.glob(f"{FILE}.*-*"))
    assert "0000:16:00.0" in gpus(tmp_path)


def test_a_file_that_a_newer_program_has_brought_up_to_date_is_left_alone(judge: Judge, tmp_path: Path) -> None:
    xid(judge, 0x15)
    decided(judge)
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 99")
    xid(judge, 0x16)
    said = decided(judge)
    decided(judge)

    assert 2 == len(said["incidents"])
    assert {"0000:15:00.0"} == gpus(tmp_path)
