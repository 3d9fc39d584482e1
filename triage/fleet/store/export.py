"""A store's content as plain rows for other programs: sweeps, answers, parts, counters, incidents, facts.

Nodes are read some at a time, each in a transaction of its own, so that a slow
reader of the rows holds nothing in the store.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection

from triage.fleet.model import ANSWERED, Json
from triage.fleet.store import look, read
from triage.fleet.store.opened import Store
from triage.fleet.store.read import Told, Window
from triage.fleet.store.trouble import Unusable

INSTALL = "Parquet needs pyarrow: pip install 'gpu-triage[parquet]'; or take --format ndjson"
ROWS = 50_000
"""Rows of a group of a Parquet file."""
_TEXT, _NUMBER, _COUNT, _YES, _TIME = "string", "double", "int64", "bool", "time"
_WHO = {"sweep": _TEXT, "began_at": _TIME, "node": _TEXT}
_GPU = {"pci": _TEXT, "uuid": _TEXT, "serial": _TEXT}
COLUMNS: Mapping[str, Mapping[str, str]] = {
    "sweeps": {
        "sweep": _TEXT, "began_at": _TIME, "ended_at": _TIME, "complete": _YES, "via": _TEXT, "nodes": _TEXT,
        "asked": _COUNT, "answered": _COUNT, "silent": _COUNT,
    },
    "answers": {
        **_WHO, "at": _TIME, "state": _TEXT, "reason": _TEXT, "took": _NUMBER, "status": _TEXT, "heard_from": _TIME,
        "heard_to": _TIME, "driver": _TEXT, "kernel": _TEXT, "gpus": _COUNT,
    },
    "facts": {**_WHO, **_GPU, "name": _TEXT, "value": _TEXT},
    "parts": {**_WHO, **_GPU, "index": _COUNT, "name": _TEXT, "vbios": _TEXT},
    "counters": {**_WHO, "at": _TIME, **_GPU, "name": _TEXT, "value": _NUMBER},
    "incidents": {
        "node": _TEXT, "fingerprint": _TEXT, "rule": _TEXT, "severity": _TEXT, "state": _TEXT, "opened_at": _TIME,
        "last_seen_at": _TIME, **_GPU, "family": _TEXT, "leaf": _TEXT, "confidence": _NUMBER, "incident": _TEXT,
    },
}  # fmt: skip
"""What can be exported, and the columns of each: names and sorts."""


def rows(store: Store, what: str, window: Window) -> Iterator[Json]:
    """Yield the rows of one kind; times are UTC epoch seconds."""
    if what == "sweeps":
        for sweep in look.asked(store, lambda connection: read.sweeps(connection, window)):
            told = sweep._asdict()
            yield {"sweep": told.pop("key"), **told}
        return
    of = _ROWS[what]
    names: list[str] = look.asked(store, read.nodes)
    for start in range(0, len(names), read.CHUNK):
        some = names[start : start + read.CHUNK]
        reading = partial(_read, window=window, only=some, numbers=what == "counters")
        for name, told in look.asked(store, reading):
            yield from of(name, told)


def _read(connection: Connection, **which: Any) -> list[tuple[str, list[Told]]]:
    return list(read.by_node(connection, **which))


def _answers(_name: str, told: Sequence[Told]) -> Iterable[Json]:
    for sweep, began, answer in told:
        heard = answer.heard or (None, None)
        yield {
            "sweep": sweep, "began_at": began, "node": answer.node, "at": answer.at, "state": answer.state,
            "reason": answer.reason, "took": answer.took, "status": answer.status, "heard_from": heard[0],
            "heard_to": heard[1], "driver": answer.facts.get("driver.version"),
            "kernel": answer.facts.get("kernel.release"), "gpus": len(answer.gpus),
        }  # fmt: skip


def _facts(name: str, told: Sequence[Told]) -> Iterable[Json]:
    """Facts where they are first told and where they change."""
    before: dict[tuple[str | None, str], str] = {}
    for sweep, began, answer in told:
        who = {"sweep": sweep, "began_at": began, "node": name}
        own: list[tuple[Json, Mapping[str, str]]] = [(dict.fromkeys(_GPU), answer.facts)]
        own += [({"pci": gpu.pci, "uuid": gpu.uuid, "serial": gpu.serial}, gpu.facts) for gpu in answer.gpus]
        for gpu, facts in own:
            for fact, value in facts.items():
                if before.get((gpu["uuid"] or gpu["pci"], fact)) != value:
                    before[gpu["uuid"] or gpu["pci"], fact] = value
                    yield {**who, **gpu, "name": fact, "value": value}


def _parts(name: str, told: Sequence[Told]) -> Iterable[Json]:
    """The GPUs where they are first told and where they change."""
    before: Any = None
    for sweep, began, answer in told:
        if answer.state != ANSWERED or answer.gpus == before:
            continue
        before = answer.gpus
        for gpu in answer.gpus:
            yield {
                "sweep": sweep, "began_at": began, "node": name, "pci": gpu.pci, "uuid": gpu.uuid,
                "serial": gpu.serial, "index": gpu.index, "name": gpu.name, "vbios": gpu.facts.get("gpu.vbios"),
            }  # fmt: skip


def _counters(name: str, told: Sequence[Told]) -> Iterable[Json]:
    for sweep, began, answer in told:
        for gpu in answer.gpus:
            who = {"sweep": sweep, "began_at": began, "node": name, "at": answer.at}
            who |= {"pci": gpu.pci, "uuid": gpu.uuid, "serial": gpu.serial}
            for number, value in gpu.numbers.items():
                yield {**who, "name": number, "value": value}


def _incidents(name: str, told: Sequence[Told]) -> Iterable[Json]:
    from triage.fleet.gather import epoch

    for _, _, answer in told:
        for each in answer.incidents:
            gpu: Json = (each.get("where") or {}).get("gpu") or {}
            verdict: Json = each.get("verdict") or {}
            yield {
                "node": name, "fingerprint": each.get("fingerprint"), "rule": (each.get("rule") or {}).get("id"),
                "severity": each.get("severity"), "state": each.get("state"),
                "opened_at": epoch(each.get("opened_at")), "last_seen_at": epoch(each.get("last_seen_at")),
                "pci": gpu.get("pci"), "uuid": gpu.get("uuid"), "serial": gpu.get("serial"),
                "family": verdict.get("family"), "leaf": verdict.get("leaf"),
                "confidence": verdict.get("confidence"), "incident": json.dumps(each, separators=(",", ":")),
            }  # fmt: skip


_ROWS: Mapping[str, Callable[[str, Sequence[Told]], Iterable[Json]]] = {
    "answers": _answers, "facts": _facts, "parts": _parts, "counters": _counters, "incidents": _incidents,
}  # fmt: skip


def ndjson(found: Iterable[Json], what: str, write: Callable[[str], object]) -> int:
    """Write the rows one a line, and a last line that says that they are all; return how many there were."""
    count = 0
    lines: list[str] = []
    for row in found:
        lines.append(json.dumps(row, separators=(",", ":")) + "\n")
        count += 1
        if len(lines) >= 1000:
            write("".join(lines))
            lines.clear()
    end = {"kind": "end", "of": what, "complete": True, "rows": count}
    write("".join(lines) + json.dumps(end, separators=(",", ":")) + "\n")
    return count


def parquet(found: Iterable[Json], what: str, path: Path) -> int:
    """Write the rows into a Parquet file, which appears when it is whole; return how many there were.

    Raises:
        Unusable: if pyarrow is missing.
        OSError: if the file cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise Unusable(INSTALL) from None
    sorts = {
        _TEXT: pa.string(), _NUMBER: pa.float64(), _COUNT: pa.int64(), _YES: pa.bool_(),
        _TIME: pa.timestamp("us", tz="UTC"),
    }  # fmt: skip
    columns = COLUMNS[what]
    schema = pa.schema([pa.field(name, sorts[sort]) for name, sort in columns.items()])
    scratch = path.with_name(f".{path.name}.part")
    count = 0
    group: list[Json] = []
    try:
        with _new(scratch) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:

            def flush() -> None:
                arrays = [
                    pa.array([_cell(row.get(name), sort) for row in group], sorts[sort])
                    for name, sort in columns.items()
                ]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
                group.clear()

            for row in found:
                group.append(row)
                count += 1
                if len(group) >= ROWS:
                    flush()
            flush()
        os.replace(scratch, path)
    finally:
        with suppress(OSError):
            scratch.unlink()
    return count


def _cell(value: object, sort: str) -> object:
    """A time is kept in microseconds; what is of another sort than its column is unknown."""
    if value is None:
        return None
    if sort == _TEXT:
        return str(value).encode("utf-8", "replace").decode()
    if not isinstance(value, (int, float)):
        return None
    return round(value * 1e6) if sort == _TIME else value


def _new(path: Path) -> IO[bytes]:
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb")
