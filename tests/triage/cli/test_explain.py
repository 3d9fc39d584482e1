"""`explain`: what it prints, how it ends."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.patience import drained
from tests.triage.cli.conftest import ROOT, Run, environment, run_python
from triage.schema import REPORT

SCHEMA: dict[str, Any] = json.loads(REPORT.read_text(encoding="utf-8"))
EVIL = (
    "2026-08-22T14:03:01+00:00 gpu-0417 kernel: NVRM: Xid (PCI:0000:4e:00): 31, pid=1, "
    "name=\x1b[2J\x1b]0;x\x07\u202e\x9b5m, MMU Fault\n"
)


def test_a_log_is_explained(run: Run, log: Path) -> None:
    """The verdict, the GPU and the line it rests on are in the text."""
    done = run("explain", str(log))

    assert (0, "") == (done.returncode, done.stderr)
    assert "0000:4e:00.0" in done.stdout
    assert "EVIDENCE FOR HARDWARE" in done.stdout
    assert "GPU has fallen off the bus" in done.stdout


def test_the_json_form_follows_the_schema_and_repeats_itself(run: Run, log: Path) -> None:
    """Same input, same bytes."""
    done = run("explain", str(log), "--format", "json", "--now", "1787410000")

    jsonschema.validate(json.loads(done.stdout), SCHEMA)
    assert done.stdout == run("explain", str(log), "--format", "json", "--now", "1787410000").stdout


def test_text_json_and_ndjson_tell_the_same(run: Run, log: Path) -> None:
    """No surface knows more than the JSON."""
    report = json.loads(run("explain", str(log), "--format", "json").stdout)
    *incidents, end = [json.loads(line) for line in run("explain", str(log), "--format", "ndjson").stdout.splitlines()]
    text = " ".join(run("explain", str(log)).stdout.split())

    assert [i["fingerprint"] for i in report["incidents"]] == [i["fingerprint"] for i in incidents]
    assert (True, len(incidents)) == (end["complete"], end["incidents"])
    assert incidents
    assert all(" ".join(i["summary"].split()) in text for i in incidents)


@pytest.mark.parametrize("words", [["-"], []])
def test_a_pipe_is_a_log_too(words: list[str], run: Run, log: Path) -> None:
    """With or without the dash."""
    done = run("explain", *words, stdin=log.read_text())

    assert 0 == done.returncode, done.stderr
    assert "0000:4e:00.0" in done.stdout


def test_a_compressed_log_is_a_log_too(run: Run, log: Path) -> None:
    """Rotated logs are compressed."""
    packed = log.with_suffix(".log.1.gz")
    packed.write_bytes(gzip.compress(log.read_bytes()))

    assert "GPU has fallen off the bus" in run("explain", str(packed)).stdout


@pytest.mark.parametrize(("expected", "fail_on"), [(0, "never"), (1, "info"), (1, "warning"), (1, "critical")])
def test_fail_on_decides_whether_a_finding_fails(expected: int, fail_on: str, run: Run, log: Path) -> None:
    """A critical incident is at or above all of them."""
    assert expected == run("explain", str(log), "--fail-on", fail_on).returncode


def test_a_quiet_log_never_fails(run: Run, tmp_path: Path) -> None:
    """Nothing found is below every threshold."""
    quiet = tmp_path / "quiet.log"
    quiet.write_text("2026-08-22T14:00:00+00:00 n1 kernel: usb 1-1: new high-speed USB device\n" * 50)

    assert 0 == run("explain", str(quiet), "--fail-on", "info").returncode


def test_nothing_readable_is_exit_3_and_says_why(run: Run, tmp_path: Path) -> None:
    """And the status is unknown, not ok."""
    done = run("explain", str(tmp_path / "missing.log"), "--format", "json")
    report = json.loads(done.stdout)

    assert (3, "unknown", False) == (done.returncode, report["status"], report["sources"][0]["readable"])
    assert report["sources"][0]["reason"]


def test_something_unreadable_beside_a_log_is_exit_4(run: Run, log: Path, tmp_path: Path) -> None:
    """Done in part; but a finding that --fail-on asks for comes first."""
    missing = str(tmp_path / "missing.log")

    assert 4 == run("explain", str(log), missing).returncode
    assert 1 == run("explain", str(log), missing, "--fail-on", "critical").returncode


@pytest.mark.parametrize("words", [[], ["--format", "json"], ["--format", "ndjson"], ["--ascii"]])
def test_hostile_text_never_reaches_the_terminal_raw(words: list[str], run: Run, log: Path) -> None:
    """In no form."""
    with log.open("a") as more:
        more.write(EVIL)
    done = run("explain", str(log), *words)

    assert 0 == done.returncode, done.stderr
    assert [] == [line for line in done.stdout.splitlines() if not line.isprintable()]
    assert "31" in done.stdout


def test_a_hostile_file_name_is_harmless_too(run: Run, log: Path) -> None:
    """File names are foreign text."""
    named = log.with_name("\x1b[2J\u202elog")
    named.write_bytes(log.read_bytes())
    done = run("explain", str(named))

    assert 0 == done.returncode, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "\\u202elog" in done.stdout


def test_colour_is_for_terminals_and_for_those_who_ask(run: Run, log: Path) -> None:
    """Piped text is plain; a flag beats NO_COLOR."""
    assert "\x1b" not in run("explain", str(log)).stdout
    assert "\x1b[1;31mCRITICAL\x1b[0m" in run("explain", str(log), "--color", "always", env={"NO_COLOR": "1"}).stdout
    assert "\x1b[1;31mCRITICAL\x1b[0m" in run("explain", str(log), env={"FORCE_COLOR": "1"}).stdout


@pytest.mark.parametrize(("expected", "env"), [(100, {}), (72, {"COLUMNS": "72"}), (100, {"COLUMNS": "wide"})])
def test_the_width_is_that_of_columns_or_100(expected: int, env: dict[str, str], run: Run, log: Path) -> None:
    """The rule between incidents spans it."""
    lines = run("explain", str(log), env=env).stdout.splitlines()

    assert expected == max(map(len, lines))
    assert "-" * expected in lines


def test_neither_rich_nor_textual_is_loaded(log: Path) -> None:
    """Text is drawn without them."""
    script = (
        "import sys\nfrom triage.cli import main\n"
        f"code = main(['explain', {str(log)!r}])\n"
        "print(code, sorted({'rich', 'textual', 'asyncio', 'tui'} & sys.modules.keys()))"
    )

    assert "0 []" == run_python("-c", script).stdout.splitlines()[-1]


def test_an_interrupt_gives_what_was_read_so_far() -> None:
    """Exit 130, and the report says that it is not complete."""
    line = b"[ 12.%06d] NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus.\n"
    with subprocess.Popen(
        [sys.executable, "-m", "triage", "explain", "-", "--format", "json"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdin is not None
            # More than a pipe and a block hold: when all is taken out of the pipe, some of it has been read.
            process.stdin.write(b"".join(line % n for n in range(40_000)))
            process.stdin.flush()
            drained(process.stdin.fileno())
            os.kill(process.pid, signal.SIGINT)
            process.wait(timeout=120)
            assert process.stdout is not None
            assert process.stderr is not None
            out, err = process.stdout.read(), process.stderr.read()
        finally:
            process.kill()
    report = json.loads(out)

    assert (130, b"") == (process.returncode, err)
    assert report["complete"] is False
    assert "79" in report["incidents"][0]["summary"]
    assert any(notice.startswith("interrupted: only the first ") for notice in report["notices"])


def test_a_terminal_is_not_waited_for(tmp_path: Path) -> None:
    """Without a file and without a pipe there is nothing to read, and the remedy is said."""
    controller, terminal = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "triage", "explain"], cwd=ROOT, stdin=terminal, capture_output=True, timeout=120
        )
    finally:
        os.close(controller)
        os.close(terminal)

    assert 2 == done.returncode
    assert b"gpu-triage explain FILE" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--since", "yesterday"], "is no time; write"),
        (["--since", "1h", "--until", "2h"], "--since 1h is after --until 2h; swap them"),
    ],
)
def test_a_window_that_is_none_is_refused_in_one_line(run: Run, words: list[str], said: str) -> None:
    done = run("explain", "-", *words, stdin="x\n")
    assert 2 == done.returncode
    assert said in done.stderr
    assert 1 == len(done.stderr.splitlines())


def test_only_the_records_of_the_window_are_explained(run: Run) -> None:
    log = (
        "2025-11-26T01:00:00Z n1 kernel: NVRM: Xid (PCI:0000:01:00): 79, pid=1, GPU has fallen off the bus.\n"
        "2025-11-26T13:00:00Z n1 kernel: NVRM: Xid (PCI:0000:02:00): 79, pid=1, GPU has fallen off the bus.\n"
    )
    done = run("explain", "-", "--since", "2h", "--now", "1764165600", stdin=log)
    assert "0000:02:00.0" in done.stdout
    assert "0000:01:00.0" not in done.stdout
    assert "only records from 2025-11-26T12:00:00.000Z were asked for" in done.stdout
