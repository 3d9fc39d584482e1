"""The kernel log of this boot, from the real device where the test may, and from what stands in for it."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
import uuid
from pathlib import Path

import pytest

from probes import kernel_log
from probes.kernel_log import read_boot
from probes.model import LogRecord, Source

XID_79 = "NVRM: Xid (PCI:0000:01:00): 79, pid=1, name=x, GPU has fallen off the bus."


def kmsg(tmp_path: Path, *records: str) -> str:
    path = tmp_path / "kmsg"
    path.write_text("".join(record + "\n" for record in records))
    return str(path)


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def read_file(tmp_path: Path, *records: str) -> tuple[list[LogRecord], Source]:
    return read_boot(5, kmsg=kmsg(tmp_path, *records), programs=False)


def test_what_is_written_to_the_kernel_log_is_read_back() -> None:
    """A real record of the real device; it is marked as written by a program, because it was."""
    mark = f"gpu-triage test {uuid.uuid4().hex}"
    try:
        fd = os.open("/dev/kmsg", os.O_WRONLY)
    except OSError as failure:
        pytest.skip(f"/dev/kmsg cannot be written here: {failure}")
    try:
        os.write(fd, f"<3>{mark}: NVRM: Xid (PCI:0000:01:00): 79, pid=1, name=\x1b[2J\n".encode())
    finally:
        os.close(fd)  # a new descriptor for each line: the kernel limits the rate of each
    records, source = read_boot(5, programs=False)
    if not source.readable:
        pytest.skip(f"/dev/kmsg cannot be read here: {source.reason}")
    (found,) = [record for record in records if mark in record.message]
    assert (3, True, "/dev/kmsg") == (found.level, found.injected, found.origin)
    assert "\x1b" not in found.message
    assert found.at is not None
    assert abs(time.time() - found.at) < 10
    assert Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "") == found.boot
    assert (len(records), "/dev/kmsg") == (source.records, source.origin)
    assert source.start is not None
    assert source.start <= found.at <= time.time()


def test_a_user_without_permission_is_told_the_remedy() -> None:
    if os.geteuid() != 0 or Path("/proc/sys/kernel/dmesg_restrict").read_text().strip() != "1":
        pytest.skip("needs root, to become nobody, and a kernel that restricts its log")
    assert read_boot(5, programs=False)[1].readable  # also imports all that nobody might not be let in to read
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            records, source = read_boot(5, programs=False)
            os.write(send, f"{len(records)} {source.readable} {source.reason}".encode())
        finally:
            os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as answer:
        said = answer.read().decode()
    os.waitpid(child, 0)
    assert said == "0 False operation not permitted reading /dev/kmsg; run as root or grant CAP_SYSLOG"


def test_a_log_that_begins_with_the_boot_says_so(tmp_path: Path) -> None:
    records, source = read_file(tmp_path, "5,0,0,-;Linux version 6.1", f"3,1,5000000,-;{XID_79}")
    assert [XID_79] == [record.message for record in records[1:]]
    assert records[1].at is not None
    assert abs(records[1].at - kernel_log.boot_time() - 5.0) < 0.5
    assert source.from_boot
    assert source.reason is None
    assert source.start == records[0].at


def test_a_ring_that_lost_its_beginning_does_not_reach_back_to_the_boot(tmp_path: Path) -> None:
    records, source = read_file(tmp_path, "6,900,80000000,-;later", "6,901,80000001,-;still later")
    assert [900, 901] == [record.line for record in records]
    assert not source.from_boot
    assert source.readable


def test_a_gap_is_told_with_its_bounds(tmp_path: Path) -> None:
    records, source = read_file(tmp_path, "6,0,0,-;first", "6,1,1,-;second", "6,57,9,-;after the gap")
    assert len(records) == 3
    assert not source.from_boot
    assert "records 2 to 56" in str(source.reason)


def test_continuation_lines_belong_to_their_record(tmp_path: Path) -> None:
    records, _ = read_file(tmp_path, "4,0,1,-;hub 1-0:1.0: found\n SUBSYSTEM=usb\n DEVICE=+usb:1-0:1.0", "6,1,2,-;next")
    assert ["hub 1-0:1.0: found", "next"] == [record.message for record in records]


def test_a_log_longer_than_one_read_is_read_whole(tmp_path: Path) -> None:
    lines = [f"6,{number},{number},-;record {number} {'x' * (number % 300)}" for number in range(5000)]
    records, source = read_file(tmp_path, *lines)
    assert list(range(5000)) == [record.line for record in records]
    assert source.from_boot


def test_only_the_newest_of_a_huge_log_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "MAX_RECORDS", 100)
    records, source = read_file(tmp_path, *(f"6,{number},{number},-;x" for number in range(1000)))
    assert list(range(900, 1000)) == [record.line for record in records]
    assert not source.from_boot
    assert "newest 100 of 1000" in str(source.reason)


def test_records_come_one_by_one_from_a_pipe(tmp_path: Path) -> None:
    """A pipe whose writer sets O_DIRECT keeps the bounds of records, as the device does."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    opened, done = threading.Event(), threading.Event()

    def write() -> None:
        fd = os.open(path, os.O_RDWR)
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_DIRECT | os.O_NONBLOCK)
        os.write(fd, b"5,0,0,-;Linux version 6.1\n")
        os.write(fd, f"3,1,9,-;{XID_79}\n".encode())
        opened.set()
        done.wait(20)
        os.close(fd)

    writer = threading.Thread(target=write)
    writer.start()
    assert opened.wait(20)
    records, source = read_boot(5, kmsg=str(path), programs=False)
    done.set()
    writer.join()
    assert ["Linux version 6.1", XID_79] == [record.message for record in records]
    assert source.from_boot


