"""Kills `gpu-triage fleet sweep` at random moments and sees that what it kept is whole and can be read.

    python -m tests.soak.kill_fleet [KILLS] [SEED]        (default: 1000 kills)

The nodes are this machine, reached by a stand-in for ssh that runs the command
here, so that ClusterShell, the probes and the captures are the real ones.  After
each kill every capture in the folder must be whole, the report must tell of each
node or why not, the store must be sound, and soon nothing that was started may be left.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import NamedTuple

from tests.soak.command import soak

ROOT = Path(__file__).parents[2]
NODES = 6
MARK = "GPU_TRIAGE_SOAK"
LATER, SOONER = 1.02, 0.95
"""How the time within which kills come follows the machine: about a third shall come after the sweep has ended."""


class Outcome(NamedTuple):
    """What came of it: captures that killed sweeps kept, kills before the first, sweeps that had ended."""

    captures: int
    early: int
    ended: int

    def __str__(self) -> str:
        return (
            f"{self.captures} captures were kept, all whole and read; {self.early} kills before the first, "
            f"{self.ended} sweeps had ended; the store is sound, nothing is left running"
        )


def torment(folder: Path, kills: int, seed: int) -> Outcome:
    """Kill so many times; raises AssertionError at the first loss."""
    chance = random.Random(seed)
    ssh = folder / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    environ = {
        **os.environ,
        "PATH": f"{ssh.parent}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(folder / "cache"),
        "GPU_TRIAGE_STATE_DIR": str(folder / "state"),
        MARK: str(folder),
    }
    store = folder / "fleet.db"
    longest = 3.0
    captures = early = ended = 0
    for number in range(kills):
        out = folder / f"sweep-{number}"
        words = ["-w", f"n[1-{NODES}]", "-o", str(out), "--deadline", "30", "--store", f"sqlite:///{store}"]
        with subprocess.Popen(
            [sys.executable, "-m", "triage", "fleet", "sweep", *words],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as sweep:
            time.sleep(chance.uniform(0.0, longest))
            over = sweep.poll() is not None
            sweep.kill()
            _, errors = sweep.communicate()
        # A worker that was just being started says, in Python's own words, that who started it is gone.
        assert all(b"in spawn_main" in told for told in errors.split(b"Traceback")[1:]), errors
        longest *= SOONER if over else LATER
        ended += over
        kept = _whole(out)
        captures += kept
        early += not kept
        if kept and (number % 10 == 0 or not over):
            _reported(out, kept, environ)
        _sound(store, number)
        assert [] == _left(str(folder)), f"kill {number}: {_left(str(folder))}"
    return Outcome(captures, early, ended)


def _whole(out: Path) -> int:
    """Count the captures, each read to its end."""
    kept = sorted(out.glob("*.tar.gz")) if out.exists() else []
    for path in kept:
        with tarfile.open(path, "r:gz") as archive:
            assert [member.name for member in archive], path
    return len(kept)


def _reported(out: Path, kept: int, environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "triage", "fleet", "report", str(out), "--format", "json"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        check=False,
    )
    told = json.loads(done.stdout)["nodes"]
    assert kept == told["told"], (kept, told, done.stderr)
    assert NODES == told["told"] + len(told["silent"]), told


def _sound(store: Path, number: int) -> None:
    if store.exists():
        with sqlite3.connect(store, timeout=10) as db:
            (sound,) = db.execute("PRAGMA integrity_check").fetchone()
        db.close()
        assert "ok" == sound, f"kill {number}: {sound}"


def _left(mark: str) -> list[str]:
    """What of the sweeps still runs, after some seconds in which it may end."""
    until = time.monotonic() + 20.0
    while (found := _marked(mark)) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def _marked(mark: str) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            if f"{MARK}={mark}".encode() in environ.split(b"\0"):
                found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


if __name__ == "__main__":
    soak("kills of fleet sweep", lambda *told: str(torment(*told)))
