"""A small made-up fleet for tests: nodes with facts and boards, and incidents as a real log would open them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from probes.model import LogRecord, Source
from triage import __version__
from triage.assess import assess
from triage.fleet.census import Census, Event, Stay
from triage.fleet.model import Json, Part
from triage.report import to_report
from triage.rulebook.load import load
from triage.rulebook.model import Rulebook

DAY = 86400.0
LINES: Mapping[str, str] = {
    "gsp-fault": "NVRM: Xid (PCI:0000:10:00): 119, pid=1811, name=python, Timeout after 6s of waiting for RPC response"
    " from GPU0 GSP! Expected function 76 (GSP_RM_CONTROL) (0x20800a4c 0x4).",
    "gpu-off-bus": "NVRM: Xid (PCI:0000:10:00): 79, pid=1811, name=python, GPU has fallen off the bus.",
    "compute-exception": "NVRM: Xid (PCI:0000:10:00): 31, pid=1811, name=python, Ch 00000010, intr 00000000. MMU Fault:"
    " ENGINE GRAPHICS GPCCLIENT_T1_0 faulted @ 0x7f_3a000000. Fault is of type FAULT_PDE ACCESS_TYPE_VIRT_READ",
    "controller-halt": "NVRM: Xid (PCI:0000:10:00): 62, pid=1811, name=python, 32fe0000 00000000 00000000",
}


@cache
def rulebook() -> Rulebook:
    """The built-in rulebook."""
    return load(None)


@cache
def incident(rule: str) -> Json:
    """The incident that one line of a rule's opens by itself."""
    record = LogRecord(LINES[rule], at=DAY, origin="kern.log", line=1)
    source = Source("kernel-log", "kern.log", True, 0.0, 2 * DAY, 1)
    found = assess(rulebook(), [record], [], [source], node="gpu-0001", now=2 * DAY)
    report = to_report(found, generated_at=2 * DAY, tool_version=__version__, causes=rulebook().causes)
    (told,) = report["incidents"]
    assert rule == told["rule"]["id"]
    kept: Json = told
    return kept


def part(number: int, pci: str = "0000:10:00.0", **facts: str) -> Part:
    """Board `number`."""
    return Part(
        pci, f"GPU-{number}", f"serial-{number}", 0, "NVIDIA H100", {k.replace("_", "."): v for k, v in facts.items()}
    )


class Fleet:
    """Grows node by node; every node is heard for all of `days`."""

    def __init__(self, days: float = 30.0) -> None:
        self.days = days
        self.stays: list[Stay] = []
        self.events: list[Event] = []

    def node(
        self, name: str, *boards: Part, start: float = 0.0, end: float | None = None, heard: float = 1.0, **facts: str
    ) -> None:
        """Add a stay, in days."""
        until = self.days if end is None else end
        told = {key.replace("_", "."): value for key, value in facts.items()}
        self.stays.append(Stay(name, start * DAY, until * DAY, (until - start) * DAY * heard, told, boards))

    def fails(
        self, name: str, rule: str, day: float, pci: str | None = "0000:10:00.0", board: str | None = None, **facts: str
    ) -> Event:
        """Add an incident on a node."""
        told = {key.replace("_", "."): value for key, value in facts.items()}
        event = Event(
            name, rule, day * DAY, day * DAY, f"{name}/{rule}/{len(self.events)}", incident(rule), pci, board, told
        )
        self.events.append(event)
        return event

    def census(self) -> Census:
        """What all that amounts to."""
        return Census(self.stays, self.events, 0.0, self.days * DAY)
