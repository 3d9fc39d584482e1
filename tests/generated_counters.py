"""A fleet's counters over many days, seeded, with the truth beside them, written as the captures that nodes write.

Boards differ: each has a corrected-error rate of its own, log-normal (not the law that is fitted), and errors come in
bursts.  Drivers are loaded anew now and then (volatile counters fall to zero), nodes miss sweeps, some vanish.  Sick
boards begin midway.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from probes.captured import Capture, write
from probes.model import NODE, Entity, LogRecord, Reading, Source

DAY = 86400.0
BEGIN = 1_793_000_000.0
GPUS = 8
SICK = ("corrected-errors", "replays", "remaps", "slow", "link-errors")


class Counted(NamedTuple):
    """What a GPU told: its node, sweep time, identity, seat, facts of its node, counters."""

    at: float
    gpu: str
    node: str
    pci: str
    facts: Mapping[str, str]
    numbers: Mapping[str, float]


class Kind(NamedTuple):
    """What is innocent in a fleet: how unevenly errors come, and what befalls all of it.

    `bursts` is the spread of the log-normal law of a day's errors (0: four sizes that are about as likely),
    `once` the share of days on which a well board counts some hundred errors and never again, `rises` by how much all
    boards count more in the second half.
    """

    bursts: float = 0.0
    once: float = 0.0
    rises: float = 1.0


PLAIN = Kind()
RATES = {"corrected-errors": 120.0, "replays": 400.0, "remaps": 1.5}
"""What a sick board counts more in a day."""


class _Board:
    def __init__(self, rnd: random.Random) -> None:
        self.corrected = rnd.lognormvariate(-2.5, 2.0)
        self.replays = rnd.gammavariate(0.5, 4.0)
        self.ber = 10 ** rnd.gauss(-15.0, 0.3)
        self.totals = {
            "gpu.ecc.corrected.aggregate": float(int(rnd.expovariate(0.02))),
            "gpu.pcie.replays": 0.0,
            "gpu.rows.corrected": float(rnd.random() < 0.03),
            "gpu.rows.uncorrected": 0.0,
        }


def readings(
    nodes: int,
    sick: Mapping[str, str],
    *,
    sweeps: int = 10,
    seed: int = 1,
    rates: Mapping[str, float] | None = None,
    kind: Kind = PLAIN,
) -> Iterator[Counted]:
    """Yield every GPU's readings, sweep by sweep; `sick` names by board (`GPU-00012`) what begins after half of it.

    `rates` says by board how much a sick one counts more in a day (as in `RATES` where it does not).
    """
    more = rates or {}
    rnd = random.Random(seed)
    boards = [[_Board(rnd) for _ in range(GPUS)] for _ in range(nodes)]
    gone = {node: rnd.randint(1, sweeps) for node in range(nodes) if rnd.random() < 0.02}
    for sweep in range(sweeps):
        for node in range(nodes):
            missed = rnd.random() < 0.05 or gone.get(node, sweeps) <= sweep
            reloaded = rnd.random() < 0.1
            busy = rnd.random() < 0.9
            facts = {"driver.version": "570.86.15", "job.id": str(1000 * sweep + node // 16)}
            for seat, board in enumerate(boards[node]):
                who = f"GPU-{node * GPUS + seat:05}"
                ill = sick.get(who) if sweep >= sweeps // 2 else None
                worse = kind.rises if sweep >= sweeps // 2 else 1.0
                numbers = _later(board, rnd, ill, more.get(who, RATES.get(ill or "", 0.0)), reloaded, kind, worse)
                numbers["gpu.clock.sm"] = 1e6 * round(rnd.gauss(1755, 8) * (0.7 if ill == "slow" else 1))
                numbers["gpu.utilization"] = rnd.uniform(0.8, 1.0) if busy else 0.0
                numbers["gpu.nvlink.ber.effective"] = board.ber * 10 ** rnd.gauss(
                    4.5 if ill == "link-errors" else 0, 0.1
                )
                if not missed:
                    pci = f"0000:{16 * (seat + 1):02x}:00.0"
                    yield Counted(BEGIN + sweep * DAY + rnd.uniform(0, 300), who, f"gpu{node:05}", pci, facts, numbers)


def _later(
    board: _Board, rnd: random.Random, ill: str | None, rate: float, reloaded: bool, kind: Kind, worse: float
) -> dict[str, float]:
    burst = worse * (
        rnd.lognormvariate(-(kind.bursts**2) / 2, kind.bursts) if kind.bursts else rnd.choice((0.2, 0.5, 1.0, 2.3))
    )
    if kind.once and rnd.random() < kind.once:
        board.totals["gpu.ecc.corrected.aggregate"] += round(rnd.lognormvariate(4.6, 1.0))
    totals = board.totals
    if reloaded:
        totals["gpu.pcie.replays"] = 0.0
    totals["gpu.ecc.corrected.aggregate"] += _poisson(rnd, board.corrected * burst + rate * (ill == "corrected-errors"))
    totals["gpu.pcie.replays"] += _poisson(rnd, board.replays * burst + rate * (ill == "replays"))
    totals["gpu.rows.corrected"] += rnd.random() < 0.001
    totals["gpu.rows.uncorrected"] += _poisson(rnd, rate if ill == "remaps" else 0.0001)
    return dict(totals)


def _poisson(rnd: random.Random, mean: float) -> int:
    if mean > 50:
        return max(0, round(rnd.gauss(mean, mean**0.5)))
    count, left = 0, rnd.expovariate(1.0)
    while left < mean:
        count, left = count + 1, left + rnd.expovariate(1.0)
    return count


def captures(told: Iterator[Counted], folder: Path) -> None:
    """Write what was told as captures, one for each node and sweep."""
    gathered: dict[tuple[str, int], list[Counted]] = {}
    for each in told:
        gathered.setdefault((each.node, int((each.at - BEGIN) // DAY)), []).append(each)
    for (node, sweep), gpus in gathered.items():
        at = gpus[0].at
        found = [Reading(NODE, name, value, "text", at) for name, value in gpus[0].facts.items()]
        for seat, gpu in enumerate(gpus):
            entity = Entity("gpu", pci=gpu.pci, uuid=gpu.gpu, index=seat)
            found.append(Reading(entity, "gpu.name", "NVIDIA H100 80GB HBM3", "text", at))
            found += (Reading(entity, name, value, "count", at) for name, value in gpu.numbers.items())
        records = [
            LogRecord("usb 1-1: new high-speed USB device number 2 using xhci_hcd", at=at - 60, origin="kmsg", line=1)
        ]
        sources = [Source("kernel-log", "kmsg", True, at - DAY, at, 1), Source("nvml", "NVML", True)]
        with (folder / f"{node}-{sweep}.tar.gz").open("wb") as file:
            write(Capture(at, node, "0", "", found, records, sources), file)
