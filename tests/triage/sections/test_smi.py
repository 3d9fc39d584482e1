"""`nvidia-smi -q` of several driver generations gives the readings that the live probe would have given."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.model import LOST, NO_PERMISSION, NODE, NOT_SUPPORTED, Entity, Missing, Reading, Value
from probes.nvml_owed import OWED
from triage.found import NOT_SHOWN
from triage.intake import Intake
from triage.sections import smi, smi_text, smi_values, smi_xml

DATA = Path(__file__).parent / "data"
NOW = 1771977600.0
MIB = 1 << 20


def read(content: bytes, tz_offset: float = 0.0) -> Intake:
    intake = Intake(["-"], now=NOW, tz_offset=tz_offset, stdin=io.BytesIO(content))
    assert [] == list(intake)
    return intake


def gpus(name: str) -> dict[str, tuple[Entity, dict[str, Value]]]:
    """What a file says of each GPU, by address."""
    found: dict[str, tuple[Entity, dict[str, Value]]] = {}
    for reading in read((DATA / name).read_bytes()).readings:
        if reading.entity.kind == "gpu":
            found.setdefault(str(reading.entity.pci), (reading.entity, {}))[1][reading.name] = reading.value
    return found


def expect(values: dict[str, Value], **expected: Value) -> None:
    told = {name.replace("__", ".").replace("_", "-"): value for name, value in expected.items()}
    assert told == {name: values[f"gpu.{name}"] for name in told}


def test_a_gpu_before_ampere() -> None:
    """Single and double bit errors, retired pages, throttle reasons nested in each other."""
    entity, values = gpus("smi-470-old-ecc.txt")["0000:1a:00.0"]

    assert ("GPU-11111111-aaaa-bbbb-cccc-000000000001", "1320000000001", 0) == (
        entity.uuid,
        entity.serial,
        entity.index,
    )
    expect(
        values,
        name="Tesla V100-SXM2-32GB", vbios="88.00.48.00.02", inforom="G503.0203.00.05", state="ok", responsive=True,
        ecc__mode="on", ecc__corrected__volatile=4, ecc__uncorrected__volatile=1, ecc__dram__uncorrected__volatile=1,
        ecc__corrected__aggregate=15, ecc__uncorrected__aggregate=2, ecc__dram__uncorrected__aggregate=2,
        ecc__sram__uncorrected__volatile=Missing(NOT_SHOWN), rows__pending=Missing(NOT_SUPPORTED),
        pages__retired__single_bit=1, pages__retired__double_bit=2, pages__pending=True,
        temperature=91, temperature__slowdown=87, temperature__shutdown=90, temperature__memory=88,
        temperature__memory__max=85, power=301.2, power__limit=300, clock__sm=1_200_000_000,
        clock__sm__max=1_530_000_000, idle=False, slowdown__sw_power_cap=True, slowdown__hw=True,
        slowdown__hw_thermal=True, slowdown__power_brake=False, slowdown__sw_thermal=False, utilization=0.97,
        memory__total=32510 * MIB, memory__used=31002 * MIB, pcie__replays=12, pcie__replay_rollovers=0,
        pcie__generation=3, pcie__generation__max=3, pcie__width=8, pcie__width__max=16, persistence=True,
        mig__mode=Missing(NOT_SUPPORTED), processes=2, recovery_action=Missing(NOT_SHOWN),
    )  # fmt: skip


def test_a_gpu_that_is_lost_owes_everything_and_nothing_is_zero() -> None:
    """Every reading is missing because the GPU is lost."""
    entity, values = gpus("smi-470-old-ecc.txt")["0000:1c:00.0"]

    assert (None, None, 1) == (entity.uuid, entity.serial, entity.index)
    assert "lost" == values.pop("gpu.state")
    assert {name for name, _ in OWED} - {"gpu.state"} == set(values)
    assert {Missing(LOST)} == set(values.values())


def test_a_gpu_of_the_535_branch() -> None:
    """SRAM in one count, a row that waits for its remap, reset required in words of before recovery actions."""
    _, values = gpus("smi-535-h100.txt")["0000:18:00.0"]

    expect(
        values,
        ecc__sram__uncorrected__volatile=2, ecc__dram__uncorrected__volatile=1, ecc__uncorrected__volatile=3,
        ecc__corrected__volatile=0, ecc__corrected__aggregate=5, rows__corrected=0, rows__uncorrected=1,
        rows__pending=True, rows__failure=False, rows__banks__low=0, rows__banks__none=0, gsp_firmware="535.86.10",
        sram__threshold_exceeded=Missing(NOT_SHOWN), recovery_action="gpu-reset", mig__mode="off",
        mig__mode__pending="on", temperature=30, temperature__slowdown=89, temperature__shutdown=95,
        temperature__memory=36, fabric__state="completed", fabric__status="success", processes=0,
        pages__pending=Missing(NOT_SUPPORTED), idle=True, power__limit=700,
    )  # fmt: skip


def test_a_gpu_of_the_580_branch() -> None:
    """The SRAM threshold, repairs, event counters, a recovery action, and errors where values should be."""
    _, values = gpus("smi-580-blackwell.txt")["0000:05:00.0"]

    expect(
        values,
        ecc__sram__uncorrected__volatile=3, ecc__uncorrected__volatile=3, ecc__sram__uncorrected__aggregate=7,
        sram__threshold_exceeded=True, repair__channel_pending=False, repair__tpc_pending=True,
        memory__unrepairable=False, rows__failure=True, rows__banks__none=1, recovery_action="drain-and-reset",
        slowdown__power_brake=True, violation__power=0.03861, violation__hw_thermal=1.5, violation__power_brake=2.0,
        power=150, power__limit=1000, fabric__state="in-progress", fabric__status=Missing(NOT_SUPPORTED),
        fabric__health="limited-capacity", temperature=41, temperature__slowdown=Missing(NOT_SHOWN),
        temperature__memory=Missing("error:NOT_READY"), utilization=0.06,
    )  # fmt: skip


def test_the_xml_says_the_same_in_its_own_tags() -> None:
    entity, values = gpus("smi-575.xml")["0000:4e:00.0"]

    assert (
        Entity("gpu", "0000:4e:00.0", "GPU-44444444-aaaa-bbbb-cccc-000000000001", "1653000000001", 0, "NVIDIA L4")
        == entity
    )
    expect(
        values,
        vbios="95.04.29.00.06", inforom="G193.0200.00.01", gsp_firmware="575.51.02", recovery_action="gpu-reset",
        ecc__mode="on", ecc__mode__pending="off", ecc__corrected__volatile=2, ecc__uncorrected__volatile=1,
        ecc__sram__uncorrected__volatile=1, ecc__dram__uncorrected__volatile=0, sram__threshold_exceeded=False,
        rows__uncorrected=4, rows__failure=True, rows__banks__low=1, rows__banks__none=0,
        pages__retired__double_bit=Missing(NOT_SUPPORTED), temperature=41, temperature__slowdown=89,
        temperature__shutdown=99, temperature__memory=Missing(NOT_SUPPORTED), power=11.26, power__limit=72,
        clock__sm=675_000_000, clock__sm__max=2_040_000_000, idle=True, slowdown__power_brake=True, slowdown__hw=False,
        violation__power=91.403239, violation__power_brake=7e-06, pcie__generation=1, pcie__width=8,
        pcie__width__max=16, pcie__replays=5, utilization=0.3, memory__used=MIB, processes=1,
        fabric__state=Missing(NOT_SUPPORTED),
    )  # fmt: skip


def test_in_the_xml_what_cannot_be_read_has_its_reason() -> None:
    entity, values = gpus("smi-575.xml")["0000:5f:00.0"]

    assert (None, None) == (entity.uuid, entity.serial)
    assert "reset-required" == values["gpu.state"]
    expect(values, name=Missing("error:UNKNOWN"), temperature=Missing(NO_PERMISSION), processes=0)
    assert Missing("reset-required") == values["gpu.ecc.uncorrected.volatile"]


@pytest.mark.parametrize("name", ["smi-470-old-ecc.txt", "smi-535-h100.txt", "smi-580-blackwell.txt", "smi-575.xml"])
def test_every_gpu_owes_every_reading_with_the_probes_units(name: str) -> None:
    """And the node says its versions; the file is the one source."""
    intake = read((DATA / name).read_bytes())
    of_gpus = [reading for reading in intake.readings if reading.entity.kind == "gpu"]

    assert dict(OWED).items() == {(reading.name, reading.unit) for reading in of_gpus}
    assert {"driver.version", "cuda.version", "gpu.count"} == {r.name for r in intake.readings if r.entity == NODE}
    assert [("nvidia-smi", True, len(intake.readings))] == [(s.kind, s.readable, s.records) for s in intake.sources]


def test_the_time_is_that_of_the_output_in_the_zone_that_was_given() -> None:
    """nvidia-smi names no zone."""
    content = (DATA / "smi-535-h100.txt").read_bytes()

    assert 1691406606.0 == read(content).taken_at
    assert 1691406606.0 - 7200.0 == read(content, 7200.0).taken_at
    assert {1691406606.0} == {reading.at for reading in read(content).readings}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("41 C", 41), ("-2 C", -2), ("0 bank(s)", 0), ("16x", 16), ("81559 MiB", 81559 * MIB), ("30 %", 0.3),
        ("345 MHz", 345_000_000), ("301.20 W", 301.2), ("38610 us", 0.03861), ("", smi_values.NOT_UNDERSTOOD),
        ("12 bananas", smi_values.NOT_UNDERSTOOD), ("0x5", smi_values.NOT_UNDERSTOOD),
        ("9" * 50, smi_values.NOT_UNDERSTOOD),
    ],
)  # fmt: skip
def test_numbers_have_base_units_and_what_is_none_is_not_zero(text: str, expected: Value) -> None:
    assert expected == smi_values.number(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("N/A", NOT_SUPPORTED), ("[N/A]", NOT_SUPPORTED), ("[Not Supported]", NOT_SUPPORTED),
        ("Requested functionality has been deprecated", NOT_SUPPORTED), ("Insufficient Permissions", NO_PERMISSION),
        ("[GPU is lost]", LOST), ("ERR!", "error:UNKNOWN"), ("Unknown Error", "error:UNKNOWN"),
        ("[GPU requires reset]", "error:RESET_REQUIRED"), ("System is not in ready state", "error:NOT_READY"),
        ("GPU is lost.  Reboot the system to recover this GPU", LOST),
    ],
)  # fmt: skip
def test_what_stands_for_no_value_has_its_reason(text: str, reason: str) -> None:
    assert Missing(reason) == smi_values.missing(text)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("None", "none"), ("Reset", "gpu-reset"), ("GPU_RESET", "gpu-reset"), ("Reboot", "node-reboot"),
        ("Drain P2P", "drain-p2p"), ("Drain and Reset", "drain-and-reset"), ("Replace Board", "replace-board"),
    ],
)  # fmt: skip
def test_a_recovery_action_has_the_probes_word_and_an_unknown_one_is_kept(text: str, action: str) -> None:
    assert action == smi_values.recovery(text)


@pytest.mark.parametrize(
    ("said", "name", "value"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch", "nvml.error", "version-mismatch"),
        ("Failed to initialize NVML: Unknown Error", "nvml.error", "unknown"),
        ("Failed to initialize NVML: Insufficient Permissions", "nvml.error", "no-permission"),
        (
            "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest",
            "nvml.error",
            "driver-not-loaded",
        ),
    ],
)
def test_what_nvidia_smi_says_instead_of_an_answer_is_a_reading(said: str, name: str, value: str) -> None:
    assert [(name, value)] == [(reading.name, reading.value) for reading in smi.refusals(said, NOW)]


def test_a_refusal_alone_is_a_log_line_like_any_other() -> None:
    """It is what people paste, and the rules read it; it is no answer of nvidia-smi."""
    intake = Intake(["-"], now=NOW, stdin=io.BytesIO(b"Failed to initialize NVML: Unknown Error\n"))

    assert ["Failed to initialize NVML: Unknown Error"] == [record.message for record in intake]
    assert () == intake.readings


def test_a_gpu_without_a_handle_is_named() -> None:
    (state, handle) = smi.refusals("Unable to determine the device handle for GPU3: 0000:5F:00.0: Unknown Error", NOW)

    assert Reading(Entity("gpu", "0000:5f:00.0", index=3), "gpu.state", Missing("error:UNKNOWN"), "text", NOW) == state
    assert ("nvml.nvmlDeviceGetHandleByIndex", Missing("error:UNKNOWN")) == (handle.name, handle.value)


def test_a_part_that_lacks_a_value_does_not_hide_the_part_that_has_it() -> None:
    """`nvidia-smi -q -d ECC` beside `nvidia-smi -q`."""
    part = b"==============NVSMI LOG==============\n\nTimestamp : Mon Aug  7 12:00:00 2023\nGPU 00000000:18:00.0\n"
    whole = (DATA / "smi-535-h100.txt").read_bytes()
    log = smi_text.Log()
    for line in (whole + b"\n" + part + b"    Persistence Mode : Disabled\n").splitlines():
        log.feed(line)

    assert 1 == log.repeated


def test_a_log_around_the_output_is_read_as_well() -> None:
    """A paste of both is both, and the lines keep their numbers."""
    smi_out = (DATA / "smi-535-h100.txt").read_bytes()
    kernel = b"[  425.500000] NVRM: Xid (PCI:0000:18:00): 79, pid=1, name=x, GPU has fallen off the bus.\n"
    intake = Intake(["-"], now=NOW, stdin=io.BytesIO(b"$ nvidia-smi -q\n" + smi_out + b"\n$ dmesg\n" + kernel))
    records = list(intake)

    assert smi_out.count(b"\n") + 4 == records[-1].line
    assert records[-1].message.startswith("NVRM: Xid")
    assert {"kernel-log", "nvidia-smi"} == {source.kind for source in intake.sources}


def test_a_kernel_log_that_mentions_the_banner_stays_a_log() -> None:
    """Whoever can log a line must not make the others unread."""
    lines = b"Feb 24 11:07:05 h app[1]: ==============NVSMI LOG==============\nFeb 24 11:07:05 h kernel: NVRM: a\n"
    intake = Intake(["-"], now=NOW, stdin=io.BytesIO(lines))

    assert ["NVRM: a"] == [record.message for record in intake if record.kernel]


EVIL = {
    "an entity": b"<!DOCTYPE nvidia_smi_log [<!ENTITY a 'x'>]><nvidia_smi_log>&a;</nvidia_smi_log>",
    "billion laughs": b"<!DOCTYPE nvidia_smi_log [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;&a;'>]><nvidia_smi_log>&b;"
    b"</nvidia_smi_log>",
    "a file": b"<!DOCTYPE nvidia_smi_log [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><nvidia_smi_log>&a;</nvidia_smi_log>",
    "an undeclared entity": b"<!DOCTYPE nvidia_smi_log SYSTEM 'x.dtd'><nvidia_smi_log>&a;</nvidia_smi_log>",
    "depth": b"<nvidia_smi_log>" + b"<a>" * 5000,
    "another root": b"<!-- nvidia_smi_log --><html><body/></html>",
    "another encoding": b"<?xml version='1.0' encoding='klingon'?><nvidia_smi_log/>",
    "the end": b"<nvidia_smi_log><gpu id='00000000:01:00.0'>",
}


@pytest.mark.parametrize("what", EVIL)
def test_hostile_xml_is_refused_with_a_reason(what: str) -> None:
    """No entity is expanded, nothing is fetched, no depth exhausts the stack."""
    intake = read(EVIL[what])

    (source,) = intake.sources
    assert source.reason is not None
    assert "\n" not in source.reason
    assert "root:" not in repr(intake.readings)
    if what != "the end":
        assert not source.readable


def test_xml_that_breaks_off_is_used_up_to_there_and_said() -> None:
    content = (DATA / "smi-575.xml").read_bytes()
    intake = read(content[: content.index(b"00000000:5F:00.0") - 20])

    assert {"0000:4e:00.0"} == {str(r.entity.pci) for r in intake.readings if r.entity.kind == "gpu"}
    assert any("what stood before that was used" in notice for notice in intake.notices)


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=2000), st.sampled_from(["smi-470-old-ecc.txt", "smi-580-blackwell.txt"]), st.integers(0, 4000)
)
def test_no_text_raises(noise: bytes, name: str, place: int) -> None:
    content = (DATA / name).read_bytes()
    intake = Intake(["-"], now=NOW, stdin=io.BytesIO(content[:place] + noise + content[place:]))
    list(intake)

    assert all("\x1b" not in str(reading.value) for reading in intake.readings)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=500), st.integers(0, 4000))
def test_no_xml_raises(noise: bytes, place: int) -> None:
    content = (DATA / "smi-575.xml").read_bytes()
    log = smi_xml.Log()
    log.feed([content[:place] + noise + content[place:]])

    assert all("\x1b" not in str(reading.value) for reading in log.readings(NOW))
