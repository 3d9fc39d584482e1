"""The table of driver bugs, walked row by row through the real decision, and what makes a row speak or stay silent."""

from __future__ import annotations

from functools import cache

import pytest

from probes.model import Entity, LogRecord, Reading, Source
from triage.assess import assess
from triage.model import Assessment, Evidence, Incident
from triage.rulebook.load import load
from triage.rulebook.model import DriverBug, Rulebook
from triage.rulebook.versions import NEVER, affected, branch, fixes

PRODUCTS = (
    "Tesla V100-SXM2-32GB",
    "NVIDIA GeForce RTX 4090",
    "NVIDIA H100 80GB HBM3",
    "NVIDIA GeForce RTX 4070 Laptop GPU",
)
PLAIN = 30
"""Ordinary lines around what is asked about, so that silence counts."""
XID_119 = (
    "NVRM: Xid (PCI:0000:61:00): 119, pid=1, name=nvidia-smi, Timeout waiting for RPC from GSP! "
    "Expected function 76 (GSP_RM_CONTROL) (0x2080014b 0x5)."
)
XID_120 = "NVRM: Xid (PCI:0000:64:00): 120, GSP task exception: load access page fault (cause:0xd) @ pc:0x140c7f6"


@cache
def rulebook() -> Rulebook:
    return load()


def banner(version: str, flavour: str | None = None) -> str:
    kind = "UNIX x86_64 Kernel Module" if flavour == "proprietary" else "UNIX Open Kernel Module for x86_64"
    return f"NVRM: loading NVIDIA {kind}  {version}  Release Build  (root@)"


def log(*messages: str, boot: str = "#1", start: float = 0.0, origin: str = "log") -> list[LogRecord]:
    """Return a whole boot: its first line, plain ones, and these, a second apart."""
    lines = ["Linux version 6.8.0", *(f"audit: ordinary line {n}" for n in range(PLAIN)), *messages]
    return [
        LogRecord(m, at=1.7e9 + start + n, monotonic=float(n), origin=origin, line=n + 1, boot=boot)
        for n, m in enumerate(lines)
    ]


def concluded(records: list[LogRecord], *readings: Reading) -> Assessment:
    source = Source("kernel-log", "log", True, from_boot=True, records=len(records))
    return assess(rulebook(), records, readings, [source], node="n", now=1.8e9)


def node(name: str, value: str) -> Reading:
    return Reading(Entity("node"), name, value, "text", 1.7e9)


def gpu(name: str) -> Reading:
    return Reading(Entity("gpu", pci="0000:01:00.0", name=name), "gpu.name", name, "text", 1.7e9)


def weighed(assessment: Assessment) -> list[tuple[Incident, Evidence]]:
    """Return every answer about known bugs that is not beside the point."""
    return [
        (incident, item)
        for incident in assessment.incidents
        for item in incident.evidence
        if item.id.startswith("known-") and item.id.endswith("-bug") and not item.why.startswith("No bug")
    ]


def state(records: list[LogRecord], *readings: Reading) -> tuple[str, str]:
    """Return the answer of the one incident that a known bug is weighed in, and why."""
    ((_, item),) = weighed(concluded(records, *readings))
    return item.state, item.why


def versions(bug: DriverBug) -> list[tuple[str, str | None]]:
    """Return for each branch of a row a version that has the bug, and the first that has not."""
    pairs = []
    for of, fixed in bug.fixed.items():
        has = bug.since.get(of) or (f"{of}.1" if fixed != f"{of}.1" else f"{of}.0")
        pairs.append((has, None if fixed == NEVER else fixed))
    return pairs


def example(bug: DriverBug, version: str) -> tuple[list[LogRecord], list[Reading]]:
    """Return the lines of a row's example under a driver version, and the name of a GPU that has the bug."""
    import re2

    at = next((n for n, line in enumerate(bug.examples) if not line.startswith("Linux version")), 0)
    records = log(*bug.examples[:at], banner(version, bug.flavour))
    early = bug.beside is not None and "driver-loaded" in bug.beside.select.signals
    start = float(len(records)) + (0.0 if early or at else 3600.0)
    records += [
        LogRecord(m, at=1.7e9 + start + n, monotonic=start + n, origin="log", line=200 + n, boot="#1")
        for n, m in enumerate(bug.examples[at:])
    ]
    name = next((p for p in PRODUCTS if bug.gpu and re2.compile(bug.gpu).search(p)), "")
    return records, [gpu(name)] if name else []


@pytest.mark.parametrize("bug", rulebook().bugs, ids=lambda bug: bug.id)
def test_every_row_speaks_with_a_version_that_has_the_bug_and_not_with_the_one_that_fixed_it(bug: DriverBug) -> None:
    for has, fixed in versions(bug):
        records, readings = example(bug, has)
        seen = [item.why for _, item in weighed(concluded(records, *readings)) if item.state == "seen"]
        assert any(bug.fault[:-1] in why and bug.sources[0] in why and fixes_named(bug, why) for why in seen), has
        if fixed is not None:
            records, readings = example(bug, fixed)
            found = concluded(records, *readings)
            assert found.incidents, "the example is an incident whatever the version"
            assert not [i for _, i in weighed(found) if i.state == "seen" and bug.fault[:-1] in i.why], fixed


def fixes_named(bug: DriverBug, why: str) -> bool:
    return any(version in why for version in bug.fixed.values() if version != NEVER)


@pytest.mark.parametrize("bug", rulebook().bugs, ids=lambda bug: bug.id)
def test_no_row_speaks_where_its_lines_are_but_the_version_is_not(bug: DriverBug) -> None:
    records = [record for record in log(*bug.examples) if not record.message.startswith("NVRM: loading")]
    assert not [item for _, item in weighed(concluded(records)) if item.state == "seen"]


