"""Kills `gpu-triage check` at random moments of its life and sees that nothing it reported is lost.

    python -m tests.soak.kill_checks [KILLS] [SEED]        (default: 1000 kills)

The real command sweeps fake GPUs whose counters grow.  It is killed with SIGKILL
while it starts, asks the driver, writes or prints; one that printed its whole
report first has acknowledged that sweep.  After each kill the history must be
sound and hold every acknowledged sweep with its counter, no child may be left
that asks the driver, and the next sweep must set nothing aside.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.fake_nvml import Scenario, build
from tests.patience import WITHIN
from tests.soak.command import soak
from triage.history.store import FILE, open_store

ROOT = Path(__file__).parents[2]
LATER, SOONER = 1.02, 0.95
"""How the time within which kills come follows the machine: a third or so shall come after the report."""
COUNTER = "gpu.pcie.replays"


class Outcome(NamedTuple):
    """What came of it: kills that came before, and after, the report was whole; sweeps that were written unreported."""

    early: int
    late: int
    silent: int

    def __str__(self) -> str:
        return (
            f"{self.early} before its report was whole, {self.silent} of them after the sweep was written, "
            f"{self.late} later; every reported sweep is there, nothing corrupt, nothing set aside, no child left"
        )


def torment(folder: Path, kills: int, seed: int) -> Outcome:
    """Kill so many times; raises AssertionError at the first loss."""
    chance = random.Random(seed)
    scenario = Scenario(folder / "scenario", 2)
    environ = {**os.environ, **scenario.env(build(folder / "library")), "XDG_CACHE_HOME": str(folder / "cache")}
    state = folder / "state"
    command = [sys.executable, "-m", "triage", "check", "--format", "json", "--state-dir", str(state)]
    took = []
    for _ in range(3):  # the first has rules to compile, and one of the others may have been held up
        began = time.monotonic()
        subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, check=False)
        took.append(time.monotonic() - began)
    longest = min(took)
    early = late = silent = reported = 0
    for number in range(kills):
        scenario.gpu("*").set("pcie.replays", number + 1)
        with (
            (folder / "report").open("wb") as report,  # a pipe that nobody reads would hold it up
            subprocess.Popen(command, cwd=ROOT, env=environ, stdout=report, stderr=subprocess.PIPE) as check,
        ):
            time.sleep(chance.uniform(0.0, longest))
            check.kill()
            _, errors = check.communicate()
        told = (folder / "report").read_bytes()
        assert b"Traceback" not in errors, errors
        acknowledged = _whole(told)
        longest *= SOONER if acknowledged else LATER
        last = _last(state, number)
        if acknowledged:
            late += 1
            reported = number + 1
        else:
            early += 1
            silent += last == number + 1
        assert last >= reported, f"kill {number}: sweep with counter {reported} was reported, the last kept is {last}"
        assert [] == _asking(state), f"kill {number}: a child is left"
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, check=False)
    assert [] == [text for text in json.loads(done.stdout)["notices"] if "history" in text], done.stdout
    return Outcome(early, late, silent)


def _whole(told: bytes) -> bool:
    """Whether the report was printed to its end, with a history in it that could be used."""
    try:
        report = json.loads(told)
    except ValueError:
        return False
    return not any("history" in notice for notice in report["notices"])


def _last(state: Path, number: int) -> int:
    """The newest value of the counter that is kept, in a file that is sound."""
    with open_store(state, now=0.0, patience=WITHIN) as store:
        assert [] == store.notices, f"kill {number}: {store.notices}"
        (sound,) = store.db.execute("PRAGMA integrity_check").fetchone()
        assert "ok" == sound, f"kill {number}: {sound}"
        row = store.db.execute(
            "SELECT max(value) FROM run JOIN series ON series.id = run.series WHERE name = ?", (COUNTER,)
        ).fetchone()
    left = [path.name for path in state.iterdir() if path.name.startswith(FILE) and "Z" in path.name]
    assert [] == left, f"kill {number}: {left}"
    return int(row[0] or 0)


def _asking(state: Path) -> list[int]:
    """The children that asked the driver for a check that is gone; the kernel ends them with their parent."""
    noted = [int(path.stem.partition("-")[2]) for path in (state / "children").glob("nvml-*.json")]
    until = time.monotonic() + WITHIN
    while (left := [pid for pid in noted if _alive(pid)]) and time.monotonic() < until:
        time.sleep(0.01)
    return left


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return "gpu-triage-nvml" in stat and stat.rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


if __name__ == "__main__":
    soak("kills of check", lambda *told: str(torment(*told)))
