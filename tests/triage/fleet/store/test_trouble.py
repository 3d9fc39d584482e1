"""A store loses nothing that it acknowledged, and whoever waits for it waits no longer than was said."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.patience import WITHIN
from tests.postgres_server import PASSWORD, PostgresServer
from tests.triage.cli.conftest import ROOT
from tests.triage.fleet.store.made import answer, swept
from tests.triage.fleet.store.test_store import rows
from tests.triage.fleet.store.writers import NODES
from triage.fleet.store import read, write
from triage.fleet.store.opened import Store
from triage.fleet.store.trouble import Unreachable, Unusable

PROCESSES, ROUNDS = 4, 2


def writing(address: str, threads: int) -> list[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "tests.triage.fleet.store.writers", address]
    return [
        subprocess.Popen(
            [*words, str(1 + n * threads), str(threads), str(ROUNDS)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for n in range(PROCESSES)
    ]


def acknowledged(writers: list[subprocess.Popen[str]], started: Callable[[int], None] = lambda _: None) -> set[str]:
    """Wait for all; `started` is told the number of answers acknowledged so far."""
    said: list[str] = []
    lock = threading.Lock()

    def listen(writer: subprocess.Popen[str]) -> None:
        assert writer.stdout is not None
        for line in writer.stdout:
            with lock:
                said.append(line.strip())
                count = len(said)
            started(count)

    listeners = [threading.Thread(target=listen, args=(writer,)) for writer in writers]
    for listener in listeners:
        listener.start()
    for listener in listeners:
        listener.join()
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    assert [0] * len(writers) == [writer.wait(120) for writer in writers]
    assert len(said) == len(set(said))
    return set(said)


def kept(address: str) -> list[str]:
    with Store(address) as store:
        found = store.read(lambda connection: list(read.by_node(connection)))
    return [f"{each.sweep} {name}" for name, said in found for each in said]


def test_sixty_four_writers_lose_nothing_when_the_server_goes_down_under_them(server: PostgresServer) -> None:
    """It is ended as a crash would end it, and started again; what was acknowledged is there, and nothing twice."""
    address = server.database()
    writers = writing(address, 64 // PROCESSES)
    once = threading.Lock()

    def crash(count: int) -> None:
        if count >= 60 and once.acquire(blocking=False):
            server.stop(signal.SIGQUIT)
            server.start()

    said = acknowledged(writers, crash)
    found = kept(address)

    assert once.locked()
    assert 64 * ROUNDS * NODES == len(said)
    assert len(found) == len(set(found))
    assert said == {each for each in found if not each.startswith("sweep-0007")}
    with Store(address) as store:
        counts = rows(store)
    assert 64 * ROUNDS + 1 == counts["sweep"]
    assert (NODES, 1) == (counts["node"], counts["incident"])


def test_many_writers_share_a_file(tmp_path: Path) -> None:
    """They wait for each other, and one makes the tables."""
    address = str(tmp_path / "fleet.db")
    said = acknowledged(writing(address, 3))
    found = kept(address)

    assert len(found) == len(set(found))
    assert said == {each for each in found if not each.startswith("sweep-0007")}


def test_a_row_that_another_holds_is_waited_for_only_so_long(server: PostgresServer) -> None:
    """And written once it is free."""
    import psycopg

    address = server.database()
    with Store(address, 20.0) as first:
        write.put(first, swept(1), [answer()])
    with psycopg.connect(address) as other, Store(address, 3.0) as store:
        other.execute("SELECT * FROM node FOR UPDATE")
        began = time.monotonic()
        with pytest.raises(Unreachable, match="given up after 3 seconds"):
            write.put(store, swept(2), [answer(day=2)])
        assert time.monotonic() - began < 30
        other.rollback()
    with Store(address, 60.0) as store:
        write.put(store, swept(2), [answer(day=2)])
        assert 2 == rows(store)["result"]


def test_a_file_that_another_holds_is_waited_for_only_so_long(tmp_path: Path) -> None:
    """And written once it is free."""
    with Store(str(tmp_path / "fleet.db"), 60.0) as store:
        write.put(store, swept(1), [answer()])
    with (
        Store(str(tmp_path / "fleet.db"), 1.0) as store,
        contextlib.closing(sqlite3.connect(tmp_path / "fleet.db", isolation_level=None)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unreachable, match="locked"):
            write.put(store, swept(2), [answer(day=2)])
        assert 1 == rows(store)["result"]
        other.execute("ROLLBACK")
    with Store(str(tmp_path / "fleet.db"), 60.0) as store:
        write.put(store, swept(2), [answer(day=2)])
        assert 2 == rows(store)["result"]


def test_a_server_that_stops_in_the_middle_of_a_transaction_is_cut_off(server: PostgresServer) -> None:
    """A machine that is gone answers nothing, and says nothing of it either."""
    import psycopg

    address = server.database()
    with psycopg.connect(address) as probe:
        probe.execute("SELECT 1")
    began = time.monotonic()
    stopped: list[int] = []

    def work(connection):  # type: ignore[no-untyped-def]
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar()
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)
        connection.execute(text("SELECT 1"))

    try:
        with Store(address, 5.0) as store, pytest.raises(Unreachable):
            store.write(work)
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    assert stopped
    assert time.monotonic() - began < 30


@contextlib.contextmanager
def listening(says: Callable[[socket.socket], None]) -> Iterator[int]:
    """Something that takes connections and is no PostgreSQL."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        opened: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    guest, _ = door.accept()
                    opened.append(guest)
                    threading.Thread(target=quietly, args=(guest,), daemon=True).start()

        def quietly(guest: socket.socket) -> None:
            with contextlib.suppress(OSError):
                says(guest)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield int(door.getsockname()[1])
        door.shutdown(socket.SHUT_RDWR)
        for guest in opened:
            guest.close()
        server.join(5)


