"""The file that the queue of alerts is kept in: made, opened, and set aside if it is damaged."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from triage.history.place import Unavailable, prepare, private_file
from triage.history.store import migrate, write_ahead

FILE = "alerts.db"
APPLICATION = 0x47545241
"""`GTRA`, as `PRAGMA application_id` keeps it."""
VERSION = 1
MOST_PAGES = 16384
"""Of 4 KiB: the file can never grow beyond 64 MiB."""

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


def connect(directory: Path, patience: float, *, create: bool) -> tuple[sqlite3.Connection, list[str]]:
    """Open the file of this state directory, making it if needed; return it, and what people should know of that.

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
        with said():
            private_file(path)
        db = sqlite3.connect(path, timeout=patience, isolation_level=None)
        try:
            with said():
                _settle(db, patience)
            return db, notices
        except Unavailable as error:
            db.close()
            if again or not isinstance(error.__cause__, sqlite3.DatabaseError) or not _damaged(str(error.__cause__)):
                raise
            notices.append(_set_aside(path))
    raise AssertionError("not reached")


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
    write_ahead(db, patience)
    migrate(db, (_TABLES,), APPLICATION)


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
def said() -> Iterator[None]:
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
