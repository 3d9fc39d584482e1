"""The SQLite file: opened safely, brought up to date, and never in the way of a sweep.

Every change is one transaction that is on the disk when it returns.  A file
that is corrupt or somebody else's is set aside under a dated name and made
anew; one of a newer version is left alone.  Whatever else is wrong is
`Unavailable` with its reason.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from triage.history.place import Unavailable, fault, prepare, private_file
from triage.history.schema import APPLICATION, MIGRATIONS, VERSION

FILE = "history.db"
LOCK = "history.lock"
MOST_PAGES = 16384
"""Of 4 KiB: the file can never grow beyond 64 MiB."""
MOST_CHECKED = 8 << 20
"""Bytes of a file that is checked whole after a sweep was killed; it takes some 5 ms per MiB."""
_PAUSE = 0.01
_DAMAGE = r"(?i)malformed|not a database|no such (table|column)|has no column|disk image|corrupt"


class _Damaged(Exception):
    """The file cannot be used as it is; the arguments are a word for its new name, and the reason."""


class Store:
    """The open file.  Others may have it open too; `close` it, or use it in a `with`."""

    def __init__(self, directory: Path, db: sqlite3.Connection, lock: int, notices: list[str]) -> None:
        self.directory = directory
        self.db = db
        self.notices = notices
        self.inode = _inode(directory / FILE)
        self._lock = lock

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Change all or nothing; when it returns, the change is on the disk.

        Raises:
            Unavailable: if it could not be written.
        """
        with said(), all_or_nothing(self.db):
            yield self.db

    @property
    def is_current(self) -> bool:
        """Whether it is still the file of its directory, and of this version; for whoever keeps it open."""
        try:
            return self.inode == _inode(self.directory / FILE) and _number(self.db, "PRAGMA user_version") == VERSION
        except (OSError, sqlite3.Error):
            return False

    def close(self) -> None:
        """Let go of the file; what could not be tidied up is done at the next opening."""
        with contextlib.suppress(sqlite3.Error):
            self.db.close()
        os.close(self._lock)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.close()


