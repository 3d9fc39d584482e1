"""A fleet as the captures that its nodes write, seeded, with the causes that rule and place may not hide.

`apart`: a bad driver stands on nodes of every rack.  `confounded`: it was rolled out to one whole rack, so that
nobody can tell the rack from the driver.  Boards of that rack are of one batch, a busy user runs where the driver is
bad more often than elsewhere, one node in thirty vanishes, and a few faults come by themselves.
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

from probes.captured import Capture, write
from probes.model import NODE, Entity, LogRecord, Reading, Source
from tests.triage.fleet.places import DAY, LINES

BEGIN = 1_790_000_000.0
OLD, BAD = "550.54.15", "570.99.99"
RACK = 16


def make(folder: Path, nodes: int, *, confounded: bool, seed: int = 1) -> Path:
    """Write one capture for each node that did not vanish, and return the inventory beside the folder."""
    rnd = random.Random(seed)
    rows = [("node", "rack", "leaf")]
    for number in range(nodes):
        name = f"gpu{number:04}"
        rows.append((name, f"r{number // RACK}", f"l{number // 8}"))
        bad = number // RACK == 1 if confounded else number % 4 == 1
        user = "busy" if rnd.random() < (0.4 if bad else 0.2) else f"user{rnd.randrange(9)}"
        faults = []
        if bad and rnd.random() < 0.6:
            faults.append((rnd.uniform(12, 29), LINES["gsp-fault"]))
        if rnd.random() < 0.02:
            faults.append((rnd.uniform(1, 29), LINES[rnd.choice(("gsp-fault", "compute-exception", "gpu-off-bus"))]))
        if rnd.random() >= 1 / 30:
            _write(folder, name, {"driver.version": BAD if bad else OLD, "job.user": user}, sorted(faults))
    inventory = folder.parent / "racks.csv"
    with inventory.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return inventory


def _write(folder: Path, name: str, facts: dict[str, str], faults: list[tuple[float, str]]) -> None:
    end = BEGIN + 30 * DAY
    gpu = Entity("gpu", pci="0000:10:00.0", uuid=f"GPU-{name}", serial=f"S{name}", index=0)
    told = [Reading(NODE, fact, value, "text", end) for fact, value in facts.items()]
    told.append(Reading(gpu, "gpu.name", "NVIDIA H100 80GB HBM3", "text", end))
    lines = [(0.0, "usb 1-1: new high-speed USB device number 2 using xhci_hcd"), *faults]
    records = [
        LogRecord(line, at=BEGIN + day * DAY, origin="kmsg", line=place) for place, (day, line) in enumerate(lines, 1)
    ]
    sources = [Source("kernel-log", "kmsg", True, BEGIN, end, len(records)), Source("nvml", "NVML", True)]
    with (folder / f"{name}.tar.gz").open("wb") as file:
        write(Capture(end, name, "0", "", told, records, sources), file)
