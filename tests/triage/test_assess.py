"""The walk from log to verdict."""

from __future__ import annotations

from probes.model import Entity, Missing, Reading, Source
from probes.records import parse_lines
from tests.triage.asked import RULEBOOK
from triage.assess import assess
from triage.model import UNDETERMINED, Assessment

READABLE = [Source("kernel-log", "log", True)]


def explain(text: str, readings: list[Reading] | None = None, sources: list[Source] | None = None) -> Assessment:
    lines = [line.encode() + b"\n" for line in text.splitlines()]
    records = parse_lines(lines, origin="log", year_hint=1_780_000_000.0)
    return assess(
        RULEBOOK, records, readings or [], READABLE if sources is None else sources, node="n", now=1_780_000_000.0
    )


OFF_BUS = "NVRM: Xid (PCI:0000:4e:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


def test_an_xid_alone_opens_an_incident_but_decides_nothing() -> None:
    """Xid 79 has many causes; one line does not tell them apart."""
    (incident,) = explain(OFF_BUS).incidents

    assert ("gpu-off-bus", UNDETERMINED) == (incident.rule, incident.verdict.family)
    assert incident.settle
    assert incident.next


def test_a_link_that_failed_first_is_the_cause() -> None:
    """Order decides: the port spoke before the driver."""
    (incident,) = explain(
        "[10.000000] pcieport 0000:4d:01.0: AER: Uncorrectable (Fatal) error message received from 0000:4e:00.0\n"
        "[12.000000] " + OFF_BUS
    ).incidents

    assert "hardware.link" == incident.verdict.leaf
    assert "seen" == {e.id: e.state for e in incident.evidence}["link-first"]


def test_symptoms_are_folded_into_the_incident_that_explains_them() -> None:
    """Xid 45 and 154 after 79 are no incidents of their own."""
    assessment = explain(
        "[12.0] " + OFF_BUS + "\n"
        "[12.1] NVRM: Xid (PCI:0000:4e:00): 45, pid=7, name=python, Ch 00000010\n"
        "[12.2] NVRM: Xid (PCI:0000:4e:00): 154, "
        "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)\n"
    )

    (incident,) = assessment.incidents
    assert 2 == len(incident.explains)


def test_two_gpus_are_two_incidents() -> None:
    """A fault of one GPU is not the other's."""
    incidents = explain(OFF_BUS + "\n" + "NVRM: Xid (PCI:0000:9d:00): 48, An uncorrectable double bit error").incidents

    assert ["0000:4e:00.0", "0000:9d:00.0"] == [i.device.pci for i in incidents if i.device]


def test_an_unknown_code_is_an_incident_of_its_own() -> None:
    """An Xid that nobody has heard of is shown, and left open."""
    (incident,) = explain("NVRM: Xid (PCI:0000:4e:00): 998, something new").incidents

    assert ("xid-other", UNDETERMINED) == (incident.rule, incident.verdict.family)
    assert "998" in incident.summary


def test_silence_counts_only_in_a_log_that_covers_the_time() -> None:
    """The same two lines, once alone and once in a whole boot log."""
    ordinary = "".join(f"[    {i}.000000] usb 1-{i}: ordinary line\n" for i in range(30))
    mine = "[  900.000000] amdgpu 0000:c4:00.0: amdgpu: MES failed to respond to msg=REMOVE_QUEUE\n"
    excerpt, whole = explain(mine), explain("[    0.000000] Linux version 6.1.0\n" + ordinary + mine)

    def state(assessment: Assessment) -> str:
        return next(e.state for e in assessment.incidents[0].evidence if e.id == "nvidia-quiet")

    assert ("unknown", "seen") == (state(excerpt), state(whole))


def test_a_reading_opens_an_incident_without_any_log() -> None:
    """A failed row remap is a fault whether or not its line is still in the ring buffer."""
    gpu = Entity("gpu", pci="0000:4e:00.0", serial="1650123004410", index=3)
    (incident,) = explain("", [Reading(gpu, "gpu.rows.failure", True, "flag", 1.0)]).incidents

    assert ("gpu-memory", "hardware.gpu") == (incident.rule, incident.verdict.leaf)
    assert "n/1650123004410/gpu-memory" == incident.fingerprint


def test_a_lost_gpu_that_does_not_say_which_it_is_is_not_taken_for_the_one_that_is_well() -> None:
    """Two GPUs, one of which answers; where there is but one it is that one."""
    well, lost = Entity("gpu", pci="0000:10:00.0", index=0), Entity("gpu", index=1)
    readings = [Reading(well, "gpu.state", "ok", "text", 1.0), Reading(lost, "gpu.state", "lost", "text", 1.0)]
    (incident,) = explain("", readings).incidents
    (alone,) = explain("NVRM: GPU is lost\n" + OFF_BUS, [Reading(lost, "gpu.state", "lost", "text", 1.0)]).incidents

    assert ("gpu-off-bus", None) == (incident.rule, incident.device)
    assert alone.device is not None
    assert "0000:4e:00.0" == alone.device.pci


