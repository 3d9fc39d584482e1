"""What changed of a machine: its driver, kernel, firmware, rules, parts, and when it was started or reset.

A change is no fault, but most faults that are nobody's board begin with one.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict

from probes.named import NamedTuple
from triage.history.readings import NODE

TELLING = (
    "part-changed", "part-moved", "part-added", "part-gone", "part-replaced", "renumbered",
    "gpu-reset", "rebooted", "driver-loaded", "driver-unloaded", "clock-jumped",
)  # fmt: skip
"""Kinds of events that are changes of the machine; the others are the life of incidents."""
FORTNIGHT = 14 * 86400.0
MOST = 50


class Change(NamedTuple):
    """Something that was otherwise before; `at` is when it was seen, in UTC epoch seconds."""

    at: float
    says: str


def lately(db: sqlite3.Connection, now: float, over: float = FORTNIGHT, most: int = MOST) -> list[Change]:
    """Return what changed in the `over` seconds before `now`, the latest first, at most `most`."""
    marks = ", ".join("?" * len(TELLING))
    events = db.execute(
        f"SELECT at, says FROM event WHERE kind IN ({marks}) AND at > ? AND at <= ? ORDER BY id DESC LIMIT ?",
        (*TELLING, now - over, now, most),
    )
    found = [Change(float(at), str(says)) for at, says in events]
    facts = db.execute(
        "SELECT s.at, f.name, b.value, f.value, f.subject FROM fact f JOIN sweep s ON s.seq = f.first"
        " JOIN fact b ON b.subject = f.subject AND b.name = f.name AND b.first ="
        " (SELECT max(first) FROM fact WHERE subject = f.subject AND name = f.name AND first < f.first)"
        " WHERE s.at > ? AND s.at <= ? ORDER BY f.first DESC, f.name, f.subject",
        (now - over, now),
    )
    alike: dict[tuple[float, str, str, str], list[str]] = defaultdict(list)
    for at, name, was, is_now, subject in facts:
        alike[float(at), str(name), str(was), str(is_now)].append(str(subject))
    for (at, name, was, is_now), subjects in alike.items():
        found.append(Change(at, f"{name}{_of(db, subjects)}: {was} became {is_now}"))
    return sorted(found, key=lambda change: -change.at)[:most]


def _of(db: sqlite3.Connection, subjects: list[str]) -> str:
    """Say of which GPUs, by where they were seen last."""
    if NODE in subjects:
        return ""
    if len(subjects) > 1:
        return f" of {len(subjects)} GPUs"
    subject = subjects[0]
    row = db.execute(
        "SELECT pci FROM part WHERE uuid = ? OR 'serial:' || serial = ? ORDER BY last DESC LIMIT 1", (subject, subject)
    ).fetchone()
    return f" of {subject if row is None else row[0]}"
