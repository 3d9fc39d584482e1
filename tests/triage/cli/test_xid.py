"""`xid` explains codes and pasted lines."""

from __future__ import annotations

import json

import pytest

from tests.triage.cli.conftest import Run

LINE = "NVRM: Xid (PCI:0000:4e:00): 79, pid=811, name=\x1b[2Jpython, GPU has fallen off the bus."


@pytest.mark.parametrize("asked", [["79"], ["Xid", "79"], ["XID: 79"], ["xid79"]])
def test_a_code_is_explained(asked: list[str], run: Run) -> None:
    """However it is written."""
    done = run("xid", *asked)

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("Xid 79 ")
    assert "gpu-off-bus" in done.stdout


def test_a_code_nobody_knows_is_said_to_be_unknown(run: Run) -> None:
    """And which rule takes it is still named."""
    done = run("xid", "9999")

    assert 0 == done.returncode
    assert "Xid 9999 is not in the catalogue" in done.stdout
    assert json.loads(run("xid", "9999", "--format", "json").stdout)["xids"][0]["known"] is False


@pytest.mark.parametrize(
    "prefix", ["", "[ 12.345678] ", "Aug 22 14:02:31 gpu-0417 kernel: ", "2026-08-22T14:02:31+00:00 gpu-0417 kernel: "]
)
def test_a_pasted_line_is_read_as_a_log_would_be(prefix: str, run: Run) -> None:
    """Device, process and code come from the rulebook's own patterns."""
    found = json.loads(run("xid", prefix + LINE, "--format", "json").stdout)

    assert [("xid", "0000:4e:00.0")] == [(line["signal"], line["device"]) for line in found["lines"]]
    assert "811" == found["lines"][0]["fields"]["pid"]
    assert [79] == [xid["code"] for xid in found["xids"]]


def test_a_pasted_line_is_shown_harmless(run: Run) -> None:
    """Who pastes it has not read it."""
    done = run("xid", LINE)

    assert 0 == done.returncode
    assert "\x1b" not in done.stdout


def test_lines_may_come_from_a_pipe(run: Run) -> None:
    """Quotes and parentheses need no care there."""
    assert "Xid 79 " in run("xid", "-", stdin=f"nothing here\n{LINE}\n").stdout


def test_a_line_that_means_nothing_is_said_to(run: Run) -> None:
    """Silence would look like a failure."""
    assert "No pattern of the rulebook knows this line.\n" == run("xid", "hello world").stdout


def test_a_service_cannot_forge_an_xid(run: Run) -> None:
    """A user's message in syslog is not the kernel's."""
    forged = "Aug 22 14:02:31 gpu-0417 myjob[811]: NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus."

    assert [] == json.loads(run("xid", forged, "--format", "json").stdout)["xids"]
