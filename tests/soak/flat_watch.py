"""A watch that is told two million lines stays as small as it was: memory, descriptors, threads, children.

    python -m tests.soak.flat_watch [EVENTS] [SEED]

The lines come as fast as it takes them, through a pipe that stands in for
/dev/kmsg: remarks, and Xids of many GPUs, processes and addresses.  Before they
are counted it is told as many as fill its caches; from there on it may grow by
two hundredths.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.fake_nvml import Scenario, build
from tests.soak.command import soak
from tests.triage.watch.conftest import Packets, Watching

GROWTH = 0.02
"""Share by which it may grow once it is warm."""
SAMPLES = 40
WARM = 400_000
"""Lines before the first measure."""
FEW = 4
"""Measures whose middle is taken at the beginning and at the end."""
BUSES = [f"0000:{bus:02x}:00" for bus in range(0x10, 0x18)]


class Size(NamedTuple):
    """How large a process is: resident KiB of it and its children, descriptors, threads, children."""

    resident: int
    descriptors: int
    threads: int
    children: int


def size(watch: Watching) -> Size:
    """Measure it."""
    me = watch.process.pid
    children = watch.children()
    status = Path(f"/proc/{me}/status").read_text()
    threads = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Threads:"))
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return Size(resident, len(os.listdir(f"/proc/{me}/fd")), threads, len(children))


def line(number: int, chance: random.Random) -> str:
    """One line of a kernel log: nine of ten say nothing of a GPU."""
    if number % 10:
        return f"usb 1-{number % 7}: new high-speed USB device number {number} using xhci_hcd"
    bus, pid = BUSES[chance.randrange(8)], chance.randrange(1, 4_000_000)
    code, text = chance.choice(
        [(31, f"pid={pid}, name=python{pid % 97}, Ch 00000010, intr 00000000. MMU Fault"),
         (13, f"pid={pid}, name=train, Graphics Exception: ESR 0x{number:x}"),
         (43, f"pid={pid}, name=job{number % 1000}, Ch 00000{number % 99:02d}"),
         (94, f"pid={pid}, name=python, Contained memory error")]
    )  # fmt: skip
    return f"NVRM: Xid (PCI:{bus}): {code}, {text}"


def flat(folder: Path, events: int, seed: int) -> str:
    """Tell the lines, measure, and say how large it was; raises AssertionError if it grew, lost a line or ended."""
    chance = random.Random(seed)
    nodes = Scenario(folder / "scenario", 8)
    packets = Packets(folder / "kmsg")
    os.set_blocking(packets.fd, True)
    words = ("--kmsg", str(packets.path), "--every", "5", "--often", "2")
    watch = Watching(*words, env=nodes.env(build(folder)), state=folder / "state").ready()
    try:
        sizes: list[Size] = []
        for number in range(WARM):
            packets.write(line(number, chance), level=6 if number % 10 else 3)
        began, told = time.monotonic(), 0
        for step in range(SAMPLES):
            for _ in range(events // SAMPLES):
                packets.write(line(told, chance), level=6 if told % 10 else 3)
                told += 1
            assert watch.process.poll() is None, f"it ended with {watch.process.returncode} after {told:,} lines"
            assert [] == watch.notices("records-lost")
            sizes.append(size(watch))
            watch.lines.clear()
            watch.raw.clear()
            if step % 8 == 7:
                print(f"{told:>10,} lines, {told / (time.monotonic() - began):,.0f} a second: {sizes[-1]}", flush=True)
        return _judged(sizes)
    finally:
        threading.Thread(target=watch.stop, daemon=True).start()
        time.sleep(3)
        watch.close()
        os.close(packets.fd)


def _judged(sizes: list[Size]) -> str:
    base, end = (median(each.resident for each in part) for part in (sizes[:FEW], sizes[-FEW:]))
    grew = end / base - 1
    even = {name: {getattr(each, name) for each in sizes} for name in ("descriptors", "threads", "children")}
    spread = {name: max(values) - min(values) for name, values in even.items()}
    # A reading of the driver comes and goes, with its child and its pipes.
    says = (
        f"resident: {base:,.0f} KiB when warm, {end:,.0f} KiB at the end: {grew:+.1%} (at most {GROWTH:+.0%}); "
        f"spread of descriptors, threads and children since: {json.dumps(spread)}"
    )
    steady = grew <= GROWTH and spread["descriptors"] <= 12 and spread["threads"] <= 2 and spread["children"] <= 2
    assert steady, f"NOT FLAT: {says}"
    return f"flat; {says}"


if __name__ == "__main__":
    soak("lines told to a watch", flat, times=2_000_000)