def test_a_missing_reading_is_unknown_and_never_zero() -> None:
    """It neither triggers nor counts against a cause."""
    gpu = Entity("gpu", pci="0000:4e:00.0")
    readings = [Reading(gpu, "gpu.ecc.uncorrected.volatile", Missing("no-permission"), "count", 1.0)]
    (incident,) = explain("NVRM: Xid (PCI:0000:4e:00): 31, pid=1, name=a, MMU Fault", readings).incidents

    clean = next(e for e in incident.evidence if e.id == "ecc-clean")
    assert ("unknown", "no-permission", {}) == (clean.state, clean.reason, dict(clean.points))


def test_a_gpu_that_hangs_the_probe_is_an_incident() -> None:
    """The hang is evidence."""
    gpu = Entity("gpu", pci="0000:4e:00.0")
    (incident,) = explain("", [Reading(gpu, "gpu.responsive", Missing("timed-out"), "flag", 1.0)]).incidents

    assert ("nvml-unresponsive", "critical") == (incident.rule, incident.severity)


def test_status_is_unknown_where_a_source_could_not_be_read() -> None:
    """Not having looked is not ok."""
    unread = [Source("nvml", "libnvidia-ml.so.1", False, reason="not installed")]

    assert "unknown" == explain("", sources=unread).status
    assert "unknown" == explain("", sources=[]).status
    assert "ok" == explain("usb 1-1: new device").status


def test_what_is_seen_beats_what_could_not_be_read() -> None:
    """A fault in the log is critical whether or not NVML answered."""
    unread = [*READABLE, Source("nvml", "libnvidia-ml.so.1", False, reason="not installed")]

    assert "critical" == explain(OFF_BUS, sources=unread).status


def test_a_benign_verdict_is_only_information() -> None:
    """It must not turn a node red."""
    assessment = explain("NVRM: Xid (PCI:0000:01:00): 144, SAW_MVB Nonfatal XC0 i0 Link 0 (0x1 0x8 0x0 0x0 0x0 0x0)")

    assert ("benign", "info", "ok") == (
        assessment.incidents[0].verdict.family,
        assessment.incidents[0].severity,
        assessment.status,
    )


def test_incidents_come_worst_first() -> None:
    """The one to look at is on top."""
    assessment = explain(
        "[1.0] NVRM: Xid (PCI:0000:01:00): 13, pid=7, name=python, Graphics Exception\n[500.0] "
        "NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus.\n"
    )

    assert ["critical", "warning"] == [i.severity for i in assessment.incidents]


def test_the_same_input_gives_the_same_answer() -> None:
    """Determinism is a promise."""
    text = OFF_BUS + "\nNVRM: Xid (PCI:0000:9d:00): 119, Timeout waiting for RPC from GSP!"

    assert explain(text) == explain(text)


def test_an_answer_can_be_fixed_from_outside() -> None:
    """What the fleet knows decides what one node cannot."""
    lines = [OFF_BUS.encode()]
    records = parse_lines(lines, origin="log", year_hint=1_780_000_000.0)
    fixed = {"gpu-off-bus": {"several-at-once": "seen", "slot-power": "seen"}}
    assessment = assess(RULEBOOK, records, [], READABLE, node="n", now=0.0, preset=fixed)

    assert "hardware.power" == assessment.incidents[0].verdict.leaf


def test_a_fault_is_over_after_a_reboot_unless_it_comes_back() -> None:
    """A line of an earlier boot does not keep the node red; its return does."""
    boot = "[    0.000000] Linux version 6.1.0\n[    1.000000] usb 1-1: new device\n"
    fault = "[  100.000000] " + OFF_BUS + "\n"

    over = explain(boot + fault + boot)
    back = explain(boot + fault + boot + fault)

    assert ("resolved", "ok") == (over.incidents[0].state, over.status)
    assert ("open", "critical", 2) == (back.incidents[0].state, back.status, back.incidents[0].seen)
    assert "seen" == {e.id: e.state for e in back.incidents[0].evidence}["again-after-reboot"]


def test_a_passing_fault_of_a_live_node_ages_out() -> None:
    """A program's fault of last week is not today's warning; a lost GPU stays lost until the reboot."""
    gpu = Entity("gpu", pci="0000:4e:00.0")
    alive = [Reading(gpu, "gpu.temperature", 40, "celsius", 1.0)]
    week_ago = "2026-05-21T00:00:00+00:00 n kernel: "
    assessment = explain(
        f"{week_ago}NVRM: Xid (PCI:0000:4e:00): 31, pid=1, name=a, MMU Fault\n"
        f"{week_ago}NVRM: Xid (PCI:0000:9d:00): 79, GPU has fallen off the bus.\n",
        alive,
    )

    assert {"compute-exception": "resolved", "gpu-off-bus": "open"} == {i.rule: i.state for i in assessment.incidents}
