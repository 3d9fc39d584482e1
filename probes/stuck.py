"""What is known of children that hung in the driver, kept across runs.

A child that sleeps uninterruptibly outlives the sweep that started it.  Its
process id stands in a small file, so that the next sweep sees it and does not
start another one to hang beside it.  A file is ours until its process is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Optional

from probes.model import Entity
from probes.named import NamedTuple


class Stuck(NamedTuple):
    """A child that should have ended: since when (epoch seconds), in which call, on which GPU."""

    pid: int
    since: float
    call: Optional[str]
    gpu: Optional[Entity]


def start_of(pid: int, proc: Path = Path("/proc")) -> Optional[int]:
    """When a process started, in clock ticks since boot; None if it is gone or a zombie."""
    try:
        stat = (proc / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rfind(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def note(state_dir: Path, pid: int, until: float, call: Optional[str] = None, gpu: Optional[Entity] = None) -> None:
    """Write down that `pid` talks to the driver and should have ended by `until` (epoch seconds)."""
    state_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    record = {
        "pid": pid,
        "start": start_of(pid),
        "boot": _boot(),
        "until": until,
        "call": call,
        "gpu": gpu and gpu._asdict(),
    }
    scratch = _path(state_dir, pid).with_suffix(".new")
    scratch.write_text(json.dumps(record))
    os.replace(scratch, _path(state_dir, pid))


def forget(state_dir: Path, pid: int) -> None:
    """The child ended.  A note that cannot be removed is seen to be stale later."""
    with contextlib.suppress(OSError):
        _path(state_dir, pid).unlink()


def still_stuck(state_dir: Path, now: Optional[float] = None) -> list[Stuck]:
    """The children that are past their time and still there.  Files of children that ended are removed."""
    found = []
    now = time.time() if now is None else now
    for path in sorted(state_dir.glob("nvml-*.json")):
        try:
            record: dict[str, object] = json.loads(path.read_text())
            pid, until = int(str(record["pid"])), float(str(record["until"]))
            alive = record["boot"] == _boot() and record["start"] is not None and start_of(pid) == record["start"]
        except (OSError, ValueError, KeyError, TypeError):
            alive, pid, until = False, 0, 0.0
        if not alive:
            with contextlib.suppress(OSError):
                path.unlink()
        elif until < now:
            gpu = record.get("gpu")
            call = record.get("call")
            found.append(
                Stuck(
                    pid,
                    until,
                    call if isinstance(call, str) else None,
                    Entity(**gpu) if isinstance(gpu, dict) else None,
                )
            )
    return found


def _path(state_dir: Path, pid: int) -> Path:
    return state_dir / f"nvml-{pid}.json"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
