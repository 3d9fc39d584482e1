"""Counters over time: written as runs of equal values, asked as `how far did it move`.

Each run carries a total that counts on where the counter was set back to zero,
so the distance between any two runs is the difference of their totals, however
many between them were dropped to save room.  What a counter may have counted
around a reset, unseen, is not guessed: those seconds are `blind`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from math import isfinite

from probes.model import Entity, Reading
from probes.moment import Moment, elapsed
from probes.named import NamedTuple
from triage.history.counters import BOOT, FACTS, LEVEL, LOAD, kind

SLACK = 0.1
"""Share of the time asked about that may be missing: sweeps are not taken to the second."""
NODE = "node"

# Runs are thinned by age: all of the last two days, then one an hour for two weeks, then one a day for a year or so.
THINNING = ((2 * 86400.0, 3600.0), (14 * 86400.0, 86400.0))
"""(older than, one in): seconds."""
OLDEST = 400 * 86400.0
MOST_RUNS = 150_000
MOST_SWEEPS = 2000
"""The newest sweeps that are kept although nothing refers to them; of older ones, one an hour."""
EVERY = 64
"""Sweeps between two thinnings."""


class Counted(NamedTuple):
    """A counter at a sweep: its value, the total that knows of resets, and the blind seconds so far."""

    value: float
    total: float
    blind: float


class Sample(NamedTuple):
    """What was known `age` seconds ago."""

    age: float
    total: float
    blind: float


class Moved(NamedTuple):
    """How far a counter moved: at least `low`; at most `high`, or None with the reason if that is not known."""

    low: float
    high: float | None
    reason: str | None = None


class Last(NamedTuple):
    """The newest run of a series, and the sweep in which it last stood."""

    series: int
    first: int
    counted: Counted
    when: Moment


def subject(entity: Entity) -> str | None:
    """Return what a reading is kept under: UUID, else serial, else PCI address; `node` for the node itself."""
    if entity.kind == "node":
        return NODE
    if entity.kind in ("gpu", "port", "switch"):
        return entity.uuid or (f"serial:{entity.serial}" if entity.serial else entity.pci)
    return None


def number(reading: Reading) -> float | None:
    """Return the value of a reading that is kept as a number, else None."""
    value = reading.value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        return None
    return float(value)


def grown(name: str, last: Last | None, value: float, now: Moment, overlaps: bool = False) -> Counted | None:
    """Return the counter at this moment; None if it is to be passed over.

    A fall is a new count, and so is a new boot or load of the driver for what
    they reset.  Where two sweeps overlap, the one that is written second may
    have read first: there a fall is no reset.
    """
    if last is None:
        return Counted(value, 0.0, 0.0)
    before, total, blind = last.counted
    resets = kind(name)
    if resets == LEVEL:
        return Counted(value, total + value - before, blind)
    booted = bool(now.boot) and now.boot != last.when.boot
    loaded = booted or now.load != last.when.load
    if value < before or (resets == BOOT and booted) or (resets == LOAD and loaded):
        if overlaps and not loaded:
            return None
        return Counted(value, total + value, blind + elapsed(last.when, now))
    return Counted(value, total + value - before, blind)


def distance(samples: Sequence[Sample], over: float, end: float = 0.0) -> Moved:
    """Return how far it moved in the `over` seconds that end with the sample after the moment `end` seconds ago.

    Args:
        samples: newest first.
        over: seconds.
        end: seconds.
    """
    if not samples:
        return Moved(0.0, None, "no earlier reading of this counter")
    last = _at(samples, end)
    older = [last, *(s for s in samples if s.age > last.age)]
    inside = [s for s in older if s.age - last.age <= over]
    base = next((s for s in older if s.age - last.age > over), None)
    first = inside[-1]
    if base is not None and base.age - last.age <= over * (1 + SLACK):
        first = base
    low = last.total - first.total
    begins = first.age - last.age
    if base is not None and (base.total, base.blind) == (first.total, first.blind):
        begins = over  # it stood still from the one to the other
    covered = begins - (last.blind - first.blind)
    if covered >= over * (1 - SLACK):
        return Moved(low, low)
    if last.blind > first.blind:
        return Moved(low, None, f"it was reset, which leaves {_span(covered)} known of the {_span(over)} asked about")
    if base is None:
        if begins <= 0:
            return Moved(0.0, None, "no earlier reading of this counter")
        return Moved(low, None, f"only {_span(covered)} of history, the rule asks for {_span(over)}")
    within = _span(base.age - last.age)
    if base.blind < last.blind:
        return Moved(low, None, f"it was reset some time in {within}, and not looked at in between")
    high = last.total - base.total
    return Moved(
        min(low, high), max(low, high), f"it moved by {high:g} within {within}, and was not looked at in between"
    )


def _at(samples: Sequence[Sample], end: float) -> Sample:
    """Return the oldest sample that is not older than `end`, or what stood at that very moment if nothing moved."""
    newer = samples[0]
    for sample in samples:
        if sample.age > end:
            same = (sample.total, sample.blind) == (newer.total, newer.blind)
            return newer._replace(age=end) if same and newer.age < end else newer
        newer = sample
    return newer


def latest(db: sqlite3.Connection) -> dict[tuple[str, str], Last]:
    """Return the newest run of every series."""
    rows = db.execute(
        "SELECT s.subject, s.name, s.id, r.first, r.value, r.total, r.blind, w.at, w.monotonic, w.boot, w.load"
        " FROM series s CROSS JOIN run r ON r.series = s.id AND r.first ="
        " (SELECT max(first) FROM run WHERE series = s.id) CROSS JOIN sweep w ON w.seq = r.last"
    )
    return {
        (row[0], row[1]): Last(row[2], row[3], Counted(row[4], row[5], row[6]), Moment(row[7], row[8], row[9], row[10]))
        for row in rows
    }


def keep(
    db: sqlite3.Connection, seq: int, now: Moment, readings: Iterable[Reading], overlaps: bool
) -> frozenset[str | None]:
    """Write the counters, levels and facts of one sweep; return the addresses of the GPUs that were reset.

    One whose counters all began anew, though the driver stayed loaded, was reset or brought up anew.
    """
    known = latest(db)
    fell: dict[bool, set[str | None]] = {True: set(), False: set()}
    extend: list[tuple[int, int, int]] = []
    insert: list[tuple[int, int, int, float, float, float]] = []
    facts: list[tuple[str, str, str]] = []
    done: set[tuple[str, str]] = set()
    for reading in readings:
        about = subject(reading.entity)
        if about is None or (about, reading.name) in done:
            continue
        if reading.name in FACTS and isinstance(reading.value, str):
            done.add((about, reading.name))
            facts.append((about, reading.name, reading.value[:200]))
            continue
        value = number(reading)
        if value is None or kind(reading.name) is None:
            continue
        done.add((about, reading.name))
        last = known.get((about, reading.name))
        counted = grown(reading.name, last, value, now, overlaps)
        if counted is None:
            continue
        if last is not None and reading.entity.kind == "gpu" and _would_tell(reading.name, last, now):
            fell[value < last.counted.value].add(reading.entity.pci)
        if last is None:
            series = db.execute("INSERT INTO series(subject, name) VALUES(?, ?)", (about, reading.name)).lastrowid
            insert.append((int(series or 0), seq, seq, *counted))
        elif counted == last.counted:
            extend.append((seq, last.series, last.first))
        else:
            insert.append((last.series, seq, seq, *counted))
    db.executemany("UPDATE run SET last = ? WHERE series = ? AND first = ?", extend)
    db.executemany("INSERT INTO run(series, first, last, value, total, blind) VALUES(?, ?, ?, ?, ?, ?)", insert)
    keep_facts(db, seq, facts)
    return frozenset(fell[True] - fell[False])


def _would_tell(name: str, last: Last, now: Moment) -> bool:
    """Whether a reset of the GPU would be seen by this counter: it had counted, and nothing else sets it back."""
    same_load = bool(now.boot) and (now.boot, now.load) == (last.when.boot, last.when.load)
    return same_load and kind(name) == LOAD and last.counted.value > 0


def keep_facts(db: sqlite3.Connection, seq: int, facts: Iterable[tuple[str, str, str]]) -> None:
    """Write what stood in a sweep: of what, which fact, and its text."""
    known = {
        (row[0], row[1]): (row[2], row[3])
        for row in db.execute(
            "SELECT subject, name, value, first FROM fact f"
            " WHERE first = (SELECT max(first) FROM fact WHERE subject = f.subject AND name = f.name)"
        )
    }
    for about, name, value in facts:
        last = known.get((about, name))
        if last is not None and last[0] == value:
            db.execute(
                "UPDATE fact SET last = ? WHERE subject = ? AND name = ? AND first = ?", (seq, about, name, last[1])
            )
        else:
            db.execute(
                "INSERT INTO fact(subject, name, value, first, last) VALUES(?, ?, ?, ?, ?)",
                (about, name, value, seq, seq),
            )


def samples(db: sqlite3.Connection, last: Last, now: Moment) -> list[Sample]:
    """Return a series as samples, newest first; ages never fall, whatever the wall clock did."""
    rows = db.execute(
        "SELECT r.total, r.blind, b.at, b.monotonic, b.boot, b.load, a.at, a.monotonic, a.boot, a.load"
        " FROM run r JOIN sweep a ON a.seq = r.first JOIN sweep b ON b.seq = r.last"
        " WHERE r.series = ? ORDER BY r.first DESC",
        (last.series,),
    )
    found: list[Sample] = []
    age, previous = 0.0, now
    for row in rows:
        for when in (Moment(*row[2:6]), Moment(*row[6:10])):
            # From sweep to sweep, so that one jump of the wall clock in a later boot spoils nothing before it.
            age += elapsed(when, previous)
            previous = when
            found.append(Sample(age, row[0], row[1]))
    return found


def thin(db: sqlite3.Connection, now: Moment) -> None:
    """Drop what is too old or too much; totals make sure that no distance between what is left changes by it."""
    rows = db.execute(
        "SELECT r.series, r.first, w.at FROM run r JOIN sweep w ON w.seq = r.last WHERE w.at < ?"
        " ORDER BY r.series, r.first DESC",
        (now.at - THINNING[0][0],),
    ).fetchall()
    dropped: list[tuple[int, int]] = []
    kept: tuple[int, float, float] | None = None
    for series, first, at in rows:
        age = now.at - at
        step = next(step for older, step in reversed(THINNING) if age > older)
        bucket = (series, step, at // step)
        if age > OLDEST or bucket == kept:
            dropped.append((series, first))
        else:
            kept = bucket
    db.executemany("DELETE FROM run WHERE series = ? AND first = ?", dropped)
    count = int(db.execute("SELECT count(*) FROM run").fetchone()[0])
    if count > MOST_RUNS:
        db.execute(
            "DELETE FROM run WHERE (series, first) IN (SELECT series, first FROM run r"
            " WHERE first < (SELECT max(first) FROM run WHERE series = r.series) ORDER BY last LIMIT ?)",
            (count - MOST_RUNS,),
        )
    db.execute(
        "DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM run WHERE series = series.id)"
        " AND id NOT IN (SELECT series FROM level)"
    )
    db.execute("DELETE FROM fact WHERE last IN (SELECT seq FROM sweep WHERE at < ?)", (now.at - OLDEST,))
    db.execute(
        "DELETE FROM sweep WHERE seq <= (SELECT max(seq) FROM sweep) - ? AND seq NOT IN (SELECT first FROM run"
        " UNION SELECT last FROM run UNION SELECT first FROM fact UNION SELECT last FROM fact"
        " UNION SELECT first FROM part UNION SELECT last FROM part"
        " UNION SELECT max(seq) FROM sweep WHERE at > ? GROUP BY CAST(at / 3600 AS INTEGER))",
        (MOST_SWEEPS, now.at - OLDEST),
    )


def _span(seconds: float) -> str:
    for size, word in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {word}"
    return f"{max(0.0, seconds):.0f} s"
