"""How incidents stand and what each target was told of them: one SQLite file, on the disk before anything is sent.

It holds one row for each incident that is not over and told everywhere, so what
changes while a target is away is told once, as it stands by then, and nothing
is told in the wrong order.  Several may have it open at a time.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from triage.alert.queue_file import connect, said
from triage.alert.room import MOST_BYTES, make_room
from triage.alert.states import Change, Delivery, Incident, Standing
from triage.history.store import all_or_nothing

Json = dict[str, Any]

MOST_REFUSED = 200
"""Refusals that are kept."""
FORGET = 7 * 86400.0
"""Seconds after which it is forgotten what a target knew that is not named any more."""
PATIENCE = 1.0
"""Seconds for which a file that is in use is waited for."""


class Queue:
    """The open file; close it, or use it in a `with`.  Each thread needs one of its own."""

    def __init__(self, directory: Path, db: sqlite3.Connection, notices: Sequence[str]) -> None:
        self.directory = directory
        self.db = db
        self.notices = list(notices)

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        with contextlib.suppress(sqlite3.Error):
            self.db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Change all or nothing; when it returns, the change is on the disk.

        Raises:
            Unavailable: if it could not be written.
        """
        with said(), all_or_nothing(self.db):
            yield self.db

    # --- what is put in ------------------------------------------------------------------------------------------

    def stands(self) -> dict[str, str]:
        """Return how each incident stands that is not over."""
        with said():
            return dict(self.db.execute("SELECT fingerprint, stand FROM incident WHERE state != 'resolved'"))

    def put(self, changes: Iterable[Change], now: float, most: int = MOST_BYTES) -> int:
        """Put incidents down as they stand; return how many updates had to go for lack of room.

        What is over and was never put down is left out.
        """
        with self.transaction() as db:
            for change in changes:
                body = json.dumps(change.body, allow_nan=False, separators=(",", ":"))
                state = change.body["state"]
                values = (state, change.body["severity"], change.body["verdict"]["family"], change.stand, now)
                version = _next(db)
                # What somebody may have to be told as something new is no update any more, and must not be dropped.
                known = db.execute(
                    "UPDATE incident SET settled = CASE WHEN state = 'resolved' OR severity != ? OR family != ?"
                    " THEN NULL ELSE settled END, state = ?, severity = ?, family = ?, stand = ?, at = ?,"
                    " version = ?, body = ? WHERE fingerprint = ?",
                    (*values[1:3], *values, version, body, change.fingerprint),
                ).rowcount
                if not known and state != "resolved":
                    db.execute(
                        "INSERT INTO incident VALUES(?, ?, ?, ?, ?, ?, ?, NULL, ?)",
                        (change.fingerprint, *values, version, body),
                    )
            return make_room(db, most)

    # --- what is sent ----------------------------------------------------------------------------------------------

    def incidents(self) -> list[Incident]:
        """Return all incidents, the one that changed first before the others."""
        with said():
            columns = ", ".join(Incident._fields)
            return [Incident(*row) for row in self.db.execute(f"SELECT {columns} FROM incident ORDER BY version")]

    def body(self, fingerprint: str) -> Json | None:
        """Return an incident as a report gives it, None if it is gone."""
        with said():
            row = self.db.execute("SELECT body FROM incident WHERE fingerprint = ?", (fingerprint,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def deliveries(self, target: str) -> dict[str, Delivery]:
        """Return what a target knows, by fingerprint."""
        with said():
            found = self.db.execute("SELECT fingerprint, body FROM delivery WHERE target = ?", (target,))
            return {fingerprint: Delivery(*json.loads(body)) for fingerprint, body in found}

    def standing(self, target: str) -> Standing:
        """Return how it stands with a target."""
        with said():
            row = self.db.execute("SELECT body FROM target WHERE name = ?", (target,)).fetchone()
        return Standing() if row is None else Standing(*json.loads(row[0]))

    def note(
        self, target: str, standing: Standing | None, deliveries: Iterable[tuple[str, Delivery]], *, took: bool = False
    ) -> None:
        """Note what came of sending, in one step; what is taken (`took`) is not refused any more."""
        with self.transaction() as db:
            if standing is not None:
                db.execute("INSERT OR REPLACE INTO target VALUES(?, ?, NULL)", (target, json.dumps(standing)))
            for fingerprint, delivery in deliveries:
                _keep(db, target, fingerprint, delivery)
                if took:
                    db.execute("DELETE FROM refused WHERE target = ? AND fingerprint = ?", (target, fingerprint))

    def refuse(self, target: str, fingerprint: str, delivery: Delivery, event: str, now: float) -> None:
        """Put aside what a target will not take: what it knows, what it was to be told; `why` stands in the first."""
        with self.transaction() as db:
            _keep(db, target, fingerprint, delivery)
            what = (target, fingerprint, event)
            db.execute("DELETE FROM refused WHERE target = ? AND fingerprint = ? AND event = ?", what)
            db.execute(
                "INSERT INTO refused(target, fingerprint, event, at, version, why) VALUES(?, ?, ?, ?, ?, ?)",
                (*what, now, delivery.version, delivery.why),
            )
            db.execute("DELETE FROM refused WHERE id <= (SELECT max(id) FROM refused) - ?", (MOST_REFUSED,))

    def targets(self, names: Sequence[str], digest: int, now: float) -> None:
        """Note which targets there are; what another knew is kept for a while, should it come back.

        If they are not as they were, by the `digest` of what describes them, what was refused is tried once more.
        """
        with self.transaction() as db:
            marks = ", ".join("?" * len(names))
            db.execute(f"UPDATE target SET gone = ? WHERE gone IS NULL AND name NOT IN ({marks})", (now, *names))
            db.executemany(
                "INSERT OR IGNORE INTO target VALUES(?, ?, NULL)", [(n, json.dumps(Standing())) for n in names]
            )
            db.execute(f"UPDATE target SET gone = NULL WHERE name IN ({marks})", tuple(names))
            db.execute("DELETE FROM target WHERE gone < ?", (now - FORGET,))
            for table in ("delivery", "refused"):
                db.execute(f"DELETE FROM {table} WHERE target NOT IN (SELECT name FROM target)")
            before = db.execute("SELECT value FROM counter WHERE name = 'config'").fetchone()
            if before != (digest,):
                db.execute("INSERT OR REPLACE INTO counter VALUES('config', ?)", (digest,))
                _again(db, None)

    def settle(self, lingering: Iterable[str] = ()) -> None:
        """Note which incidents everybody knows, and forget those of them that are over; `lingering` ones stay."""
        unheard = (
            "EXISTS (SELECT 1 FROM target LEFT JOIN delivery ON delivery.target = target.name AND"
            " delivery.fingerprint = incident.fingerprint WHERE coalesce(delivery.version, 0) < incident.version"
            " AND (gone IS NULL OR (incident.state = 'resolved' AND delivery.version IS NOT NULL)))"
        )
        with said():
            news = self.db.execute(
                f"SELECT 1 FROM incident WHERE (settled IS NOT version OR state = 'resolved') AND NOT {unheard} LIMIT 1"
            ).fetchone()
        if news is None:
            return
        stay = set(lingering)
        with self.transaction() as db:
            db.execute(f"UPDATE incident SET settled = version WHERE settled IS NOT version AND NOT {unheard}")
            over = db.execute("SELECT fingerprint FROM incident WHERE state = 'resolved' AND settled IS version")
            gone = [row for row in over.fetchall() if row[0] not in stay]
            db.executemany("DELETE FROM incident WHERE fingerprint = ?", gone)
            db.executemany("DELETE FROM delivery WHERE fingerprint = ?", gone)

    # --- what people ask ---------------------------------------------------------------------------------------------

    def refusals(self) -> list[tuple[float, str, str, str, str]]:
        """Return what was refused: when, by whom, which incident, what it was to be told, why."""
        with said():
            asked = "SELECT at, target, fingerprint, event, why FROM refused ORDER BY id"
            return [(row[0], row[1], row[2], row[3], row[4]) for row in self.db.execute(asked)]

    def retry(self, target: str | None) -> int:
        """Let what was refused be tried once more, and what waits be tried now; return how many were refused."""
        with self.transaction() as db:
            return _again(db, target)


def open_queue(directory: Path, *, patience: float = PATIENCE, create: bool = True) -> Queue:
    """Open the queue of this state directory, making it if needed.

    Raises:
        NoQueue: if there is none and it is not to be made.
        Unavailable: if it cannot be used.
    """
    return Queue(directory, *connect(directory, patience, create=create))


def _next(db: sqlite3.Connection) -> int:
    db.execute("UPDATE counter SET value = value + 1 WHERE name = 'version'")
    return int(db.execute("SELECT value FROM counter WHERE name = 'version'").fetchone()[0])


def _keep(db: sqlite3.Connection, target: str, fingerprint: str, delivery: Delivery) -> None:
    values = (target, fingerprint, json.dumps(delivery), delivery.version)
    db.execute("INSERT OR REPLACE INTO delivery VALUES(?, ?, ?, ?)", values)


def _again(db: sqlite3.Connection, target: str | None) -> int:
    mine = (target, target)
    refused = db.execute(
        "SELECT target, fingerprint, version FROM refused WHERE ? IS NULL OR target = ?", mine
    ).fetchall()
    for name, fingerprint, version in refused:
        where = (name, fingerprint)
        row = db.execute("SELECT body FROM delivery WHERE target = ? AND fingerprint = ?", where).fetchone()
        if row is not None and (known := Delivery(*json.loads(row[0]))).version == version:
            body = json.dumps(known._replace(version=0, tries=0, due=0.0))
            db.execute("UPDATE delivery SET body = ?, version = 0 WHERE target = ? AND fingerprint = ?", (body, *where))
    db.execute("DELETE FROM refused WHERE ? IS NULL OR target = ?", mine)
    for name, body in db.execute("SELECT name, body FROM target WHERE ? IS NULL OR name = ?", mine).fetchall():
        standing = Standing(*json.loads(body))._replace(due=0.0)
        db.execute("UPDATE target SET body = ? WHERE name = ?", (json.dumps(standing), name))
    return len(refused)
