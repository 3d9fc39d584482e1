"""One request to peers that are slow, broken or hostile: it ends, takes little in, and goes nowhere else."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.patience import WITHIN
from tests.ports import free_port
from tests.triage.alert.peers import Got, Peer, answer
from triage.alert.post import Request, forbidden, post

Serve = Callable[[Callable[[socket.socket], None]], str]


def request(url: str, timeout: float = WITHIN, **more: object) -> Request:
    return Request(url, b"{}", {"Content-Type": "application/json"}, timeout, **more)  # type: ignore[arg-type]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves raw bytes: each connection is handed to a function."""
    listeners: list[socket.socket] = []

    def begin(talk: Callable[[socket.socket], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        talk(connection)
                    except OSError:
                        continue

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield begin
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def drip(parts: bytes, pause: float = 0.05) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        for byte in parts:
            connection.sendall(bytes([byte]))
            time.sleep(pause)

    return talk


def silent(connection: socket.socket) -> None:
    time.sleep(6.0)


def timed(asked: Request) -> tuple[float, object]:
    began = time.monotonic()
    outcome = post(asked)
    return time.monotonic() - began, outcome


def test_what_is_taken_is_taken(peer: Peer) -> None:
    outcome = post(request(f"{peer.url}/a?b=c"))

    assert (True, False, "") == (outcome.taken, outcome.refused, outcome.why)
    assert [("/a?b=c", b"{}")] == [(got.path, got.body) for got in peer.got]


@pytest.mark.parametrize(
    "talk",
    [
        silent,
        drip(b"HTTP/1.1 500 " + b"x" * 1000),
        drip(b"HTTP/1.1 500 No\r\n" + b"A: b\r\n" * 1000),
        drip(b"HTTP/1.1 500 No\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000),
        drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0.001),
    ],
    ids=["silent", "slow-status", "slow-headers", "slow-body", "goes-on-and-on"],
)
def test_a_peer_that_takes_its_time_gets_no_more_than_was_given(
    serve: Serve, talk: Callable[[socket.socket], None]
) -> None:
    """A byte now and then prolongs nothing."""
    seconds, outcome = timed(request(serve(talk), 2.0))

    assert seconds < 20
    assert not outcome.taken  # type: ignore[attr-defined]
    assert not outcome.refused  # type: ignore[attr-defined]
    assert outcome.reached  # type: ignore[attr-defined]


def test_nobody_there_is_told_as_such() -> None:
    """And that nothing can have arrived."""
    seconds, outcome = timed(request(f"http://127.0.0.1:{free_port()}"))

    assert ("connection refused", False) == (outcome.why, outcome.reached)  # type: ignore[attr-defined]
    assert seconds < 20


def test_a_gigabyte_is_not_read(peer: Peer) -> None:
    """A few kilobytes of it are, if it says what is wrong."""
    sent = [0]

    def pour(handler: BaseHTTPRequestHandler, _got: Got) -> None:
        handler.send_response(400)
        handler.send_header("Content-Length", str(1 << 30))
        handler.end_headers()
        for _ in range(1 << 14):
            handler.wfile.write(b"x" * (1 << 16))
            sent[0] += 1 << 16

    peer.answer = pour
    seconds, outcome = timed(request(peer.url))
    time.sleep(0.2)

    assert outcome.refused  # type: ignore[attr-defined]
    assert len(outcome.why) < 5000  # type: ignore[attr-defined]
    assert seconds < 20
    assert sent[0] < 64 << 20


def test_nobody_is_followed_elsewhere(peer: Peer) -> None:
    """What is signed for one is not carried to another."""
    other = Peer()
    for status in (301, 302, 307, 308):
        peer.answer = answer(status, Location=f"{other.url}/stolen")
        outcome = post(request(peer.url))
        assert (False, True) == (outcome.taken, outcome.refused)
        assert f"answers {status}" in outcome.why
    other.close()

    assert [] == other.got


@pytest.mark.parametrize(
    ("status", "headers", "refused", "pause"),
    [
        (429, {"Retry-After": "17"}, False, 17.0),
        (503, {"Retry-After": "999999"}, False, 3600.0),
        (503, {"Retry-After": "nonsense"}, False, None),
        (500, {}, False, None),
        (408, {}, False, None),
        (400, {}, True, None),
        (404, {}, True, None),
        (410, {}, True, None),
    ],
)
def test_who_may_take_it_later_is_told_from_who_never_will(
    peer: Peer, status: int, headers: dict[str, str], refused: bool, pause: float | None
) -> None:
    peer.answer = answer(status, b'{"error": "no\x1b[31m"}', **headers)
    outcome = post(request(peer.url))

    assert (False, refused, pause) == (outcome.taken, outcome.refused, outcome.pause)
    assert "\x1b" not in outcome.why


def test_a_date_to_come_back_at_is_understood(peer: Peer) -> None:
    from email.utils import formatdate

    when = int(time.time()) + 120
    peer.answer = answer(429, Retry_After=formatdate(when, usegmt=True))
    pause = post(request(peer.url)).pause

    assert pause is not None
    assert when - time.time() <= pause <= 120


@pytest.mark.parametrize("said", [b"\x00\xff\xfe garbage\r\n\r\n", b"", b"HTTP/9.9 abc def\r\n\r\n", b"SSH-2.0-x\r\n"])
def test_who_does_not_speak_http_is_asked_again_later(serve: Serve, said: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(said)

    outcome = post(request(serve(talk) + "/secret/path", 1.0))

    assert (False, False) == (outcome.taken, outcome.refused)
    assert outcome.why
    assert "secret" not in outcome.why


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("169.254.169.254", True),
        ("fe80::1", True),
        ("fe80::1%eth0", True),
        ("::ffff:169.254.1.1", True),
        ("fd00:ec2::254", True),
        ("100.100.100.200", True),
        ("224.0.0.1", True),
        ("0.0.0.0", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("2001:db8::1", False),
    ],
)
def test_addresses_that_nothing_is_sent_to(address: str, refused: bool) -> None:
    assert refused == forbidden(address)


def test_a_name_that_leads_to_a_metadata_service_is_refused_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was looked at is what is connected to: the name is resolved once."""
    asked = []

    def resolve(host: str, port: int, **_: object) -> list[object]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    outcome = post(request("http://inside.example/latest"))

    assert (True, False) == (outcome.refused, outcome.reached)
    assert "inside.example (169.254.169.254) is an address of the own link" in outcome.why
    assert ["inside.example"] == asked


def test_whoever_must_can_allow_it(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loopback address stands for one that is forbidden; nothing is sent to a real one."""
    monkeypatch.setattr("triage.alert.post.forbidden", lambda _: True)

    assert post(request(peer.url)).refused
    assert post(request(peer.url, allow_link_local=True)).taken


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    key, made = folder / f"{name}.key", folder / f"{name}.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    words += ["-keyout", str(key), "-out", str(made), "-addext", f"subjectAltName=DNS:{name}"]
    subprocess.run(words, check=True, capture_output=True)
    return key, made


@pytest.fixture
def secure(tmp_path: Path, serve: Serve) -> tuple[str, Path, Path]:
    """A server with a certificate for localhost, that certificate, and one that it does not have."""
    key, made = certificate(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as inside:
            asked = b""
            while not asked.endswith(b"{}"):
                asked += inside.recv(65536)
            inside.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    return serve(talk).replace("http://", "https://"), made, certificate(tmp_path, "other")[1]


def test_a_certificate_is_checked(secure: tuple[str, Path, Path]) -> None:
    """Who signed it, and for whom."""
    url, good, other = secure
    named = url.replace("127.0.0.1", "localhost")

    assert post(request(named, ca=str(good))).taken
    assert "certificate" in post(request(named)).why
    assert "certificate" in post(request(named, ca=str(other))).why
    assert "certificate" in post(request(url, ca=str(good))).why


def test_a_proxy_is_gone_through(secure: tuple[str, Path, Path], serve: Serve, peer: Peer) -> None:
    """With CONNECT for https, so that it sees nothing; a metadata service is refused there too."""
    url, good, _ = secure
    asked: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        if not asked[-1].startswith(b"CONNECT"):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as beyond:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            threading.Thread(target=pump, args=(beyond, connection), daemon=True).start()
            pump(connection, beyond)

    proxy = serve(talk)
    named = url.replace("127.0.0.1", "localhost")

    assert post(request(named, ca=str(good), proxy=proxy)).taken
    assert asked[0].startswith(f"CONNECT {named[8:]} HTTP/1.".encode())
    assert post(request(f"{peer.url}/x", proxy=proxy)).taken
    assert asked[1].startswith(f"POST {peer.url}/x HTTP/1.1".encode())
    assert post(request("http://169.254.169.254/", proxy=proxy)).refused
    assert 2 == len(asked)


def test_a_proxy_that_refuses_is_told(serve: Serve) -> None:
    """It may let us through later."""

    def talk(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 9\r\n\r\nno entry")

    outcome = post(request("https://peer.example/", proxy=serve(talk)))

    assert (False, False, False) == (outcome.taken, outcome.refused, outcome.reached)
    assert "the proxy answers 407" == outcome.why


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
