"""Logs as people hand them over are read, and what could not be read is said."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.model import LogRecord
from triage.intake import Intake
from triage.streams import BLOCK

NOW = 1771977600.0  # 2026-02-25T00:00:00Z
LOG = b"".join(b"[%5d.%06d] NVRM: Xid (PCI:0000:41:00): %d, text\n" % (i, i, i) for i in range(5000))
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "bzip2": lambda content: bz2.compress(content, 1),
    "zstd": lambda content: zstandard.ZstdCompressor(write_checksum=True).compress(content),
}


def take(
    *paths: str | Path, stdin: bytes | None = None, now: float = NOW, tz_offset: float = 0.0
) -> tuple[Intake, list[LogRecord]]:
    intake = Intake(
        [str(path) for path in paths],
        now=now,
        tz_offset=tz_offset,
        stdin=None if stdin is None else io.BytesIO(stdin),
    )
    return intake, list(intake)


def messages(records: list[LogRecord]) -> list[str]:
    return [record.message for record in records]


def put(path: Path, content: bytes, mtime: float | None = None) -> Path:
    path.write_bytes(content)
    if mtime is not None:
        os.utime(path, (mtime, mtime))
    return path


def test_a_file_is_read_and_described(tmp_path: Path) -> None:
    log = put(tmp_path / "kern.log", b"Feb 24 11:07:05 host kernel: a\nFeb 24 11:07:09 host kernel: b\n")
    intake, records = take(log)

    assert ["a", "b"] == messages(records)
    (source,) = intake.sources
    assert ("kernel-log", str(log), True, 2, False, None) == (
        source.kind, source.origin, source.readable, source.records, source.from_boot, source.reason,
    )  # fmt: skip
    assert (1771931225.0, 1771931229.0) == (source.start, source.end)
    assert (f"{log}: times without a zone were taken as UTC",) == intake.notices


def test_standard_input_is_read_where_its_sign_stands(tmp_path: Path) -> None:
    first, last = put(tmp_path / "a", b"[1.0] a\n"), put(tmp_path / "b", b"[2.0] b\n")
    intake, records = take(first, "-", last, stdin=b"[3.0] c")

    assert [(str(first), "a"), ("-", "c"), (str(last), "b")] == [(r.origin, r.message) for r in records]
    assert [str(first), "-", str(last)] == [source.origin for source in intake.sources]


def test_a_folder_is_its_files_by_name(tmp_path: Path) -> None:
    put(tmp_path / "kern.log.2", b"[2.0] two\n")
    put(tmp_path / "kern.log.1", b"[1.0] one\n")
    (tmp_path / "deeper").mkdir()
    put(tmp_path / "deeper" / "kern.log", b"[3.0] three\n")
    os.mkfifo(tmp_path / "kern.log.0")

    assert ["one", "two"] == messages(take(tmp_path)[1])


def test_a_file_given_twice_is_read_once(tmp_path: Path) -> None:
    log = put(tmp_path / "kern.log", b"[1.0] one\n")
    intake, records = take(tmp_path, log)

    assert ["one"] == messages(records)
    assert 1 == len(intake.sources)
    assert (f"{log}: given twice, read once",) == intake.notices


@pytest.mark.parametrize("kind", PACK)
def test_compression_is_told_by_the_content(kind: str, tmp_path: Path) -> None:
    """Also where several streams stand one after the other, as log rotation and parallel compressors leave them."""
    plain = messages(take("-", stdin=LOG)[1])
    half = len(LOG) // 2 + 7
    content = PACK[kind](LOG[:half]) + PACK[kind](b"") + PACK[kind](LOG[half:])
    intake, records = take(put(tmp_path / "log.txt", content))

    assert 5000 == len(plain)
    assert plain == messages(records)
    assert () == intake.notices
    assert intake.sources[0].from_boot


@pytest.mark.parametrize("kind", PACK)
def test_a_compressed_file_that_breaks_off_is_used_up_to_there(kind: str, tmp_path: Path) -> None:
    """The line at which it breaks off is left out: half a number is another number."""
    path = put(tmp_path / "x.log", PACK[kind](LOG)[:-2000])
    intake, records = take(path)

    used = len(records)
    assert 0 < used < 5000
    assert messages(take("-", stdin=LOG)[1])[:used] == messages(records)
    (source,) = intake.sources
    assert source.readable
    assert f"the compressed stream ends early; {used} lines before the end were used" == source.reason
    assert (f"{path}: {source.reason}",) == intake.notices


@pytest.mark.parametrize("kind", PACK)
def test_damaged_compressed_data_is_said_and_the_others_are_read(kind: str, tmp_path: Path) -> None:
    packed = PACK[kind](LOG)
    damaged = put(tmp_path / "a.log", packed[:200] + b"\xaa" * 64 + packed[264:])
    intake, records = take(damaged, put(tmp_path / "b.log", b"[1.0] whole\n"))

    assert "whole" == records[-1].message
    assert "damaged" in (intake.sources[0].reason or "")


def test_what_follows_a_compressed_stream_and_is_none_is_said() -> None:
    intake, records = take("-", stdin=gzip.compress(LOG) + b"\0\0\0\0" + b"junk")

    assert 5000 == len(records)
    assert (
        "standard input: what follows the gzip stream is none; 5000 lines before the end were used",
    ) == intake.notices


def test_padding_after_a_compressed_stream_is_nothing() -> None:
    assert () == take("-", stdin=gzip.compress(LOG) + b"\0" * 3 * BLOCK)[0].notices


@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_does_not_fill_the_memory(kind: str) -> None:
    """32 MiB of one line and many empty ones, packed into a few kilobytes."""
    bomb = PACK[kind](b"[1.0] " + b"x" * (32 << 20) + b"\n" * (1 << 18))
    tracemalloc.start()
    intake, records = take("-", stdin=bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert 1 == len(records)
    assert peak < 24 << 20
    assert ("standard input: 1 record was cut to 16384 characters or 64 lines",) == intake.notices


def refused(path: str | Path) -> str:
    intake, records = take(path)
    (source,) = intake.sources
    assert [] == records
    assert not source.readable
    assert 0 == source.records
    assert source.reason is not None
    assert "\n" not in source.reason
    return source.reason


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n \n\n", "no text"),
        (gzip.compress(b""), "empty"),
        (os.urandom(1000) + b"\0" * 1000, "binary"),
        (b"LPKSHHRH" + b"\0" * 100, "journalctl --file"),
        (b"\x7fELF\2\1\1" + b"\0" * 100 + b"NVRM: x", "makedumpfile"),
        (b"PK\x03\x04" + b"\0" * 100, "unpack"),
        (gzip.compress(b"kern.log" + b"\0" * 249 + b"ustar" + b"\0" * 250 + LOG), "tar"),
        (b"\x04\x22\x4d\x18" + b"\0" * 100, "lz4 -d"),
    ],
)
def test_what_is_no_log_is_refused_with_a_remedy(content: bytes, reason: str, tmp_path: Path) -> None:
    assert reason in refused(put(tmp_path / "x", content))


def test_what_cannot_be_opened_is_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    assert "no such file" in refused(tmp_path / "missing")
    assert "no files" in refused(tmp_path / "empty")
    assert "device" in refused("/dev/zero")
    assert "pipe dmesg in" in refused("/proc/kmsg")
    assert "cannot be opened" in refused("a\0b")
    assert "no standard input" in refused("-")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_who_may(tmp_path: Path) -> None:
    secret = put(tmp_path / "x", b"[1.0] a\n")
    secret.chmod(0)

    assert "run as root" in refused(secret)


def test_the_readable_inputs_are_read_beside_the_others(tmp_path: Path) -> None:
    intake, records = take(tmp_path / "missing", put(tmp_path / "x", b"[1.0] a\n"))

    assert ["a"] == messages(records)
    assert [False, True] == [source.readable for source in intake.sources]


def test_binary_data_with_log_lines_in_it_is_read() -> None:
    """A crash record, or a serial console with noise on the line."""
    noise = bytes(range(128, 256)) * 20 + b"\0" * 500
    intake, records = take("-", stdin=noise + b"\n[    5.000000] NVRM: x\n" + noise)

    assert "NVRM: x" in "\n".join(messages(records))
    assert any("bytes were not text" in notice for notice in intake.notices)


def test_text_in_utf_16_is_read() -> None:
    assert ["NVRM: é"] == messages(take("-", stdin="[1.0] NVRM: é\r\n".encode("utf-16"))[1])


def test_a_log_without_kernel_records_is_not_a_readable_kernel_log() -> None:
    """A node of which only the programs' log is known is not known to be well."""
    intake, records = take("-", stdin=b"Feb 24 11:07:05 host app[1]: a\n")

    assert 1 == len(records)
    assert not intake.sources[0].readable
    assert "journalctl -k" in (intake.sources[0].reason or "")


