"""Kills `gpu-triage watch` at random moments and sees that every line of the kernel log is told, and told once.

    python -m tests.soak.kill_watch [KILLS] [SEED]        (default: 1000 kills)

A pipe stands in for /dev/kmsg; each new watch finds in it what the kernel's
ring would still hold, so that a line which the killed one had read but not told
comes again.  After some kills a last watch drains, and then each line must have
opened one incident, under one number, whichever watch told it, and however often.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.fake_nvml import Scenario, build
from tests.soak.command import soak
from tests.triage.watch.conftest import Packets, Watching, is_open

EPOCH = 25
"""Kills of one history; what a node holds that fails at every second is not what this is about."""


class Outcome(NamedTuple):
    """What came of it: lines that were told, lines told more than once (under one number), kills before the first."""

    told: int
    again: int
    early: int

    def __str__(self) -> str:
        return (
            f"{self.told} lines, each told, {self.again} of them more than once and then under the same number; "
            f"{self.early} kills before any was told"
        )


def torment(folder: Path, kills: int, seed: int) -> Outcome:
    """Kill so many times, with a new history now and then; raises AssertionError at the first loss."""
    chance, sums = random.Random(seed), Outcome(0, 0, 0)
    environ = Scenario(folder / "scenario", 2).env(build(folder / "library"))
    for number in range(0, kills, EPOCH):
        found = _epoch(folder / str(number), min(EPOCH, kills - number), chance, environ)
        sums = Outcome(*(a + b for a, b in zip(sums, found, strict=True)))
    return sums


def _epoch(folder: Path, kills: int, chance: random.Random, environ: dict[str, str]) -> Outcome:
    folder.mkdir()
    ring: list[bytes] = []
    raw: list[bytes] = []
    places: list[str] = []
    early = 0
    for number in range(kills + 1):
        packets = Packets(folder / f"kmsg-{number}")
        os.set_blocking(packets.fd, True)
        for record in ring:
            os.write(packets.fd, record)
        packets.seq = len(ring)
        watch = Watching("--kmsg", str(packets.path), env=environ, state=folder / "state")
        last = number == kills
        try:
            if last:
                watch.ready()
                assert 0 == watch.stop()
            else:
                if chance.random() < 0.8:
                    watch.wait_for(lambda line: line["kind"] == "watching")
                time.sleep(chance.random() * 0.2)
                places.append(f"{chance.randrange(1, 1 << 16):04x}:{number + 16:02x}:00")
                ring.append(_record(len(ring) + 1, places[-1]))
                os.write(packets.fd, ring[-1])
                time.sleep(chance.random() * 0.05)
                watch.stop(signal.SIGKILL)
            assert watch.process.stderr is not None
            errors = watch.process.stderr.read()
            assert b"" == errors, errors
            early += not watch.raw
            raw += watch.raw
        finally:
            watch.close()
            os.close(packets.fd)
    return _judged([json.loads(line) for line in raw], places, early)


def _record(number: int, pci: str) -> bytes:
    micros = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    text = f"NVRM: Xid (PCI:{pci}): 79, pid=811, name=python, GPU has fallen off the bus."
    return f"3,{number},{micros},-;{text}\n".encode()


def _judged(lines: list[dict[str, Any]], places: list[str], early: int) -> Outcome:
    by_id: dict[int, dict[str, Any]] = {}
    often: dict[int, int] = {}
    for told in lines:
        if told["kind"] == "incident":
            assert by_id.setdefault(told["id"], told) == told, f"two lines of number {told['id']}"
            often[told["id"]] = often.get(told["id"], 0) + 1
    opens = {number: told for number, told in by_id.items() if told["event"] == "open"}
    for pci in places:
        found = [number for number, told in opens.items() if is_open(told, pci)]
        assert 1 == len(found), f"the line of {pci} opened {len(found)} incidents"
    return Outcome(len(places), sum(often[number] > 1 for number in opens), early)


if __name__ == "__main__":
    soak("kills of watch", lambda *told: str(torment(*told)))
