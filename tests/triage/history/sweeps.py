"""Sweeps made by hand: GPUs with counters, incidents, and moments of a node that reboots when it is told to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from probes.model import NODE, Entity, LogRecord, Reading, Source
from probes.moment import Moment
from triage.history.sweep import Memory
from triage.model import Assessment, Evidence, Incident, Signal, Verdict
from triage.report import to_report

START = 1_780_000_000.0
BOOT, LATER_BOOT = "a" * 32, "b" * 32
SLOT, OTHER_SLOT = "0000:4e:00.0", "0000:9d:00.0"
LOG = Source("kernel-log", "/dev/kmsg", True, from_boot=True)
NVML = Source("nvml", "libnvidia-ml.so.1", True)
VERDICT = Verdict("hardware", "hardware.link", 0.97, {"hardware": 1.0}, {"hardware.link": 1.0})


def at(seconds: float, boot: str = BOOT, load: str = "1", up: float | None = None, jump: float = 0.0) -> Moment:
    """The moment `seconds` after the start, the wall clock being wrong by `jump`."""
    return Moment(START + seconds + jump, 1000.0 + seconds if up is None else up, boot, load)


def board(number: int = 1, pci: str = SLOT, index: int = 0) -> Entity:
    return Entity("gpu", pci, f"GPU-{number:08d}", f"165012300{number:04d}", index, "NVIDIA H100 80GB HBM3")


def counter(value: float, name: str = "gpu.pcie.replays", gpu: Entity | None = None) -> Reading:
    return Reading(board() if gpu is None else gpu, name, value, "count", START)


def gpus(count: int) -> Reading:
    return Reading(NODE, "pci.gpus", count, "count", START)


def incident(
    when: float | None = 0.0,
    *,
    gpu: Entity | None = None,
    rule: str = "gpu-off-bus",
    boot: str = BOOT,
    seen: int = 1,
    first: float | None = None,
    severity: str = "critical",
    state: str = "open",
    witness: Reading | None = None,
    jump: float = 0.0,
    up: float | None = None,
) -> Incident:
    """An incident whose last line stands at `when` seconds (or that a reading opened, if None)."""
    who = board() if gpu is None else gpu
    opened = None if when is None else START + jump + (when if first is None else first)
    moment = witness.at if when is None and witness is not None else START + jump + (when or 0.0)
    log = None if when is None else LogRecord("NVRM: Xid 79", opened, 1000.0 + when, boot, origin="/dev/kmsg", line=7)
    opening = Evidence("trigger", "trigger", "seen", {}, {}, "It fell off the bus.", record=log, reading=witness)
    return Incident(
        fingerprint=f"n/{who.serial or who.uuid or who.pci}/{rule}",
        rule=rule,
        rule_version=1,
        title="GPU stopped answering on the PCIe bus",
        summary=f"GPU stopped answering on the PCIe bus on GPU {who.pci}",
        severity=severity,
        state=state,
        device=who_device(who),
        opened_at=opened if when is not None else moment,
        last_seen_at=moment,
        opened_order=-1 if when is None else 0,
        seen=seen,
        verdict=VERDICT,
        evidence=(opening,),
        explains=(),
        settle=(),
        next=(),
        boot=None if when is None else boot,
        last_monotonic=None if when is None else (1000.0 + when if up is None else up),
    )


def who_device(gpu: Entity) -> Any:
    from triage.model import Device

    return Device(gpu.pci, gpu.uuid, gpu.serial, gpu.index, gpu.name)


def report_of(incidents: Sequence[Incident], sources: Sequence[Source], now: Moment) -> dict[str, Any]:
    found = Assessment("n", "ok", tuple(sources), tuple(incidents), (), ())
    return to_report(found, generated_at=now.at, tool_version="0")


def sweep(
    memory: Memory,
    now: Moment,
    *,
    incidents: Sequence[Incident] = (),
    readings: Sequence[Reading] | None = None,
    sources: Sequence[Source] = (LOG, NVML),
    lasts: dict[str, float | None] | None = None,
) -> dict[str, Any]:
    """Write one sweep into an open history and return its report."""
    memory.began = now
    return memory.remember(
        report_of(incidents, sources, now),
        incidents=incidents,
        lasts=lasts or {},
        read=[counter(0), gpus(1)] if readings is None else readings,
        sources=sources,
        now=now,
    )


def open_memory(directory: Path, now: Moment | None = None) -> Memory:
    return Memory(directory, now or at(0), 1.0)


def xid(when: float, gpu: str = SLOT, boot: str = BOOT, code: str = "79") -> Signal:
    text = f"NVRM: Xid (PCI:{gpu}): {code}"
    seen = LogRecord(text, START + when, 1000.0 + when, boot, origin="/dev/kmsg", line=9)
    return Signal("xid", gpu, {"xid": code}, seen, last_at=START + when, last_monotonic=1000.0 + when)
