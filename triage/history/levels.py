"""Levels over time: of temperature, power, clocks and load, the least, the mean and the greatest of each stretch.

A level is no counter: nothing is asked of it but what is usual, so sweeps are not kept one by one.  All that fall
into ten minutes make one row for each GPU and level; after two days an hour does, after two weeks a day.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from probes.model import Reading
from triage.history.readings import OLDEST, THINNING, number, subject

LEVELS = frozenset(
    {
        "gpu.temperature",
        "gpu.temperature.margin",
        "gpu.temperature.memory",
        "gpu.power",
        "gpu.clock.sm",
        "gpu.utilization",
        "gpu.memory.used",
        "gpu.fan.speed",
        "gpu.fan.rpm",
        "gpu.pcie.generation",
        "gpu.pcie.received",
        "gpu.pcie.sent",
        "gpu.processes",
    }
)
FINE = 600
"""Seconds of a stretch of the last two days."""
MOST_STRETCHES = 300_000
"""Rows that are kept, the newest; sixteen GPUs fill some 210 000, which is 8 MiB."""
_AHEAD = 86400.0

_KEEP = (
    "INSERT INTO level(began, series, least, most, total, count)"
    " SELECT ?, id, ?, ?, ?, 1 FROM series WHERE subject = ? AND name = ?"
)
_JOIN = (
    " ON CONFLICT(began, series) DO UPDATE SET least = min(least, excluded.least), most = max(most, excluded.most),"
    " total = total + excluded.total, count = count + excluded.count"
)


class Stretch(NamedTuple):
    """What a level was from `at` on, in UTC epoch seconds, until the next stretch."""

    at: float
    least: float
    mean: float
    most: float


def keep(db: sqlite3.Connection, at: float, readings: Iterable[Reading]) -> None:
    """Write the levels of one sweep."""
    found: dict[tuple[str, str], float] = {}
    for reading in readings:
        if reading.name in LEVELS and reading.entity.kind == "gpu":
            about, value = subject(reading.entity), number(reading)
            if about is not None and value is not None:
                found[about, reading.name] = value
    began = int(at) // FINE * FINE
    db.executemany("INSERT OR IGNORE INTO series(subject, name) VALUES(?, ?)", list(found))
    db.executemany(_KEEP + _JOIN, [(began, value, value, value, *whose) for whose, value in found.items()])


def course(db: sqlite3.Connection, about: str, since: float) -> dict[str, list[Stretch]]:
    """Return how each level of a GPU went since then, oldest first."""
    names = dict(db.execute("SELECT id, name FROM series WHERE subject = ?", (about,)))
    found: dict[str, list[Stretch]] = {}
    for series, *stretch in db.execute(
        "SELECT series, began, least, total / count, most FROM level WHERE began > ?"
        f" AND series IN ({', '.join('?' * len(names))}) ORDER BY began",
        (since, *names),
    ):
        found.setdefault(names[series], []).append(Stretch(*stretch))
    return found


def thin(db: sqlite3.Connection, now: float) -> None:
    """Make longer stretches of what is old, and forget what is too old, too much, or of a time yet to come."""
    for older, step in THINNING:
        size = int(step)
        edge = int(now - older) // size * size
        db.execute(
            "INSERT INTO level SELECT began / :size * :size, series, min(least), max(most), sum(total), sum(count)"
            " FROM level WHERE began < :edge AND began % :size != 0 GROUP BY 1, 2" + _JOIN,
            {"size": size, "edge": edge},
        )
        db.execute("DELETE FROM level WHERE began < ? AND began % ? != 0", (edge, size))
    db.execute("DELETE FROM level WHERE began < ? OR began > ?", (now - OLDEST, now + _AHEAD))
    db.execute(
        "DELETE FROM level WHERE began <= (SELECT began FROM level ORDER BY began DESC LIMIT 1 OFFSET ?)",
        (MOST_STRETCHES,),
    )
