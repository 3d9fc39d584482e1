"""Metrics over HTTP for one scraper or a few: no thread, no wait, bounded in all it takes.

It is served from the loop of the watch.  A request is a few lines; a client that
sends none within its time, or too much, is hung up on.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Mapping
from typing import Any

from triage.render.prometheus import CONTENT_TYPE, to_prometheus

Json = dict[str, Any]

MOST_CLIENTS = 16
LONGEST = 5.0
"""Seconds that a client may take from the first byte to the last."""
MOST_ASKED = 8192
"""Bytes of a request."""


class Client:
    """A connection: what it asked so far, and what is still to be sent."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.until = time.monotonic() + LONGEST
        self.asked = b""
        self.answer: bytes | None = None


class Server:
    """Listens and answers; `serve` is called with the descriptors that are ready."""

    def __init__(self, where: tuple[str, int]) -> None:
        """Listen.

        Raises:
            OSError: if the address cannot be had.
        """
        family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
        self._listener = socket.create_server(where, family=family, backlog=MOST_CLIENTS)
        self._listener.setblocking(False)
        self._clients: dict[int, Client] = {}
        self._report: Json | None = None
        self._counters: Mapping[str, tuple[str, Any]] = {}

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    def show(self, report: Json, counters: Mapping[str, tuple[str, Any]]) -> None:
        """Answer with this report from now on."""
        self._report, self._counters = report, counters

    def wants(self) -> list[tuple[int, int]]:
        """What to wait on, and for what."""
        waiting = [(fd, select.POLLIN if c.answer is None else select.POLLOUT) for fd, c in self._clients.items()]
        if len(self._clients) < MOST_CLIENTS:
            waiting.append((self._listener.fileno(), select.POLLIN))
        return waiting

    def due(self) -> float | None:
        """When the first client has had its time (seconds of CLOCK_MONOTONIC), None without clients."""
        return min((client.until for client in self._clients.values()), default=None)

    def serve(self, ready: set[int]) -> None:
        """Take new clients, read what they ask, send what they get, and hang up on those that take too long."""
        if self._listener.fileno() in ready:
            self._accept()
        for fd, client in list(self._clients.items()):
            try:
                finished = fd in ready and self._go_on(client)
            except BlockingIOError:
                finished = False
            except OSError:
                finished = True
            # What it sent in time is answered first, however long something else kept us.
            if finished or time.monotonic() >= client.until:
                del self._clients[fd]
                client.connection.close()

    def close(self) -> None:
        """Hang up."""
        for client in self._clients.values():
            client.connection.close()
        self._clients.clear()
        self._listener.close()

    def _accept(self) -> None:
        while len(self._clients) < MOST_CLIENTS:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # none is left, or there are too many files
                return
            connection.setblocking(False)
            self._clients[connection.fileno()] = Client(connection)

    def _go_on(self, client: Client) -> bool:
        """Read or send a part; whether the connection is finished."""
        if client.answer is None:
            data = client.connection.recv(MOST_ASKED)
            client.asked += data
            if not data or len(client.asked) > MOST_ASKED:
                return True
            if b"\r\n\r\n" not in client.asked and b"\n\n" not in client.asked:
                return False
            client.answer = self._answer(client.asked)
        client.answer = client.answer[client.connection.send(client.answer) :]
        return not client.answer

    def _answer(self, asked: bytes) -> bytes:
        method, _, rest = asked.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", b"only GET\n")
        if path == b"/metrics":
            if self._report is None:
                return _response("503 Service Unavailable", b"nothing has been read yet\n")
            body = to_prometheus(self._report, counters=self._counters).encode()
            return _response("200 OK", body, CONTENT_TYPE, method == b"HEAD")
        if path == b"/":
            return _response("200 OK", b"gpu-triage of " + os.uname().nodename.encode() + b": see /metrics\n")
        return _response("404 Not Found", b"see /metrics\n")


def _response(status: str, body: bytes, kind: str = "text/plain; charset=utf-8", head: bool = False) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close", "", "")
    return "\r\n".join(lines).encode() + (b"" if head else body)
