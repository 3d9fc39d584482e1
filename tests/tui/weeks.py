"""A week of the node of `samples` in a history: work by day, rest by night, a gap, and a GPU whose fan fails."""

from __future__ import annotations

import math
from pathlib import Path

from probes.model import Reading
from tests.tui.samples import NOW, entity
from triage.history import levels
from triage.history.store import open_store

HOUR, DAY = 3600.0, 86400.0


def write_week(directory: Path) -> Path:
    """Write it, as sweeps every twenty minutes would have, and return the directory."""
    with open_store(directory, now=NOW) as store, store.transaction() as db:
        for number in range(int(7 * DAY / 1200)):
            at = NOW - 7 * DAY + number * 1200
            if not 3 * DAY < NOW - at < 3.5 * DAY:
                levels.keep(db, at, [each for gpu in range(8) for each in _readings(gpu, number, at)])
        levels.thin(db, NOW)
    return directory


def _readings(gpu: int, number: int, at: float) -> list[Reading]:
    busy = 8 <= at % DAY / HOUR < 20
    load = 0.9 + 0.09 * math.sin(number) if busy else 0.05
    hotter = 26 * (NOW - at < DAY / 2) if gpu == 2 else 0
    told = (
        ("gpu.temperature", int(32 + 30 * load + hotter), "celsius"),
        ("gpu.power", 80.0 + 370 * load, "watts"),
        ("gpu.utilization", load, "ratio"),
        ("gpu.clock.sm", 1980_000_000 - 225_000_000 * bool(hotter), "hertz"),
        ("gpu.memory.used", int(load * 75) << 30, "bytes"),
    )
    return [Reading(entity(gpu), name, value, unit, at) for name, value, unit in told]
