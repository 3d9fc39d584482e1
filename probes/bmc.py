"""The event log of the management controller (BMC), which goes on when the host does not.

`ipmitool sel list` is asked, not `sel elist` nor `sdr`: those read the sensors'
records first, which takes seconds over the slow line to the controller, and on
a controller without such records ipmitool erases its repository (see
`probes.bmc_sensors`).  This asks for entries and for the controller's clock, and
changes nothing.
"""

from __future__ import annotations

import os
import re
import time
from calendar import timegm
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from probes import bounded
from probes.model import NODE, NOT_INSTALLED, LogRecord, Missing, Reading, Source, Value
from probes.named import NamedTuple

ENTRIES = 100
"""The newest so many entries are read; each takes some 10 ms over KCS."""
IDENTIFIER = "bmc-sel"
"""What the records say wrote them."""
ORIGIN = "ipmitool sel list"
DEVICES = ("dev/ipmi0", "dev/ipmi/0", "dev/ipmidev/0")
RECENT = 7 * 86400.0
"""Seconds for which an entry can bear on what a node does now; the log goes back for years."""
OWN_CLOCK = 60.0
"""Seconds by which the clocks may differ before it is said."""
_LARGEST = 1 << 20
_TEXT = 512
_LINE = re.compile(r"\s*([0-9a-fA-F]{1,4}) \|\s*([^|]{0,40}?)\s*\|\s*([^|]{0,40}?)\s*\| ?(.{1,1000})")


class Told(NamedTuple):
    """What the controller said."""

    readings: list[Reading]
    records: list[LogRecord]
    source: Source


def probe(until: float, root: Path, ask: Sequence[str]) -> Optional[Told]:
    """Read the log until `until` (monotonic seconds); None where there is no IPMI device.

    `ask` is how ipmitool is called: its path and options.
    """
    device = next((name for name in DEVICES if (root / name).exists()), None)
    if device is None:
        return None
    if not os.access(root / device, os.R_OK | os.W_OK):
        closed = f"/{device} may be opened by root only; run as root"
        return Told([], [], Source("bmc", f"/{device}", False, reason=closed))
    began = time.time()
    lines, cut = run([*ask, "sel", "list", "last", str(ENTRIES)], until)
    offset = _offset(ask, until)
    shift = offset if isinstance(offset, float) and abs(offset) > OWN_CLOCK else 0.0
    records = [record for record in (parse(line, shift) for line in lines) if record is not None]
    at = time.time()
    readings = [
        Reading(NODE, "bmc.clock-offset", offset, "seconds", at),
        Reading(NODE, "bmc.events", Missing(f"error:{cut}") if cut and not records else len(records), "count", at),
    ]
    reason = f"the event log of the BMC: {cut}" if cut else None
    if shift and records:
        ahead = "ahead of" if shift > 0 else "behind"
        told = f"the BMC's clock is {abs(shift):.0f} s {ahead} this node's, and its times were set right by that"
        reason = f"{reason}; {told}" if reason else told
    dated = [record for record in records if record.at is not None and at - record.at <= RECENT]
    timeless = sum(record.at is None for record in records)
    if timeless:
        told = f"{timeless} entries have no time and were left out; set the BMC's clock"
        reason = f"{reason}; {told}" if reason else told
    known = [record.at for record in dated if record.at is not None]
    readable = cut is None or bool(records)
    return Told(
        readings, dated, Source("bmc", ORIGIN, readable, min(known, default=began), at, len(dated), reason=reason)
    )


def parse(line: str, shift: float = 0.0) -> Optional[LogRecord]:
    """Return an entry of `sel list` as a record, or None if it is none.

    `shift` is by how many seconds the controller's clock is ahead.  An entry from
    before that clock was set (`Pre-Init`) has no time.
    """
    match = _LINE.match(line)
    if match is None:
        return None
    number, day, clock, said = match.groups()
    text = " | ".join(part.strip() for part in said.split("|"))
    at = _time(day, clock)
    clean = "".join(sign if sign.isprintable() else "?" for sign in text)[:_TEXT]
    return LogRecord(
        clean,
        at=None if at is None else at - shift,
        identifier=IDENTIFIER,
        kernel=False,
        origin=ORIGIN,
        line=int(number, 16),
        text=clean,
    )


def _time(day: str, clock: str) -> Optional[float]:
    """UTC seconds of `11/26/2026` (or `11/26/26`) and `17:50:00` with or without a zone."""
    match = re.match(r"(\d{2})/(\d{2})/(\d{4}|\d{2}) (\d{2}):(\d{2}):(\d{2})(?: UTC)?\Z", f"{day} {clock}")
    if match is None:
        return None
    month, date, year, hour, minute, second = map(int, match.groups())
    try:
        return float(timegm((year + 2000 if year < 100 else year, month, date, hour, minute, second)))
    except (ValueError, OverflowError):
        return None


def _offset(ask: Sequence[str], until: float) -> Value:
    """By how many seconds the controller's clock is ahead of ours."""
    lines, cut = run([*ask, "sel", "time", "get"], until)
    at = time.time()
    for line in lines:
        day, _, clock = line.strip().partition(" ")
        told = _time(day, clock)
        if told is not None:
            return told - at
    return Missing(f"error:{cut}" if cut else "error:no clock")


def run(words: Sequence[str], until: float) -> tuple[list[str], Optional[str]]:
    """The lines of a call of ipmitool with times in UTC, and why they are not all."""
    env = bounded.find_program("env")
    if env is None:
        return [], NOT_INSTALLED
    run = bounded.Run([env, "TZ=UTC0", "LC_ALL=C", *words], until, _LARGEST)
    try:
        lines = [line.decode("utf-8", "replace") for line in run.lines()]
    except OSError as failure:
        return [], failure.strerror or str(failure)
    if run.cut is not None:
        return lines, run.cut
    if run.status:
        said = " ".join(run.errors.decode("utf-8", "replace").split())[-160:]
        return lines, "".join(
            sign if sign.isprintable() else "?" for sign in said
        ) or f"ipmitool ended with {run.status}"
    return lines, None
