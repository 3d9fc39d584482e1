"""Assessments made by hand, with every kind of evidence, of place and of silence."""

from __future__ import annotations

from typing import Any

from probes.model import NO_PERMISSION, NOT_INSTALLED, Entity, LogRecord, Missing, Reading, Source
from triage.model import Assessment, Device, Evidence, Incident, Step, Verdict
from triage.report import to_report
from triage.rulebook.model import Cause

NOW = 1787407360.0  # 2026-08-22T14:02:40Z
XID_79 = "NVRM: Xid (PCI:0000:4e:00): 79, pid=811, name=python, GPU has fallen off the bus."
AER = "pcieport 0000:4d:01.0: AER: Uncorrectable (Fatal) error message received from 0000:4e:00.0"

CAUSES = {
    "hardware.gpu": Cause("hardware.gpu", "hardware", 0.4, "data-centre hands", "GPU board, its memory or silicon"),
    "hardware.link": Cause(
        "hardware.link", "hardware", 0.2, "data-centre hands", "PCIe path: slot, riser, cable, switch port"
    ),
    "driver.module": Cause("driver.module", "driver", 0.3, "platform", "NVIDIA kernel modules"),
    "workload": Cause("workload", "workload", 0.1, "job owner", "The job running on the GPU"),
}


def record(message: str, line: int, at: float | None = NOW - 10.0, **more: Any) -> LogRecord:
    """Return a record of kern.log."""
    return LogRecord(message, at=at, origin="/var/log/kern.log", line=line, text=f"kernel: {message}", **more)


def off_bus() -> Incident:
    """Return a decided incident with every kind of evidence."""
    temperature = Reading(Entity("gpu", pci="0000:4e:00.0"), "gpu.temperature", 61, "celsius", NOW - 60)
    return Incident(
        fingerprint="gpu-0417/1650123004410/gpu-off-bus",
        rule="gpu-off-bus",
        rule_version=3,
        title="GPU stopped answering on the PCIe bus",
        summary="GPU stopped answering on the PCIe bus on GPU 0000:4e:00.0 (Xid 79)",
        severity="critical",
        state="open",
        device=Device("0000:4e:00.0", "GPU-5b1e0c52", "1650123004410", 3, "NVIDIA H100 80GB HBM3"),
        opened_at=NOW - 8.882,
        last_seen_at=NOW - 8.882,
        opened_order=7,
        seen=1,
        verdict=Verdict(
            "hardware",
            "hardware.link",
            0.97,
            {"hardware": 0.985, "driver": 0.011, "workload": 0.004},
            {"hardware.link": 0.735, "hardware.gpu": 0.25, "driver.module": 0.011, "workload": 0.004},
        ),
        evidence=(
            Evidence(
                "trigger",
                "trigger",
                "seen",
                {"workload": -4},
                {},
                "A job cannot by itself take a GPU off the bus.",
                record=record(XID_79, 4711, NOW - 8.882),
            ),
            Evidence(
                "aer-fatal",
                "bus",
                "seen",
                {"hardware.link": 4, "hardware.gpu": 2},
                {},
                "The port above this GPU logged an uncorrectable bus error.",
                record=record(AER, 4709, NOW - 10.129),
            ),
            Evidence(
                "aer-any",
                "bus",
                "seen",
                {"hardware.link": 2},
                {},
                "The port above this GPU complained about the link.",
                record=record(AER, 4690, NOW - 11.0),
                count=17,
                counted=False,
            ),
            Evidence(
                "driver-oops",
                "oops",
                "seen",
                {"driver.module": 1},
                {},
                "The driver stumbled in its own code.",
                record=record("BUG: unable to handle page fault", 4720, None, monotonic=3601.25, injected=True),
            ),
            Evidence(
                "hot",
                "heat",
                "quiet",
                {"workload": -1},
                {},
                "The temperature was normal.",
                at=temperature.at,
                reading=temperature,
            ),
            Evidence("again", "history", "quiet", {}, {}, "The same GPU has done this before."),
            Evidence(
                "replays",
                "bus",
                "unknown",
                {},
                {"hardware.link": 2},
                "The link had been retrying before it failed.",
                reason="no history of this counter yet",
            ),
            Evidence(
                "bmc-power",
                "power",
                "unknown",
                {},
                {"hardware.gpu": 4},
                "The management controller logged a power event.",
                reason=NO_PERMISSION,
            ),
        ),
        explains=("Channel was torn down on GPU 0000:4e:00.0 (Xid 45), 12 lines",),
        settle=("Read the power log of the management controller.", "Read the replay counter for an hour."),
        next=(
            Step("Drain, reseat the riser and the GPU, then run the link test.", "needs-hands", "data-centre hands"),
            Step("Collect a bug report before anyone reboots the node.", "none", "data-centre hands"),
        ),
    )


def timeout() -> Incident:
    """Return an undetermined incident of the whole node that came back many times, its times unknown."""
    missing = Reading(Entity("node"), "gpu.count", Missing(NOT_INSTALLED), "count", NOW)
    return Incident(
        fingerprint="gpu-0417/node/gsp-timeout",
        rule="gsp-timeout",
        rule_version=1,
        title="The driver waited in vain for an answer",
        summary="The driver waited in vain for an answer, 39 lines",
        severity="warning",
        state="open",
        device=None,
        opened_at=None,
        last_seen_at=None,
        opened_order=9,
        seen=39,
        verdict=Verdict(
            "undetermined",
            None,
            0.52,
            {"hardware": 0.52, "driver": 0.33, "workload": 0.15},
            {"driver.module": 0.33, "hardware.gpu": 0.3, "hardware.link": 0.22, "workload": 0.15},
        ),
        evidence=(
            Evidence("trigger", "trigger", "seen", {}, {}, "It says nothing about whose fault it is.", reading=missing),
        ),
        explains=(),
        settle=(),
        next=(),
    )


def assessment(*incidents: Incident, status: str = "critical") -> Assessment:
    """Return an assessment of a log that was read and a driver that was not."""
    return Assessment(
        node="gpu-0417",
        status=status,
        sources=(
            Source("kernel-log", "/var/log/kern.log", True, NOW - 86400, NOW, 48211, True, None),
            Source("nvml", "libnvidia-ml.so.1", False, reason="not-installed: no NVIDIA driver on this machine"),
        ),
        incidents=incidents,
        gpus=(Device("0000:4e:00.0", "GPU-5b1e0c52", "1650123004410", 3, "NVIDIA H100 80GB HBM3"),),
        notices=("kern.log names no time zone; UTC was assumed",),
    )


def report_of(found: Assessment) -> dict[str, Any]:
    """Return the report with a fixed clock and version."""
    return to_report(found, generated_at=NOW, tool_version="1.2.3", causes=CAUSES)
