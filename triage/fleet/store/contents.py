"""A node's answer taken apart into what it may say again (contents, kept once) and what is of this moment; and back.

Numbers are kept as one row of doubles beside their names, compressed: eight
GPUs with sixty numbers each take some 400 bytes a sweep.
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from probes.named import NamedTuple
from triage.fleet.model import Answer, Json, Part
from triage.fleet.store.schema import number

LARGEST = 64 << 20
"""Bytes that anything in a store may unpack to."""
PASSING = ("job.",)
"""Beginnings of facts that come and go, which are kept apart from those that stand."""


class Damaged(Exception):
    """What stands in the store cannot be read."""


class Taken(NamedTuple):
    """One answer as it is kept: contents by their number, the columns that name them, and the numbers."""

    contents: Mapping[int, bytes]
    columns: Mapping[str, int]
    numbers: bytes


def take_apart(answer: Answer) -> Taken:
    """Return what is kept of an answer, but for its incidents."""
    passing = {name: value for name, value in answer.facts.items() if name.startswith(PASSING)}
    parts = [[part.pci, part.uuid, part.serial, part.index, part.name, dict(part.facts)] for part in answer.gpus]
    names = [sorted(part.numbers) for part in answer.gpus]
    told: dict[str, Any] = {
        "facts": {name: value for name, value in answer.facts.items() if name not in passing},
        "parts": parts,
        "moment": [passing, list(answer.notices)],
        "names": names,
    }
    contents: dict[int, bytes] = {}
    columns: dict[str, int] = {}
    for column, value in told.items():
        written = json.dumps(value, sort_keys=True, separators=(",", ":"))
        columns[column] = number(answer.node, written)
        contents[columns[column]] = zlib.compress(written.encode(), 6)
    values = array("d", (part.numbers[name] for part, own in zip(answer.gpus, names, strict=True) for name in own))
    if sys.byteorder == "big":
        values.byteswap()
    return Taken(contents, columns, zlib.compress(values.tobytes(), 6))


def pack(value: Json) -> bytes:
    """Return a JSON object as it is kept."""
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode(), 6)


def unpack(body: bytes) -> Any:
    """Return what was kept.

    Raises:
        Damaged: if it is none.
    """
    try:
        return json.loads(_plain(body))
    except (ValueError, RecursionError) as error:
        raise Damaged(str(error)) from None


def facts_of(standing: Any, moment: Any) -> dict[str, str]:
    """Return the facts of a node from their two contents."""
    passing = moment[0] if isinstance(moment, list) and moment else {}
    told = {**standing, **passing} if isinstance(standing, dict) and isinstance(passing, dict) else {}
    return {str(name): str(value) for name, value in told.items()}


def notices_of(moment: Any) -> tuple[str, ...]:
    """Return what was worth a person's eye."""
    return tuple(map(str, moment[1])) if isinstance(moment, list) and len(moment) > 1 else ()


def parts_of(told: Any) -> tuple[Part, ...]:
    """Return the GPUs without their numbers.

    Raises:
        Damaged: if they are none.
    """
    try:
        return tuple(Part(pci, uuid, serial, index, name, facts) for pci, uuid, serial, index, name, facts in told)
    except (TypeError, ValueError) as error:
        raise Damaged(str(error)) from None


def numbers_of(names: Sequence[Sequence[str]], packed: bytes | None) -> list[dict[str, float]]:
    """Return the numbers of each GPU.

    Raises:
        Damaged: if they do not fit their names.
    """
    values = array("d")
    plain = _plain(packed) if packed else b""
    if len(plain) != 8 * sum(map(len, names)):
        raise Damaged("the numbers do not fit their names")
    values.frombytes(plain)
    if sys.byteorder == "big":
        values.byteswap()
    given: Iterable[float] = iter(values)
    return [dict(zip(own, given, strict=False)) for own in names]


def _plain(body: bytes) -> bytes:
    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(body, LARGEST)
    except zlib.error as error:
        raise Damaged(str(error)) from None
    if not unpacking.eof:
        raise Damaged("cut short, or larger than anything that is kept")
    return plain
