"""What a person asks of the incidents of this node, and says of them."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, NamedTuple

from probes.moment import Moment
from triage.history import life
from triage.history.life import Row
from triage.history.store import Store, said

Json = dict[str, Any]

MOST_REASON = 500


class NotOne(Exception):
    """What was named is no incident, or more than one; the text says which there are."""


class Told(NamedTuple):
    """Something that happened: UTC epoch seconds, kind, what it is about, in words."""

    at: float
    kind: str
    subject: str | None
    says: str


def listed(store: Store, now: Moment, everything: bool) -> list[Json]:
    """Return the incidents as they are reported, open ones first; with `everything` those that are over too."""
    with said():
        found = life.rows(store.db) if everything else life.rows(store.db, "state = 'open'")
    bodies = [life.told(row, json.loads(row.body), now, None) for row in found]
    return sorted(bodies, key=life.worst_first)


def find(db: sqlite3.Connection, name: str) -> Row:
    """Return the incident of this fingerprint, or the only one whose fingerprint holds this text.

    Raises:
        NotOne: if there is none, or more than one.
    """
    exact = life.rows(db, "fingerprint = ?", name)
    if exact:
        return exact[0]
    alike = [row for row in life.rows(db) if name and name in row.fingerprint]
    still = [row for row in alike if row.state == "open"]
    if len(alike) == 1 or len(still) == 1:
        return (still or alike)[0]
    if not alike:
        raise NotOne(f"no incident '{name}'; see `gpu-triage incidents list --all`")
    raise NotOne(f"'{name}' is not one incident but {len(alike)}: {', '.join(r.fingerprint for r in alike[:5])}")


def story(store: Store, row: Row) -> list[Told]:
    """Return what happened to an incident, and to the slot of its GPU, oldest first."""
    with said():
        found = store.db.execute(
            "SELECT at, kind, subject, says FROM event WHERE subject = ? OR subject = ? ORDER BY id",
            (row.fingerprint, row.pci),
        )
        return [Told(*event) for event in found]


def acknowledge(store: Store, name: str, now: Moment, reason: str, until: float | None) -> Row:
    """Take an open incident out of the status until it is over, worse, or `until` (UTC epoch seconds) has come.

    Raises:
        NotOne: if no such open incident is there.
    """
    with store.transaction() as db:
        row = find(db, name)
        if row.state != "open":
            raise NotOne(f"'{row.fingerprint}' is over already: {row.resolved_why}")
        row = row._replace(ack_at=now.at, ack_reason=reason[:MOST_REASON], ack_until=until, ack_severity=row.severity)
        life.save(db, row)
        tell(db, now, "acknowledged", row.fingerprint, reason)
    return row


def resolve(store: Store, name: str, now: Moment, reason: str) -> Row:
    """Say that an incident is over; what is seen of it later is a recurrence.

    Raises:
        NotOne: if no such open incident is there.
    """
    with store.transaction() as db:
        row = find(db, name)
        if row.state != "open":
            raise NotOne(f"'{row.fingerprint}' is over already: {row.resolved_why}")
        return _end(db, row, now, reason)


def replaced(store: Store, old: str, new: str, now: Moment, name: str | None) -> list[Row]:
    """Say that the board with serial `old` was replaced by `new`: its incidents (or the one named) are over.

    Raises:
        NotOne: if it had none that is open.
    """
    reason = f"serial {old} was replaced by serial {new}"
    with store.transaction() as db:
        mine = [find(db, name)] if name is not None else life.rows(db, "state = 'open' AND serial = ?", old)
        for row in mine:
            if row.serial is not None and row.serial != old:
                raise NotOne(f"'{row.fingerprint}' is of serial {row.serial}, not {old}")
            if row.state != "open":
                raise NotOne(f"'{row.fingerprint}' is over already: {row.resolved_why}")
        if not mine:
            raise NotOne(f"no open incident of serial {old}; see `gpu-triage incidents list --all`")
        for pci in {row.pci for row in mine}:
            tell(db, now, "part-replaced", pci, reason)
        return [_end(db, row, now, reason) for row in mine]


def sitting(store: Store, pci: str | None) -> str | None:
    """Return the serial that the last sweep saw in a slot, None if it is not known."""
    with said():
        row = store.db.execute("SELECT serial FROM part WHERE pci = ? ORDER BY last DESC LIMIT 1", (pci,)).fetchone()
    return None if row is None else row[0]


def tell(db: sqlite3.Connection, now: Moment, kind: str, about: str | None, says: str) -> None:
    """Write an event that is no sweep's."""
    db.execute(
        "INSERT INTO event(at, sweep, kind, subject, says) VALUES(?, NULL, ?, ?, ?)",
        (now.at, kind, about, says[:MOST_REASON]),
    )


def _end(db: sqlite3.Connection, row: Row, now: Moment, reason: str) -> Row:
    row = row._replace(state="resolved", resolved_at=now.at, resolved_why=reason[:MOST_REASON])
    life.save(db, row)
    tell(db, now, "resolved", row.fingerprint, reason)
    return row
