"""How incidents stand and what each target was told of them: one SQLite file, on the disk before anything is sent.

It holds one row for each incident that is not over and told everywhere, so what
changes while a target is away is told once, as it stands by then, and nothing
is told in the wrong order.  Several may have it open at a time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from triage.history.place import Unavailable, prepare, private_file
from triage.history.store import all_or_nothing

Json = dict[str, Any]

FILE = "alerts.db"
LOCK = "alerts.lock"
APPLICATION = 0x47545241
"""`GTRA`, as `PRAGMA application_id` keeps it."""
VERSION = 1
MOST_BYTES = 16 << 20
"""Of all incidents together; of more the oldest updates go first, then the details of the oldest."""
MOST_PAGES = 16384
"""Of 4 KiB: the file can never grow beyond 64 MiB."""
BRIEF = 4096
"""Characters up to which an incident counts as brief already."""
MOST_REFUSED = 200
FORGET = 7 * 86400.0
"""Seconds after which it is forgotten what a target knew that is not named any more."""
PATIENCE = 1.0

_TABLES = """
CREATE TABLE incident(
    fingerprint TEXT PRIMARY KEY, state TEXT NOT NULL, severity TEXT NOT NULL, family TEXT NOT NULL,
    stand TEXT NOT NULL, at REAL NOT NULL, version INTEGER NOT NULL, settled INTEGER, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE counter(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE target(name TEXT PRIMARY KEY, body TEXT NOT NULL, gone REAL) WITHOUT ROWID;
CREATE TABLE delivery(
    target TEXT NOT NULL, fingerprint TEXT NOT NULL, body TEXT NOT NULL, version INTEGER NOT NULL,
    PRIMARY KEY(target, fingerprint)
) WITHOUT ROWID;
CREATE TABLE refused(
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, target TEXT NOT NULL, fingerprint TEXT NOT NULL,
    version INTEGER NOT NULL, event TEXT NOT NULL, why TEXT NOT NULL
);
INSERT INTO counter VALUES('version', 0);
"""


class NoQueue(Unavailable):
    """Nothing was ever put down here."""


class Incident(NamedTuple):
    """An incident as it stands; `body` is that of a report, `version` grows with every change of any."""

    fingerprint: str
    state: str
    severity: str
    family: str
    at: float
    version: int


class Delivery(NamedTuple):
    """What one target knows of one incident.

    `said` is what it was told last ("" for nothing), in its `severity` and blaming `family`, `sent` when; `unsure`
    whether something was begun of which no answer came; `nth` counts what it was told.  `tries` failed since,
    `due` is when to try again, `why` what went wrong.  `version` is that of the incident up to which nothing is
    left to be told.
    """

    said: str = ""
    severity: str = ""
    family: str = ""
    sent: float = 0.0
    unsure: bool = False
    nth: int = 0
    tries: int = 0
    due: float = 0.0
    why: str = ""
    version: int = 0


class Standing(NamedTuple):
    """How it stands with one target as a whole: what it may still be sent, and whether it answers.

    `tokens` are messages that it may get at `refilled`; `more` how many incidents the last summary spoke of, 0 if
    none is open.  It has failed `tries` times since `since`, is asked again when `due`, and `why` says what was wrong.
    """

    tokens: float = -1.0
    refilled: float = 0.0
    more: int = 0
    tries: int = 0
    since: float = 0.0
    due: float = 0.0
    why: str = ""
    told: bool = False


class Change(NamedTuple):
    """An incident to be put down; `stand` is what of it is worth a message if it differs."""

    fingerprint: str
    stand: str
    body: Json


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
        with _said(), all_or_nothing(self.db):
            yield self.db

    # --- what is put in ------------------------------------------------------------------------------------------

    def stands(self) -> dict[str, str]:
        """Return how each incident stands that is not over."""
        with _said():
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
            return _make_room(db, most)

    # --- what is sent ----------------------------------------------------------------------------------------------

    def incidents(self) -> list[Incident]:
        """Return all incidents, the one that changed first before the others."""
        with _said():
            columns = ", ".join(Incident._fields)
            return [Incident(*row) for row in self.db.execute(f"SELECT {columns} FROM incident ORDER BY version")]

    def body(self, fingerprint: str) -> Json | None:
        """Return an incident as a report gives it, None if it is gone."""
        with _said():
            row = self.db.execute("SELECT body FROM incident WHERE fingerprint = ?", (fingerprint,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def deliveries(self, target: str) -> dict[str, Delivery]:
        """Return what a target knows, by fingerprint."""
        with _said():
            found = self.db.execute("SELECT fingerprint, body FROM delivery WHERE target = ?", (target,))
            return {fingerprint: Delivery(*json.loads(body)) for fingerprint, body in found}

    def standing(self, target: str) -> Standing:
        """Return how it stands with a target."""
        with _said():
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
        with _said():
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
        with _said():
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
    path = directory / FILE
    if not create and not os.path.lexists(path):
        raise NoQueue(f"there is no queue of alerts in {directory} yet")
    prepare(directory)
    notices: list[str] = []
    for again in (False, True):
        with _said():
            private_file(path)
        db = sqlite3.connect(path, timeout=patience, isolation_level=None)
        try:
            with _said():
                _settle(db, patience)
            return Queue(directory, db, notices)
        except Unavailable as error:
            db.close()
            if again or not isinstance(error.__cause__, sqlite3.DatabaseError) or not _damaged(str(error.__cause__)):
                raise
            notices.append(_set_aside(path))
    raise AssertionError("not reached")


class Turn:
    """The right to send what is in the queue of a directory, which only one process has at a time."""

    def __init__(self, directory: Path) -> None:
        """Prepare to ask for it."""
        prepare(directory)
        path = directory / LOCK
        with _said():
            private_file(path)
            self._file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)

    def take(self) -> bool:
        """Whether it is ours now; the system gives it back when this process ends."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES, errno.EINTR):
                return False
            raise Unavailable(f"the queue of alerts cannot be locked: {(error.strerror or '').lower()}") from error
        return True

    def close(self) -> None:
        """Give it back."""
        os.close(self._file)


def brief(body: Json) -> Json:
    """Return of an incident what every message needs, without its evidence."""
    short = {name: value for name, value in body.items() if name not in ("evidence", "around", "processes", "explains")}
    return {**short, "evidence": [], "explains": [], "abridged": True}


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


def _make_room(db: sqlite3.Connection, most: int) -> int:
    """Keep within the bound: the oldest updates go, then the details of the oldest incidents; never one of them."""
    dropped = 0
    for only_updates in (True, False):
        size = db.execute("SELECT coalesce(sum(length(body)), 0) FROM incident").fetchone()[0]
        if size <= most:
            break
        # Whoever has been told everything up to `settled` waits for no more than an update.
        which = "state != 'resolved' AND settled IS NOT NULL AND settled < version" if only_updates else "1"
        asked = f"SELECT fingerprint, settled, body FROM incident WHERE {which} AND length(body) > ? ORDER BY version"
        for fingerprint, settled, body in db.execute(asked, (BRIEF,)).fetchall():
            if size <= most:
                break
            short = json.dumps(brief(json.loads(body)), separators=(",", ":"))
            db.execute("UPDATE incident SET body = ? WHERE fingerprint = ?", (short, fingerprint))
            size -= len(body) - len(short)
            if only_updates:
                db.execute("UPDATE incident SET version = ? WHERE fingerprint = ?", (settled, fingerprint))
            dropped += 1
    return dropped


def _settle(db: sqlite3.Connection, patience: float) -> None:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    owner = int(db.execute("PRAGMA application_id").fetchone()[0])
    if owner not in (0, APPLICATION):
        raise sqlite3.DatabaseError("file is not a database of alerts")
    if version > VERSION:
        raise Unavailable(
            f"the queue of alerts is of version {version}, written by a newer gpu-triage; update this one"
        )
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute(f"PRAGMA max_page_count = {MOST_PAGES}")
    if version == VERSION:
        return
    until = time.monotonic() + patience
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= until:
                raise
        time.sleep(0.01)
    db.execute("BEGIN IMMEDIATE")
    if int(db.execute("PRAGMA user_version").fetchone()[0]) < VERSION:
        for statement in _TABLES.split(";\n"):
            if statement.strip():
                db.execute(statement)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")


def _damaged(text: str) -> bool:
    return any(word in text for word in ("malformed", "not a database", "corrupt", "no such table", "disk image"))


def _set_aside(path: Path) -> str:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = f"{path}.corrupt-{stamp}"
    for ending in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{ending}", f"{aside}{ending}")
    return f"the queue of alerts was damaged; it was set aside as {aside}, and what is open is told anew"


@contextlib.contextmanager
def _said() -> Iterator[None]:
    """Turn what SQLite and the system raise into `Unavailable`."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            text = "it is in use"
        elif "full" in text:
            text = "the disk, or its bound of 64 MiB, is full; free some space"
        raise Unavailable(f"the queue of alerts cannot be used: {text}") from error
    except OSError as error:
        raise Unavailable(f"the queue of alerts cannot be used: {(error.strerror or str(error)).lower()}") from error
