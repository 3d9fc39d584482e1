"""What a person asks of the incidents of this node, and says of them."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Any

from probes.moment import Moment
from probes.named import NamedTuple
from triage.history import life
from triage.history.life import Row
from triage.history.store import Store, said

Json = dict[str, Any]

MOST_REASON = 500
DISPUTED = "disputed"
_DISPUTE = re.compile(r"(\S{1,200}) v(\d{1,6}|\?) said (\S{1,100}); was (\S{1,100}): (.*)", re.DOTALL)


class NotOne(Exception):
    """What was named is no incident, or more than one; the text says which there are."""


class Told(NamedTuple):
    """Something that happened: UTC epoch seconds, kind, what it is about, in words."""

    at: float
    kind: str
    subject: str | None
    says: str


class Dispute(NamedTuple):
    """A person's word against a verdict.  `was` is the cause it was instead, None if that is not known either."""

    at: float
    fingerprint: str
    rule: str
    version: int | None
    said: str
    was: str | None
    reason: str


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


def _still_open(db: sqlite3.Connection, name: str) -> Row:
    row = find(db, name)
    if row.state != "open":
        raise NotOne(f"'{row.fingerprint}' is over already: {row.resolved_why}")
    return row


def acknowledge(store: Store, name: str, now: Moment, reason: str, until: float | None) -> Row:
    """Take an open incident out of the status until it is over, worse, or `until` (UTC epoch seconds) has come.

    Raises:
        NotOne: if no such open incident is there.
    """
    with store.transaction() as db:
        row = _still_open(db, name)
        row = row._replace(ack_at=now.at, ack_reason=reason[:MOST_REASON], ack_until=until, ack_severity=row.severity)
        life.save(db, row)
        tell(db, now, "acknowledged", row.fingerprint, reason)
    return row


def dispute(store: Store, incident: Json, now: Moment, reason: str, was: str | None = None) -> None:
    """Write that the verdict of an incident, as a report has it, is wrong; `rules evaluate --history` counts it.

    The incident need not be in the history: it may have been read from a log.
    """
    rule, verdict = incident.get("rule") or {}, incident.get("verdict") or {}
    said_it = verdict.get("leaf") or verdict.get("family") or "undetermined"
    version = rule.get("version")
    says = f"{rule.get('id')} v{'?' if version is None else version} said {said_it}; was {was or 'unknown'}: {reason}"
    with store.transaction() as db:
        tell(db, now, DISPUTED, str(incident.get("fingerprint")), says)


def disputes(store: Store) -> list[Dispute]:
    """Return what was disputed, oldest first; of one incident under one rule only the last word counts."""
    asked = "SELECT at, subject, says FROM event WHERE kind = ? ORDER BY id"
    with said():
        found = store.db.execute(asked, (DISPUTED,)).fetchall()
    last: dict[tuple[str, str], Dispute] = {}
    for at, subject, says in found:
        match = _DISPUTE.fullmatch(says)
        if match is not None:
            rule, version, verdict, was, reason = match.groups()
            one = Dispute(at, subject, rule, None if version == "?" else int(version), verdict,
                          None if was == "unknown" else was, reason)  # fmt: skip
            last.pop((subject, rule), None)
            last[subject, rule] = one
    return list(last.values())


def counted(store: Store) -> dict[str, int]:
    """Return how many incidents of each rule the history holds."""
    with said():
        return dict(store.db.execute("SELECT rule, count(*) FROM incident GROUP BY rule").fetchall())


def resolve(store: Store, name: str, now: Moment, reason: str) -> Row:
    """Say that an incident is over; what is seen of it later is a recurrence.

    Raises:
        NotOne: if no such open incident is there.
    """
    with store.transaction() as db:
        row = _still_open(db, name)
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
