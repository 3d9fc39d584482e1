"""A generated fleet as the folders that `gpu-triage fleet sweep` leaves, each answer in the form that a node sends.

Each node tells what a real node told, a healthy H200 whose capture lies in `fixtures/` (114 readings, 85 of them of
its GPU), with eight boards instead of one and this fleet's names, versions, serial numbers and kernel lines.  What
it prints goes through what `fleet sweep` does with the output of a node.  The truth goes by node, board, rule and time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from probes.captured import Capture, write
from probes.carry import framed
from probes.model import NODE, Entity, LogRecord, Reading, Source
from tests.generated_fleet import SWEEPS, Made
from tests.triage.fleet.places import DAY, LINES
from triage import capture as captures
from triage.fleet import names, sweep
from triage.fleet.gather import epoch
from triage.fleet.model import Answer, Json, Part
from triage.fleet.ways import Raw
from triage.found import Found
from triage.report import iso
from triage.streams import blocks

REAL = Path(__file__).parent / "fixtures" / "h200-healthy-redacted.tar.gz"
BEGIN = 1_790_000_000.0
"""Day 0: nodes refuse to believe in 1970."""
SILENT = Raw(b"", b"", None, True, False, 30.0)
OF_NODE = ("driver.version", "driver.module-version", "module.nvidia", "module.nvidia_uvm")
"""Readings that say which driver it is."""


class Swept(NamedTuple):
    """Folders of the sweeps in order, the inventory, and the injected cause by node, serial, rule and time (ISO)."""

    folders: tuple[Path, ...]
    inventory: Path
    truth: Mapping[tuple[str, str, str, str], str | None]


class _Real(NamedTuple):
    node: tuple[Reading, ...]
    gpu: tuple[Reading, ...]
    records: tuple[LogRecord, ...]


@cache
def _real() -> _Real:
    found = Found(str(REAL))
    records = tuple(captures.read(blocks(io.BytesIO(REAL.read_bytes())), found))
    own = tuple(each for each in found.readings if each.entity.kind == "gpu")
    return _Real(tuple(each for each in found.readings if each.entity == NODE), own, records)


def make(made: Made, folder: Path) -> Swept:
    """Write the folders of all sweeps and the inventory into a folder."""
    inventory = folder / "racks.csv"
    with inventory.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("node", "rack", "leaf"))
        writer.writerows((node, place["rack"], place["leaf"]) for node, place in made.places.items())
    folders = tuple(folder / f"sweep-{at:.0f}" for at in SWEEPS)
    for path, at in zip(folders, SWEEPS, strict=True):
        told = {answer.node: answer for answer in made.answers if answer.at == at * DAY}
        store(path, made.places, told, BEGIN + at * DAY)
    return Swept(folders, inventory, dict(_truth(made)))


def store(path: Path, asked: Iterable[str], told: Mapping[str, Answer], at: float) -> None:
    """Write the folder of one sweep; who said nothing did not answer in time."""
    nodes = list(asked)
    said = {"id": f"{at:032.0f}", "began_at": at, "via": "ssh", "deadline": 30.0, "set": names.fold(nodes)}
    kept = sweep.Folder(path, nodes, said)
    for node in nodes:
        answer = told.get(node)
        raw = SILENT if answer is None else Raw(sent(answer), b"", 0, False, False, 2.0)
        kept.add(sweep.judge(node, raw, 30.0))
    kept.end(at + 60.0, complete=True)


def sent(answer: Answer) -> bytes:
    """Return what a node prints."""
    assert answer.at is not None
    assert answer.heard is not None
    at, start = BEGIN + answer.at, BEGIN + answer.heard[0]
    records = sorted((*_noise(start), *_lines(answer)), key=lambda record: record.at or 0.0)
    records = [record._replace(line=place) for place, record in enumerate(records, 1)]
    sources = [
        Source("kernel-log", "/dev/kmsg", True, start, at, len(records)),
        Source("nvml", "libnvidia-ml.so.1", True, at, at + 0.2, 85 * len(answer.gpus)),
        Source("host", "/", True, at, at + 0.1, 29),
    ]
    packed = io.BytesIO()
    write(Capture(at, answer.node, "0.1.0", "", list(_readings(answer, at)), records, sources), packed)
    return framed(packed.getvalue())


def _readings(answer: Answer, at: float) -> Iterator[Reading]:
    real = _real()
    gpus = len(answer.gpus)
    told: dict[str, str | int | float] = {
        **dict.fromkeys(OF_NODE, answer.facts["driver.version"]),
        "host.name": answer.node, "kernel.release": answer.facts["kernel.release"], "gpu.count": gpus,
        "pci.gpus": gpus, "driver.devices": gpus, "host.boot-time": int(BEGIN - DAY), "host.uptime": at - BEGIN + DAY,
    }  # fmt: skip
    for each in real.node:
        yield each._replace(value=told.get(each.name, each.value), at=at)
    yield Reading(NODE, "job.user", answer.facts["job.user"], "text", at)
    for part in answer.gpus:
        yield from _of_gpu(part, real.gpu, at)


def _of_gpu(part: Part, real: Iterable[Reading], at: float) -> Iterator[Reading]:
    entity = Entity("gpu", pci=part.pci, uuid=part.uuid, serial=part.serial, index=part.index, name=part.name)
    for each in real:
        value = part.facts.get(each.name, part.numbers.get(each.name, each.value))
        yield Reading(entity, each.name, value, each.unit, at)


def _noise(start: float) -> Iterator[LogRecord]:
    """What a real node's kernel said, over the first hours that are heard."""
    for place, record in enumerate(_real().records):
        yield LogRecord(record.message, at=start + 1 + place * 600.0, level=record.level, origin="/dev/kmsg")


def _lines(answer: Answer) -> Iterator[LogRecord]:
    for told in answer.incidents:
        pci = told["where"]["gpu"]["pci"]
        line = LINES[told["rule"]["id"]].replace("PCI:0000:10:00", f"PCI:{pci.removesuffix('.0')}")
        yield LogRecord(line, at=BEGIN + (epoch(told["opened_at"]) or 0.0), level=3, origin="/dev/kmsg")


def _truth(made: Made) -> Iterator[tuple[tuple[str, str, str, str], str | None]]:
    for answer in made.answers:
        for told in answer.incidents:
            where, opened = told["where"], epoch(told["opened_at"]) or 0.0
            key = (answer.node, where["gpu"]["serial"], told["rule"]["id"], iso(BEGIN + opened) or "")
            yield key, made.truth[f"{told['fingerprint']}@{told['opened_at']}"]


def cause_of(swept: Swept, incident: Json) -> tuple[bool, str | None]:
    """Return whether an incident of a report is one that was made, and its injected cause."""
    where = incident["where"]
    key = (where["node"], where["gpu"]["serial"], incident["rule"]["id"], incident["opened_at"])
    return key in swept.truth, swept.truth.get(key)
