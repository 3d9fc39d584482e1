"""A store that is open: transactions that are tried again while what went wrong may pass, until a deadline.

No transaction outlives its deadline, whatever the server does: it is asked to
give up, and if it does not the connection is cut.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from triage.fleet.store import migrate
from triage.fleet.store.address import hidden, parse
from triage.fleet.store.trouble import Unreachable, Unusable

Told = TypeVar("Told")

PATIENCE = 30.0
"""Seconds for one transaction, all its tries together."""
CONNECT = 5.0
LONGEST_PAUSE = 2.0
_PASSES = ("08", "40", "53", "55P03", "57", "58")
"""Beginnings of PostgreSQL's error codes: lost connection, deadlock, no room, lock, shutdown or timeout, the system."""
_FOR_GOOD = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|does not exist|permission denied"
    r"|not support SSL|certificate|could not translate host name|invalid (connection|URI|port|sslmode)|root\.crt"
)
PASSWORD = "put it into ~/.pgpass, or the whole URL with it into GPU_TRIAGE_STORE"
_PROGRESS = "gpu-triage-progress"

_making = threading.Lock()


class Store:
    """`Store(address)` connects when it is first used; `write` and `read` give a function a connection to work with."""

    def __init__(self, address: str, patience: float = PATIENCE) -> None:
        """Take the address apart.

        Raises:
            Unusable: if it is none, or what it needs is not installed.
        """
        self.url = parse(address)
        self.shown = hidden(self.url.render_as_string(hide_password=True).replace("+psycopg", "", 1))
        self.patience = patience
        self.is_file = self.url.drivername == "sqlite"
        self._prepared = False
        self._greeting_ends = 0.0
        self._greetings: list[threading.Timer] = []
        if self.is_file:
            self.shown = str(self.url.database)
            self._engine = create_engine(self.url, connect_args={"timeout": 0.2, "check_same_thread": False})
            event.listen(self._engine, "connect", _sqlite_connected)
            event.listen(self._engine, "begin", _sqlite_begins)
        else:
            wait = str(max(2, min(int(CONNECT), int(patience))))
            arguments: dict[str, Any] = {"prepare_threshold": None}  # as poolers between want it
            defaults = {"connect_timeout": wait, "keepalives_idle": "10", "keepalives_interval": "5"}
            defaults |= {"keepalives_count": "3", "application_name": "gpu-triage"}
            arguments |= {name: value for name, value in defaults.items() if name not in self.url.query}
            self._engine = create_engine(self.url, connect_args=arguments, pool_size=1, max_overflow=0)
            event.listen(self._engine, "connect", self._greeted, insert=True)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(Exception):
            self._engine.dispose()

    def write(self, work: Callable[[Connection], Told], *, until: float | None = None) -> Told:
        """Do the work in one transaction, again if what ended it may pass; what is returned is on the server's disk.

        The work must be such that doing it twice is doing it once: a lost connection does not tell whether it was done.
        A store in which nothing is yet is made.

        Args:
            work: is given the connection.
            until: by the monotonic clock, if earlier than the store's patience.

        Raises:
            Unreachable: if it could not be done in time.
            Unusable: if it cannot be done at all.
        """

        def all_of_it(connection: Connection) -> Told:
            self._prepare(connection)
            return work(connection)

        told = self._try(all_of_it, {"begin": "BEGIN IMMEDIATE"}, until)
        self._prepared = True
        return told

    def migrate(self) -> tuple[str | None, str]:
        """Bring the schema to this version's, and return the version before and after."""
        return self._try(migrate.migrate, {"begin": "BEGIN IMMEDIATE"}, None)

    def read(self, work: Callable[[Connection], Told]) -> Told:
        """Do the work on one unchanging picture of the store, again if the connection is lost.

        Raises:
            Unreachable: if it could not be done in time.
            Unusable: if it cannot be done at all.
        """
        if self.is_file and not os.path.exists(str(self.url.database)):
            raise Unusable(f"{self.shown}: no such file; `fleet sweep --store` and `fleet store add` make one")

        def all_of_it(connection: Connection) -> Told:
            migrate.check(migrate.version(connection), self.shown)
            return work(connection)

        options: dict[str, Any] = {"begin": "BEGIN"}
        if not self.is_file:
            options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        return self._try(all_of_it, options, None)

    def _prepare(self, connection: Connection) -> None:
        if self._prepared:
            return
        found = migrate.version(connection)
        if found is None:
            _, found = migrate.migrate(connection)
        migrate.check(found, self.shown)

    def _try(self, work: Callable[[Connection], Told], options: dict[str, Any], until: float | None) -> Told:
        end = time.monotonic() + self.patience
        end = end if until is None else min(end, until)
        pause = 0.05
        while True:
            try:
                return self._once(work, options, end)
            except DBAPIError as error:
                why = self.reason(error)
                if not _may_pass(error):
                    raise Unusable(f"{self.shown}: {why}") from None
            except OSError as error:
                raise Unusable(f"{self.shown}: {error.strerror or error}") from None
            left = end - time.monotonic()
            if left <= pause:
                raise Unreachable(f"{self.shown}: {why}; given up after {self.patience:g} seconds")
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(LONGEST_PAUSE, pause * 2)

    def _once(self, work: Callable[[Connection], Told], options: dict[str, Any], end: float) -> Told:
        if self.is_file and "IMMEDIATE" in options["begin"]:
            _make_file(str(self.url.database))
        with self._connected(end) as plain:
            connection = plain.execution_options(**options)
            with _cut_off(connection, max(0.05, end - time.monotonic())):
                try:
                    with connection.begin():
                        if not self.is_file:
                            _bound(connection, end)
                        told = work(connection)
                    return told
                except BaseException:
                    with contextlib.suppress(Exception):
                        plain.invalidate()
                    raise

    @contextlib.contextmanager
    def _connected(self, end: float) -> Iterator[Connection]:
        """Connect, and cut off a server that takes a connection and then does not answer who it is."""
        self._greeting_ends = end
        try:
            opened = self._engine.connect()
        finally:
            for timer in self._greetings:
                timer.cancel()
            self._greetings.clear()
        with opened:
            yield opened

    def _greeted(self, raw: Any, _record: object) -> None:
        """SQLAlchemy's own first questions follow, which nobody else bounds."""
        timer = threading.Timer(max(0.05, self._greeting_ends - time.monotonic()), _shut, (raw,))
        timer.daemon = True
        timer.start()
        self._greetings.append(timer)

    def reason(self, error: BaseException) -> str:
        """Return one line of what the driver says, without anything that is secret."""
        said = str(getattr(error, "orig", None) or error)
        line = next((line.strip() for line in said.splitlines() if line.strip()), type(error).__name__)
        if self.url.password:
            line = line.replace(str(self.url.password), "***")
        remedy = f"; {PASSWORD}" if "no password supplied" in line else ""
        return hidden(line)[:300] + remedy