def says_nothing(guest: socket.socket) -> None:
    guest.recv(1 << 16)


def hangs_up(guest: socket.socket) -> None:
    guest.recv(1 << 16)
    guest.close()


def speaks_http(guest: socket.socket) -> None:
    guest.recv(1 << 16)
    guest.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    guest.close()


def lies(guest: socket.socket) -> None:
    """Lets everybody in, and answers every question with nonsense."""
    guest.recv(1 << 16)
    guest.sendall(b"N")
    guest.recv(1 << 16)
    guest.sendall(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I")
    while guest.recv(1 << 16):
        guest.sendall(b"D\xff\xff\xff\xff" + b"\x41" * 4096)


GREETING = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"
"""Whoever asks may come in, and the server is ready for a question."""


def falls_silent(guest: socket.socket) -> None:
    """Lets everybody in, and never answers."""
    guest.recv(1 << 16)
    guest.sendall(b"N")
    guest.recv(1 << 16)
    guest.sendall(GREETING)
    while guest.recv(1 << 16):
        pass


def sends_a_gigabyte(guest: socket.socket) -> None:
    """Answers the first question with one row that does not end."""
    guest.recv(1 << 16)
    guest.sendall(b"N")
    guest.recv(1 << 16)
    guest.sendall(GREETING)
    guest.recv(1 << 16)
    column = b"x\0" + bytes(6) + b"\0\0\0\x19" + b"\xff" * 6 + bytes(2)
    guest.sendall(b"T" + (len(column) + 6).to_bytes(4, "big") + b"\0\1" + column)
    guest.sendall(b"D" + (1 << 30).to_bytes(4, "big") + b"\0\1" + ((1 << 30) - 10).to_bytes(4, "big"))
    while True:
        guest.sendall(b"A" * (1 << 16))
        time.sleep(0.001)


@pytest.mark.parametrize("says", [says_nothing, hangs_up, speaks_http, lies, falls_silent, sends_a_gigabyte])
def test_what_is_no_server_is_given_up_in_time(says: Callable[[socket.socket], None]) -> None:
    """One line says so, and the password is not in it."""
    began = time.monotonic()
    with (
        listening(says) as port,
        Store(f"postgresql://u:{PASSWORD}@127.0.0.1:{port}/fleet", 2.0) as store,
        pytest.raises(Unusable) as told,
    ):
        write.put(store, swept(), [answer()])

    assert time.monotonic() - began < 30
    assert PASSWORD not in str(told.value)
    assert 1 == len(str(told.value).splitlines())
    assert f"postgresql://u:***@127.0.0.1:{port}/fleet" in str(told.value)


def test_a_server_that_is_not_there_is_tried_until_the_deadline(server: PostgresServer) -> None:
    """It may be starting."""
    address = server.database()
    server.stop(signal.SIGQUIT)
    try:
        with Store(address, 1.0) as store, pytest.raises(Unreachable, match="given up after 1 second"):
            write.put(store, swept(), [answer()])
        later = threading.Timer(0.5, server.start)
        later.start()
        with Store(address, WITHIN) as store:
            write.put(store, swept(), [answer()])
        later.join()
    finally:
        if server._process is None:
            server.start()
    assert 1 == len(kept(address))


def test_what_will_not_pass_is_said_at_once(server: PostgresServer) -> None:
    """A wrong password, none, and a database that is not there; none shows the password, and what is to do is said."""
    for wrong, why in (
        (server.url, "no password supplied; put it into ~/.pgpass"),
        (server.secret.replace(PASSWORD, "other-word"), "authentication failed"),
        (server.secret + "-not", "does not exist"),
    ):
        began = time.monotonic()
        with Store(wrong, 30.0) as store, pytest.raises(Unusable, match=why) as told:
            store.read(read.sweeps)
        assert time.monotonic() - began < 30
        assert not isinstance(told.value, Unreachable)
        assert PASSWORD not in str(told.value)
        assert "other-word" not in str(told.value)


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """And nothing of the batch is kept by halves."""
    with Store(str(tmp_path / "fleet.db")) as store:
        write.put(store, swept(1), [answer()])
        size = store.read(lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar())
        raw = store._engine.raw_connection()
        raw.dbapi_connection.execute(f"PRAGMA max_page_count = {size}")  # type: ignore[union-attr]
        raw.close()
        with pytest.raises(Unusable, match="full"):
            write.put(store, swept(2), [answer(f"g{n}", 2) for n in range(60)])
        assert 1 == rows(store)["result"]
