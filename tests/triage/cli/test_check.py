"""`check` keeps the contract of monitoring plug-ins whatever happens."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.triage.cli.conftest import STAND_IN, Run, run_python
from triage.schema import REPORT

SCHEMA: dict[str, Any] = json.loads(REPORT.read_text(encoding="utf-8"))
SLOW = {"rich", "textual", "tui", "asyncio", "dataclasses", "inspect", "logging"}
READ = 'Source("kernel-log", "/dev/kmsg", True, 1.0, 9.0, 40, True), Source("nvml", "libnvidia-ml.so.1", True)'
PLAIN = '[LogRecord(f"usb 1-{n}: new device", float(n), origin="/dev/kmsg", line=n) for n in range(1, 41)]'
WELL = f"return (), {PLAIN}, ({READ})"
LOST = f"""
lost = LogRecord("NVRM: Xid (PCI:0000:4e:00): 79, pid=811, name=\\x1b[2J, GPU has fallen off the bus.", 9.0)
return (), [*{PLAIN}, lost], ({READ})
"""
NO_DRIVER = f"""
return (), {PLAIN}, (
    Source("kernel-log", "/dev/kmsg", True, 1.0, 9.0, 40, True),
    Source("nvml", "libnvidia-ml.so.1", False, reason="not-installed: no NVIDIA driver is loaded"),
)
"""


def test_a_healthy_node_is_one_line_and_0(run_with_node: Run) -> None:
    """Cron mails nothing that nobody needs."""
    done = run_with_node(WELL, "check")

    assert (0, "", 1) == (done.returncode, done.stderr, done.stdout.count("\n"))
    assert done.stdout.startswith("GPU-TRIAGE OK: ")


def test_a_lost_gpu_is_critical_with_the_incident_below(run_with_node: Run) -> None:
    """The status line first, then why."""
    done = run_with_node(LOST, "check")

    assert (2, "") == (done.returncode, done.stderr)
    assert re.match(r"GPU-TRIAGE CRITICAL: .*0000:4e:00\.0", done.stdout)
    assert "WHAT HAPPENED" in done.stdout
    assert "\x1b" not in done.stdout
    assert "\\x1b[2J" in done.stdout


def test_no_driver_is_unknown_and_says_what_could_be_read(run_with_node: Run) -> None:
    """Unknown is never ok."""
    done = run_with_node(NO_DRIVER, "check")
    first = done.stdout.splitlines()[0]

    assert (3, "") == (done.returncode, done.stderr)
    assert "GPU-TRIAGE UNKNOWN: nvml: not-installed: no NVIDIA driver is loaded; read: kernel-log |" in first
    assert "NOT READ nvml" in done.stdout


@pytest.mark.parametrize(
    "body",
    ["time.sleep(60)", "while True:\n    try:\n        time.sleep(60)\n    except Exception:\n        pass"],
)
def test_a_probe_that_hangs_is_unknown_within_the_deadline(body: str, run_with_node: Run) -> None:
    """Even one that swallows every exception."""
    began = time.monotonic()
    done = run_with_node(body, "check", "--deadline", "1")

    assert (3, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("GPU-TRIAGE UNKNOWN: no answer within 1 s |")
    assert time.monotonic() - began < 40


def test_a_mistake_of_ours_is_unknown_and_one_line(run_with_node: Run) -> None:
    """Monitoring gets its line, standard error the place; no traceback."""
    done = run_with_node('raise KeyError("\\x1b[2Joops | critical=0")', "check")

    assert (3, 1, 1) == (done.returncode, done.stdout.count("\n"), done.stderr.count("\n"))
    assert done.stdout.startswith("GPU-TRIAGE UNKNOWN: internal error, KeyError")
    assert 1 == done.stdout.count("|")
    assert "\x1b" not in done.stdout + done.stderr
    assert "GPU_TRIAGE_DEBUG=1" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--deadline", "abc"],
        ["--deadline", "0"],
        ["--deadline", "-5"],
        ["--deadline", "inf"],
        ["--deadline", "1e9"],
        ["--format", "xml"],
        ["--rules", "/nonexistent"],
        ["-w", "10"],
        ["\x1b[2J\n"],
    ],
)
def test_bad_arguments_are_unknown_with_a_status_line(words: list[str], run: Run) -> None:
    """Monitoring shows the first line of standard output, so the reason stands there too."""
    done = run("check", *words)

    assert 3 == done.returncode
    assert done.stdout.startswith("GPU-TRIAGE UNKNOWN: ")
    assert 1 == done.stdout.count("\n")
    assert done.stdout.rstrip("\n").isprintable()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("expected", "body"), [(0, WELL), (2, LOST), (3, NO_DRIVER), (3, "raise OSError(5, 'EIO')")])
def test_the_other_forms_have_the_same_exit_codes(expected: int, body: str, run_with_node: Run) -> None:
    """And are valid also when everything failed."""
    done = run_with_node(body, "check", "--format", "json")
    lines = run_with_node(body, "check", "--format", "ndjson")

    assert (expected, expected) == (done.returncode, lines.returncode)
    jsonschema.validate(json.loads(done.stdout), SCHEMA)
    assert "end" == json.loads(lines.stdout.splitlines()[-1])["kind"]


def test_the_probe_gets_less_than_the_deadline(run_with_node: Run) -> None:
    """Deciding and printing take time too."""
    done = run_with_node("raise OSError(f'given {deadline:g}')", "check", "--deadline", "10")

    assert "given 8" in done.stdout


def test_the_terminal_libraries_are_not_loaded() -> None:
    """A health check in cron starts fast: no rich, no textual, and none of what makes Python start slowly."""
    body = "".join(f"    {line}\n" for line in LOST.strip().splitlines())
    script = STAND_IN.format(body=body).replace(
        "sys.exit(main())",
        f"main()\nprint(sorted({SLOW} & sys.modules.keys()))",
    )

    assert "[]" == run_python("-c", script, "check").stdout.splitlines()[-1]


def test_no_garbage_is_looked_for_while_a_check_is_loaded_and_done() -> None:
    """There is none, and the search costs a fiftieth of the check."""
    body = "".join(f"    {line}\n" for line in LOST.strip().splitlines())
    script = STAND_IN.format(body=body).replace(
        "sys.exit(main())",
        "import gc, triage.cli\nsearches = []\ngc.callbacks.append(lambda *told: searches.append(told))\n"
        "main()\nprint(searches)",
    )

    assert "[]" == run_python("-c", script, "check").stdout.splitlines()[-1]


def test_rules_that_are_kept_are_not_read_again(tmp_path: Path) -> None:
    """From the second sweep on nothing of YAML is loaded, whatever opens an incident."""
    body = "".join(f"    {line}\n" for line in LOST.strip().splitlines())
    script = STAND_IN.format(body=body).replace("sys.exit(main())", "main()\nprint('yaml' in sys.modules)")
    env = {"XDG_CACHE_HOME": str(tmp_path)}

    assert ["True", "False"] == [run_python("-c", script, "check", env=env).stdout.splitlines()[-1] for _ in range(2)]


def test_on_this_machine_the_line_and_the_exit_code_agree(run: Run) -> None:
    """Whatever this machine is, it is answered in time."""
    done = run("check", "--deadline", "20")
    status = re.match(
        r"GPU-TRIAGE (OK|WARNING|CRITICAL|UNKNOWN): .+ \| critical=\d+ warning=\d+ info=\d+\n", done.stdout
    )

    assert status is not None, done.stdout + done.stderr
    assert ["OK", "WARNING", "CRITICAL", "UNKNOWN"].index(status[1]) == done.returncode
    assert "Traceback" not in done.stderr


def test_cron_hears_nothing_of_a_node_that_is_well(run_with_node: Run) -> None:
    """And all of one that is not."""
    well, lost = run_with_node(WELL, "check", "--quiet"), run_with_node(LOST, "check", "--quiet")

    assert (0, "", "") == (well.returncode, well.stdout, well.stderr)
    assert 2 == lost.returncode
    assert lost.stdout.startswith("GPU-TRIAGE CRITICAL: ")


def test_a_sweep_of_cron_does_not_run_beside_another(run_with_node: Run, tmp_path: Path) -> None:
    """It is unknown, and says why; without --quiet two may run at once."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    lock = os.open(state / "check.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    refused = run_with_node(WELL, "check", "--quiet", "--state-dir", str(state))
    beside = run_with_node(WELL, "check", "--state-dir", str(state))
    os.close(lock)
    after = run_with_node(WELL, "check", "--quiet", "--state-dir", str(state))

    assert (3, 0, 0) == (refused.returncode, beside.returncode, after.returncode)
    assert refused.stdout.startswith("GPU-TRIAGE UNKNOWN: another sweep is still under way")


def test_the_exit_codes_of_node_problem_detector_are_its_own(run_with_node: Run) -> None:
    codes = [run_with_node(body, "check", "--format", "npd").returncode for body in (WELL, LOST, NO_DRIVER)]

    assert [0, 1, 2] == codes
