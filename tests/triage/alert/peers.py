"""Those who are alerted: a server that writes down what it gets and answers as it is told, and a real Alertmanager."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.patience import WITHIN, until
from tests.ports import free_port

Json = dict[str, Any]


class Got(NamedTuple):
    """A request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[BaseHTTPRequestHandler, Got], None]


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    """Answer with this."""

    def send(handler: BaseHTTPRequestHandler, _got: Got) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return send


class Peer:
    """A server on the loopback address; `answer` is what it does next, `got` what it was sent."""

    def __init__(self, port: int = 0) -> None:
        self.got: list[Got] = []
        self.answer: Answer = answer(202, b"{}")
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                got = Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                peer.got.append(got)
                try:
                    peer.answer(self, got)
                except OSError:  # whom it answers has hung up
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            request_queue_size = 256  # an Alertmanager that was away tells everything at once

        self._server = Server(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Alertmanager:
    """The real one, which tells `receiver`; it can be started and stopped."""

    def __init__(self, program: str, folder: Path, receiver: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        config = folder / "alertmanager.yml"
        config.write_text(
            "route: {receiver: test, group_by: ['...'], group_wait: 100ms, group_interval: 200ms,"
            " repeat_interval: 4h}\n"
            f"receivers: [{{name: test, webhook_configs: [{{url: '{receiver}', send_resolved: true}}]}}]\n"
        )
        self._words = [
            program,
            f"--config.file={config}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]

    def start(self) -> None:
        self._process = subprocess.Popen(self._words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._ready)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=WITHIN):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def alerts(self) -> list[Json]:
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=WITHIN) as said:
            return list(json.load(said))


def told(peer: Peer) -> list[tuple[str, str]]:
    """Return what Alertmanager told the receiver: state and fingerprint of each alert, in order."""
    alerts = [alert for got in list(peer.got) for alert in got.json["alerts"]]
    return [(alert["status"], alert["labels"]["fingerprint"]) for alert in alerts]
