"""What a run of DCGM's diagnostic found, from the JSON that `dcgmi diag -r N --json` printed.

The diagnostic itself loads the GPUs for minutes, so nothing here starts it: a
result that somebody kept is read.  The forms of DCGM 2, 3 and 4 are
understood; each finding becomes a record that patterns can match, and each
test of a GPU a reading.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, Union

from probes.around import DIAG_KEPT, DIAG_PLACE
from probes.model import NODE, Entity, LogRecord, Reading, Source
from probes.named import NamedTuple

IDENTIFIER = "dcgm"
"""What the records say wrote them."""
RECENT = 7 * 86400.0
"""Seconds for which a result can bear on what a node does now."""
LARGEST = 4 << 20
MOST = 512
"""Findings that are kept of one result."""
_TEXT = 1024
_ROOTS = ("DCGM Diagnostic", "DCGM GPU Diagnostic")  # as DCGM 4 calls it, and DCGM 2 and 3
_WORDS = {"pass": "pass", "fail": "fail", "warn": "warn", "skip": "skip", "skipped": "skip"}
_RANK = ("skip", "pass", "warn", "fail")


class Finding(NamedTuple):
    """What one test says of one entity, or of the whole node where `group` is empty.

    `group` is `gpu`, `cpu` ...; `number` is DCGM's own.  Each error has DCGM's
    number, or None where that version prints none, and a text.
    """

    test: str
    status: str
    group: str
    number: int
    errors: tuple[tuple[Optional[int], str], ...]


class Result(NamedTuple):
    """One run: what it found, DCGM's version, the serial number of each GPU it names, and why it did not run."""

    findings: tuple[Finding, ...]
    version: Optional[str]
    serials: Mapping[int, str]
    failure: Optional[str]


def parse(said: str) -> Optional[Result]:
    """Return what the JSON says, which other output may stand around; None if it is no result."""
    told = first_object(said)
    if told is None:
        return None
    runs = told.get("iterations")
    if isinstance(runs, list) and runs and isinstance(runs[-1], dict):
        told = runs[-1]  # the last says how it stands now
    name = next((name for name in _ROOTS if isinstance(told.get(name), dict)), None)
    if name is None:
        return None
    body = told[name]
    meta = told.get("metadata")
    version = (meta if isinstance(meta, dict) else body).get("version")
    failure = body.get("runtime_error") or body.get("Warning")
    return Result(
        tuple(_findings(body))[:MOST],
        _clean(version) if isinstance(version, str) else None,
        dict(_serials(told.get("entity_groups"))),
        _clean(failure) if isinstance(failure, str) and failure.strip() else None,
    )


def records(result: Result, at: float, places: Mapping[int, str], origin: str = "dcgmi diag") -> list[LogRecord]:
    """Return a record of each error; `places` are the PCI addresses of DCGM's numbers."""
    found: list[LogRecord] = []
    for finding in result.findings:
        for code, text in finding.errors if finding.status != "skip" else ():
            who = where(finding.group, finding.number, places)
            words = ("dcgm diag: " + who, finding.test, finding.status, "-" if code is None else str(code), text)
            line = " | ".join(words)
            found.append(
                LogRecord(line, at, identifier=IDENTIFIER, kernel=False, origin=origin, line=len(found) + 1, text=line)
            )
    return found


def readings(result: Result, at: float, places: Mapping[int, str]) -> list[Reading]:
    """Return how each test ended for each GPU (`dcgm.diag.memory`), and how they all did (`dcgm.diag`)."""
    worst: dict[tuple[Entity, str], str] = {}
    for finding in result.findings:
        address = places.get(finding.number) if finding.group == "gpu" else None
        entity = NODE if address is None else Entity("gpu", pci=address)
        of = "" if address is not None or finding.group != "gpu" else f".gpu-{finding.number}"
        test = "-".join("".join(sign if sign.isalnum() else " " for sign in finding.test.lower()).split())[:40]
        for name in (f"dcgm.diag{of}", f"dcgm.diag{of}.{test}"):
            before = worst.get((entity, name), "skip")
            worst[entity, name] = max(before, finding.status, key=_RANK.index)
    return [Reading(entity, name, status, "text", at) for (entity, name), status in worst.items()]


def where(group: str, number: int, places: Mapping[int, str]) -> str:
    """Return how a record names an entity."""
    if group != "gpu":
        return f"{group} {number}" if group else "node"
    return f"gpu {places[number]}" if number in places else f"gpu #{number}"


def kept(root: Path) -> Optional[Path]:
    """Return the file in which a result was kept, if there is one."""
    named = os.environ.get(DIAG_PLACE)
    path = Path(named) if named and root == Path("/") else root / DIAG_KEPT
    return path if named or path.exists() else None


