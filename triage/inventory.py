"""What is known of the machine that an incident happened on: its GPUs, and facts such as the driver version."""

from __future__ import annotations

from collections.abc import Sequence

from probes.model import Entity, Missing, Reading
from triage.model import Device
from triage.timeline import Timeline


def devices_of(timeline: Timeline, readings: Sequence[Reading]) -> dict[str, Device]:
    """Return every NVIDIA GPU that a reading or a line of NVIDIA's driver names, by address."""
    devices: dict[str, Device] = {}
    before: Entity | None = None
    for reading in readings:
        entity = reading.entity
        if entity is before:  # as nearly all are
            continue
        before = entity
        if entity.kind == "gpu" and entity.pci:
            old = devices.get(entity.pci, Device(entity.pci))
            devices[entity.pci] = Device(
                entity.pci,
                entity.uuid or old.uuid,
                entity.serial or old.serial,
                entity.index if entity.index is not None else old.index,
                entity.name or old.name,
            )
    for signal in timeline.signals:
        if signal.pci and signal.name in GPU_SIGNALS:
            old = devices.get(signal.pci, Device(signal.pci))
            devices[signal.pci] = old._replace(
                uuid=old.uuid or signal.fields.get("uuid"), serial=old.serial or signal.fields.get("serial")
            )
    return devices


GPU_SIGNALS = frozenset({"xid", "gpu-uuid", "gpu-lost", "gpu-serial", "rminit-failed"})
"""Signals whose address is always a GPU's, never a port's or another device's."""


def reading_key(reading: Reading) -> tuple[str | None, str]:
    """Return what a reading is found by: the GPU's address, or None for the node, and its name."""
    return (reading.entity.pci if reading.entity.kind == "gpu" else None, reading.name)


MOST_PROCESSES = 64
"""Processes that are told of."""
_TOLD = {
    "process.state": "state", "process.gpu-open": "gpu_open", "process.in-driver": "in_driver",
    "process.scheduler": "scheduler", "process.user": "user", "process.job-id": "job", "process.step": "step",
    "process.job-name": "job_name", "process.pod": "pod", "process.container": "container",
    "process.runtime": "runtime", "process.unit": "unit",
}  # fmt: skip


def processes_of(readings: Sequence[Reading]) -> tuple[dict[str, str | int | bool | None], ...]:
    """Return the processes that hold a GPU or hang in its driver, by number, with whose each is; unknown is None."""
    found: dict[tuple[int, str], dict[str, str | int | bool | None]] = {}
    for reading in readings:
        entity = reading.entity
        if entity.kind != "process" or entity.index is None or reading.name not in _TOLD:
            continue
        key = (entity.index, entity.name or "")
        blank: dict[str, str | int | bool | None] = dict.fromkeys(_TOLD.values())
        told = found.setdefault(key, {"pid": key[0], "name": key[1], **blank})
        value = reading.value
        told[_TOLD[reading.name]] = None if isinstance(value, (Missing, float)) else value
    return tuple(found[key] for key in sorted(found)[:MOST_PROCESSES])


def facts_of(timeline: Timeline, readings: Sequence[Reading]) -> dict[str, str]:
    """Return the inventory: readings of the node that are text, and groups named `fact_...` of signals.

    `fact_driver_version` sets `driver.version`; the last line that says it wins, and what was read wins over a log.
    """
    facts: dict[str, str] = {}
    for signal in timeline.signals:
        for name, value in signal.fields.items():
            if name.startswith("fact_"):
                facts[name[len("fact_") :].replace("_", ".")] = value
    for reading in readings:
        if reading.entity.kind == "node" and isinstance(reading.value, str):
            facts[reading.name] = reading.value
    return facts