def test_the_sentence_names_bug_fix_and_source_and_the_step_ends_it() -> None:
    incident, item = weighed(concluded(log(banner("525.85.12", "proprietary"), XID_119)))[0]
    assert (
        "Driver 525.85.12 has a known bug, fixed in 525.105.17: The firmware (GSP-RM) of the first 525 drivers "
        "stopped answering the driver (https://github.com/NVIDIA/open-gpu-kernel-modules/issues/446)."
    ) == item.why
    assert item.record is not None
    assert "525.85.12" in item.record.message
    assert ("driver.firmware", "Update to 525.105.17 or later.") == (incident.verdict.leaf, incident.next[0].do)


def test_a_version_with_the_fix_is_weak_evidence_against_the_bug() -> None:
    assert "quiet" == state(log(banner("525.147.05"), XID_119))[0]
    ((_, item),) = weighed(concluded(log(banner("525.147.05"), XID_119)))
    assert {"driver.firmware": -1} == item.points


@pytest.mark.parametrize("message", [XID_119.replace("119", "79"), XID_120])
def test_a_version_alone_blames_nothing(message: str) -> None:
    assert [] == [i for _, i in weighed(concluded(log(banner("525.85.12"), message))) if i.state == "seen"]


def test_of_a_branch_that_no_row_names_nothing_is_said() -> None:
    assert [] == weighed(concluded(log(banner("530.30.02"), XID_119)))


def test_without_a_version_the_step_is_to_look_it_up() -> None:
    incident, item = weighed(concluded(log(XID_119)))[0]
    assert ("unknown", "which driver version was loaded is not known; a bug fixed in 525.105.17 looks like this") == (
        item.state,
        item.reason,
    )
    assert any("Look up the driver version" in step and "issues/446" in step for step in incident.settle)


def test_the_version_is_that_of_the_same_boot() -> None:
    first, second = log(XID_119), log(banner("525.85.12"), boot="#2", start=1000.0)
    assert "unknown" == state([*first, *second])[0]
    first = log(banner("525.85.12"), XID_119)
    second = log(banner("525.147.05"), boot="#2", start=1000.0)
    assert "seen" == state([*first, *second])[0]


def test_a_driver_that_was_loaded_after_the_fault_is_not_the_one_that_had_it() -> None:
    assert "unknown" == state(log(XID_119, banner("525.85.12")), node("driver.version", "525.85.12"))[0]
    assert "quiet" == state(log(banner("525.147.05"), XID_119, banner("525.85.12")))[0]


def test_a_reading_tells_the_version_of_the_last_boot_only() -> None:
    reading = node("driver.version", "525.85.12")
    assert "seen" == state(log(XID_119), reading)[0]
    assert "unknown" == state([*log(XID_119), *log("audit: again", boot="#2", start=1000.0)], reading)[0]


def test_another_log_tells_the_version_if_both_name_the_boot() -> None:
    for boot, answer in (("c0ffee00", "seen"), ("#1", "unknown")):
        loaded = log(banner("525.85.12"), boot=boot, origin="journal")
        assert answer == state([*loaded, *log(XID_119, boot=boot, start=100.0)])[0]


def test_what_stands_beside_a_symptom_must_be_there() -> None:
    assert [] == weighed(concluded(log(banner("575.57.08"), *["audit: later"] * 200, XID_120)))
    assert "seen" == state(log(banner("575.57.08"), XID_120))[0]


def test_an_excerpt_that_may_lack_what_stands_beside_leaves_it_open() -> None:
    records = [LogRecord(XID_120, at=1.7e9, origin="log", line=1, boot="#1")]
    ((_, item),) = weighed(concluded(records, node("driver.version", "575.57.08")))
    assert ("unknown", True) == (item.state, "does not tell all" in (item.reason or ""))


def test_a_bug_of_the_other_flavour_is_not_this_one() -> None:
    crash = "Missing ENDBR: _portMemAllocatorAllocNonPagedWrapper+0x0/0x10"
    assert "seen" == state(log(banner("525.89.02", "proprietary"), crash))[0]
    modeset = "nvidia-modeset: Loading NVIDIA UNIX Open Kernel Mode Setting Driver for x86_64  525.89.02  Release Build"
    assert "quiet" == state(log(banner("525.89.02", "open"), modeset, crash))[0]
    assert "seen" == state(log(modeset, crash))[0], "of which flavour it was, this line is not asked"


def test_which_gpu_it_is_decides_where_only_some_have_the_bug() -> None:
    bug = next(bug for bug in rulebook().bugs if bug.id == "resume-freeze-ada")
    records, _ = example(bug, "535.104.05")
    assert {"unknown"} == {item.state for _, item in weighed(concluded(records))}

    assert {"seen"} == {i.state for _, i in weighed(concluded(records, gpu("NVIDIA GeForce RTX 4070")))}
    assert [] == weighed(concluded(records, gpu("NVIDIA GeForce RTX 3070")))


@pytest.mark.parametrize(
    ("version", "has"),
    [("570.86.16", True), ("570.169", False), ("570.172.08", False), ("575.57.08", True), ("575.64.03", False)],
)
def test_versions_are_compared_by_their_numbers(version: str, has: bool) -> None:
    bug = next(bug for bug in rulebook().bugs if bug.id == "gsp-crash-at-start-blackwell")
    assert has == affected(bug, version)
    assert "570.169 and 575.64" == fixes(bug)


def test_a_branch_that_is_not_named_and_one_without_the_fix_are_told_apart() -> None:
    bug = next(bug for bug in rulebook().bugs if bug.id == "peer-memory-double-free")
    assert (None, True, "530") == (affected(bug, "560.35.03"), affected(bug, "530.41.03"), branch("530.41.03"))
