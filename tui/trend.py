"""How a reading went: in the sweeps since the screens were opened, and in the history of this machine before that."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from probes.model import Missing, Reading
from probes.moment import moment
from triage.history.counters import LEVEL, kind
from triage.history.levels import FINE, Stretch, course
from triage.history.place import Unavailable
from triage.history.store import FILE, open_store, said
from tui.look import Look

MOST = 240
"""Sweeps that are remembered: an hour at the usual pace."""
WEEK = 7 * 86400.0
"""Seconds of a machine's own history that are shown."""
PERIOD = 30 * 86400.0
"""Seconds of the sweeps in a fleet's store that are shown."""
LONGEST = 2 * 3600.0
"""Seconds for which a level goes on until it was seen again, at most; stretches of the history are of an hour."""
_FINE = "▁▂▃▄▅▆▇█"
_ASCII = "_.:-=+*#"

Point = tuple[float, "float | None"]
"""When, in UTC epoch seconds, and the value; None where it was not known."""


class Trend:
    """The readings of the last sweeps, by GPU and name."""

    def __init__(self) -> None:
        self._sweeps: deque[tuple[float, dict[tuple[str, str], float | None]]] = deque(maxlen=MOST)

    def add(self, at: float, readings: Iterable[Reading]) -> None:
        """Remember a sweep; the same one again counts once."""
        if self._sweeps and self._sweeps[-1][0] >= at:
            return
        values = {(key(reading), reading.name): number(reading) for reading in readings if reading.entity.kind == "gpu"}
        if values:
            self._sweeps.append((at, values))

    def of(self, gpu: str, name: str) -> list[Point]:
        """Return how a reading went, oldest first."""
        return [(at, values.get((gpu, name))) for at, values in self._sweeps]


def key(reading: Reading) -> str:
    """Return what a GPU is known by here: as `tui.facts.Gpu.key`."""
    entity = reading.entity
    return entity.pci or entity.uuid or entity.serial or f"#{entity.index}"


def number(reading: Reading) -> float | None:
    """Return a reading as a number, None if it is none or not known."""
    value = reading.value
    if isinstance(value, (Missing, str)):
        return None
    return float(value)


class Lay(NamedTuple):
    """Where a reading lay from `at` to `until`, in UTC epoch seconds; of what counts by how much it rose, all three."""

    at: float
    until: float
    least: float
    mean: float
    most: float


class Course(NamedTuple):
    """How a reading went by the history, oldest first."""

    lays: tuple[Lay, ...]
    counts: bool

    @property
    def usual(self) -> tuple[float, float]:
        """The least and the greatest that it was."""
        return min(each.least for each in self.lays), max(each.most for each in self.lays)


def remembered(directory: Path, subject: str, now: float) -> dict[str, Course]:
    """Return how the readings of a GPU went in the last week, by the history; nothing where there is none."""
    if not (directory / FILE).exists():
        return {}
    asked = (
        "SELECT series.name, a.at, b.at, run.value, run.total FROM run JOIN series ON series.id = run.series"
        " JOIN sweep a ON a.seq = run.first JOIN sweep b ON b.seq = run.last"
        " WHERE series.subject = ? AND b.at > ? ORDER BY run.first"
    )
    try:
        with open_store(directory, now=moment().at, patience=0.5, create=False) as store, said():
            runs = store.db.execute(asked, (subject, now - WEEK)).fetchall()
            levels = course(store.db, subject, now - WEEK)
    except Unavailable:
        return {}
    found = {name: _lays(stretches) for name, stretches in levels.items()}
    before: dict[str, float] = {}
    for name, first, last, value, total in runs:
        told = total - before.get(name, total) if counts(name) else value
        found.setdefault(name, []).append(Lay(max(first, now - WEEK), last, told, told, told))
        before[name] = total
    return {name: Course(tuple(lays), counts(name)) for name, lays in found.items()}


def _lays(stretches: Sequence[Stretch]) -> list[Lay]:
    ends = [*(each.at for each in stretches[1:]), float("inf")]
    return [
        Lay(each.at, end if end - each.at <= LONGEST else each.at + FINE, each.least, each.mean, each.most)
        for each, end in zip(stretches, ends, strict=True)
    ]


def counts(name: str) -> bool:
    """Whether a reading is a count, of which the history knows by how much it rose."""
    return kind(name) not in (LEVEL, None)


def spark(points: Sequence[Point], width: int, look: Look) -> str:
    """Return a line of at most `width` signs, the highest of each stretch of time; `?` where nothing was known."""
    if not points:
        return ""
    known = [value for _, value in points if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    start, span = points[0][0], max(points[-1][0] - points[0][0], 1e-9)
    columns = min(width, len(points)) if len(points) < width else width
    buckets: list[list[float | None]] = [[] for _ in range(columns)]
    for at, value in points:
        buckets[min(columns - 1, int((at - start) / span * columns))].append(value)
    signs = _ASCII if look.ascii_only else _FINE
    line = ""
    for values in buckets:
        numbers = [value for value in values if value is not None]
        if not values:
            line += line[-1:] if line[-1:] not in ("", "?") else " "
        elif not numbers:
            line += "?"
        else:
            share = 0.0 if high == low else (max(numbers) - low) / (high - low)
            line += signs[min(len(signs) - 1, int(share * len(signs)))]
    return line