def test_an_overrun_while_reading_goes_on_with_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device answers EPIPE once when the reader was overtaken, and EINVAL for a record that does not fit."""
    path = kmsg(tmp_path, "6,0,0,-;first")
    answers: list[bytes | int] = [b"6,0,0,-;first\n", errno.EPIPE, b"6,40,9,-;oldest left\n", errno.EINVAL, b""]

    def read(fd: int, size: int) -> bytes:
        assert size >= 8192
        answer = answers.pop(0)
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer))
        return answer

    monkeypatch.setattr(os, "read", read)
    records, source = read_boot(5, kmsg=path, programs=False)
    assert ["first", "oldest left"] == [record.message for record in records]
    assert "records 1 to 39" in str(source.reason)
    assert source.readable


def test_a_flood_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Who writes faster than we read cannot keep us reading; the source ends where we stopped."""
    numbers = iter(range(10**9))
    path = kmsg(tmp_path)
    monkeypatch.setattr(os, "read", lambda fd, size: b"6,%d,1,-;flood\n" % next(numbers))
    began = time.monotonic()
    records, source = read_boot(0.2, kmsg=path, programs=False)
    assert time.monotonic() - began < 30
    assert records
    assert "to its end in time" in str(source.reason)
    assert source.end == records[-1].at


@pytest.mark.parametrize("hostile", ["", "nonsense", "6,x,y,z;a", "6,1", ";", "\0\0\0", "6,1,2,-;\\x1b[2J\\x00"])
def test_what_is_no_record_ends_nothing(tmp_path: Path, hostile: str) -> None:
    records, source = read_file(tmp_path, "6,0,0,-;first", hostile, "6,2,2,-;last")
    assert records[0].message.startswith("first")
    assert records[-1].message == "last"
    assert all("\x1b" not in record.message and "\0" not in record.message for record in records)
    assert source.readable


@pytest.mark.parametrize(
    ("make", "said"), [("nothing", "no such file"), ("folder", "directory"), ("empty", "no record")]
)
def test_a_device_that_is_none_is_not_a_quiet_kernel(tmp_path: Path, make: str, said: str) -> None:
    """A container's empty /dev/kmsg must not pass for a log without errors."""
    path = tmp_path / "kmsg"
    if make == "folder":
        path.mkdir()
    elif make == "empty":
        path.write_bytes(b"")
    records, source = read_boot(5, kmsg=str(path), programs=False)
    assert [] == records
    assert not source.readable
    assert said in str(source.reason)


JOURNAL = (
    '{"MESSAGE":"Linux version 6.1","_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"kernel","PRIORITY":"5",'
    '"_SOURCE_MONOTONIC_TIMESTAMP":"0","__REALTIME_TIMESTAMP":"1795674072000000","_BOOT_ID":"b007"}'
)


def test_the_journal_is_asked_where_the_device_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "journalctl", f"cat <<'END'\n{JOURNAL}\nEND")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    records, source = read_boot(10, kmsg=str(tmp_path / "none"))
    assert ["Linux version 6.1"] == [record.message for record in records]
    assert (True, "journalctl -k -b", True) == (source.readable, source.origin, source.from_boot)
    assert "no such file or directory reading" in str(source.reason)


def test_dmesg_is_asked_where_there_is_no_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "journalctl", "echo No journal files were found. >&2; exit 1")
    program(tmp_path / "bin", "dmesg", f"echo '<5>[    0.000000] Linux version 6.1'; echo '<3>[    7.500000] {XID_79}'")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    records, source = read_boot(10, kmsg=str(tmp_path / "none"))
    assert ["Linux version 6.1", XID_79] == [record.message for record in records]
    assert (7.5, 3) == (records[1].monotonic, records[1].level)
    assert records[1].at is not None
    assert abs(records[1].at - kernel_log.boot_time() - 7.5) < 0.5
    assert ("dmesg", True) == (source.origin, source.from_boot)
    assert "journalctl: No journal files were found." in str(source.reason)


def test_where_nothing_can_be_read_every_source_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "journalctl", "sleep 60")
    program(tmp_path / "bin", "dmesg", "echo 'dmesg: read kernel buffer failed: Operation not permitted' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    began = time.monotonic()
    records, source = read_boot(1.0, kmsg=str(tmp_path / "none"))
    assert time.monotonic() - began < 30
    assert ([], False) == (records, source.readable)
    for said in ("no such file", "journalctl: it did not finish in time"):
        assert said in str(source.reason)
    assert "\n" not in str(source.reason)