def probe(path: Path, places: Mapping[int, str]) -> tuple[list[Reading], list[LogRecord], Source]:
    """Read a result that was kept; it is told with the time at which it was written."""
    now = time.time()
    try:
        said, at = _read(path)
    except OSError as failure:
        return [], [], Source("dcgm-diag", str(path), False, reason=failure.strerror or str(failure))
    result = parse(said)
    if result is None or (result.failure and not result.findings):
        why = result.failure if result else "it is not what dcgmi diag --json prints; write it anew"
        return [], [], Source("dcgm-diag", str(path), False, at, at, reason=why)
    if now - at > RECENT:
        old = f"it is {(now - at) / 86400:.0f} days old and was left out; run dcgmi diag again once the node is drained"
        return [], [], Source("dcgm-diag", str(path), False, at, at, reason=old)
    found = records(result, at, places, str(path))
    told = readings(result, at, places)
    nameless = any(reading.name.startswith("dcgm.diag.gpu-") for reading in told)
    reason = result.failure or ("which GPU each number means is not known; start nv-hostengine" if nameless else None)
    return told, found, Source("dcgm-diag", str(path), True, at, at, len(found), reason=reason)


def _read(path: Path) -> tuple[str, float]:
    """Return a file's text and when it was written; only root and this user may be able to write it."""
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(opened, "rb") as file:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is not a file")
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
            raise OSError(0, "others than root may write it; chown root it and chmod 644")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise OSError(0, f"it is larger than {LARGEST >> 20} MiB, which no result is")
    return data.decode("utf-8", "replace"), min(found.st_mtime, time.time())


def first_object(said: str) -> Optional[dict[str, Any]]:
    """The first JSON object in a text; dcgmi prints warnings before it."""
    start = said.find("{")
    if start < 0:
        return None
    try:
        told, _ = json.JSONDecoder().raw_decode(said[start:])
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _findings(body: Mapping[str, Any]) -> Iterator[Finding]:
    for category in _dicts(body.get("test_categories")):
        for test in _dicts(category.get("tests")):
            name = test.get("name")
            name = _clean(name)[:60].replace("|", "/") if isinstance(name, str) and name.strip() else "test"
            told = False
            for result in _dicts(test.get("results")):
                for finding in _of(name, result):
                    told = told or bool(finding.errors)
                    yield finding
            summary = test.get("test_summary")
            if isinstance(summary, dict) and not told:
                # DCGM 4 repeats there what it said of each entity, and tells there what is of none.
                yield from (finding for finding in _of(name, summary) if finding.errors)


def _of(test: str, result: Mapping[str, Any]) -> Iterator[Finding]:
    status = _WORDS.get(str(result.get("status")).strip().lower())
    if status is None:
        return
    group = result.get("entity_group")
    numbers = _numbers(result.get("entity_id") if group else result.get("gpu_id", result.get("gpu_ids")))
    # In text form a failure without a word is a failure still.
    errors = tuple(_errors(result.get("warnings")))
    if status == "fail" and not errors:
        errors = ((None, "it failed without saying why"),)
    for number in numbers or (None,):
        kind = "" if number is None else _clean(group).lower()[:20] if isinstance(group, str) else "gpu"
        yield Finding(test, status, kind, number or 0, errors)


def _errors(warnings: Any) -> Iterator[tuple[Optional[int], str]]:
    for warning in (warnings if isinstance(warnings, list) else [warnings])[:64]:
        if isinstance(warning, str) and warning.strip():  # DCGM 2
            yield None, _clean(warning)
        elif isinstance(warning, dict):
            text = warning.get("warning", warning.get("warnings"))  # DCGM 3 has a slip of the pen in its first tests
            code = warning.get("error_id")
            known = isinstance(code, int) and not isinstance(code, bool) and 0 < code < 10_000
            if known or isinstance(text, str):
                yield code if known else None, _clean(text) if isinstance(text, str) else "-"


def _numbers(told: Union[int, str, None]) -> tuple[int, ...]:
    """The GPUs of a result: one number, or as text one or several."""
    if isinstance(told, int) and not isinstance(told, bool):
        return (told,) if 0 <= told < 1 << 20 else ()
    if not isinstance(told, str):
        return ()
    return tuple(int(word) for word in told.split(",")[:64] if word.strip().isdecimal() and len(word) < 8)


def _serials(groups: Any) -> Iterator[tuple[int, str]]:
    for group in _dicts(groups):
        for entity in _dicts(group.get("entities")) if group.get("entity_group") == "GPU" else ():
            number, serial = entity.get("entity_id"), entity.get("serial_num")
            if isinstance(number, int) and isinstance(serial, str) and serial.strip():
                yield number, _clean(serial)[:40]


def _dicts(told: Any) -> Sequence[dict[str, Any]]:
    return [each for each in told[:MOST] if isinstance(each, dict)] if isinstance(told, list) else []


def _clean(text: str) -> str:
    shown = "".join(sign if sign.isprintable() else " " for sign in text[: 4 * _TEXT])
    return " ".join(shown.split())[:_TEXT]
