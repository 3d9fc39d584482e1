"""One HTTP request to somebody who may be slow, broken or hostile.

It ends within its time whatever the peer does, reads a few kilobytes of the
answer and no more, follows nothing, and connects only to the address that it
has looked at.  What it says of a failure names neither path, query nor secret.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

from probes.named import NamedTuple
from triage.render.safe import safe

MOST_READ = 4096
LONGEST_PAUSE = 3600.0
"""Seconds that a peer may ask for with Retry-After."""
AGAIN = frozenset({408, 425, 429})
"""Of the answers that say that the sender is wrong, those that may be right later."""
_METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")))
"""Where clouds have metadata services outside the addresses of the own link."""


class Outcome(NamedTuple):
    """What became of a request: `taken`, `refused` for good, or neither, and then it may be tried again.

    `reached` is whether the peer may have got it; `pause` how many seconds it asked to be left alone for.  `why` may
    quote what the peer said at length.  `status` is its answer, 0 if there was none.
    """

    taken: bool = False
    refused: bool = False
    why: str = ""
    reached: bool = False
    pause: float | None = None
    status: int = 0


class Request(NamedTuple):
    """What to send, and how careful to be."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    timeout: float
    ca: str | None = None
    proxy: str | None = None
    allow_link_local: bool = False


class Forbidden(Exception):
    """An address that is not connected to."""


def post(request: Request) -> Outcome:
    """Send it, and say what became of it; never raises for what a peer does."""
    until = time.monotonic() + request.timeout
    reached = False
    try:
        parts = urlsplit(request.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return Outcome(refused=True, why="its address is no http:// or https:// address")
        connection = _connection(parts, request, until)
        with contextlib.closing(connection), _cut_off(connection, until):
            connection.connect()
            reached = True
            path = parts.path or "/"
            path += f"?{parts.query}" if parts.query else ""
            if request.proxy and parts.scheme == "http":
                path = f"http://{parts.netloc}{path}"
            connection.request("POST", path, request.body, {**request.headers, "Connection": "close"})
            answer = connection.getresponse()
            said = b"" if 200 <= answer.status < 300 else answer.read(MOST_READ)
            return _outcome(answer.status, answer.headers.get("Retry-After"), said)
    except Forbidden as error:
        return Outcome(refused=True, why=str(error))
    except Exception as error:  # whatever a peer, a resolver or a certificate makes of it
        late = time.monotonic() >= until
        return Outcome(why=f"no answer within {request.timeout:g} s" if late else _says(error), reached=reached)


def forbidden(address: str) -> bool:
    """Whether nothing is sent to this address: of the own link, of metadata services, or of no single machine."""
    found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_link_local or found.is_multicast or found.is_unspecified or found in _METADATA


def _connection(parts: SplitResult, request: Request, until: float) -> http.client.HTTPConnection:
    if request.proxy is not None and not request.allow_link_local:
        with contextlib.suppress(ValueError):  # a name is resolved by the proxy, and is its business
            if forbidden(parts.hostname or ""):
                raise Forbidden(_refusal(parts.hostname or "", parts.hostname or ""))
    return _Guarded(parts, request, until)


class _Guarded(http.client.HTTPConnection):
    """A connection to an address that was looked at, and to no other."""

    def __init__(self, parts: SplitResult, asked: Request, until: float) -> None:
        self._secure = parts.scheme == "https"
        self.default_port = 443 if self._secure else 80
        super().__init__(parts.hostname or "", parts.port or self.default_port, timeout=asked.timeout)
        self._asked, self._until = asked, until
        self._proxy = urlsplit(asked.proxy) if asked.proxy is not None else None

    def connect(self) -> None:
        """Resolve, look, connect, and speak TLS where asked to."""
        if self._proxy is None:
            self._reach(self.host, self.port, look=not self._asked.allow_link_local)
        else:
            self._reach(self._proxy.hostname or "", self._proxy.port or 3128, look=False)
            if self._secure:
                self._ask_through()
        if self._secure:
            context = ssl.create_default_context(cafile=self._asked.ca)
            self.sock = context.wrap_socket(self.sock, server_hostname=self.host)

    def _reach(self, host: str, port: int, *, look: bool) -> None:
        failure = OSError(0, "the name has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            if look and forbidden(str(address[0])):
                raise Forbidden(_refusal(host, str(address[0])))
            self.sock = socket.socket(family, kind, protocol)
            self.sock.settimeout(max(0.1, self._until - time.monotonic()))
            try:
                self.sock.connect(address)
                return
            except OSError as error:
                failure = error
                self.sock.close()
        raise failure

    def _ask_through(self) -> None:
        """Have the proxy connect us to the peer."""
        peer = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        self.sock.sendall(f"CONNECT {peer} HTTP/1.1\r\nHost: {peer}\r\n\r\n".encode())
        said = b""
        while not said.endswith(b"\r\n\r\n"):
            byte = self.sock.recv(1)  # what comes after belongs to TLS
            if not byte or len(said) > MOST_READ:
                raise http.client.BadStatusLine("")
            said += byte
        status = said.split(b"\r\n", 1)[0].split(b" ")
        if len(status) < 2 or not status[1].startswith(b"2"):
            shown = safe(status[1].decode("ascii", "replace"))[:20] if len(status) > 1 else "nothing"
            raise OSError(0, f"the proxy answers {shown}")


@contextlib.contextmanager
def _cut_off(connection: http.client.HTTPConnection, until: float) -> Iterator[None]:
    """Shut the connection when the time is over: a peer that sends a byte now and then never runs into a timeout."""

    def shut() -> None:
        with contextlib.suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, until - time.monotonic()), shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _outcome(status: int, retry_after: str | None, said: bytes) -> Outcome:
    if 200 <= status < 300:
        return Outcome(taken=True, reached=True, status=status)
    text = safe(" ".join(said.decode("utf-8", "replace").split()))
    why = f"it answers {status}" + (f": {text}" if text else "")
    if 300 <= status < 400:
        why = f"it answers {status}, elsewhere; write the address that it means"
    refused = 300 <= status < 500 and status not in AGAIN
    return Outcome(
        refused=refused, why=why, reached=True, pause=None if refused else _pause(retry_after), status=status
    )


def _pause(retry_after: str | None) -> float | None:
    """Return the seconds that a peer asks for, bounded; None if it asks for nothing that can be understood."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after) if retry_after.strip().isdecimal() else None
        if seconds is None:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(LONGEST_PAUSE, max(1.0, seconds))


def _refusal(host: str, address: str) -> str:
    named = address if host == address else f"{host} ({address})"
    return f"{safe(named)} is an address of the own link or of a metadata service; 'allow_link_local: true' allows it"


def _says(error: Exception) -> str:
    """Return what went wrong in words that hold nothing of the request."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {safe(error.verify_message)}"
    if isinstance(error, socket.gaierror):
        return f"its name cannot be resolved: {(error.strerror or '').lower()}"
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "it does not answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, http.client.HTTPException):
        return f"it does not speak HTTP ({type(error).__name__})"
    if isinstance(error, OSError) and error.errno == 0:
        return str(error.strerror)
    if isinstance(error, OSError):
        # What a proxy or TLS says may quote the peer, which is a stranger; its number and kind are enough.
        return f"{type(error).__name__}: {safe((error.strerror or '').lower())}".rstrip(": ")
    return f"it could not be sent ({type(error).__name__})"
