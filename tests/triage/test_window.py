"""Only the hour that is asked for is read of a log, wherever it stands in it."""

from __future__ import annotations

import gzip
import io
import random
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from triage.cli.reports import from_logs, load_rulebook
from triage.intake import Intake
from triage.window import LOOK, Window, cut, dating, moment

NOW = 1764165600.0  # 2025-11-26 14:00 UTC
BEGUN = NOW - 20 * 3600
XID = "NVRM: Xid (PCI:0000:01:00): 79, pid=1, GPU has fallen off the bus."


def stamp(at: float, form: str) -> str:
    moment_ = datetime.fromtimestamp(at, timezone.utc)
    return moment_.strftime("%b %d %H:%M:%S" if form == "syslog" else "%Y-%m-%dT%H:%M:%S+00:00")


def log(form: str = "iso", *, number: int = 40_000, step: float = 1.5) -> bytes:
    """A log of so many lines; every hundredth has a second line without a stamp."""
    lines = []
    for index in range(number):
        lines.append(f"{stamp(BEGUN + index * step, form)} node1 kernel: usb 1-1: line {index} of many")
        if index % 100 == 99:
            lines.append("    which goes on here")
    return ("\n".join(lines) + "\n").encode()


class Counting(io.BytesIO):
    """A file that counts what is read of it."""

    taken = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data

    def readline(self, size: int | None = -1) -> bytes:
        data = super().readline(size)
        self.taken += len(data)
        return data


@pytest.mark.parametrize("form", ["iso", "syslog"])
@pytest.mark.parametrize("seed", range(8))
def test_the_cut_holds_exactly_the_records_of_the_window(form: str, seed: int) -> None:
    data = log(form)
    chosen = random.Random(seed)
    since, until = sorted(BEGUN + chosen.uniform(-100, 60_100) for _ in range(2))
    window = Window(since, until)
    found = cut(cast("BinaryIO", io.BytesIO(data)), window, dating(NOW, 0.0))
    assert found is not None
    kept = [line for line in data[found[0] : found[1]].decode().splitlines() if "line" in line]
    wanted = [n for n in range(40_000) if window.holds(float(int(BEGUN + n * 1.5)))]
    assert wanted == [int(line.split("line ")[1].split()[0]) for line in kept]


def test_a_cut_reads_little_of_the_file() -> None:
    file = Counting(log(number=200_000))
    assert cut(cast("BinaryIO", file), Window(BEGUN + 9000.0, BEGUN + 9010.0), dating(NOW, 0.0)) is not None
    assert file.taken < len(file.getvalue()) / 10


def test_a_log_whose_times_fall_is_not_cut() -> None:
    lines = log(number=2000).splitlines(keepends=True)
    lines[500:1500] = reversed(lines[500:1500])
    assert cut(cast("BinaryIO", io.BytesIO(b"".join(lines))), Window(BEGUN, None), dating(NOW, 0.0)) is None


@pytest.mark.parametrize("data", [b"", b"no time here\n" * 1000, b"x" * (LOOK * 3), b"\0" * 1000, b"\n" * 1000])
def test_a_log_without_times_is_not_cut(data: bytes) -> None:
    assert cut(cast("BinaryIO", io.BytesIO(data)), Window(BEGUN, None), dating(NOW, 0.0)) is None


def test_a_window_before_or_after_all_lines_is_empty() -> None:
    file = cast("BinaryIO", io.BytesIO(log(number=3000)))
    size = file.seek(0, 2)
    assert (size, size) == cut(file, Window(NOW, None), dating(NOW, 0.0))
    found = cut(file, Window(None, BEGUN - 1), dating(NOW, 0.0))
    assert (0, 0) == found


def shuffled(data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    random.Random(1).shuffle(lines)
    return b"".join(lines)


@pytest.mark.parametrize("how", ["plain", "gzip", "shuffled", "stdin"])
def test_the_same_records_come_of_a_plain_a_packed_a_shuffled_and_a_piped_log(how: str, tmp_path: Path) -> None:
    data = log()
    window = Window(BEGUN + 3000.0, BEGUN + 3060.0)
    path = tmp_path / "kern.log"
    path.write_bytes({"gzip": gzip.compress, "shuffled": shuffled}.get(how, bytes)(data))
    stdin = cast("BinaryIO", io.BytesIO(data)) if how == "stdin" else None
    intake = Intake(["-" if how == "stdin" else str(path)], now=NOW, stdin=stdin, window=window)
    # A shuffled log tears continuations from their lines; what they are taken with is the line before.
    read = sorted(record.message.split("\n")[0] for record in intake)
    assert [f"usb 1-1: line {n} of many" for n in range(2000, 2041)] == read
    (source,) = intake.sources
    assert (BEGUN + 3000.0, BEGUN + 3060.0) == (source.start, source.end)


def test_a_window_without_records_is_told_and_not_called_healthy(tmp_path: Path) -> None:
    path = tmp_path / "kern.log"
    path.write_bytes(log(number=10))
    intake = Intake([str(path)], now=NOW, window=Window(NOW, None))
    assert [] == list(intake)
    (source,) = intake.sources
    assert not source.readable
    assert "time that was asked for" in str(source.reason)


def test_records_without_a_time_are_kept_and_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "dmesg.txt"
    path.write_text(f"[   12.5] {XID}\n")
    intake = Intake([str(path)], now=NOW, window=Window(NOW - 60, None))
    assert [XID] == [record.message for record in intake]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2h", NOW - 7200),
        ("-30m", NOW - 1800),
        ("90 s ago", NOW - 90),
        ("now", NOW),
        ("@1700000000", 1700000000.0),
        ("03:10", NOW - 14 * 3600 + 3 * 3600 + 600),
        ("23:00", NOW - 15 * 3600),
        ("2025-11-26", NOW - 14 * 3600),
        ("2025-11-26 03:10", NOW - 14 * 3600 + 3 * 3600 + 600),
        ("2025-11-26T03:10:05Z", NOW - 14 * 3600 + 3 * 3600 + 605),
        ("2025-11-26 03:10 +02:00", NOW - 14 * 3600 + 3600 + 600),
    ],
)
def test_people_may_write_a_time_as_they_like(text: str, wanted: float) -> None:
    assert wanted == moment(text, NOW, 0.0)


def test_a_clock_without_a_zone_is_that_of_the_logs() -> None:
    assert NOW - 14 * 3600 + 3600 == moment("03:00", NOW, 7200.0)


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "2025-13-01", "2025-11-26 25:00", "h", "@", "1e9"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        moment(text, NOW, 0.0)


def test_a_report_of_a_window_counts_and_covers_nothing_outside(tmp_path: Path) -> None:
    lines = log(number=60_000).splitlines(keepends=True)
    xid = f"{stamp(BEGUN + 45_000, 'iso')} node1 kernel: {XID}\n".encode()
    lines.insert(30_300, xid)
    lines.insert(10_000, f"{stamp(BEGUN + 14_850, 'iso')} node1 kernel: {XID}\n".encode())
    path = tmp_path / "kern.log"
    path.write_bytes(b"".join(lines))
    window = Window(BEGUN + 44_000.0, None)
    report = from_logs(load_rulebook(None, []), [str(path)], now=NOW, tz_offset=0.0, window=window)
    (incident,) = report["incidents"]
    assert 1 == incident["seen"]
    assert any("read from byte" in notice for notice in report["notices"])
    (source,) = report["sources"]
    assert source["from"] == "2025-11-26T06:13:21.000Z"
