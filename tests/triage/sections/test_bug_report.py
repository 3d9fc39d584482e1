"""nvidia-bug-report.log: every section that counts, each kernel line once, boots told apart."""

from __future__ import annotations

import gzip
import io
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.model import LOST, NODE, LogRecord, Missing, Value
from triage.intake import Intake
from triage.sections.bug_report import _when

REPORT = Path(__file__).parent / "data" / "nvidia-bug-report.log"
LATER = 1771977600.0  # 2026-02-25T00:00:00Z
LOST_LINE = "NVRM: Xid (PCI:0000:4e:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


def take(content: bytes) -> tuple[Intake, list[LogRecord]]:
    intake = Intake(["-"], now=LATER, stdin=io.BytesIO(content))
    return intake, list(intake)


@pytest.fixture(scope="module")
def read() -> tuple[Intake, list[LogRecord]]:
    return take(REPORT.read_bytes())


def test_each_kernel_line_stands_once_in_its_boot(read: tuple[Intake, list[LogRecord]]) -> None:
    """The ring buffer, the journal of three boots and kern.log hold the same lines."""
    kernel = [(record.boot, record.message[:24]) for record in read[1] if record.kernel]

    assert [
        ("kern.log #1", "NVRM: Xid (PCI:0000:4e:0"),
        ("-1", "NVRM: Xid (PCI:0000:4e:0"),
        ("0", "Linux version 6.8.0-60-g"),
        ("0", "NVRM: loading NVIDIA UNI"),
        ("0", "pcieport 0000:4d:01.0: A"),
        ("0", "NVRM: Xid (PCI:0000:4e:0"),
    ] == kernel


def test_the_ring_buffer_gets_the_time_of_day_from_the_journal(read: tuple[Intake, list[LogRecord]]) -> None:
    """In the zone that the report names: 12:07:05 in Paris is 11:07:05."""
    lost = [record for record in read[1] if record.message == LOST_LINE]

    assert [None, 425.5] == [lost[0].monotonic and None, lost[-1].monotonic]
    assert lost[-1].at is not None
    assert abs(lost[-1].at - 1771931225.0) < 1.0


def test_a_line_can_be_found_again_in_the_file(read: tuple[Intake, list[LogRecord]]) -> None:
    lines = REPORT.read_text().splitlines()

    assert read[1]
    for record in read[1]:
        assert record.message.split("\n")[0] in lines[record.line - 1]


def test_programs_lines_stay_programs_and_the_fabric_manager_has_its_own_log(
    read: tuple[Intake, list[LogRecord]],
) -> None:
    assert {"nvidia-persistenced", "fabricmanager"} == {record.identifier for record in read[1] if not record.kernel}
    assert {"-", "- /var/log/fabricmanager.log"} == {record.origin for record in read[1]}


def test_a_log_of_the_x_server_is_not_the_kernels(read: tuple[Intake, list[LogRecord]]) -> None:
    """Its lines look the same; they are passed over, and that is said."""
    assert [] == [record for record in read[1] if "0000:99:00" in record.message]
    assert any("1 logs of the X server" in notice for notice in read[0].notices)


def test_the_readings_come_from_nvidia_smi_lspci_and_proc(read: tuple[Intake, list[LogRecord]]) -> None:
    values: dict[tuple[str | None, str], Value] = {(r.entity.pci, r.name): r.value for r in read[0].readings}
    gpu, well = "0000:4e:00.0", "0000:a1:00.0"

    assert "node042" == read[0].node == values[None, "host.name"]
    assert ("580.65.06", "open", "6.8.0-60-generic") == (
        values[None, "driver.version"], values[None, "driver.flavour"], values[None, "kernel.release"],
    )  # fmt: skip
    assert ("loaded", "absent") == (values[None, "module.nvidia_uvm"], values[None, "module.nouveau"])
    assert ("lost", Missing(LOST)) == (values[gpu, "gpu.state"], values[gpu, "nvml.nvmlDeviceGetHandleByIndex"])
    assert (False, Missing(LOST), "0000:4d:01.0") == (
        values[gpu, "pci.answers"], values[gpu, "pci.link.width"], values[gpu, "pci.port"],
    )  # fmt: skip
    assert ("96.00.a5.00.01", "ok", "none", 0) == (
        values[gpu, "gpu.vbios"], values[well, "gpu.state"], values[well, "gpu.recovery-action"],
        values[well, "gpu.processes"],
    )  # fmt: skip


