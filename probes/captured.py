"""How a capture is written: here, so that a node on which nothing is installed can write its own.

What stands in one is told by `triage.capture`, which reads them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, BinaryIO, Optional

from probes import tar
from probes.model import Entity, LogRecord, Missing, Reading, Source
from probes.named import NamedTuple

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
MOST_RECORDS_BYTES = 256 << 20
"""Bytes of records that are written; of more the newest are kept."""


class Capture(NamedTuple):
    """What a capture holds.

    `taken_at` is UTC epoch seconds; `rulebook` the digest of the rules that were
    in force; `private` the names that must go when it is redacted (empty once
    it is); `notes` say what could not be taken; `history` is what
    `triage.recorded` kept, None where there is no history.
    """

    taken_at: float
    node: Optional[str]
    tool_version: str
    rulebook: str
    readings: Sequence[Reading]
    records: Sequence[LogRecord]
    sources: Sequence[Source]
    files: Mapping[str, bytes] = {}
    private: Mapping[str, Sequence[str]] = {}
    redacted: bool = False
    notes: Sequence[str] = ()
    history: Optional[Mapping[str, Any]] = None


def write(capture: Capture, file: BinaryIO, *, most: Optional[int] = None) -> None:
    """Write a capture with at most so many bytes of kernel records (`MOST_RECORDS_BYTES` if None), the newest.

    Raises:
        OSError: if it cannot be written.
    """
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    mtime = int(capture.taken_at)

    def put(name: str, content: bytes) -> None:
        file.write(packer.compress(tar.packed(name, content, mtime)))

    records, notes = _newest(capture.records, MOST_RECORDS_BYTES if most is None else most)
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "kind": "capture",
        "tool": {"name": "gpu-triage", "version": capture.tool_version},
        "rulebook": capture.rulebook,
        "taken_at": capture.taken_at,
        "node": capture.node,
        "redacted": capture.redacted,
        "counts": {"sources": len(capture.sources), "readings": len(capture.readings), "records": len(records)},
        "notes": [*capture.notes, *notes],
        "private": {kind: list(names) for kind, names in capture.private.items()},
    }
    put(MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    put("sources.jsonl", _jsonl(_plain(source._asdict(), Source._field_defaults) for source in capture.sources))
    put("readings.jsonl", _jsonl(map(_reading_out, capture.readings)))
    if capture.history is not None:
        put("history.json", _line(capture.history))
    put("records.jsonl", b"".join(records))
    for name in sorted(capture.files):
        put(f"files/{name}", capture.files[name])
    file.write(packer.compress(tar.END))
    file.write(packer.flush())


def _jsonl(objects: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(_line(each) for each in objects)


def _line(told: Mapping[str, Any]) -> bytes:
    return (json.dumps(told, separators=(",", ":"), allow_nan=False) + "\n").encode()


def _plain(fields: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not as they are by default; a clock that is no number is left out."""
    return {
        name: value
        for name, value in fields.items()
        if not (name in defaults and value == defaults[name]) and not (isinstance(value, float) and not isfinite(value))
    }


def _newest(records: Sequence[LogRecord], most: int) -> tuple[list[bytes], list[str]]:
    size, kept = 0, []
    for record in reversed(records):
        line = _line(_plain(record._asdict(), LogRecord._field_defaults))
        size += len(line)
        if size > most:
            break
        kept.append(line)
    kept.reverse()
    lost = len(records) - len(kept)
    return kept, [f"the oldest {lost} of {len(records)} kernel records did not fit"] if lost else []


def _reading_out(reading: Reading) -> dict[str, Any]:
    told: dict[str, Any] = {"entity": _plain(reading.entity._asdict(), Entity._field_defaults), "name": reading.name}
    value = reading.value
    if isinstance(value, float) and not isfinite(value):
        value = Missing("error:not-finite")
    if isinstance(value, Missing):
        told["missing"] = value.reason
    else:
        told["value"] = value
    return {**told, "unit": reading.unit, "at": reading.at}
