"""`xid` explains codes and pasted lines."""

from __future__ import annotations

import json

import pytest

from tests.triage.cli.conftest import Run

LINE = "NVRM: Xid (PCI:0000:4e:00): 79, pid=811, name=\x1b[2Jpython, GPU has fallen off the bus."


@pytest.mark.parametrize("asked", [["79"], ["Xid", "79"], ["XID: 79"], ["xid79"], ["0x4f"], ["Xid", "0x4F,"]])
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


@pytest.mark.parametrize("asked", [["79,48"], ["79, 48"], ["Xids 79 and 48"], ["79;48"], ["79", "48"]])
def test_codes_may_be_listed_as_people_list_them(asked: list[str], run: Run) -> None:
    """With commas, blanks or words between them."""
    found = json.loads(run("xid", *asked, "--format", "json").stdout)

    assert [79, 48] == [entry["code"] for entry in found["xids"]]


@pytest.mark.parametrize("asked", ["-5", "99999999999999999999999", "79.5", "79,999999999", "1234567", "", "  "])
def test_a_number_that_cannot_be_an_xid_is_refused(asked: str, run: Run) -> None:
    """As a mistake of typing, not as a line that means nothing."""
    done = run("xid", "--", asked)

    assert (2, "") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count("\n")


@pytest.mark.parametrize(
    "prefix", ["", "[ 12.345678] ", "Aug 22 14:02:31 gpu-0417 kernel: ", "2026-08-22T14:02:31+00:00 gpu-0417 kernel: "]
)
def test_a_pasted_line_is_read_as_a_log_would_be(prefix: str, run: Run) -> None:
    """Device, process and code come from the rulebook's own patterns."""
    found = json.loads(run("xid", prefix + LINE, "--format", "json").stdout)

    assert [("xid", "0000:4e:00.0")] == [(line["signal"], line["device"]) for line in found["lines"]]
    assert "811" == found["lines"][0]["fields"]["pid"]
    assert [79] == [xid["code"] for xid in found["xids"]]


def test_several_codes_are_explained_at_once(run: Run) -> None:
    """In the order in which they were given, each once."""
    found = json.loads(run("xid", "48", "xid63", "48", "--format", "json").stdout)

    assert [48, 63] == [xid["code"] for xid in found["xids"]]


@pytest.mark.parametrize("asked", [["--sxid", "20034"], ["SXid", "20034"], ["sxid:20034"], ["20034"]])
def test_a_switch_error_is_explained(asked: list[str], run: Run) -> None:
    """A number that can only be one is taken for it."""
    done = run("xid", *asked)

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("SXid 20034 LTSSM Fault Up\n")
    assert "Fabric Manager guide" in done.stdout
    assert ("is no known Xid but a known SXid" in done.stdout) is (asked == ["20034"])


def test_xids_and_switch_errors_may_be_asked_together(run: Run) -> None:
    """As they come together in a log."""
    found = json.loads(run("xid", "74", "--sxid", "20034", "--sxid", "1", "--format", "json").stdout)

    assert ([74], [(20034, True), (1, False)]) == (
        [xid["code"] for xid in found["xids"]],
        [(sxid["code"], sxid["known"]) for sxid in found["sxids"]],
    )


@pytest.mark.parametrize("asked", ["0x62:0x40:2168", "(0x62:0x40)", "NVRM: RmInitAdapter failed! (0x62:0x40:2168)"])
def test_the_numbers_of_a_failed_initialisation_are_explained(asked: str, run: Run) -> None:
    """The pair alone, or the line it stands in."""
    said = run("xid", asked).stdout

    assert "0x62 RM_INIT_FIRMWARE_INIT_FAILED" in said
    assert "0x40 NV_ERR_INVALID_STATE" in said
    assert "driver-init" in said


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        (["0"], "No driver prints an Xid 0"),
        (["99999"], "No driver prints an Xid 99999"),
        (["79; rm -rf /"], "No pattern of the rulebook knows this line."),
        (["\u0667\u0669"], "No pattern of the rulebook knows this line."),
        (["-"], "No pattern of the rulebook knows this line."),
    ],
)
def test_what_cannot_be_a_code_is_said_to_be_none(asked: list[str], part: str, run: Run) -> None:
    """Garbage is answered, not crashed on."""
    done = run("xid", *asked)

    assert (0, "") == (done.returncode, done.stderr)
    assert part in done.stdout


@pytest.mark.parametrize("asked", [[], ["--sxid", "LTSSM"], ["--sxid", "1234567"], ["--format", "yaml", "79"]])
def test_arguments_that_make_no_sense_are_refused(asked: list[str], run: Run) -> None:
    """With what would help, and nothing on standard output."""
    done = run("xid", *asked)

    assert (2, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("gpu-triage: ")
    assert 1 == done.stderr.count("\n")


def test_the_driver_of_a_line_is_asked_for_or_read_from_the_other_lines(run: Run) -> None:
    """Only one unit looks alike in both generations, and then the version tells."""
    line = "NVRM: Xid (PCI:0000:4e:00): 150, MSE_WATCHDOG Fatal XC0 i0 Link 00 (0x00000000 0x00000000)"
    loaded = "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  570.124.06  Wed Feb 26 02:14:11 UTC 2025"

    def driver(*words: str, **more: str) -> str:
        found = json.loads(run("xid", *words, "--format", "json", **more).stdout)
        return str(found["lines"][-1]["decoded"]["driver"])

    assert "either" == driver(line)
    assert "575 or later" == driver(line, "--driver", "580.95.05")
    assert "before 575" == driver("-", stdin=f"{loaded}\n{line}\n")


def test_what_lines_alone_conclude_is_told_with_its_steps(run: Run) -> None:
    """As `explain` would, but for the lines at hand."""
    said = run("xid", LINE).stdout

    assert "WHAT THESE LINES ALONE SAY (critical)" in said
    assert "gpu-off-bus" in said.partition("WHAT THESE LINES ALONE SAY")[2].partition("Xid 79")[0]


def test_more_than_a_few_lines_are_for_another_verb(run: Run) -> None:
    """What was left out is said."""
    noise = "usb 1-1: new high-speed USB device number 2 using xhci_hcd\n" * 20000
    done = run("xid", "-", stdin=f"{LINE}\n{noise}", env={})

    assert "Only the first MiB was read; `gpu-triage explain` reads logs of any size." in done.stdout
    assert "Xid 79 " in done.stdout


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
