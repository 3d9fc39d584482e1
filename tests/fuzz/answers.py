"""Targets that are answers: of the nodes of a sweep, its folder, and the programs and controllers that are asked."""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from probes import bmc, bmc_sensors, dcgm, dcgm_diag, redfish
from probes.carry import BEGIN, END, FAILED
from probes.model import LogRecord, Reading
from probes.redfish_http import Refused
from tests.fuzz.single import NOW, _plain, _reading, _record
from triage.fleet import model, sweep
from triage.fleet.ways import Raw

_PLACES = {0: "0000:4e:00.0", 1: "0000:9d:00.0"}
_FRAMED, _SAID, _FOLDER = range(3)
"""What the first byte of an input for `remote` makes of the rest: a capture between its marks, output, a manifest."""


def remote(data: bytes) -> None:
    """What a node prints when a sweep asks it, and the folder of a sweep that somebody else wrote."""
    kind, rest = data[0] % 3 if data else _SAID, data[1:]
    if kind == _FOLDER:
        _folder(rest)
        return
    output = rest
    if kind == _FRAMED:
        output = b"\n".join((BEGIN.encode(), base64.b64encode(rest), END.encode(), b""))
    for status in (0, 1, None):
        came = sweep.judge("n1", Raw(output, rest[:200], status, False, False, 1.0), 10.0)
        assert came.state in model.STATES
        assert (came.state == model.ANSWERED) == (came.reason is None) == (came.capture is not None), came
        assert not (came.reason or "").startswith("internal error"), came.reason
        _plain(came.reason)


def _folder(manifest: bytes) -> None:
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / sweep.FILE).write_bytes(manifest)
        try:
            told = sweep.kept(Path(place))
        except ValueError:
            return
        assert told is not None
        sweep.key_of(told.manifest)
        for answer in told.silent:
            assert answer.state in model.STATES
            _plain(answer.reason)


def programs(data: bytes) -> None:
    """What dcgmi and ipmitool print, and what a controller answers over Redfish."""
    text = data.decode("utf-8", "replace")
    _told(*(dcgm.printed(text, NOW, _PLACES) or ((), ())))
    ran = dcgm_diag.parse(text)
    if ran is not None:
        _told(dcgm_diag.readings(ran, NOW, _PLACES), dcgm_diag.records(ran, NOW, _PLACES))
    lines = text.split("\n")
    _told((), (record for record in map(bmc.parse, lines) if record is not None))
    parts = [part for part in map(bmc_sensors.parse, lines) if part is not None]
    _told(bmc_sensors.readings(parts, NOW), ())
    try:
        pages = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(pages, dict):
        _controller(pages)


def _controller(pages: dict[str, Any]) -> None:
    def page(path: str) -> dict[str, Any]:
        if not isinstance(pages.get(path), dict):
            raise Refused("there is no such page")
        found: dict[str, Any] = pages[path]
        return found

    told = redfish.tell(page, NOW)
    _told(told.readings, told.records)
    for source in told.sources:
        _plain(source.reason)


def _told(readings: Iterable[Reading], records: Iterable[LogRecord]) -> None:
    for reading in readings:
        _reading(reading)
    for record in records:
        _record(record)


TARGETS: dict[str, Callable[[bytes], None]] = {target.__name__: target for target in (remote, programs)}

_HEALTH = {
    "body": {
        "Overall Health": {"value": "Failure"},
        "GPU": {"children": {"0": {"value": "Failure", "children": {"Errors": {"children": {
            "Memory system": {"value": "Failure", "overflow": ["Detected 1 uncorrectable", "volatile ECC error"]}}}}}}},
    }
}  # fmt: skip
_DIAGNOSTIC = {
    "DCGM Diagnostic": {"test_categories": [{"category": "Hardware", "tests": [{"name": "memory", "results": [
        {"entity_group": "GPU", "entity_id": 0, "status": "Fail", "warnings": [{"error_id": 52}]}]}]}]},
    "metadata": {"version": "4.2.0"}, "entity_groups": [{"entity_group": "GPU", "entities": [
        {"entity_id": 0, "serial_num": "1"}]}],
}  # fmt: skip
_ROOT = "/redfish/v1/"
_PAGES = {
    _ROOT: {name: {"@odata.id": f"/{name}"} for name in ("Systems", "Managers", "Chassis")},
    "/Systems": {"Members": [{"Id": "1", "Status": {"Health": "OK"}, "LogServices": {"@odata.id": "/l"}}]},
    "/l": {"Members": [{"Id": "SEL", "Entries": {"@odata.id": "/e"}}]},
    "/e": {"Members@odata.count": 1, "Members": [{"Id": "1", "Message": "lost", "Severity": "Critical",
                                                 "Created": "2026-11-26T17:50:00+01:00"}]},
    "/Managers": {"Members": [{"Id": "B", "DateTime": "2026-11-26T17:50:00Z"}]},
    "/Chassis": {"Members": [{"Id": "1", "Thermal": {"@odata.id": "/t"}}]},
    "/t": {"Temperatures": [{"Name": "Inlet", "ReadingCelsius": 24, "Status": {"Health": "OK"}}]},
}  # fmt: skip
_LINES = (
    b"   1 | 11/26/2026 | 17:50:00 UTC | Fan #0x30 | Lower Critical going low  | Asserted\n"
    b"   4 |  Pre-Init  |0000041303| Memory | ECC\n"
    b"Inlet Temp       | 04h | ok  |  7.1 | 24 degrees C\n"
    b"FAN1             | 41h | ns  | 29.1 | 4800 RPM\n"
    b"PSU 2            | 64h | cr  | 10.2 | Presence detected, AC lost\n"
)
_MANIFEST = {"kind": "sweep", "schema_version": 1, "asked": ["n1", "n2"], "complete": True,
             "nodes": [{"node": "n1", "state": "timed-out", "reason": "no answer"}]}  # fmt: skip


def seeds(name: str) -> Iterator[bytes]:
    """Yield the seeds of a target of `answers`."""
    if name == "remote":
        capture = Path(__file__).parents[1] / "fixtures" / "h200-healthy-redacted.tar.gz"
        yield bytes([_FRAMED]) + capture.read_bytes()
        yield bytes([_SAID]) + f"{FAILED} old-python 3.6.8\n".encode()
        yield bytes([_SAID]) + b"ssh: connect to host n1 port 22: Connection refused\r\n"
        yield bytes([_FOLDER]) + json.dumps(_MANIFEST).encode()
    else:
        yield from (json.dumps(each).encode() for each in (_HEALTH, _DIAGNOSTIC, _PAGES))
        yield _LINES
