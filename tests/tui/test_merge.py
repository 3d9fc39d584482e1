"""Several logs on one time axis."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tui import samples
from tui.merge import WINDOW, Clock, Merged, merged
from tui.source import LogText


def never() -> bool:
    return False


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[LogText, ...]:
    """A kernel log, a management controller's, one without a clock, and one whose lines are numbered otherwise."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "kern.log").write_text(samples.LOG)
    (tmp_path / "bmc.log").write_text(
        "2026-08-22T09:00:00+00:00 bmc sel[1]: long before\n"
        "2026-08-22T14:02:30.500+00:00 bmc sel[1]: PSU 2 lost its input\n"
        "2026-08-22T14:02:45+00:00 bmc sel[1]: PSU 2 is back\n"
    )
    (tmp_path / "dmesg").write_text("[    1.000000] no time of day\n" * 3)
    (tmp_path / "spool").write_text("2026-08-22T14:02:31.500Z kernel: a capture says this\n")
    return (
        LogText(samples.KERN_LOG, str(tmp_path / "kern.log")),
        LogText("bmc", str(tmp_path / "bmc.log")),
        LogText("dmesg", str(tmp_path / "dmesg")),
        LogText("/dev/kmsg", str(tmp_path / "spool"), {1042: 0}),
    )


def at(logs: tuple[LogText, ...], moment: float | None) -> tuple[Merged, list[str]]:
    found = merged(logs, moment, Clock(samples.NOW), never)
    assert found is not None
    text = Path(found.log.path).read_text().splitlines()
    assert 0o600 == os.stat(found.log.path).st_mode & 0o777
    return found, text


def test_lines_of_all_logs_stand_in_order_of_time_each_with_who_says_it(logs: tuple[LogText, ...]) -> None:
    found, text = at(logs, samples.SWEPT)

    near = [line for line in text if "14:02:3" in line and "Xid (PCI:0000:4e:00): 45" not in line]
    assert [
        "2026-08-22T14:02:30.500Z sel: PSU 2 lost its input",
        f"2026-08-22T14:02:31.000Z kernel: {samples.XID}",
        "2026-08-22T14:02:31.500Z kernel: a capture says this",
    ] == near
    assert not [line for line in text if "long before" in line]  # outside of two hours
    assert ("dmesg",) == found.left_out
    assert found.end - found.start < 2 * WINDOW
    assert text[found.row].startswith("2026-08-22T14:02:31.")


def test_evidence_is_found_again_by_the_log_it_was_in(logs: tuple[LogText, ...]) -> None:
    found, text = at(logs, samples.SWEPT)

    trigger, captured = found.log.row_of(samples.KERN_LOG, 23), found.log.row_of("/dev/kmsg", 1042)
    assert samples.XID in text[trigger or 0]
    assert "a capture says this" in text[captured or 0]
    assert (None, None) == (found.log.row_of("bmc", 1), found.log.row_of("other", 1))


def test_without_a_moment_it_is_the_end_of_the_newest(logs: tuple[LogText, ...]) -> None:
    found, text = at(logs[:2], None)

    assert len(text) - 1 == found.row
    assert "Started session." in text[-1]


def test_logs_without_a_clock_cannot_be_put_in_order(logs: tuple[LogText, ...]) -> None:
    assert merged(logs[2:3], None, Clock(samples.NOW), never) is None


def test_lines_that_name_no_zone_are_in_that_which_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site's syslog in its own zone stands beside a log in UTC at the moment it was written."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "local").write_text("Aug 22 16:02:31 gpu-0417 slurmd[1]: job ends\n")
    (tmp_path / "utc").write_text(
        "2026-08-22T14:02:30Z gpu-0417 kernel: before\n2026-08-22T14:02:32Z gpu-0417 kernel: after\n"
    )
    logs = (LogText("local", str(tmp_path / "local")), LogText("utc", str(tmp_path / "utc")))

    found = merged(logs, samples.SWEPT, Clock(samples.NOW, 7200.0), never)

    assert found is not None
    assert [
        "2026-08-22T14:02:30.000Z kernel: before",
        "2026-08-22T14:02:31.000Z slurmd: job ends",
        "2026-08-22T14:02:32.000Z kernel: after",
    ] == Path(found.log.path).read_text().splitlines()
