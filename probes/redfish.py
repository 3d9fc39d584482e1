"""What the management controller (BMC) says over Redfish: its event log, and how its sensors stand.

Only where the user configured an account.  Of each log the newest entries are
read, of the chassis the power supplies, fans and temperatures; both forms are
understood, `Power` and `Thermal`, and the subsystems that replaced them.
Nothing but GET is ever sent.
"""

from __future__ import annotations

import re
import time
from calendar import timegm
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit

from probes.bmc_sensors import Part, readings
from probes.model import NODE, LogRecord, Missing, Reading, Source
from probes.named import NamedTuple
from probes.redfish_http import Account, Refused, Session, account

IDENTIFIER = "redfish"
"""What the records say wrote them."""
ORIGIN = "redfish"
"""Not the controller's name, which would give the site away in a capture."""
RECENT = 7 * 86400.0
OWN_CLOCK = 60.0
"""Seconds by which the clocks may differ before it is said."""
ENTRIES = 100
"""Entries of one log that are read, the newest."""
ALONE = 24
"""Entries that are fetched one by one, where a list names them only."""
PARTS = 8
"""Members of a list of systems, chassis or power supplies that are looked at."""
_NOT_HARDWARE = re.compile(
    r"audit|dump|post|journal|lclog|lifecycle|console|crash|security|debug|iel|syslog|hostlogger|callhome|faultlog",
    re.IGNORECASE,
)
_TEXT = 512
_GRADES = {"ok": "ok", "warning": "warning", "critical": "critical"}
_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?\Z")


class Told(NamedTuple):
    """What the controller said."""

    readings: list[Reading]
    records: list[LogRecord]
    sources: list[Source]


def probe(until: float, root: Path) -> Optional[Told]:
    """Ask the controller until `until` (monotonic seconds); None where no account is configured."""
    began = time.time()
    try:
        found = account(root)
    except Refused as refused:
        return Told([], [], [Source("redfish", "/etc/gpu-triage/redfish", False, reason=str(refused))])
    return None if found is None else ask(found, min(until, time.monotonic() + found.wait), began)


def ask(found: Account, until: float, began: float) -> Told:
    """Read everything that is wanted of one controller; what fails is said, and the rest is told."""
    with Session(found, until) as session:
        return tell(session.get, began)


def tell(resource: Callable[[str], dict[str, Any]], began: float) -> Told:
    """Tell what the resources say, each got by its path; a resource that cannot be got raises `Refused`."""
    failures: list[str] = []
    walk = _Walk(resource, failures)
    top = walk.get("/redfish/v1/")
    if not top:
        reason = failures[0] if failures else "it is no Redfish service"
        return Told([], [], [Source("redfish", ORIGIN, False, began, time.time(), reason=reason)])
    managers = list(walk.members(top.get("Managers")))
    shift = next((offset for each in managers if (offset := _offset(each)) is not None), 0.0)
    systems = list(walk.members(top.get("Systems")))
    entries = [entry for each in (*systems, *managers) for entry in walk.log(each)]
    parts = [part for each in walk.members(top.get("Chassis")) for part in walk.parts(each)]
    at = time.time()
    records = [record for record in (_record(e, shift) for e in entries) if record is not None]
    dated = sorted((r for r in records if r.at is not None and at - r.at <= RECENT), key=lambda r: (r.at, r.message))
    timeless = sum(record.at is None for record in records)
    if timeless:
        failures.append(f"{timeless} entries have no time and were left out; set the BMC's clock")
    if abs(shift) > OWN_CLOCK and dated:
        ahead = f"{abs(shift):.0f} s {'ahead of' if shift > 0 else 'behind'}"
        failures.append(f"the BMC's clock is {ahead} this node's, and its times were set right by that")
    told = [*readings(parts, at), *_healths(systems, at), Reading(NODE, "redfish.events", len(records), "count", at)]
    first = min((record.at for record in dated if record.at is not None), default=began)
    lines = [record._replace(line=number) for number, record in enumerate(dated, 1)]
    why = "; ".join(dict.fromkeys(failures))[:400] or None
    return Told(told, lines, [Source("redfish", ORIGIN, True, first, at, len(lines), reason=why)])


