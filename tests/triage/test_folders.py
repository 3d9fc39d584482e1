"""Folders of crashes and reports are read as what they are: pieces put together, in the right order."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from probes.model import LogRecord
from triage.folders import dumps, plan
from triage.intake import Intake

NOW = 1771977600.0
STAMP = 1771931225  # 2026-02-24T11:07:05Z
SECTIONS = Path(__file__).parent / "sections" / "data"


def take(*paths: Path) -> tuple[Intake, list[LogRecord]]:
    intake = Intake([str(path) for path in paths], now=NOW)
    return intake, list(intake)


def put(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def part(folder: Path, count: int, number: int, lines: str, kind: str = "Panic", stamp: int = STAMP) -> None:
    """One record as efi-pstore names and fills it."""
    put(folder, f"dmesg-efi_pstore-{(stamp * 100 + number) * 1000 + count}", f"{kind}#{count} Part{number}\n{lines}")


def messages(records: list[LogRecord]) -> list[str]:
    return [record.message for record in records]


def test_the_parts_of_a_panic_are_one_log_oldest_first(tmp_path: Path) -> None:
    """They are numbered from the newest on; ten parts sort wrongly by name."""
    for number in range(1, 12):
        part(tmp_path, 1, number, f"<4>[  {100 - number}.000000] line {number}\n")
    intake, records = take(tmp_path)

    assert [f"line {number}" for number in range(11, 0, -1)] == messages(records)
    assert [(str(tmp_path), True, 11)] == [(s.origin, s.readable, s.records) for s in intake.sources]
    assert {"#1"} == {record.boot for record in records}


def test_the_last_line_was_written_when_the_dump_was_made(tmp_path: Path) -> None:
    """The name of an EFI variable holds the second of the crash."""
    part(tmp_path, 1, 1, "<0>[  425.500000] Kernel panic - not syncing: x\n")
    part(tmp_path, 1, 2, "<4>[  400.500000] NVRM: a\n")

    assert [STAMP - 25.0, STAMP + 0.0] == [record.at for record in take(tmp_path)[1]]


def test_an_oops_and_the_panic_after_it_say_each_line_once(tmp_path: Path) -> None:
    """Both dumps hold the end of the same log."""
    part(tmp_path, 1, 1, "<4>[   10.000000] a\n<1>[   11.000000] BUG: b\n", "Oops")
    part(tmp_path, 2, 1, "<1>[   11.000000] BUG: b\n<0>[   12.000000] Kernel panic - not syncing: c\n")

    assert ["a", "BUG: b", "Kernel panic - not syncing: c"] == messages(take(tmp_path)[1])


def test_a_crash_of_another_boot_is_another_boot(tmp_path: Path) -> None:
    part(tmp_path, 1, 1, "<0>[ 9000.000000] first\n")
    part(tmp_path, 1, 1, "<0>[  100.000000] second\n", stamp=STAMP + 86400)

    assert [("#1", "first"), ("#2", "second")] == [(r.boot, r.message) for r in take(tmp_path)[1]]


def test_parts_of_firmware_that_gives_no_time_are_ordered_by_their_headers(tmp_path: Path) -> None:
    """ERST names a record by a number that says nothing."""
    put(tmp_path, "dmesg-erst-7000000000000000001", "Panic#2 Part1\n<0>[    9.000000] newest\n")
    put(tmp_path, "dmesg-erst-7000000000000000002", "Panic#2 Part2\n<0>[    8.000000] oldest\n")

    assert ["oldest", "newest"] == messages(take(tmp_path)[1])


def test_a_part_that_the_kernel_left_packed_is_unpacked(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=-15)
    content = packer.compress(b"Panic#1 Part1\n<0>[    9.000000] packed\n") + packer.flush()
    put(tmp_path, f"dmesg-efi_pstore-{(STAMP * 100 + 1) * 1000 + 1}.enc.z", content)

    assert ["packed"] == messages(take(tmp_path)[1])


def test_a_part_that_cannot_be_read_is_named_and_the_others_are_used(tmp_path: Path) -> None:
    part(tmp_path, 1, 1, "<0>[    9.000000] whole\n")
    put(tmp_path, f"dmesg-efi_pstore-{(STAMP * 100 + 2) * 1000 + 1}.enc.z", b"\xff\xff\xff")
    intake, records = take(tmp_path)

    assert ["whole"] == messages(records)
    assert "could not be read" in (intake.sources[0].reason or "")


def test_what_systemd_saved_of_several_crashes_is_found(tmp_path: Path) -> None:
    """One folder for each; the text that it put together beside the parts is not read twice."""
    for name, line in (("1", "one"), ("2", "two")):
        part(tmp_path / name, 1, 1, f"<0>[    9.000000] {line}\n")
        put(tmp_path / name, "dmesg.txt", f"[    9.000000] {line}\n")

    assert ["one", "two"] == messages(take(tmp_path)[1])


def test_the_log_beside_a_memory_image_is_read_and_the_image_is_not(tmp_path: Path) -> None:
    crash = tmp_path / "127.0.0.1-2026-02-24-11:07:05"
    put(crash, "vmcore", b"KDUMP   " + b"\0" * 100)
    put(crash, "vmcore-dmesg.txt", "[    9.000000] NVRM: a\n")
    put(crash, "kexec-dmesg.log", "[    1.000000] of the kernel that saved it\n")
    intake, records = take(tmp_path)

    assert ["NVRM: a"] == messages(records)
    assert [True] == [source.readable for source in intake.sources]


def test_a_sosreport_is_its_journals_as_one_log_and_what_nvidia_smi_said(tmp_path: Path) -> None:
    """A reboot between two journals ends what it cured, so they must be one log."""
    logs = "sos_commands/logs/"
    put(tmp_path, logs + "journalctl_--no-pager_--boot", "Feb 24 11:00:00 n kernel: of this boot\n")
    put(tmp_path, logs + "journalctl_--no-pager_--boot_-1", "Feb 23 11:00:00 n kernel: of the last boot\n")
    put(tmp_path, "sos_commands/kernel/dmesg", "[    1.000000] of this boot\n")
    put(tmp_path, "var/log/messages", "Feb 24 11:00:00 n kernel: of this boot\n")
    put(tmp_path, "var/crash/x/vmcore-dmesg.txt", "[    5.000000] of the crash\n")
    put(tmp_path, "sos_commands/nvidia/nvidia-smi_-q", (SECTIONS / "smi-535-h100.txt").read_bytes())
    intake, records = take(tmp_path)

    assert [("-1", "of the last boot"), ("0", "of this boot"), ("#1", "of the crash")] == [
        (record.boot, record.message) for record in records
    ]
    assert ["kernel-log", "kernel-log", "nvidia-smi"] == [source.kind for source in intake.sources]
    assert "NVIDIA H100 80GB HBM3" in {reading.value for reading in intake.readings}


def test_a_sosreport_without_a_journal_is_its_log_files_or_the_ring_buffer(tmp_path: Path) -> None:
    put(tmp_path, "sos_commands/kernel/dmesg", "[    1.000000] ring\n")
    assert ["ring"] == messages(take(tmp_path)[1])

    put(tmp_path, "var/log/messages", "Feb 24 11:00:00 n kernel: file\n")
    assert ["file"] == messages(take(tmp_path)[1])


def test_netconsole_and_a_serial_console_are_logs(tmp_path: Path) -> None:
    """Extended records with their continuation, and lines with carriage returns and noise."""
    net = put(tmp_path, "net", "4,612,9000000,-;NVRM: Xid (PCI:0000:4e:00): 79, a\n4,613,9000001,-;NVRM: b\n")
    serial = put(
        tmp_path, "serial", b"\x00\xff[   10.000000] NVRM: c\r\n[   11.000000] Kernel panic - not syncing: d\r\n"
    )

    assert [9.0, 9.000001] == [record.monotonic for record in take(net)[1]]
    assert ["NVRM: c", "Kernel panic - not syncing: d"] == messages(take(serial)[1])[-2:]


def test_a_folder_that_holds_none_of_these_is_its_files(tmp_path: Path) -> None:
    put(tmp_path, "kern.log.gz", gzip.compress(b"[    1.000000] a\n"))
    put(tmp_path, "deeper/kern.log", "[    1.000000] b\n")

    assert ["kern.log.gz"] == [Path(item.path).name for item in plan(str(tmp_path))]  # type: ignore[union-attr]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=500), st.text("0123456789abc_", max_size=25))
def test_no_part_raises(content: bytes, name: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"dmesg-efi_pstore-{name}"
        path.write_bytes(content)
        found, unread = dumps([str(path)])
        intake = Intake([folder], now=NOW)
        list(intake)

    assert 1 == len(found) + len(unread)
    assert intake.sources
