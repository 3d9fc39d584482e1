"""Kills writers of the history at random moments and sees that nothing acknowledged is lost and nothing corrupted.

    python -m tests.soak.kill_sweeps [KILLS] [SEED]        (default: 1000 kills)

Two writers sweep at once.  After each sweep a writer acknowledges it on a pipe;
at a random moment both are killed with SIGKILL.  Then the file must be sound,
hold every acknowledged sweep with its counter and its incident, and take the
next sweep without setting anything aside.  Every tenth time a copy of the file
is also cut at a random byte of its write-ahead log, as a lost page would.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import time
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from probes.model import Reading
from probes.moment import Moment, moment
from tests.soak.command import soak
from tests.soak.writers import ACK, killed
from tests.triage.history.sweeps import board, counter, gpus, incident, sweep
from triage.history import readings
from triage.history.store import FILE, open_store
from triage.history.sweep import Memory

WRITERS = 2
LONGEST = 0.06
"""Seconds until the kill, at first: a sweep takes some 2 ms, the first of a process with its opening 5 ms."""
LATER, SOONER = 1.08, 0.98
"""How that follows the machine: a fifth or so of the kills shall come before the first sweep of a round."""


class Outcome(NamedTuple):
    """What came of it: kills, sweeps acknowledged, kills that hit before, and after, the first of them."""

    kills: int
    acknowledged: int
    empty: int
    cut: int

    def __str__(self) -> str:
        return (
            f"{self.acknowledged} sweeps acknowledged, all there; {self.empty} kills before the first of a round; "
            f"{self.cut} logs cut at a random byte; nothing corrupt, nothing set aside"
        )


def torment(folder: Path, kills: int, seed: int) -> Outcome:
    """Kill so many times; raises AssertionError at the first loss."""
    chance = random.Random(seed)
    readings.EVERY = 16  # thinning is one more thing to be killed in
    known: dict[int, int] = {}
    empty = cut = 0
    longest = LONGEST
    state = folder / "state"
    for number in range(kills):
        acks = _round(state, number, chance.uniform(0.0, longest))
        empty += not acks
        longest *= SOONER if acks else LATER
        known.update(acks)
        if number % 10 == 9 and (state / f"{FILE}-wal").exists():
            cut += 1
            _cut(state, folder / "cut", chance)
        _check(state, known, number)
    return Outcome(kills, len(known), empty, cut)


def _round(state: Path, number: int, seconds: float) -> dict[int, int]:
    """Let the writers write until they are killed; return the sweeps that were acknowledged, with their values."""
    works = [partial(_write, state, first=number * 1000 + writer * 500) for writer in range(WRITERS)]
    return dict(chain.from_iterable(killed(works, seconds)))


def _write(state: Path, ack: int, first: int) -> None:
    """Sweep for ever, acknowledging each sweep once it is written."""
    for value in range(first, first + 500):
        with Memory(state, moment(), 5.0) as memory:
            now = moment()
            told = sweep(
                memory,
                now,
                readings=[
                    counter(value),
                    *(counter(value, gpu=board(n, f"0000:{n:02x}:00.0")) for n in range(2, 9)),
                    gpus(8),
                    *(Reading(board(n), "gpu.temperature", value % 100, "celsius", now.at) for n in range(1, 9)),
                ],
                incidents=[incident(float(value), rule=f"rule-{value % 7}", first=0.0, seen=value + 1)],
            )
            # two writers count apart, which looks like resets
            memory.notices = [notice for notice in memory.notices if "began anew" not in notice]
            if memory.notices:
                if any("in use by another" in notice for notice in memory.notices):
                    continue
                os.write(2, f"{memory.notices}\n".encode())
                os._exit(3)
            assert "history" in told["incidents"][0]
            seq = memory.written
            assert seq is not None
        os.write(ack, ACK.pack(seq, value))
    time.sleep(60)


def _check(state: Path, known: dict[int, int], number: int) -> None:
    if not (state / FILE).exists():
        assert not known, f"round {number}: the history is gone"
        return
    with open_store(state, now=0.0, patience=5.0) as store:
        assert store.notices == [], f"round {number}: {store.notices}"
        (sound,) = store.db.execute("PRAGMA integrity_check").fetchone()
        assert sound == "ok", f"round {number}: {sound}"
        last, events = _state(store.db)
    assert max(known, default=0) <= last, f"round {number}: sweep {max(known)} was acknowledged, the last is {last}"
    values = set(known.values())
    assert {value % 7 for value in values} <= events, f"round {number}: an incident is lost"
    left = [path.name for path in state.iterdir() if ".corrupt-" in path.name or ".foreign-" in path.name]
    assert left == [], f"round {number}: {left}"


def _state(db: sqlite3.Connection) -> tuple[int, set[int]]:
    (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM sweep").fetchone()
    (recent,) = db.execute("SELECT count(*) FROM sweep WHERE seq > ? - 100", (last,)).fetchone()
    assert recent == min(100, last), f"of the last 100 sweeps only {recent} are there"
    (levels,) = db.execute("SELECT coalesce(sum(count), 0) FROM level").fetchone()
    assert levels == 8 * last, f"{levels} levels are there, of {8 * last}"
    return last, {int(row[0].rpartition("-")[2]) for row in db.execute("SELECT rule FROM incident")}


def _cut(state: Path, copy: Path, chance: random.Random) -> None:
    """A log that ends at any byte is played up to its last whole change."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(state, copy)
    log = copy / f"{FILE}-wal"
    (copy / f"{FILE}-shm").unlink(missing_ok=True)
    os.truncate(log, chance.randint(0, log.stat().st_size))
    with open_store(copy, now=0.0, patience=5.0) as store:
        assert store.notices == [], store.notices
        (sound,) = store.db.execute("PRAGMA integrity_check").fetchone()
        assert sound == "ok", f"cut log: {sound}"
        _state(store.db)
    with Memory(copy, moment(), 5.0) as memory:
        sweep(memory, Moment(*moment()))
        assert memory.written is not None, memory.notices


if __name__ == "__main__":
    soak(f"kills of {WRITERS} writers", lambda *told: str(torment(*told)))
