"""What a watch tells, and that each of it is told: open, update, resolved.

What is to be told is written in the transaction that changes the incidents, and
deleted once it has left.  So nothing is lost whenever the watch is killed; what
left in the very moment of a kill is told once more, under the same `id`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from probes.moment import Moment
from probes.named import NamedTuple
from triage.history import life
from triage.report import iso, text

Json = dict[str, Any]

SCHEMA_VERSION = 1
MOST_WAITING = 10_000
"""Lines that wait for a reader who takes none; of more the oldest go, and it is said."""


UNNUMBERED = -1
"""The sequence number of a cursor in a journal, which has none."""


class Cursor(NamedTuple):
    """How far the kernel log was read: the boot, the sequence number, and when (UTC epoch seconds)."""

    boot: str
    seq: int
    at: float


class Told(NamedTuple):
    """What was told of each incident that is not over, and the last id that was given."""

    states: dict[str, str]
    last: int


def so_far(db: sqlite3.Connection) -> Told:
    """Return what was told, so that another file can go on with it."""
    last = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
    return Told(dict(db.execute("SELECT fingerprint, state FROM told")), 0 if last is None else int(last[0]))


def go_on(db: sqlite3.Connection, told: Told) -> None:
    """Begin where another file ended."""
    db.executemany("INSERT OR REPLACE INTO told VALUES(?, ?)", told.states.items())
    db.execute("INSERT INTO outbox(id, at, body) VALUES(?, 0, '')", (told.last + 1,))
    db.execute("DELETE FROM outbox")


def cursor(db: sqlite3.Connection) -> Cursor | None:
    """Return how far the last watch came, None if there was none."""
    row = db.execute("SELECT value FROM watch WHERE name = 'cursor'").fetchone()
    try:
        boot, seq, at = json.loads(row[0]) if row is not None else (None, 0, 0)
        return None if boot is None else Cursor(str(boot), int(seq), float(at))
    except (ValueError, TypeError):
        return None


def move(db: sqlite3.Connection, to: Cursor) -> None:
    """Note how far the log was read."""
    db.execute("INSERT OR REPLACE INTO watch(name, value) VALUES('cursor', ?)", (json.dumps(to),))


def put(db: sqlite3.Connection, at: float, body: Json) -> None:
    """Add a line to what is to be told."""
    told = json.dumps(body, allow_nan=False, separators=(",", ":"))
    db.execute("INSERT INTO outbox(at, body) VALUES(?, ?)", (at, told))


def notice(db: sqlite3.Connection, node: str | None, at: float, what: str, says: str, facts: Json) -> None:
    """Tell something about the watch itself."""
    put(db, at, {"kind": "notice", "at": iso(at), "node": text(node), "what": what, "says": text(says), **facts})


def tell(db: sqlite3.Connection, report: Json, now: Moment, *, been_here: bool) -> None:
    """Add what changed of the incidents since they were last told.

    `been_here` is whether a watch has looked at this node before; then what came and went in between is told too.
    """
    known = {row[0]: json.loads(row[1]) for row in db.execute("SELECT fingerprint, state FROM told")}
    here: set[str] = set()
    brief = _brief(db) if been_here else set()
    # What opens comes first: somebody waits for it, and what it changes of others can wait for a moment.
    for incident in sorted(report["incidents"], key=lambda incident: incident["fingerprint"] in known):
        fingerprint = incident["fingerprint"]
        before = known.get(fingerprint)
        here.add(fingerprint)
        if incident["state"] == "resolved":
            if before is not None or fingerprint in brief:
                _resolved(db, report["node"], incident, now)
            continue
        stands = stand(incident)
        if before == stands:
            continue
        changed = sorted(name for name in stands if before is not None and before.get(name) != stands[name])
        _incident(db, report["node"], incident, now, "open" if before is None else "update", changed)
        db.execute("INSERT OR REPLACE INTO told VALUES(?, ?)", (fingerprint, json.dumps(stands)))
    for fingerprint in known.keys() - here:  # ended by a person, or by a sweep beside this watch
        row = next(iter(life.rows(db, "fingerprint = ?", fingerprint)), None)
        if row is not None and row.state == "resolved":
            _resolved(db, report["node"], life.told(row, json.loads(row.body), now, None), now)
        elif row is None:
            db.execute("DELETE FROM told WHERE fingerprint = ?", (fingerprint,))
    _bound(db, report["node"], now)


def waiting(db: sqlite3.Connection, after: int) -> Iterator[tuple[int, bytes]]:
    """Yield what is to be told after this id: ids and lines."""
    for number, body in db.execute("SELECT id, body FROM outbox WHERE id > ? ORDER BY id", (after,)).fetchall():
        yield number, line(body, number)


def line(body: str, number: int | None) -> bytes:
    """Return one line of the output for what was put down as `body`."""
    return f'{{"schema_version":{SCHEMA_VERSION},"id":{json.dumps(number)},{body[1:]}\n'.encode()


def left(db: sqlite3.Connection, upto: int) -> None:
    """Note that what has these ids has left."""
    db.execute("DELETE FROM outbox WHERE id <= ?", (upto,))


def stand(incident: Json) -> Json:
    """Return what of an incident is worth a line, or an alert, if it changes."""
    verdict = incident["verdict"]
    return {
        "state": incident["state"],
        "severity": incident["severity"],
        "verdict": [verdict["family"], verdict["leaf"], verdict["words"]],
        "seen": incident["seen"],
        "reopened": incident["history"]["reopened"],
        "evidence": sorted(item["id"] for item in incident["evidence"] if item["state"] == "seen"),
        "explains": len(incident["explains"]),
    }


def _resolved(db: sqlite3.Connection, node: str | None, incident: Json, now: Moment) -> None:
    _incident(db, node, incident, now, "resolved", ["state"])
    db.execute("DELETE FROM told WHERE fingerprint = ?", (incident["fingerprint"],))


def _incident(
    db: sqlite3.Connection, node: str | None, incident: Json, now: Moment, event: str, changed: list[str]
) -> None:
    put(
        db,
        now.at,
        {"kind": "incident", "event": event, "at": iso(now.at), "node": text(node), "changed": changed, **incident},
    )


def _brief(db: sqlite3.Connection) -> set[str]:
    """The incidents that this sweep, the newest, found over already when it saw them first."""
    return {
        row[0]
        for row in db.execute(
            "SELECT subject FROM event WHERE kind = 'found-resolved' AND sweep = (SELECT max(seq) FROM sweep)"
        )
    }


def _bound(db: sqlite3.Connection, node: str | None, now: Moment) -> None:
    count, oldest = db.execute("SELECT count(*), min(id) FROM outbox").fetchone()
    if count > MOST_WAITING:
        lost = count - MOST_WAITING
        db.execute("DELETE FROM outbox WHERE id IN (SELECT id FROM outbox ORDER BY id LIMIT ?)", (lost,))
        says = f"{lost} lines were dropped because nobody took them; `gpu-triage incidents list` knows how things stand"
        notice(db, node, now.at, "output-lost", says, {"lost": lost, "first": oldest})