def _make_file(path: str) -> None:
    """Make the file its owner's, if it is not there.

    One that is there is not opened: closing it would drop the locks that others in this process hold on it.
    """
    with _making:
        if os.path.islink(path):
            raise OSError(errno.ELOOP, "it is a symbolic link; name the file itself")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _bound(connection: Connection, end: float) -> None:
    """Ask the server to give up by itself a little before the connection is cut."""
    left = str(max(100, int((end - time.monotonic()) * 900)))
    settings = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    connection.execute(
        text("SELECT " + ", ".join(f"set_config('{name}', :left, true)" for name in settings)), {"left": left}
    )


@contextlib.contextmanager
def _cut_off(connection: Connection, seconds: float) -> Iterator[None]:
    """Cut the connection after so many seconds, so that whoever waits for the server waits no longer."""
    raw: Any = connection.connection.dbapi_connection

    def cut() -> None:
        with contextlib.suppress(Exception):
            if connection.dialect.name == "sqlite":
                raw.interrupt()
            else:
                _shut(raw)

    running: list[threading.Timer] = []

    def arm() -> None:
        for timer in running:
            timer.cancel()
        running[:] = [threading.Timer(seconds, cut)]
        running[0].daemon = True
        running[0].start()

    arm()
    connection.info[_PROGRESS] = arm
    try:
        yield
    finally:
        connection.info.pop(_PROGRESS, None)
        running[0].cancel()


def _shut(raw: Any) -> None:
    """Cut a connection to PostgreSQL, so that whoever waits for it waits no longer."""
    with contextlib.suppress(Exception), socket.socket(fileno=os.dup(raw.pgconn.socket)) as wire:
        wire.shutdown(socket.SHUT_RDWR)


def progress(connection: Connection) -> None:
    """Say that a long reading gets on: its deadline begins anew."""
    arm = connection.info.get(_PROGRESS)
    if arm is not None:
        arm()


def _may_pass(error: DBAPIError) -> bool:
    """Whether trying again may help."""
    said = str(error.orig)
    if type(error.orig).__module__.startswith("sqlite3"):
        return "locked" in said or "busy" in said
    code = getattr(error.orig, "sqlstate", None)
    if code is not None:
        return str(code).startswith(_PASSES)
    return type(error.orig).__name__ in ("OperationalError", "InterfaceError", "ConnectionTimeout") and not (
        _FOR_GOOD.search(said)
    )


def _sqlite_connected(raw: Any, _record: object) -> None:
    raw.isolation_level = None  # or the driver opens and commits transactions as it sees fit
    raw.execute("PRAGMA foreign_keys = ON")
    raw.execute("PRAGMA synchronous = FULL")
    raw.execute("PRAGMA cache_size = -32768")


def _sqlite_begins(connection: Connection) -> None:
    begin = connection.get_execution_options().get("begin", "BEGIN")
    if "IMMEDIATE" in begin:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    connection.exec_driver_sql(begin)