@contextlib.contextmanager
def all_or_nothing(db: sqlite3.Connection) -> Iterator[None]:
    """Change all that is changed within, or nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def open_store(directory: Path, *, now: float, patience: float = 1.0, create: bool = True) -> Store:
    """Open the history in this directory, making both if needed.

    Args:
        directory: the state directory.
        now: UTC epoch seconds, to date a file that is set aside.
        patience: seconds to wait for another sweep that is writing, at each step.
        create: whether to make it; else it is an error that there is none.

    Raises:
        Unavailable: if there is no history this time.
    """
    if not create:
        problem = fault(directory) if os.path.lexists(directory) else None
        if problem is None and not os.path.lexists(directory / FILE):
            problem = f"there is no history in {directory} yet; `gpu-triage check` begins it"
        if problem is not None:
            raise Unavailable(problem)
    prepare(directory)
    lock = _open_lock(directory)
    notices: list[str] = []
    try:
        _take(lock, fcntl.LOCK_SH, patience)
        try:
            db = _connect(directory, patience)
        except _Damaged:
            db = _mend(directory, lock, now, patience, notices)
        return Store(directory, db, lock, notices)
    except BaseException:
        os.close(lock)
        raise


def copied(directory: Path, *, now: float, patience: float = 1.0) -> Store:
    """Return a copy in memory of the history as it stands: whatever is done to it, the file stays as it is.

    Raises:
        Unavailable: if there is no history, or it cannot be read.
    """
    with open_store(directory, now=now, patience=patience, create=False) as store, said():
        twin = in_memory(patience)
        store.db.backup(twin.db)
        twin.notices += store.notices
    return twin


def in_memory(patience: float = 1.0) -> Store:
    """Return a history that lasts as long as it is open, for whoever has to go on without a file."""
    db = sqlite3.connect(":memory:", timeout=patience, isolation_level=None)
    _settle(db, patience)
    return Store(Path(os.devnull).parent / "none", db, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), [])


def set_aside(directory: Path, inode: int, why: str, *, now: float, patience: float = 1.0) -> list[str]:
    """Set a file aside that proved damaged while it was used, unless another sweep has done so; return what to tell.

    Raises:
        Unavailable: if somebody else has it open, or it cannot be moved.
    """
    lock = _open_lock(directory)
    try:
        _take(lock, fcntl.LOCK_EX, patience)
        if _inode(directory / FILE) != inode:
            return []
        return [_rename(directory, _Damaged("corrupt", f"corrupt ({why})"), now)]
    finally:
        os.close(lock)


@contextlib.contextmanager
def said() -> Iterator[None]:
    """Turn what SQLite and the system raise into `Unavailable`."""
    try:
        yield
    except sqlite3.Error as error:
        raise Unavailable(_says(error)) from error
    except (UnicodeError, OverflowError) as error:
        raise Unavailable(f"a value cannot be stored in the history: {error}") from error
    except OSError as error:
        raise Unavailable(f"the history cannot be used: {(error.strerror or str(error)).lower()}") from error


def damaged(error: BaseException | None) -> bool:
    """Return whether this error, or what caused it, says that the file is damaged."""
    cause = error.__cause__ if isinstance(error, Unavailable) else error
    return isinstance(cause, sqlite3.Error) and _is_damage(cause)


def _open_lock(directory: Path) -> int:
    path = directory / LOCK
    with said():
        private_file(path)
        return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)


def _take(lock: int, how: int, patience: float) -> None:
    """Lock or wait; the system lets go of the lock of whoever dies."""
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EINTR):
                raise Unavailable(f"the history cannot be locked: {(error.strerror or '').lower()}") from error
            if time.monotonic() >= until:
                raise Unavailable("the history is in use by another sweep; it was not waited for") from error
        time.sleep(_PAUSE)


def _mend(directory: Path, lock: int, now: float, patience: float, notices: list[str]) -> sqlite3.Connection:
    """Set the damaged file aside while nobody has it open; somebody else may have done so before us."""
    fcntl.flock(lock, fcntl.LOCK_UN)  # else two that mend at once would wait for each other
    _take(lock, fcntl.LOCK_EX, patience)
    try:
        return _connect(directory, patience)
    except _Damaged as damage:
        notices.append(_rename(directory, damage, now))
    try:
        return _connect(directory, patience)
    except _Damaged as again:
        raise Unavailable(f"the history cannot be made anew: {again.args[1]}") from again
    finally:
        fcntl.flock(lock, fcntl.LOCK_SH)


def _rename(directory: Path, damage: _Damaged, now: float) -> str:
    """Move the file away, its log first: one left behind would be played into the new file."""
    word, why = damage.args
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(max(0.0, now)))
    name = f"{FILE}.{word}-{stamp}"
    number = 1
    while (directory / name).exists():
        number += 1
        name = f"{FILE}.{word}-{stamp}-{number}"
    with said():
        for ending in ("-wal", "-shm", ""):
            with contextlib.suppress(FileNotFoundError):
                os.replace(directory / f"{FILE}{ending}", directory / f"{name}{ending}")
    return f"the history was {why}; it was set aside as {directory / name} and a new one was begun"


def _connect(directory: Path, patience: float) -> sqlite3.Connection:
    path = directory / FILE
    with said():
        private_file(path)
        left = _size(directory / f"{FILE}-wal")
    try:
        db = sqlite3.connect(path, timeout=patience, isolation_level=None)
    except sqlite3.Error as error:
        raise Unavailable(_says(error)) from error
    try:
        _settle(db, patience)
        if left and _size(path) <= MOST_CHECKED:
            _check(db)
        return db
    except sqlite3.Error as error:
        db.close()
        if _is_damage(error):
            raise _Damaged("corrupt", f"corrupt ({error})") from error
        raise Unavailable(_says(error)) from error
    except BaseException:
        db.close()
        raise


def _settle(db: sqlite3.Connection, patience: float) -> None:
    """See whose file it is, and bring it up to date."""
    version = _number(db, "PRAGMA user_version")
    owner = _number(db, "PRAGMA application_id")
    if owner != APPLICATION and (owner or version or _number(db, "SELECT count(*) FROM sqlite_master")):
        raise _Damaged("foreign", "not one of gpu-triage")
    if version > VERSION:
        raise Unavailable(
            f"the history is of version {version}, written by a newer gpu-triage; this one knows {VERSION}, "
            "and leaves it alone: update gpu-triage, or name another --state-dir"
        )
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA cell_size_check = ON")
    db.execute(f"PRAGMA max_page_count = {MOST_PAGES}")
    if version < VERSION:
        write_ahead(db, patience)
        migrate(db, MIGRATIONS, APPLICATION)


def write_ahead(db: sqlite3.Connection, patience: float) -> None:
    """Readers and one writer do not wait for each other; it is a property of the file.

    SQLite does not wait when it cannot switch, so this does.  Where the file
    system cannot do it, the older journal is as safe.
    """
    until = time.monotonic() + patience
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= until:
                raise
        time.sleep(_PAUSE)


def migrate(db: sqlite3.Connection, scripts: Sequence[str], application: int) -> None:
    """Run those scripts that the file has not seen, each of which makes one version of it, and say whose it is."""
    with all_or_nothing(db):
        for script in scripts[_number(db, "PRAGMA user_version") :]:
            for statement in script.split(";\n"):
                if statement.strip():
                    db.execute(statement)
        db.execute(f"PRAGMA application_id = {application}")
        db.execute(f"PRAGMA user_version = {len(scripts)}")


def _check(db: sqlite3.Connection) -> None:
    found = db.execute("PRAGMA quick_check(1)").fetchone()
    if found is None or found[0] != "ok":
        raise _Damaged("corrupt", f"corrupt ({found[0] if found else 'no answer'})")


def _number(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0])


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is_damage(error: sqlite3.Error) -> bool:
    return re.search(_DAMAGE, str(error)) is not None


def _says(error: sqlite3.Error) -> str:
    text = str(error)
    if "locked" in text or "busy" in text:
        return "the history is in use by another sweep; it was not waited for"
    if "full" in text:
        return "the history cannot be written: the disk (or its bound of 64 MiB) is full; free some space"
    if "I/O" in text:
        return f"the history cannot be written: the disk is full or failing ({text})"
    if "readonly" in text or "read-only" in text:
        return "the history cannot be written: it is read-only; name another --state-dir"
    return f"the history cannot be used: {text}"
