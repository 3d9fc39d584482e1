"""The screens in a browser, on this machine alone: textual-serve behind a secret that only the printed address has.

A page that happens to be open in the same browser, and other users of this
machine, can reach a loopback port too.  So every request needs the secret, the
socket takes no page's word but its own, and nothing is loaded from elsewhere.
Each browser window has a process of its own.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import shlex
import socket
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from textual_serve.server import Server

HOST = "127.0.0.1"
_NAMES = ("127.0.0.1", "localhost")
_COOKIE = "gpu-triage"
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; font-src 'self' data:; connect-src 'self' ws:; base-uri 'none'; frame-ancestors 'none'"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Taken(Exception):
    """The port cannot be had; the text says why."""


class Loopback(Server):
    """Serves the screens that `words` open, to whoever has the secret; `tell` is given the address."""

    def __init__(self, words: Sequence[str], port: int, tell: Callable[[str], None]) -> None:
        # textual-serve has a shell start it, so every word is quoted.
        super().__init__(shlex.join(words), host=HOST, port=port, title="gpu-triage")
        self.secret = secrets.token_urlsafe(24)
        self._tell = tell

    @property
    def address(self) -> str:
        """What to open."""
        return f"http://{HOST}:{self.port}/?secret={self.secret}"

    def initialize_logging(self) -> None:
        """Keep quiet: what goes wrong is told in the browser."""

    async def on_startup(self, app: web.Application) -> None:
        """Say what to open as soon as it can be, which is a moment from now."""
        self._opening = asyncio.create_task(self._say_when_open())

    async def _say_when_open(self) -> None:
        while True:
            try:
                _, writer = await asyncio.open_connection(HOST, self.port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            self._tell(self.address)
            return

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._guarded(request, handler)

        app.middlewares.append(guard)
        return app

    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        name, _, _ = request.host.partition(":")
        # Any other name is a page of somebody else's that had its own name point here.
        if name not in _NAMES:
            return web.Response(status=403, text="only as 127.0.0.1 or localhost\n")
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"http://{request.host}":
            return web.Response(status=403, text="not from another page\n")
        given = request.query.get("secret", "")
        if request.path == "/" and self._right(given):
            moved = web.HTTPFound("/")
            moved.set_cookie(_COOKIE, self.secret, httponly=True, samesite="Strict", path="/")
            return moved
        if not self._right(request.cookies.get(_COOKIE, "")):
            return web.Response(status=403, text="the secret is missing: open the address that was printed\n")
        if request.path == "/":
            # The page names its socket by the address that it was asked for, which a tunnel may have changed.
            self.public_url = f"http://{request.host}"
        answer = await handler(request)
        if not answer.prepared:
            answer.headers["Content-Security-Policy"] = _POLICY
            answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    def _right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.secret.encode())


def serve(words: Sequence[str], port: int, tell: Callable[[str], None]) -> None:
    """Serve until interrupted; `tell` is given the address once it can be opened.

    Raises:
        Taken: if the port cannot be had.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise Taken(f"port {port} of {HOST} cannot be had: {(error.strerror or str(error)).lower()}") from error
    Loopback(words, port, tell).serve()