def test_every_source_is_told_with_the_moment_it_is_of(read: tuple[Intake, list[LogRecord]]) -> None:
    intake = read[0]

    assert 1771931280.0 == intake.taken_at
    assert [("kernel-log", True), ("proc", True), ("lspci", True), ("nvidia-smi", True)] == [
        (source.kind, source.readable) for source in intake.sources
    ]
    assert NODE in {reading.entity for reading in intake.readings}


def test_compressed_or_pasted_it_says_the_same(read: tuple[Intake, list[LogRecord]]) -> None:
    """As the script writes it, and with prose and a fence around it."""
    plain = REPORT.read_bytes()
    _, packed = take(gzip.compress(plain))
    _, pasted = take(b"My GPU is gone:\n\n```\n" + plain + b"```\n")

    assert read[1] == packed
    assert [record.message for record in read[1]] == [record.message for record in pasted]


def test_without_nvidia_smi_the_counters_are_not_known_to_be_well() -> None:
    """--safe-mode leaves it out; that is a source that could not be read."""
    content = REPORT.read_bytes()
    start, end = content.index(b"/usr/bin/nvidia-smi --query\n"), content.index(b"*** /var/log/fabricmanager.log")
    intake, _ = take(content[:start] + b"Skipping nvidia-smi\n\n____" + b"_" * 40 + b"\n\n" + content[end:])

    (source,) = [source for source in intake.sources if source.kind == "nvidia-smi"]
    assert not source.readable
    assert "safe-mode" in (source.reason or "")


def test_without_a_kernel_log_the_report_says_so() -> None:
    content = REPORT.read_bytes()
    intake, records = take(content[: content.index(b"Scanning kernel log")])

    assert [] == records
    assert "no kernel log" in (intake.sources[0].reason or "")


@pytest.mark.parametrize(
    ("date", "at", "zone"),
    [
        ("Thu Oct 27 08:50:11 PM -03 2022", 1666914611.0, -10800.0),
        ("Thu Jul 14 14:11:55 UTC 2011", 1310652715.0, 0.0),
        ("Mon 12 Feb 2024 12:00:00 AM PST", 1707724800.0, -28800.0),
        ("Tue Oct 27 14:31:54 XYZ 2009", 1256653914.0, None),
        ("whenever", None, None),
    ],
)
def test_its_date_is_read_as_locales_write_it(date: str, at: float | None, zone: float | None) -> None:
    assert (at, zone) == _when([f"Date: {date}"], 0.0)


def test_a_message_of_a_program_cannot_make_a_log_into_a_report() -> None:
    """The banner counts only at the start of its line, under its rule."""
    line = (
        b"Feb 24 11:07:05 h app[1]: " + b"_" * 44 + b"\nFeb 24 11:07:05 h app[1]: Start of NVIDIA bug report log file\n"
    )
    intake, records = take(line + b"Feb 24 11:07:06 h kernel: NVRM: a\n")

    assert "NVRM: a" == records[-1].message
    assert ["kernel-log"] == [source.kind for source in intake.sources]


def test_a_long_report_is_read_in_bounded_memory() -> None:
    """50 MB, most of it a dump in base64 that nobody reads."""
    head, tail = REPORT.read_bytes().split(b"QUFBQUFB", 1)
    dump = (b"QUFB" * 19 + b"\n") * (50 * 1024 * 1024 // 77)
    tracemalloc.start()
    intake, records = take(head + dump + tail)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert LOST_LINE in {record.message for record in records}
    assert peak - len(dump) * 2 < 24 << 20
    assert intake.sources[0].readable


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 8000), st.integers(0, 8000))
def test_no_bytes_raise(noise: bytes, place: int, end: int) -> None:
    content = REPORT.read_bytes()
    intake, records = take(content[:600] + noise + content[600:place] + noise + content[place : place + end])

    assert intake.sources
    assert all(source.readable or source.reason for source in intake.sources)
    assert all("\x1b" not in record.message for record in records)
