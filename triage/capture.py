"""A capture: all that the probes saw of a node, in one archive that gives the same verdict anywhere.

    manifest.json    what it is, of which node, when, by which version and rulebook
    sources.jsonl    what was read, and what could not be
    readings.jsonl   every counter and fact
    history.json     what the rules asked of the node's history, and the answers, if there is one
    records.jsonl    every kernel record, with its clocks and its text as it stood
    files/           small files of /proc and /sys, for people

It is a gzip-compressed tar with its members in this order; the same capture
gives the same bytes.  Whoever reads one trusts nothing in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from math import isfinite
from typing import Any

from probes.captured import MANIFEST, SCHEMA_VERSION, Capture, write
from probes.model import Entity, LogRecord, Missing, Reading, Source, Value
from probes.records_text import as_it_stood, clean, message, shorten
from triage import archive
from triage.found import Found
from triage.streams import Damaged, lines

__all__ = ["Capture", "Rest", "begins_capture", "read", "write"]

MOST_MANIFEST = 4 << 20
MOST_READINGS = 200_000
MOST_HISTORY = 32 << 20
_KINDS = ("node", "gpu", "mig", "link", "switch", "port", "job", "process")
_SHORT = 64
"""Characters that every field may have."""
_WIDEST = 64
"""Bits of a whole number that a counter can have."""


def read(
    parts: Iterator[bytes], found: Found, *, packed_size: Callable[[], int] | None = None, keep: Rest | None = None
) -> Iterator[LogRecord]:
    """Yield the records of a capture, and fill `found` with the rest.

    What is unsound ends the reading: what was read before is used, and it is said.

    Args:
        parts: the archive, unpacked.
        found: where readings, sources and notices go.
        packed_size: tells how many bytes of the packed archive were read so far.
        keep: where what a verdict does not need goes (names, raw files); None drops it.
    """
    found.whole = True
    reader = archive.Reader(parts, packed_size)
    skipped = [0]
    try:
        for number, member in enumerate(reader):
            if number == 0:
                _manifest(member, reader, found, keep)
            elif member.name == "sources.jsonl":
                found.sources += _each(reader, _source_in, skipped, 1000)
            elif member.name == "readings.jsonl":
                found.readings += _each(reader, _readings_in(), skipped, MOST_READINGS)
            elif member.name == "history.json":
                found.history = _history(member, reader, skipped)
            elif member.name == "records.jsonl":
                yield from _each(reader, _record_in, skipped, None)
            elif member.name.startswith("files/") and keep is not None and member.size <= 1 << 20:
                keep.files[member.name[len("files/") :]] = b"".join(reader.content())
    except archive.Unsound as error:
        _say_broken(found, f"not a sound capture: {error}")
    except OSError as error:
        _say_broken(found, f"reading failed ({error.strerror or error})")
    except Damaged as error:
        _say_broken(found, str(error))
    if not found.sources:
        _say_broken(found, "it does not tell what was read of its node")
    if skipped[0]:
        found.notices.append(f"{found.origin}: {skipped[0]} lines of the capture were not understood and left out")


class Rest:
    """What a verdict does not need of a capture, but a second copy of it does."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.private: dict[str, list[str]] = {}
        self.notes: list[str] = []
        self.tool_version: str | None = None
        self.redacted = False


def begins_capture(first: bytes) -> bool:
    """Return whether a tar archive that begins like this is a capture."""
    return (
        first[257:262] == b"ustar"
        and archive.safe_name(first[:100].split(b"\0")[0].decode("ascii", "replace")) == MANIFEST
    )


def _say_broken(found: Found, why: str) -> None:
    found.sources.append(Source("capture", found.origin, False, reason=f"{why}; collect it again"))
    found.notices.append(f"{found.origin}: {why}; what stood before that was used")


def _manifest(member: archive.Member, reader: archive.Reader, found: Found, keep: Rest | None) -> None:
    if member.name != MANIFEST or member.size > MOST_MANIFEST:
        raise archive.Unsound("it does not begin with its manifest")
    told = _loads(b"".join(reader.content()))
    if told is None or told.get("kind") != "capture":
        raise archive.Unsound("its manifest cannot be read")
    if told.get("schema_version") != SCHEMA_VERSION:
        version = told.get("schema_version")
        shown = version if isinstance(version, int) else "?"
        raise archive.Unsound(f"written in form {shown}, and this program reads {SCHEMA_VERSION}; update it")
    found.node = _text(told.get("node"), 255)
    found.taken_at = _number(told.get("taken_at"))
    found.rulebook = _text(told.get("rulebook"), 128) or None
    notes = [_text(note, 500) for note in _items(told.get("notes"))[:50]]
    found.notices += [f"{found.origin}: {note}" for note in notes if note]
    if keep is not None:
        keep.redacted = told.get("redacted") is True
        keep.notes = [note for note in notes if note]
        tool = told.get("tool")
        keep.tool_version = _text(tool.get("version"), 64) if isinstance(tool, dict) else None
        private = told.get("private")
        for kind, names in private.items() if isinstance(private, dict) else ():
            keep.private[str(kind)] = [name for name in _items(names) if isinstance(name, str)]


