"""One node with eight GPUs and two incidents, its log, its readings and a small rulebook: the same in every test."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from probes.model import LOST, NODE, Entity, Missing, Reading
from triage.rulebook.model import (
    Action,
    Cause,
    Item,
    Place,
    Rule,
    Rulebook,
    Seen,
    Select,
    SignalPattern,
    Trigger,
    XidEntry,
)
from tui.facts import Facts, facts
from tui.source import Failed, LogText, Snapshot

NOW = 1787407389.0  # 2026-08-22T14:03:09Z
SWEPT = NOW - 38.0
KERN_LOG = "/var/log/kern.log"

XID = "NVRM: Xid (PCI:0000:4e:00): 79, pid=811, name=python, GPU has fallen off the bus."
LOG = "".join(
    f"2026-08-22T14:{minute:02d}:{second:02d}.000000+00:00 gpu-0417 {text}\n"
    for minute, second, text in [
        *((0, n, f"kernel: [{7200 + n}.000000] eth0: link becomes ready {n:x}") for n in range(20)),
        (2, 29, "kernel: [7349.871000] pcieport 0000:4d:01.0: AER: Uncorrectable (Fatal) error received: 0000:4e:00.0"),
        (2, 29, "kernel: [7349.872000] pcieport 0000:4d:01.0: AER: can't recover (no error_detected callback)"),
        (2, 31, f"kernel: [7351.118000] {XID}"),
        *((2, 31, f"kernel: [7351.2000{n:02d}] NVRM: Xid (PCI:0000:4e:00): 45, pid=8, Ch {n:08x}") for n in range(12)),
        (2, 40, "slurmd[4012]: job 90211 rank 43 exit 1"),
        (2, 41, "kernel: [7361.000000] NVRM: Xid (PCI:0000:1b:00): 119, pid=77, Timeout after 45s of waiting for RPC"),
        *((2, 50 + n, "systemd[1]: Started session.") for n in range(3)),
    ]
)  # fmt: skip


def _log(line: int, text: str) -> dict[str, Any]:
    return {
        "kind": "log",
        "origin": KERN_LOG,
        "line": line,
        "text": text,
        "monotonic": None,
        "boot": None,
        "injected": False,
        "pasted": False,
    }


def _read(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"kind": "reading", "origin": None, "line": None, "text": None, "name": name, "value": value, "unit": unit,
            "missing": None}  # fmt: skip


def _item(id: str, group: str, state: str, bearing: str | None, why: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "group": group, "state": state, "bearing": bearing, "points": {}, "would_be": {}, "counted": True,
            "why": why, "reason": None, "at": None, "count": 1, "source": None} | more  # fmt: skip


XID_79 = f"Aug 22 14:02:31 gpu-0417 kernel: {XID}"
AER = "Aug 22 14:02:29 gpu-0417 kernel: pcieport 0000:4d:01.0: AER: Uncorrectable (Fatal) error received: 0000:4e:00.0"
GSP = "Aug 22 14:02:41 gpu-0417 kernel: NVRM: Xid (PCI:0000:1b:00): 119, pid=77, Timeout after 45s of waiting for RPC"

OFF_BUS: dict[str, Any] = {
    "fingerprint": "gpu-0417/0000:4e:00.0/gpu-off-bus",
    "state": "open",
    "severity": "critical",
    "opened_at": "2026-08-22T14:02:31.000Z",
    "last_seen_at": "2026-08-22T14:02:31.000Z",
    "seen": 1,
    "where": {
        "node": "gpu-0417",
        "gpu": {"pci": "0000:4e:00.0", "uuid": "GPU-77aa0031", "serial": "1650123004410", "index": 3,
                "name": "NVIDIA H100 80GB HBM3"},
    },
    "title": "GPU stopped answering on the PCIe bus",
    "summary": "GPU stopped answering on the PCIe bus on GPU 0000:4e:00.0 (Xid 79)",
    "rule": {"id": "gpu-off-bus", "version": 3},
    "verdict": {
        "family": "hardware",
        "leaf": "hardware.link",
        "confidence": 0.97,
        "words": "very likely",
        "leading": {
            "family": "hardware",
            "leaf": "hardware.link",
            "title": "PCIe path: slot, riser, cable, switch port",
            "confidence": 0.97,
        },
        "by_family": {"hardware": 0.981, "driver": 0.011, "system": 0.003, "site": 0.003, "workload": 0.001,
                      "benign": 0.001},
        "by_leaf": {"hardware.link": 0.73, "hardware.gpu": 0.24, "hardware.power": 0.011, "driver.module": 0.011,
                    "system.kernel": 0.003, "site": 0.003, "workload": 0.001, "benign": 0.001},
    },
    "evidence": [
        _item("trigger", "trigger", "seen", "for", "A job cannot by itself take a GPU off the bus.",
              points={"workload": -4, "hardware.link": 2, "hardware.gpu": 1}, at="2026-08-22T14:02:31.000Z",
              source=_log(23, XID_79)),
        _item("aer-fatal", "bus", "seen", "for", "The port above this GPU logged an uncorrectable bus error.",
              points={"hardware.link": 4, "hardware.gpu": 2}, at="2026-08-22T14:02:29.000Z", source=_log(21, AER)),
        _item("oops", "oops", "seen", "against", "The driver stumbled in its own code shortly before the GPU was lost.",
              points={"driver.module": 2}, at="2026-08-22T14:02:29.000Z", source=_log(22, AER), count=3),
        _item("hot", "heat", "quiet", "for", "The temperature was normal.", points={"site": -2},
              at="2026-08-22T14:01:30.000Z", source=_read("gpu.temperature", 61, "celsius")),
        _item("again", "history", "quiet", "neutral", "The same GPU has done this before."),
        _item("bmc-power", "power", "unknown", None, "The management controller logged a power event.",
              would_be={"hardware.power": 7}, reason="no permission to read the log of the management controller"),
        _item("driver-wave", "breadth", "unknown", None, "Nodes on this driver version lose GPUs far more often.",
              would_be={"driver.module": 7, "hardware.gpu": -2, "hardware.link": -2},
              reason="one node cannot answer this; sweep the fleet"),
        _item("replays", "bus", "unknown", None, "The link had been retrying before it failed.",
              would_be={"hardware.link": 2}, reason="no history of this counter yet"),
    ],
    "explains": ["Channel was torn down on GPU 0000:4e:00.0 (Xid 45), 12 lines"],
    "settle": ["Compare nodes: does the loss follow the driver version, or this GPU's serial number or slot?"],
    "next": [
        {"do": "Drain the node, power it off, reseat the GPU and its riser, then run the link test.",
         "risk": "needs-hands", "owner": "data-centre hands"},
        {"do": "Collect a bug report before anyone reboots the node.", "risk": "none", "owner": "data-centre hands",
         "command": "nvidia-bug-report.sh --safe-mode"},
    ],
}  # fmt: skip

GSP_TIMEOUT: dict[str, Any] = {
    "fingerprint": "gpu-0417/0000:1b:00.0/gsp-fault",
    "state": "open",
    "severity": "warning",
    "opened_at": "2026-08-22T14:02:41.000Z",
    "last_seen_at": "2026-08-22T14:02:41.000Z",
    "seen": 39,
    "where": {"node": "gpu-0417", "gpu": {"pci": "0000:1b:00.0", "uuid": None, "serial": None, "index": None,
                                          "name": None}},
    "title": "The GPU's own processor did not answer the driver",
    "summary": "The GPU's own processor did not answer the driver on GPU 0000:1b:00.0 (Xid 119), 39 lines",
    "rule": {"id": "gsp-fault", "version": 1},
    "verdict": {
        "family": "undetermined",
        "leaf": None,
        "confidence": 0.52,
        "words": "undetermined",
        "leading": {"family": "driver", "leaf": "driver.firmware", "title": "GSP firmware, VBIOS, InfoROM",
                    "confidence": 0.52},
        "by_family": {"driver": 0.52, "hardware": 0.33, "workload": 0.15},
        "by_leaf": {"driver.firmware": 0.4, "hardware.gpu": 0.33, "workload": 0.15, "driver.module": 0.12},
    },
    "evidence": [
        _item("trigger", "trigger", "seen", "neutral", "It says nothing about whose fault it is.", points={},
              at="2026-08-22T14:02:41.000Z", source=_log(37, GSP), count=39),
    ],
    "explains": [],
    "settle": ["Read the driver's version and whether other nodes with it time out."],
    "next": [],
}  # fmt: skip

REPORT: dict[str, Any] = {
    "schema_version": 1,
    "kind": "report",
    "tool": {"name": "gpu-triage", "version": "1.2.3"},
    "generated_at": "2026-08-22T14:02:31.000Z",
    "complete": True,
    "node": "gpu-0417",
    "status": "critical",
    "sources": [
        {"kind": "kernel-log", "origin": KERN_LOG, "readable": True, "from": "2026-08-21T14:00:00.000Z",
         "to": "2026-08-22T14:02:52.000Z", "from_boot": True, "records": 48211, "reason": None},
        {"kind": "nvml", "origin": "libnvidia-ml.so.1", "readable": True, "from": None, "to": None, "from_boot": False,
         "records": 96, "reason": None},
        {"kind": "bmc", "origin": "/dev/ipmi0", "readable": False, "from": None, "to": None, "from_boot": False,
         "records": 0, "reason": "no permission to read it; run as root"},
    ],
    "incidents": [OFF_BUS, GSP_TIMEOUT],
    "gpus": [],
    "notices": ["kern.log names no time zone; UTC was assumed"],
}  # fmt: skip

BUSES = ("1b", "2a", "3b", "4e", "5d", "9a", "ab", "bc")


def entity(index: int) -> Entity:
    """Return a GPU of the node."""
    return Entity("gpu", f"0000:{BUSES[index]}:00.0", f"GPU-77aa003{index}", f"165012300441{index}", index,
                  "NVIDIA H100 80GB HBM3")  # fmt: skip


def readings() -> tuple[Reading, ...]:
    """Return readings of eight GPUs: the fourth is lost, the third is hot, the sixth has no ECC counters."""
    found = [Reading(NODE, "driver.version", "565.57.01", "text", SWEPT)]
    for index in range(8):
        lost = index == 3
        values: list[tuple[str, Any, str]] = [
            ("gpu.state", "ok", "text"),
            ("gpu.responsive", True, "flag"),
            ("gpu.temperature", 91 if index == 2 else 58 + index, "celsius"),
            ("gpu.temperature.slowdown", 92, "celsius"),
            ("gpu.power", 410.0 + index, "watts"),
            ("gpu.power.limit", 700.0, "watts"),
            ("gpu.utilization", 0.99, "ratio"),
            ("gpu.memory.used", 71 << 30, "bytes"),
            ("gpu.memory.total", 80 << 30, "bytes"),
            ("gpu.ecc.uncorrected.volatile", Missing("not-supported") if index == 5 else 0, "count"),
            ("gpu.rows.uncorrected", 0, "count"),
            ("gpu.pcie.generation", 5, "count"),
            ("gpu.pcie.width", 8 if index == 6 else 16, "count"),
            ("gpu.pcie.width.max", 16, "count"),
            ("gpu.pcie.replays", 0, "count"),
            ("gpu.clock.sm", 1755_000_000 if index == 2 else 1980_000_000, "hertz"),
            ("gpu.processes", 1, "count"),
        ]
        for name, value, unit in values:
            if lost:
                value = "lost" if name == "gpu.state" else False if name == "gpu.responsive" else Missing(LOST)
            found.append(Reading(entity(index), name, value, unit, SWEPT))
    return tuple(found)


def snapshot(log: Path | None = None, **changes: Any) -> Snapshot:
    """Return one sweep; `changes` replace fields of the report."""
    logs = () if log is None else (LogText(KERN_LOG, str(log)),)
    return Snapshot(copy.deepcopy(REPORT) | changes, SWEPT, 1.2, readings(), logs)


def known(**changes: Any) -> Facts:
    """Return the facts of the report; `changes` replace fields of it."""
    return facts(copy.deepcopy(REPORT) | changes)


class Fixed:
    """A source that yields what it was given, one value each time it is asked."""

    def __init__(self, *values: Snapshot | Failed, period: float | None = 15.0) -> None:
        self.title = "this node"
        self.period = period
        self.logs: tuple[LogText, ...] = ()
        self.values = values

    def snapshots(self, stop: threading.Event, again: threading.Event) -> Iterator[Snapshot | Failed]:
        """Yield a value, wait to be asked for the next."""
        for value in self.values:
            yield value
            again.wait()
            again.clear()
            if stop.is_set():
                return


def _place(line: int = 1) -> Place:
    return Place("rules/gpu-off-bus.yaml", line, 1)


def _rule(id: str, title: str, severity: str, xid: int, evidence: tuple[Item, ...] = ()) -> Rule:
    return Rule(
        id=id,
        version=3,
        title=title,
        status="stable",
        severity=severity,
        scope="gpu",
        summary=f"{title}; what surrounds the event decides.",
        references=(),
        trigger=Trigger((Seen(Select(xids=(xid,))),), {"workload": -4}, "A job cannot do that by itself.", ()),
        look_before=600.0,
        look_after=120.0,
        explains=("compute-exception",),
        suppress=(),
        evidence=evidence,
        actions=(Action("hardware", "Drain the node and reseat the GPU.", "needs-hands"),),
        tests=(),
        place=_place(),
    )


def rulebook() -> Rulebook:
    """Return two rules and the patterns of their lines."""
    items = (
        Item("aer-fatal", "bus", Seen(Select(signals=("aer-fatal",)), same="pci-path", when="before"),
             {"hardware.link": 4}, "The port above this GPU logged an uncorrectable bus error.", (), None, None,
             _place(20)),
        Item("oops", "oops", Seen(Select(signals=("oops",)), same="node"), {"driver.module": 2},
             "The driver stumbled in its own code shortly before the GPU was lost.", (), None, None, _place(30)),
    )  # fmt: skip
    return Rulebook(
        causes={
            "hardware.link": Cause("hardware.link", "hardware", 0.5, "data-centre hands", "PCIe path"),
            "driver.module": Cause("driver.module", "driver", 0.5, "platform", "NVIDIA kernel modules"),
        },
        at_least=0.8,
        independent_groups=2,
        cap=0.97,
        signals=(
            SignalPattern("xid", r"NVRM: Xid \((?:PCI:)?(?P<pci>[0-9a-fA-F:.]+)\): (?P<xid>\d+)(?:, (?P<text>.*))?$",
                          "kernel", (), "pci", "The driver reported an Xid.", (), (), _place(1)),
            SignalPattern("aer-fatal", r"pcieport (?P<pci>\S+): AER: Uncorrectable \(Fatal\)", "kernel", (), "pci",
                          "A PCIe port logged a fatal bus error.", (), (), _place(2)),
        ),
        rules=(
            _rule("gpu-off-bus", "GPU stopped answering on the PCIe bus", "critical", 79, items),
            _rule("gsp-fault", "The GPU's own processor did not answer the driver", "warning", 119),
        ),
        xids={79: XidEntry(79, "GPU_LOST", "The GPU has fallen off the bus.", "bus", "bus")},
        digest="0" * 64,
    )  # fmt: skip
