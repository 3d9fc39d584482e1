"""A management controller asked over HTTPS, so that it can neither hold us up nor learn what it should not.

Time, size and number of answers are bounded whatever the other end does; no
redirect is followed and no proxy asked.  The certificate must be one that the
system (or the file that the user named) vouches for, or have the fingerprint
that the user wrote down; only then is the password sent.  Without encryption
none but this very machine is asked.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import ipaddress
import json
import os
import socket
import ssl
import stat
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional, Union
from urllib.parse import urlsplit

from probes.around import REDFISH
from probes.named import NamedTuple

NAMED = "GPU_TRIAGE_REDFISH"
WORDS = ("url", "user", "password", "ca", "fingerprint", "wait")
LARGEST = 4 << 20
ALL = 16 << 20
"""Bytes taken of one answer, and of all together."""
MOST = 64
"""Requests that are made in one sweep."""
WAIT = 5.0
"""Seconds for which a sweep waits, unless the user says otherwise."""
_ACCOUNT = 16 << 10
_AT_ONCE = 10.0


class Account(NamedTuple):
    """How the controller is reached.  It is never printed."""

    host: str
    port: int
    secure: bool
    user: str
    password: str
    ca: Optional[str] = None
    fingerprint: Optional[str] = None
    wait: float = WAIT

    def __repr__(self) -> str:
        """Nothing that a log or a traceback should hold."""
        return "Account(...)"


class Refused(Exception):
    """The controller cannot be asked, or did not answer as it must; the text says why and what helps."""


def account(root: Path = Path("/"), environ: Optional[Mapping[str, str]] = None) -> Optional[Account]:
    """Return the account that the user configured, None if there is none.

    Raises:
        Refused: if it is not fit to be used.
    """
    values = os.environ if environ is None else environ
    told = {word: values[f"{NAMED}_{word.upper()}"] for word in WORDS if values.get(f"{NAMED}_{word.upper()}")}
    named = values.get(NAMED)
    path = Path(named) if named else root / REDFISH
    if "url" not in told:
        if not named and not path.exists():
            return None
        told = {**_file(path), **told}
    return _account(told)


def _file(path: Path) -> dict[str, str]:
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as failure:
        raise Refused(f"{path}: {(failure.strerror or str(failure)).lower()}") from None
    with os.fdopen(opened, "rb") as file:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise Refused(f"{path} is not a file")
        if found.st_mode & 0o077 or found.st_uid not in (0, os.geteuid()):
            raise Refused(f"{path} holds a password and others may read or write it; chown root it and chmod 600")
        text = file.read(_ACCOUNT).decode("utf-8", "replace")
    told = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, value = line.partition("=")
        if line.strip() and not line.lstrip().startswith("#"):
            if not equals or name.strip() not in WORDS:
                raise Refused(f"{path}:{number}: not one of {', '.join(WORDS)} = VALUE")
            told[name.strip()] = value.strip()
    return told


def _account(told: Mapping[str, str]) -> Account:
    missing = [word for word in ("url", "user", "password") if not told.get(word)]
    if missing:
        raise Refused(f"the account of the management controller lacks its {' and '.join(missing)}")
    try:
        url = urlsplit(told["url"])
        port = url.port
    except ValueError:
        raise Refused("the address of the management controller is none; write https://HOST") from None
    if url.scheme not in ("https", "http") or not url.hostname or url.username or url.path not in ("", "/"):
        raise Refused("the address of the management controller must be https://HOST, and nothing else")
    secure = url.scheme == "https"
    if not secure and not _this_machine(url.hostname):
        raise Refused("without encryption a password is sent to this machine only; write https:// instead of http://")
    print_of = told.get("fingerprint", "").lower().replace("sha256:", "").replace(":", "").strip()
    if print_of and (len(print_of) != 64 or not all(sign in "0123456789abcdef" for sign in print_of)):
        raise Refused("the fingerprint must be the SHA-256 of the controller's certificate, 64 hexadecimal digits")
    try:
        wait = float(told.get("wait", WAIT))
    except ValueError:
        wait = -1.0
    if not 0.0 < wait <= 600.0:
        raise Refused("wait must be seconds, at most 600")
    return Account(
        url.hostname,
        port or (443 if secure else 80),
        secure,
        told["user"],
        told["password"],
        told.get("ca") or None,
        print_of or None,
        wait,
    )


def _this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Session:
    """One connection to the controller, closed when `until` (monotonic seconds) has come, whatever it waits for.

    with Session(account, until) as session:
        session.get("/redfish/v1/")
    """

    def __init__(self, account: Account, until: float) -> None:
        """Connect with the first question."""
        self._account, self._until = account, until
        self._connection: Optional[http.client.HTTPConnection] = None
        self._asked = self._taken = 0
        self._over = threading.Timer(max(0.0, until - time.monotonic()), self._cut)
        self._over.daemon = True

    def __enter__(self) -> Session:
        """Begin to count the time."""
        self._over.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._over.cancel()
        self._over.join(1.0)
        self._close()

    def get(self, path: str) -> dict[str, Any]:
        """Return a resource.

        Raises:
            Refused: if there is none.
        """
        if not path.startswith("/redfish/") or len(path) > 512 or not path.isprintable() or " " in path:
            raise Refused("it points to something that is no resource of its own")
        self._asked += 1
        if self._asked > MOST:
            raise Refused(f"more than {MOST} questions would be needed")
        try:
            return self._get(path)
        except Refused:
            self._close()
            raise
        except ssl.SSLCertVerificationError as failure:
            self._close()
            why = failure.verify_message.rstrip(".")
            raise Refused(
                f"its certificate is not trusted ({why}); name its issuer's file (ca = FILE) or its fingerprint"
            ) from None
        except (OSError, http.client.HTTPException, ValueError, RecursionError) as failure:
            self._close()
            if time.monotonic() >= self._until:
                raise Refused("it did not finish in time") from None
            raise Refused(f"it did not answer as it must ({_short(failure)})") from None

    def _get(self, path: str) -> dict[str, Any]:
        again = self._connection is not None
        try:
            return self._once(path)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if not again:
                raise
            self._close()  # it does not keep connections open
            return self._once(path)

    def _once(self, path: str) -> dict[str, Any]:
        connection = self._connection or self._connect()
        login = base64.b64encode(f"{self._account.user}:{self._account.password}".encode()).decode()
        connection.request("GET", path, headers={"Authorization": f"Basic {login}", "Accept": "application/json"})
        response = connection.getresponse()
        if response.status in (401, 403):
            raise Refused("it does not take the account; check user and password, and that it may log in")
        if 300 <= response.status < 400:
            raise Refused("it wants to send us elsewhere, where we do not go")
        if response.status != 200:
            raise Refused(f"it answered with status {response.status}")
        told = json.loads(self._body(response))
        if response.will_close:
            self._close()
        if not isinstance(told, dict):
            raise Refused("its answer is no object")
        return told

    def _body(self, response: http.client.HTTPResponse) -> bytes:
        if (response.length or 0) > LARGEST:
            raise Refused(f"an answer is larger than {LARGEST >> 20} MiB")
        data = bytearray()
        while time.monotonic() < self._until:
            part = response.read1(1 << 16)
            data += part
            self._taken += len(part)
            if not part:
                response.close()  # for else the connection cannot be asked again
                return bytes(data)
            if len(data) > LARGEST or self._taken > ALL:
                raise Refused(f"an answer is larger than {LARGEST >> 20} MiB, or all are than {ALL >> 20}")
        raise Refused("it did not finish in time")

    def _connect(self) -> http.client.HTTPConnection:
        account = self._account
        left = self._until - time.monotonic()
        if left <= 0:
            raise Refused("it did not finish in time")
        timeout = min(left, _AT_ONCE)
        connection: Union[http.client.HTTPConnection, http.client.HTTPSConnection]
        if account.secure:
            context = self._context()
            connection = http.client.HTTPSConnection(account.host, account.port, timeout=timeout, context=context)
        else:
            connection = http.client.HTTPConnection(account.host, account.port, timeout=timeout)
        self._connection = connection
        connection.connect()
        if account.fingerprint and account.secure:
            sent = connection.sock.getpeercert(True) or b""  # type: ignore[union-attr]
            if not hmac.compare_digest(hashlib.sha256(sent).hexdigest(), account.fingerprint):
                raise Refused("its certificate has another fingerprint than the one written down; find out why")
        return connection

    def _context(self) -> ssl.SSLContext:
        account = self._account
        try:
            context = ssl.create_default_context(cafile=account.ca)
        except (OSError, ssl.SSLError) as failure:
            raise Refused(f"the file of its issuer cannot be used ({_short(failure)})") from None
        if account.fingerprint:  # compared before anything is sent
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _cut(self) -> None:
        """End whatever is being waited for."""
        connection = self._connection
        with contextlib.suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()


def _short(failure: Exception) -> str:
    text = getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:100].lower()
