"""How the power supplies, fans and temperatures of the machine stand, as its management controller (BMC) says.

`ipmitool sdr elist` reads the sensors' records first, which takes seconds over
the slow line to the controller, so only who has patience asks; and on a
controller without such records it erases its repository, so that is asked
before.  Nothing is changed.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

from probes import bmc
from probes.model import NODE, Reading, Source
from probes.named import NamedTuple

ORIGIN = "ipmitool sdr elist"
MOST = 1024
GRADES = frozenset({"ok", "warning", "critical"})
_STATES = {"ok": "ok", "nc": "warning", "unc": "warning", "lnc": "warning"} | dict.fromkeys(
    ("cr", "nr", "ucr", "lcr", "unr", "lnr"), "critical"
)
_SUPPLY = 10  # the entity of a power supply (IPMI 2.0, table 43-13)
_LINE = re.compile(r"(.{1,64}?)\s*\| ([0-9A-F]{2})h \| ([a-z]{2,3})\s*\|\s*(\d{1,3})\.(\d{1,3})\s*\| ?(.{0,200})\Z")
_FAILED = re.compile(r"Failure detected|AC lost|out-of-range|Predictive failure|Config Error", re.IGNORECASE)


class Part(NamedTuple):
    """One power supply, fan or temperature: how it stands, and for a temperature the degrees."""

    kind: str
    name: str
    grade: str
    celsius: Optional[float] = None


def probe(until: float, root: Path, ask: Sequence[str]) -> Optional[tuple[list[Reading], Source]]:
    """Read the sensors until `until` (monotonic seconds); None where there is no IPMI device that we may open.

    `ask` is how ipmitool is called: its path and options.
    """
    if not any(os.access(root / name, os.R_OK | os.W_OK) for name in bmc.DEVICES):
        return None
    began = time.time()
    lines, cut = bmc.run([*ask, "sdr", "info"], until)
    matches = (re.match(r"Record Count\s*: (\d{1,5})\s*\Z", line) for line in lines)
    if not next((int(match[1]) for match in matches if match), 0):
        why = cut or "the BMC has no records of its sensors"
        return [], Source("bmc-sensors", ORIGIN, False, began, time.time(), reason=why)
    lines, cut = bmc.run([*ask, "sdr", "elist"], until)
    at = time.time()
    told = list(readings([part for part in map(parse, lines[:MOST]) if part is not None], at))
    reason = cut or (None if told else "the BMC tells of no power supply, fan or temperature")
    return told, Source("bmc-sensors", ORIGIN, bool(told), began, at, len(told), reason=reason)


def parse(line: str) -> Optional[Part]:
    """Return the part that a line of `sdr elist` is about, or None if it is of no kind that is looked at."""
    match = _LINE.match(line)
    if match is None:
        return None
    name, _, state, entity, _, said = match.groups()
    name = "".join(sign if sign.isprintable() else "?" for sign in name)
    degrees = re.match(r"(-?\d{1,4}(?:\.\d+)?) degrees C\b", said)
    if degrees is not None:
        celsius = float(degrees[1])
        return Part("temperature", name, _STATES.get(state, "unknown"), celsius if -60.0 <= celsius <= 200.0 else None)
    if re.match(r"\d+(?:\.\d+)? RPM\b", said):
        return Part("fan", name, _STATES.get(state, "unknown"))
    if int(entity) == _SUPPLY and "Presence detected" in said:  # a discrete sensor is ok whatever it says
        return Part("power-supply", name, "critical" if _FAILED.search(said) else _STATES.get(state, "unknown"))
    return None


def readings(parts: Sequence[Part], at: float) -> Iterator[Reading]:
    """How many of each kind are not well, and which; nothing of a kind that the controller does not tell."""
    for kind, many in (("power-supply", "power-supplies"), ("fan", "fans"), ("temperature", "temperatures")):
        graded = [part for part in parts if part.kind == kind and part.grade in GRADES]
        if not graded:
            continue
        bad = sorted({part.name for part in graded if part.grade == "critical"})
        yield Reading(NODE, f"bmc.{many}", len(graded), "count", at)
        yield Reading(NODE, f"bmc.{many}.critical", len(bad), "count", at)
        yield Reading(NODE, f"bmc.{many}.warning", sum(part.grade == "warning" for part in graded), "count", at)
        if bad:
            yield Reading(NODE, f"bmc.{many}.which", ", ".join(bad)[:200], "text", at)
    degrees = [part.celsius for part in parts if part.celsius is not None]
    if degrees:
        yield Reading(NODE, "bmc.temperature.highest", max(degrees), "celsius", at)
