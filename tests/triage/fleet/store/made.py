"""Answers and sweeps for the tests of a store."""

from __future__ import annotations

from typing import Any

from tests.triage.fleet.places import DAY, incident
from triage.fleet.model import ANSWERED, Answer, Json, Part
from triage.fleet.store.write import Swept
from triage.report import iso


def swept(number: int = 1, day: float | None = None, asked: int = 2) -> Swept:
    """Sweep `number`, on day `number` unless another is given."""
    return Swept(f"sweep-{number:04}", (number if day is None else day) * DAY, "ssh", asked, "g[1-2]")


def answer(node: str = "g1", day: float = 1.0, *, replays: float = 0.0, **more: Any) -> Answer:
    """What a node with two GPUs said on that day."""
    gpus = tuple(
        Part(
            f"0000:{16 * (i + 1):02x}:00.0",
            f"GPU-{node}-{i}",
            f"{node}-{i}",
            i,
            "NVIDIA H100",
            {"gpu.vbios": "96.00.74"},
            {"gpu.pcie.replays": replays, "gpu.clock.sm": 1980.0 - i},
        )
        for i in range(2)
    )
    told = Answer(
        node,
        ANSWERED,
        at=day * DAY,
        took=1.5,
        status="ok",
        facts={"driver.version": "550.54.15", "kernel.release": "6.8.0", "job.id": f"{day:g}"},
        gpus=gpus,
        heard=((day - 1) * DAY, day * DAY),
        notices=("one",),
    )
    return told._replace(**more)


def failing(node: str, opened: float, rule: str = "gsp-fault", **more: Any) -> Json:
    """An incident of that node."""
    where = {"node": node, "gpu": {"pci": "0000:10:00.0", "serial": f"{node}-0", "uuid": None, "index": 0}}
    told = {
        **incident(rule),
        "fingerprint": f"{node}/{rule}",
        "opened_at": iso(opened),
        "last_seen_at": iso(opened),
        "where": where,
    }
    return {**told, **more}
