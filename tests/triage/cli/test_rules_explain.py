"""`rules explain` prints the sum behind a verdict."""

from __future__ import annotations

from pathlib import Path

from tests.triage.cli.conftest import Run


def test_the_sum_of_a_log_is_printed(run: Run, log: Path) -> None:
    done = run("rules", "explain", str(log))

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("1. GPU stopped answering on the PCIe bus on GPU 0000:4e:00.0 (Xid 79)")
    assert "verdict: hardware.link\n" in done.stdout


def test_the_sum_of_standard_input_is_printed(run: Run, log: Path) -> None:
    assert "verdict: " in run("rules", "explain", "-", stdin=log.read_text()).stdout


def test_one_incident_can_be_asked_for(run: Run, log: Path) -> None:
    text = log.read_text() + "2026-08-22T15:00:00+00:00 gpu-0417 kernel: NVRM: Xid (PCI:0000:9d:00): 31, pid=1, x\n"

    assert 2 == run("rules", "explain", "-", stdin=text).stdout.count("\nverdict: ")
    assert run("rules", "explain", "-", "--incident", "2", stdin=text).stdout.startswith("2. ")
    refused = run("rules", "explain", "-", "--incident", "3", stdin=text)
    assert (2, "gpu-triage: there is no incident 3; 2 were found\n") == (refused.returncode, refused.stderr)


def test_a_rule_is_explained_by_its_id(run: Run) -> None:
    done = run("rules", "explain", "gpu-off-bus")

    assert (0, "") == (done.returncode, done.stderr)
    assert "  link-first seen: decided, hardware.link at " in done.stdout


def test_neither_rule_nor_file_is_answered_with_the_nearest_rule(run: Run) -> None:
    done = run("rules", "explain", "gpu-of-bus")

    assert (3, "") == (done.returncode, done.stdout)
    assert "no such file" in done.stderr
    assert "did you mean 'gpu-off-bus'?" in done.stderr


def test_a_log_without_incidents_has_no_sum(run: Run) -> None:
    done = run("rules", "explain", "-", stdin="kernel: usb 1-1: new device\n")

    assert (0, "") == (done.returncode, done.stdout)
    assert "no incident was found" in done.stderr


def test_hostile_text_reaches_the_terminal_harmless(run: Run) -> None:
    done = run("rules", "explain", "-", stdin="NVRM: Xid (PCI:0000:4e:00): 31, name=\x1b[2Jx, MMU Fault\n")

    assert "verdict: " in done.stdout
    assert "\x1b" not in done.stdout
