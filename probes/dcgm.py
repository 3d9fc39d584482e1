"""What a running DCGM says of the GPUs' health.

Only what its daemon has watched already is asked (`dcgmi health -c`), and a
result of its diagnostic that was kept is read: no watch is set and no
diagnostic is started, for those load the GPUs.  GPUs have numbers of DCGM's
own, which `dcgmi discovery -l` turns into PCI addresses.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from probes import bounded, dcgm_diag
from probes.model import NODE, Entity, LogRecord, Missing, Reading, Source, Value
from probes.named import NamedTuple
from probes.pci import normal_address

DAEMON = "nv-hostengine"
ORIGIN = "dcgmi health -c"
MAX_GPUS = 64
SYSTEMS = (
    "PCIe system", "NVLINK system", "PMU system", "MCU system", "Memory system", "SM system", "InfoROM system",
    "Thermal system", "Power system", "Driver", "ConnectX system",
)  # fmt: skip
"""As dcgmi/Health.cpp of DCGM names them."""
NO_WATCH = "Health watches not enabled"
"""How dcgmi says that its daemon was told to watch nothing; such a DCGM cannot know."""
_LARGEST = 4 << 20
_TEXT = 1024


class Told(NamedTuple):
    """What DCGM said."""

    readings: list[Reading]
    records: list[LogRecord]
    sources: list[Source]


def probe(until: float, root: Path, ask: Sequence[str]) -> Optional[Told]:
    """Ask DCGM until `until` (monotonic seconds); None where its daemon does not run and no result was kept.

    `ask` is how dcgmi is called.  A result of the diagnostic is read, never made.
    """
    result = dcgm_diag.kept(root)
    if not _runs(root / "proc") or not ask:
        if result is None:
            return None
        readings, records, source = dcgm_diag.probe(result, {})
        return Told(readings, records, [source])
    told, places = _health(until, ask, result is not None)
    if result is None:
        return told
    readings, records, source = dcgm_diag.probe(result, places)
    return Told([*told.readings, *readings], [*told.records, *records], [*told.sources, source])


def _health(until: float, ask: Sequence[str], places_wanted: bool) -> tuple[Told, dict[int, str]]:
    """What its watches say, and the PCI addresses of its numbers as far as they were needed."""
    began = time.time()
    said, cut = _run([*ask, "health", "-c", "-j"], until)
    at = time.time()
    if cut is None and NO_WATCH in said:
        cut = "it watches nothing; dcgmi health -s a has it watch the GPUs"
    told = None if cut else parse(said)
    if told is None:
        why = cut or "its answer was not understood; update gpu-triage"
        missing = [Reading(NODE, "dcgm.health", Missing(f"error:{why}"), "text", at)]
        places = _addresses([*ask, "discovery", "-l"], until)[0] if places_wanted else {}
        return Told(missing, [], [Source("dcgm", ORIGIN, False, began, at, 0, reason=why)]), places
    overall, gpus = told
    places, lost = _addresses([*ask, "discovery", "-l"], until) if gpus or places_wanted else ({}, None)
    readings = _readings(overall, gpus, places, at)
    if not any(reading.name.startswith("dcgm.gpu-") for reading in readings):
        lost = None
    # A healthy GPU is not named by dcgmi; that it was looked at is said too.
    source = Source("dcgm", ORIGIN, True, began, at, len(readings), reason=lost)
    return Told(readings, [*_records(gpus, places, at)], [source]), places


def printed(text: str, at: float, places: Mapping[int, str]) -> Optional[tuple[list[Reading], list[LogRecord]]]:
    """Return the readings and records of what `dcgmi health -c -j` printed elsewhere; None if it is not that."""
    told = parse(text)
    return None if told is None else (_readings(*told, places, at), [*_records(told[1], places, at)])


def _readings(
    overall: Value, gpus: Mapping[int, Mapping[str, str]], places: Mapping[int, str], at: float
) -> list[Reading]:
    readings = [Reading(NODE, "dcgm.health", overall, "text", at)]
    for number, found in gpus.items():
        entity = Entity("gpu", pci=places[number]) if number in places else NODE
        prefix = "dcgm" if number in places else f"dcgm.gpu-{number}"
        readings += [Reading(entity, f"{prefix}.{name}", value, "text", at) for name, value in found.items()]
    return readings


def _records(gpus: Mapping[int, Mapping[str, str]], places: Mapping[int, str], at: float) -> Iterator[LogRecord]:
    """A record of each complaint, which patterns can match: dcgmi tells no numbers of errors here."""
    line = 0
    for number, found in gpus.items():
        for name, text in found.items():
            system, _, what = name.rpartition(".")
            if what == "error" and text:
                line += 1
                who = dcgm_diag.where("gpu", number, places)
                words = " | ".join((f"dcgm health: {who}", system, found[f"{system}.health"], "-", text))
                yield LogRecord(
                    words, at, identifier=dcgm_diag.IDENTIFIER, kernel=False, origin=ORIGIN, line=line, text=words
                )


def parse(said: str) -> Optional[tuple[Value, dict[int, dict[str, str]]]]:
    """Return the overall health and, by DCGM's number, what it says of each GPU that is not well; None if unsound.

    The words are `healthy`, `warning` and `failure`.  Of a GPU there are `health`, and for each
    system that is not well `SYSTEM.health` and `SYSTEM.error`, the latter as DCGM words it.
    """
    body = (dcgm_diag.first_object(said) or {}).get("body")
    if not isinstance(body, dict):
        return None
    overall = _word(_value(body.get("Overall Health")))
    if overall is None:
        return None
    gpus: dict[int, dict[str, str]] = {}
    for number, each in list(_children(body.get("GPU")).items())[:MAX_GPUS]:
        if not number.isdecimal() or len(number) > 6:
            continue
        found: dict[str, str] = {"health": _word(_value(each)) or "unknown"}
        for system, error in _children(_children(each).get("Errors")).items():
            if system not in SYSTEMS:
                continue
            name = system.split()[0].lower()
            words = [text for text in _texts(error) if text]
            found[f"{name}.health"] = (words and _word(words[0])) or "unknown"
            found[f"{name}.error"] = " ".join(words[1:])[:_TEXT]
        gpus[int(number)] = found
    return overall, gpus


def _children(node: Any) -> Mapping[str, Any]:
    """The nodes below one: dcgmi puts them into `children`, and older ones beside the value."""
    if not isinstance(node, dict):
        return {}
    below = node.get("children", node)
    return {str(name): each for name, each in below.items() if name != "value"} if isinstance(below, dict) else {}


def _value(node: Any) -> Optional[str]:
    value = node.get("value") if isinstance(node, dict) else node
    return value if isinstance(value, str) else None


def _texts(node: Any) -> Iterator[str]:
    """The text of a node and of what overflowed it, in order; not deep."""
    if isinstance(node, str):
        yield _clean(node)
    elif isinstance(node, list):
        for each in node[:64]:
            if isinstance(each, str):
                yield _clean(each)
    elif isinstance(node, dict):
        for name in ("value", "overflow"):
            if isinstance(node.get(name), (str, list)):
                yield from _texts(node[name])


def _word(text: Optional[str]) -> Optional[str]:
    known = {"healthy": "healthy", "warning": "warning", "failure": "failure", "internal error": "unknown"}
    return None if text is None else known.get(text.strip().lower())


def _clean(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text[: 4 * _TEXT]).strip()


def _addresses(words: Sequence[str], until: float) -> tuple[dict[int, str], Optional[str]]:
    """The PCI address of each of DCGM's numbers, and why there is none."""
    said, cut = _run(words, until)
    found: dict[int, str] = {}
    number: Optional[int] = None
    for line in said.splitlines()[:10_000]:
        first = re.match(r"\|\s{0,8}(\d{1,6})\s{0,8}\| Name:", line)
        if first is not None:
            number = int(first[1])
        place = re.search(r"PCI Bus ID: ([0-9A-Fa-f:.]{7,20})", line)
        address = normal_address(place[1]) if place is not None else None
        if number is not None and address is not None and len(found) < MAX_GPUS:
            found[number] = address
            number = None
    return found, f"which GPU each number means is not known: {cut or 'dcgmi discovery -l was not understood'}"


def _run(words: Sequence[str], until: float) -> tuple[str, Optional[str]]:
    """What a call of dcgmi prints, and why that is not all.  It says its errors on standard output."""
    run = bounded.Run(words, until, _LARGEST)
    try:
        said = b"\n".join(run.lines()).decode("utf-8", "replace")
    except OSError as failure:
        return "", failure.strerror or str(failure)
    if run.cut is not None:
        return said, run.cut
    if run.status and NO_WATCH not in said:
        words_of_it = " ".join((said + " " + run.errors.decode("utf-8", "replace")).split())[:160]
        return said, _clean(words_of_it) or f"dcgmi ended with {run.status}"
    return said, None


def _runs(proc: Path) -> bool:
    try:
        names = os.listdir(proc)
    except OSError:
        return False
    for name in names:
        if name.isdecimal():
            try:
                if (proc / name / "comm").read_bytes()[:16].strip() == DAEMON.encode():
                    return True
            except OSError:
                continue
    return False