def test_the_fabric_managers_own_log_is_readable() -> None:
    assert take("-", stdin=b"[Jul 09 2024 18:14:07] [ERROR] [tid 12727] x\n")[0].sources[0].readable


@pytest.mark.parametrize(
    ("log", "from_boot"),
    [
        (b"[    0.000000] Linux version 6.8.0\n", True),
        (b"Feb 24 11:07:05 host kernel: Linux version 6.8.0\n", True),
        (b"[    0.900000] x\n", True),
        (b"[   12.000000] x\n[    0.000000] Linux version 6.8.0\n", False),
    ],
)
def test_a_log_that_begins_with_the_boot_says_so(log: bytes, from_boot: bool) -> None:
    assert from_boot == take("-", stdin=log)[0].sources[0].from_boot


def test_a_log_is_not_younger_than_its_file(tmp_path: Path) -> None:
    """Its stamps without a year are dated by when it was written, unless an archive forgot that."""
    line = b"Dec 24 12:00:00 host kernel: a\n"
    written = put(tmp_path / "a", line, 1672531200.0)  # 2023-01-01
    forgotten = put(tmp_path / "b", line, 1.0)

    assert [1671883200.0, 1766577600.0] == [record.at for record in take(written, forgotten)[1]]


def test_times_without_a_zone_are_named_with_the_zone_they_were_given() -> None:
    intake, records = take("-", stdin=b"Feb 24 11:07:05 host kernel: a\n", tz_offset=-19800.0)

    assert [1771951025.0] == [record.at for record in records]
    assert ("standard input: times without a zone were taken as -05:30",) == intake.notices


