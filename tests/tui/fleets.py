"""A folder of real captures, one for each node of a made-up fleet in which a driver version is at fault."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from probes.model import NODE, Entity, LogRecord, Reading, Source
from triage import __version__
from triage.capture import Capture, write
from triage.rulebook.load import load

TAKEN = 1787407351.0  # 2026-08-22T14:02:31Z
DAY = 86400.0
OLD, NEW = "550.54.15", "570.99.99"
GSP = (
    "NVRM: Xid (PCI:0000:{bus}:00): 119, pid=1811, name=python, Timeout after 6s of waiting for RPC response from GPU"
    " GSP! Expected function 76 (GSP_RM_CONTROL) (0x20800a4c 0x4)."
)
OFF_BUS = "NVRM: Xid (PCI:0000:4e:00): 79, pid=1811, name=python, GPU has fallen off the bus."
BUSES = ("1b", "2a", "3b", "4e", "5d", "9a", "ab", "bc")


@cache
def _digest() -> str:
    """Of the rules as they are: a capture made under others says so."""
    return load(None).digest


def write_fleet(folder: Path, nodes: int = 120, *, gone: bool = True) -> Path:
    """Write a capture for each node: nodes 20 to 39 run a new driver, of which 12 time out; one GPU is lost elsewhere.

    One capture is broken and one is two days older than the rest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(nodes):
        write_node(folder, n)
    if gone:
        (folder / "gpu-9999.tar.gz").write_bytes(b"\x1f\x8b\x08\x00broken")
    return folder


def write_node(folder: Path, n: int, *lines: str) -> Path:
    """Write the capture of one node; `lines` are more of its kernel log."""
    name = f"gpu-{n:04d}"
    taken = TAKEN - (2 * DAY if n == 7 else n % 30)
    said = list(lines)
    if 20 <= n < 32:
        said.append(GSP.format(bus=BUSES[n % 8]))
    if n == 3:
        said.append(OFF_BUS)
    records = [
        LogRecord(text, at=taken - 600.0 + 60.0 * place, line=place + 1, origin="/dev/kmsg", boot="b",
                  monotonic=5000.0 + place)
        for place, text in enumerate(["Linux version 6.8.0-45-generic", *said])
    ]  # fmt: skip
    readings = [Reading(NODE, "driver.version", NEW if 20 <= n < 40 else OLD, "text", taken)]
    for index, bus in enumerate(BUSES):
        lost = n == 3 and index == 3
        gpu = Entity("gpu", f"0000:{bus}:00.0", f"GPU-{n:04d}-{index}", f"{n:04d}{index}", index, "NVIDIA H100")
        values: list[tuple[str, str | int | float | bool, str]] = [
            ("gpu.state", "lost" if lost else "ok", "text"),
            ("gpu.responsive", not lost, "flag"),
        ]
        if not lost:
            values += [("gpu.temperature", 55 + index, "celsius"), ("gpu.power", 400.0 + index, "watts")]
        readings += [Reading(gpu, name, value, unit, taken) for name, value, unit in values]
    sources = [
        Source("kernel-log", "/dev/kmsg", True, taken - 10 * DAY, taken, len(records)),
        Source("nvml", "libnvidia-ml.so.1", True, None, None, len(readings)),
    ]
    path = folder / f"{name}.tar.gz"
    with open(path, "wb") as file:
        write(Capture(taken, name, __version__, _digest(), readings, records, sources), file)
    os.utime(path, (taken, taken))
    return path