class _Walk:
    """The tree of resources, read as far as it can be; a part that fails is said once and left out."""

    def __init__(self, resource: Callable[[str], dict[str, Any]], failures: list[str]) -> None:
        self._resource, self._failures = resource, failures
        self._known: dict[str, dict[str, Any]] = {}

    def get(self, path: Any) -> dict[str, Any]:
        if not isinstance(path, str):
            return {}
        if path not in self._known:
            try:
                self._known[path] = self._resource(path)
            except Refused as refused:
                self._known[path] = {}
                self._failures.append(str(refused))
        return self._known[path]

    def linked(self, of: dict[str, Any], name: str) -> dict[str, Any]:
        """The resource that a property points to."""
        return self.get(_id(of.get(name)))

    def members(self, link: Any, most: int = PARTS) -> Iterator[dict[str, Any]]:
        """The members of a list, each fetched unless it stands there whole."""
        for member in _dicts(self.get(_id(link)).get("Members"))[:most]:
            yield member if len(member) > 1 else self.get(_id(member))

    def log(self, of: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The newest entries of the logs of a system or manager that tell of hardware."""
        for service in self.members(of.get("LogServices")):
            if not _NOT_HARDWARE.search(str(service.get("Id"))) and service.get("ServiceEnabled") is not False:
                yield from self._entries(_id(service.get("Entries")))

    def _entries(self, path: Optional[str]) -> Iterator[dict[str, Any]]:
        page = self.get(path)
        members, count, following = _dicts(page.get("Members")), page.get("Members@odata.count"), _next(page)
        if path and following and isinstance(count, int) and count > len(members) and _oldest_first(members):
            members = _dicts(self.get(f"{path}?$skip={max(0, count - ENTRIES)}").get("Members")) or members
        newest = members[-ENTRIES:] if _oldest_first(members) else members[:ENTRIES]
        whole = [entry for entry in newest if len(entry) > 1]
        yield from whole
        alone = [entry for entry in newest if len(entry) == 1]
        for entry in alone[-ALONE:]:
            yield self.get(_id(entry))

    def parts(self, chassis: dict[str, Any]) -> Iterator[Part]:
        """The power supplies, fans and temperatures of a chassis."""
        power, thermal = self.linked(chassis, "Power"), self.linked(chassis, "Thermal")
        supplies = _dicts(power.get("PowerSupplies"))
        fans, temperatures = _dicts(thermal.get("Fans")), _dicts(thermal.get("Temperatures"))
        if not power:
            supplies = list(self.members(self.linked(chassis, "PowerSubsystem").get("PowerSupplies")))
        if not thermal:
            fans = list(self.members(self.linked(chassis, "ThermalSubsystem").get("Fans"), 2 * PARTS))
        for kind, found in (("power-supply", supplies), ("fan", fans), ("temperature", temperatures)):
            for each in found[:256]:
                part = _part(kind, each)
                if part is not None:
                    yield part


def _part(kind: str, told: dict[str, Any]) -> Optional[Part]:
    status = told.get("Status")
    status = status if isinstance(status, dict) else {}
    if str(status.get("State")).lower() in ("absent", "disabled", "unavailableoffline"):
        return None
    name = told.get("Name") or told.get("FanName") or told.get("MemberId") or told.get("Id")
    celsius = told.get("ReadingCelsius")
    number = celsius if isinstance(celsius, (int, float)) and not isinstance(celsius, bool) else None
    grade = _GRADES.get(str(status.get("Health")).lower())
    if grade is None and number is None:
        return None
    sane = float(number) if number is not None and -60 <= number <= 200 else None  # a huge one has no float
    return Part(kind, _clean(name)[:60] if isinstance(name, str) else kind, grade or "unknown", sane)


def _healths(systems: list[dict[str, Any]], at: float) -> Iterator[Reading]:
    for system in systems[:1]:
        status = system.get("Status")
        told = status.get("HealthRollup") or status.get("Health") if isinstance(status, dict) else None
        grade = _GRADES.get(str(told).lower())
        yield Reading(NODE, "redfish.health", grade or Missing("not-supported"), "text", at)


def _record(entry: dict[str, Any], shift: float) -> Optional[LogRecord]:
    """An entry as one line: how bad it is, what it is of, and what it says."""
    said = entry.get("Message") or entry.get("Name")
    grade = _GRADES.get(str(entry.get("Severity") or entry.get("MessageSeverity")).lower())
    if not isinstance(said, str) or grade is None:
        return None
    kind = entry.get("MessageId") or entry.get("SensorType") or entry.get("EntryType")
    began = str(entry.get("EntryCode") or "")
    over = "deasserted" if began.lower().startswith("deassert") or entry.get("Resolved") is True else "asserted"
    of = _clean(kind)[:80].replace("|", "/") if isinstance(kind, str) else "-"
    line = f"redfish: {grade} | {of} | {over} | {_clean(said)}"[:_TEXT]
    at = moment(entry.get("EventTimestamp") or entry.get("Created"))
    return LogRecord(
        line, None if at is None else at - shift, identifier=IDENTIFIER, kernel=False, origin=ORIGIN, text=line
    )


def _offset(manager: dict[str, Any]) -> Optional[float]:
    """By how many seconds the controller's clock is ahead of ours; 0 where it is not worth a word."""
    at = moment(manager.get("DateTime"))
    if at is None:
        return None
    off = at - time.time()
    return off if abs(off) > OWN_CLOCK else 0.0


def moment(text: Any) -> Optional[float]:
    """UTC seconds of `2026-11-26T17:50:00+01:00`; None for a clock that was not set."""
    match = _STAMP.match(text) if isinstance(text, str) else None
    if match is None:
        return None
    *numbers, zone = match.groups()
    try:
        at = float(timegm(tuple(map(int, numbers))))
    except (ValueError, OverflowError):
        return None
    if zone and zone != "Z":
        minutes = int(zone[1:3]) * 60 + int(zone[-2:])
        at -= (minutes if zone[0] == "+" else -minutes) * 60
    return at if at > 946684800.0 else None  # before the year 2000: since the controller started


def _oldest_first(members: list[dict[str, Any]]) -> bool:
    times = [at for at in (moment(member.get("Created")) for member in members) if at is not None]
    if len(times) > 1:
        return times[0] <= times[-1]
    numbers = re.findall(r"(\d+)/?\Z", " ".join(str(_id(m)) for m in (members[:1] + members[-1:])))
    return len(numbers) < 2 or int(numbers[0]) <= int(numbers[-1])


def _next(page: dict[str, Any]) -> Optional[str]:
    link = page.get("Members@odata.nextLink") or page.get("@odata.nextLink")
    return urlsplit(link).path if isinstance(link, str) else None


def _id(link: Any) -> Optional[str]:
    told = link.get("@odata.id") if isinstance(link, dict) else None
    return told if isinstance(told, str) else None


def _dicts(told: Any) -> list[dict[str, Any]]:
    return [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []


def _clean(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text[: 4 * _TEXT]).split())