def test_clocks_that_disagree_are_a_notice() -> None:
    stepped = (
        b"2026-02-24T12:00:00Z host kernel: [ 1000.000000] a\n2026-02-24T10:00:10Z host kernel: [ 1010.000000] b\n"
    )
    slept = b"2026-02-24T12:00:00Z host kernel: [ 1000.000000] a\n2026-02-24T20:00:10Z host kernel: [ 1010.000000] b\n"
    ahead = b"2026-03-24T12:00:00Z host kernel: a\n"

    assert ("standard input: the wall clock steps back by 2.0 hours at line 2; times before it are late",) == (
        take("-", stdin=stepped)[0].notices
    )
    assert () == take("-", stdin=slept)[0].notices
    assert ("standard input: its last record is 28 days ahead of this machine's clock; one of the two is wrong",) == (
        take("-", stdin=ahead)[0].notices
    )


def test_journal_records_of_unknown_transport_are_a_notice() -> None:
    intake, _ = take("-", stdin=b'{"MESSAGE": "NVRM: Xid (PCI:0000:41:00): 79, x"}\n' * 2)

    assert any("2 journal records were without _TRANSPORT" in notice for notice in intake.notices)
    assert not intake.sources[0].readable


def test_what_was_read_so_far_can_be_told_when_reading_stops() -> None:
    intake = Intake(["-"], now=NOW, stdin=io.BytesIO(LOG))
    records = iter(intake)
    next(records)
    next(records)

    assert (2, True) == (intake.sources[0].records, intake.sources[0].readable)


def test_a_read_error_keeps_what_was_read() -> None:
    class Failing(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= len(LOG):
                raise OSError(5, "Input/output error")
            return super().read1(size)

    intake = Intake(["-"], now=NOW, stdin=Failing(LOG))

    assert 5000 == len(list(intake))
    assert (
        "standard input: reading failed (Input/output error); 5000 lines before the end were used",
    ) == intake.notices


def test_a_log_that_is_cut_short_while_it_is_read_says_so_and_what_was_read_counts(tmp_path: Path) -> None:
    """As copytruncate of logrotate does."""
    path = tmp_path / "kern.log"
    path.write_bytes(LOG * 12)
    size = path.stat().st_size
    intake = Intake([str(path)], now=NOW)
    records = iter(intake)
    next(records)
    os.truncate(path, 10)
    read = 1 + len(list(records))

    (source,) = intake.sources
    assert 2 * BLOCK < size
    assert 0 < read < 5000 * 12
    assert (True, read) == (source.readable, source.records)
    assert f"cut from {size:,} to 10 bytes while it was read" in str(source.reason)
    assert [f"{path}: {source.reason}"] == [told for told in intake.notices if "cut from" in told]


def test_a_log_that_is_replaced_while_it_is_read_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "kern.log"
    path.write_bytes(LOG * 12)
    intake = Intake([str(path)], now=NOW)
    records = iter(intake)
    next(records)
    (tmp_path / "new").write_bytes(b"the new one\n")
    os.replace(tmp_path / "new", path)
    rest = list(records)

    (source,) = intake.sources
    assert (5000 * 12, None) == (1 + len(rest), source.reason)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=3000), st.sampled_from(["", *PACK]), st.integers(0, 40))
def test_no_bytes_raise(content: bytes, kind: str, lost: int) -> None:
    packed = PACK[kind](content) if kind else content
    intake, records = take("-", stdin=packed[: len(packed) - lost])

    (source,) = intake.sources
    assert len(records) == source.records
    assert source.readable or source.reason
    assert all("\x1b" not in notice for notice in intake.notices)


def test_text_without_any_line_of_a_log_is_not_ok() -> None:
    """A list of users holds no fault, and no answer either; a pasted line about a GPU is taken at its word."""
    users = Intake(
        ["-"], now=1.79e9, stdin=io.BytesIO(b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    )
    paste = Intake(["-"], now=1.79e9, stdin=io.BytesIO(b"RmInitAdapter failed! (0x62:0x40:2168)\n"))
    list(users), list(paste)

    assert [(False, True)] == [(u.readable, p.readable) for u, p in zip(users.sources, paste.sources, strict=True)]
    assert "looks like a kernel log" in (users.sources[0].reason or "")
