"""A management controller that speaks Redfish, as the DMTF's mock-ups and BMCs in use shape it, over real HTTP.

It is started by a test on a free port of this machine.  `pages` are its
resources; `odd` makes a path answer in some hostile way.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

USER, PASSWORD = "reader", "s3cret-of-the-bmc"
Odd = Callable[["Handler"], None]


def stamp(ago: float, zone: str = "+00:00") -> str:
    hours = int(zone[:3]) if zone != "Z" else 0
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - ago + hours * 3600)) + zone


def link(path: str) -> dict[str, str]:
    return {"@odata.id": path}


def members(path: str, *names: str) -> dict[str, Any]:
    listed = [link(f"{path}/{name}") for name in names]
    return {"@odata.id": path, "Name": "Collection", "Members": listed, "Members@odata.count": len(names)}


def entry(number: int, message: str, severity: str = "Critical", ago: float = 600.0, **more: Any) -> dict[str, Any]:
    return {
        "@odata.id": f"/redfish/v1/Systems/1/LogServices/SEL/Entries/{number}",
        "@odata.type": "#LogEntry.v1_15_0.LogEntry",
        "Id": str(number), "Name": f"Log Entry {number}", "EntryType": "SEL", "Severity": severity,
        "Created": stamp(ago), "Message": message, "MessageId": "PSU0003", **more,
    }  # fmt: skip


def pages(*entries: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A server with one system, one manager, one chassis in the older form and one in the newer."""
    base = "/redfish/v1"
    chassis = f"{base}/Chassis"
    ok, bad = {"State": "Enabled", "Health": "OK"}, {"State": "Enabled", "Health": "Critical"}
    return {
        f"{base}/": {
            "@odata.id": f"{base}/", "RedfishVersion": "1.15.0",
            **{name: link(f"{base}/{name}") for name in ("Systems", "Managers", "Chassis")},
        },
        f"{base}/Systems": members(f"{base}/Systems", "1"),
        f"{base}/Systems/1": {
            "Id": "1", "PowerState": "On", "Status": {"State": "Enabled", "Health": "OK", "HealthRollup": "Critical"},
            "LogServices": link(f"{base}/Systems/1/LogServices"),
        },
        f"{base}/Systems/1/LogServices": members(f"{base}/Systems/1/LogServices", "SEL", "AuditLog"),
        f"{base}/Systems/1/LogServices/SEL": {
            "Id": "SEL", "Entries": link(f"{base}/Systems/1/LogServices/SEL/Entries"),
        },
        f"{base}/Systems/1/LogServices/AuditLog": {"Id": "AuditLog", "Entries": link(f"{base}/Audit")},
        f"{base}/Systems/1/LogServices/SEL/Entries": {
            "Name": "Log", "Members@odata.count": len(entries), "Members": list(entries),
        },
        f"{base}/Managers": members(f"{base}/Managers", "BMC"),
        f"{base}/Managers/BMC": {"Id": "BMC", "DateTime": stamp(0.0)},
        chassis: members(chassis, "1", "New"),
        f"{chassis}/1": {"Id": "1", "Power": link(f"{chassis}/1/Power"), "Thermal": link(f"{chassis}/1/Thermal")},
        f"{chassis}/1/Power": {
            "PowerSupplies": [{"Name": "PSU1", "Status": ok}, {"Name": "PSU2", "Status": bad},
                              {"Name": "PSU3", "Status": {"State": "Absent"}}]
        },
        f"{chassis}/1/Thermal": {
            "Fans": [{"Name": "Fan 1", "Status": ok}, {"FanName": "Fan 2", "Status": {"Health": "Warning"}}],
            "Temperatures": [{"Name": "Inlet", "ReadingCelsius": 24, "Status": ok},
                             {"Name": "GPU 3", "ReadingCelsius": 61.5, "Status": ok}],
        },
        f"{chassis}/New": {"Id": "New", "PowerSubsystem": link(f"{chassis}/New/PowerSubsystem")},
        f"{chassis}/New/PowerSubsystem": {"PowerSupplies": link(f"{chassis}/New/PowerSubsystem/PowerSupplies")},
        f"{chassis}/New/PowerSubsystem/PowerSupplies": members(f"{chassis}/New/PowerSubsystem/PowerSupplies", "Bay1"),
        f"{chassis}/New/PowerSubsystem/PowerSupplies/Bay1": {"Id": "Bay1", "Name": "Bay 1", "Status": ok},
    }  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    """Answers GET with the account it knows, and notes what was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        bmc: Bmc = self.server  # type: ignore[assignment]
        bmc.asked.append(self.path)
        right = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {right}":
            self.say(b"{}", 401)
        elif self.path in bmc.odd:
            bmc.odd[self.path](self)
        elif self.path in bmc.pages:
            self.say(json.dumps(bmc.pages[self.path]).encode())
        else:
            self.say(b"{}", 404)

    def say(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not on the test's output."""


class Bmc(ThreadingHTTPServer):
    """The server and what it was asked."""

    daemon_threads = True

    def __init__(self, told: dict[str, dict[str, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages, self.odd, self.asked = told, dict[str, Odd](), list[str]()

    def handle_error(self, *_: object) -> None:
        """A client that goes away is what is tested."""


@contextmanager
def running(told: dict[str, dict[str, Any]], certificate: Path | None = None) -> Iterator[Bmc]:
    with Bmc(told) as bmc:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            bmc.socket = context.wrap_socket(bmc.socket, server_side=True)
        thread = threading.Thread(target=bmc.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield bmc
        finally:
            bmc.shutdown()
            thread.join()


def certify(folder: Path) -> Path:
    """A certificate of its own for 127.0.0.1, with its key, as a BMC comes with."""
    made = folder / "bmc.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3 -subj /CN=bmc"
    subprocess.run(
        [*words.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    made.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return made