def _history(member: archive.Member, reader: archive.Reader, skipped: list[int]) -> dict[str, Any]:
    told = _loads(b"".join(reader.content())) if member.size <= MOST_HISTORY else None
    if told is None:
        skipped[0] += 1
    return told or {}


def _each(
    reader: archive.Reader, take: Callable[[dict[str, Any]], Any], skipped: list[int], most: int | None
) -> Iterator[Any]:
    for number, line in enumerate(lines(reader.content())):
        told = None if most is not None and number >= most else _loads(line)
        value = None if told is None else take(told)
        if value is None:
            skipped[0] += 1
        else:
            yield value


def _loads(raw: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(raw.decode("utf-8", "surrogatepass"))  # it need not be guessed, as for bytes
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _readings_in() -> Callable[[dict[str, Any]], Reading | None]:
    """Return what takes readings in: those of one GPU follow each other, and say each time whose they are."""
    before: object = None
    entity: Entity | None = None

    def take(told: dict[str, Any]) -> Reading | None:
        nonlocal before, entity
        of = told.get("entity")
        if of != before:
            before, entity = of, _entity_in(of)
        return _reading_in(told, entity)

    return take


def _reading_in(told: dict[str, Any], entity: Entity | None) -> Reading | None:
    name, unit, at = _text(told.get("name"), 200), _text(told.get("unit"), 64), _number(told.get("at"))
    if entity is None or not name or not unit or at is None:
        return None
    value: Value
    if "missing" in told:
        value = Missing(_text(told["missing"], 200) or "error:unreadable")
    else:
        raw = told.get("value")
        if isinstance(raw, str):
            value = clean(shorten(raw, 4096))
        elif isinstance(raw, bool):
            value = raw
        else:
            number = _number(raw)
            if number is None:
                return None
            value = number
    return Reading(entity, name, value, unit, at)


def _entity_in(told: object) -> Entity | None:
    if not isinstance(told, dict) or told.get("kind") not in _KINDS:
        return None
    texts = {name: _text(told.get(name), 255) for name in ("pci", "uuid", "serial", "name")}
    return Entity(
        str(told["kind"]), texts["pci"], texts["uuid"], texts["serial"], _whole(told.get("index")), texts["name"]
    )


def _record_in(told: dict[str, Any]) -> LogRecord | None:
    if not isinstance(told.get("message"), str):
        return None
    level = _whole(told.get("level"))
    return LogRecord(
        message(told["message"]),
        at=_number(told.get("at")),
        monotonic=_number(told.get("monotonic")),
        boot=_text(told.get("boot"), 64),
        level=level if level is not None and 0 <= level < 8 else None,
        identifier=_text(told.get("identifier"), 255),
        pid=_whole(told.get("pid")),
        host=_text(told.get("host"), 255),
        kernel=told.get("kernel", True) is True,
        pasted=told.get("pasted") is True,
        injected=told.get("injected") is True,
        origin=as_it_stood(_text(told.get("origin"), 4096) or "-"),
        line=_whole(told.get("line")) or 0,
        text=as_it_stood(told["text"].partition("\n")[0]) if isinstance(told.get("text"), str) else "",
    )


def _source_in(told: dict[str, Any]) -> Source | None:
    kind, origin = _text(told.get("kind"), 64), _text(told.get("origin"), 4096)
    if kind is None or origin is None:
        return None
    return Source(
        kind,
        origin,
        told.get("readable") is True,
        _number(told.get("start")),
        _number(told.get("end")),
        _whole(told.get("records")) or 0,
        told.get("from_boot") is True,
        _text(told.get("reason"), 4096),
    )


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object, most: int) -> str | None:
    if not isinstance(value, str):
        return None
    return _word(value) if len(value) <= _SHORT else clean(shorten(value, most))


@lru_cache(2048)
def _word(value: str) -> str:
    """Names and units come again and again."""
    return clean(value)


def _number(value: object) -> float | int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value.bit_length() <= _WIDEST else None
    return value if isinstance(value, float) and isfinite(value) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= _WIDEST else None
