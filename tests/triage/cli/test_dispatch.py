"""The command as a whole: help, verbs, streams and mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.triage.cli.conftest import ROOT, Run, environment, run_python
from triage import __version__
from triage.cli.dispatch import VERBS


def test_the_version_is_one_line(run: Run) -> None:
    """For scripts."""
    done = run("--version")

    assert (0, f"gpu-triage {__version__}\n", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_the_help_leads_with_examples_and_names_every_verb(words: list[str], run: Run) -> None:
    """Who reads one screen knows how to start."""
    done = run(*words)

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.index("examples:") < done.stdout.index("verbs:")
    assert all(f"\n  {verb.name} " in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_every_verb_has_help_with_examples_and_exit_codes(verb: str, run: Run) -> None:
    """And only that of `check` is no success, because monitoring takes 0 for health."""
    done = run(verb, "--help")

    assert (3 if verb == "check" else 0, "") == (done.returncode, done.stderr)
    assert 0 < done.stdout.index("examples:") < done.stdout.index("exit codes:")
    assert done.stdout == run("help", verb).stdout


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ("did you mean 'check'", ["chekc"]),
        ("did you mean 'explain'", ["EXPLAIN"]),
        ("did you mean 'rules'", ["rulez"]),
        ("unknown verb 'zzz'; one of check,", ["zzz"]),
        ("gpu-triage explain README.md", ["README.md"]),
        ("unknown option '--colour'", ["--colour", "never"]),
        ("did you mean 'sweep'", ["fleet", "swep"]),
        ("unrecognized arguments: --fomat; did you mean '--format'? (see", ["explain", "--fomat", "json"]),
        ("did you mean 'ndjson'", ["explain", "--format", "ndjso"]),
        ("unrecognized arguments: --zzz (see", ["explain", "--zzz"]),
        ("unknown verb ''", [""]),
        ("unknown verb '\\x1b[2J'", ["\x1b[2J"]),
    ],
)
def test_an_unknown_verb_is_answered_with_what_was_meant(expected: str, words: list[str], run: Run) -> None:
    """One line on standard error, exit 2."""
    done = run(*words)

    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert expected in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "--format", "yaml"],
        ["explain", "--timezone", "Mars"],
        ["explain", "--timezone", "+99:00"],
        ["explain", "--fail-on", "\x1b[31m"],
        ["explain", "--now", "nan"],
        ["explain", "--form", "json"],
        ["explain", "--rules"],
        ["explain", "--rules", "/nonexistent", "README.md"],
        ["schema"],
        ["schema", "everything"],
        ["xid"],
        ["rules"],
        ["rules", "burn"],
        ["tui"],
    ],
)
def test_garbage_arguments_are_refused_in_one_line(words: list[str], run: Run) -> None:
    """Exit 2, no traceback, nothing on standard output."""
    done = run(*words)

    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n")), done.stderr
    assert done.stderr.startswith("gpu-triage: ")
    assert done.stderr.rstrip("\n").isprintable()


def test_an_argument_that_is_no_unicode_is_refused_like_any_other() -> None:
    """The bytes are shown, not obeyed, and do not crash the refusal."""
    done = subprocess.run([sys.executable, "-m", "triage", b"\xff\x1b[2J"], cwd=ROOT, capture_output=True)

    assert 2 == done.returncode
    assert b"\x1b" not in done.stderr
    assert b"Traceback" not in done.stderr


def test_without_a_verb_and_without_a_terminal_it_says_where_the_help_is(run: Run) -> None:
    """A pipe gets no screens."""
    done = run()

    assert (2, "") == (done.returncode, done.stdout)
    assert "--help" in done.stderr


def test_a_reader_that_goes_away_ends_the_output_quietly() -> None:
    """`gpu-triage schema report | head -1` says nothing else."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "triage", "schema", "report"], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)

    assert (0, b"") == (done.returncode, done.stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(("expected", "words"), [(4, ["schema", "report"]), (3, ["check", "--rules", "/nonexistent"])])
def test_output_that_cannot_be_written_is_no_success(expected: int, words: list[str]) -> None:
    """A full disk is said, in one line."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-m", "triage", *words], cwd=ROOT, stdout=full, stderr=subprocess.PIPE)

    assert expected == done.returncode
    assert b"cannot write to standard output: No space left on device\n" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.parametrize("thread", ["", "import threading; threading.Thread(target=print, args=['a thread']).start()"])
def test_what_is_registered_for_the_end_is_done_though_the_end_of_a_report_is_quick(log: Path, thread: str) -> None:
    """The interpreter is not taken apart after it; a temporary folder of a library is removed all the same."""
    registers = f"""
import atexit, sys, triage.cli.explain
real = triage.cli.explain.main
def main(words):
    atexit.register(print, "at the end")
    code = real(words)
    {thread}
    return code
triage.cli.explain.main = main
sys.argv[1:] = ["explain", {str(log)!r}, "--fail-on", "warning"]
from triage.cli import run
run()
"""
    done = run_python("-c", registers)

    assert (1, "") == (done.returncode, done.stderr)
    assert 1 == done.stdout.count("at the end\n")
    assert bool(thread) == ("a thread\n" in done.stdout)


def test_closed_streams_are_survived() -> None:
    """Some supervisors start programs with neither."""
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m triage --version >&- 2>&-; echo $?"], cwd=ROOT, capture_output=True
    )

    assert b"4\n" == done.stdout


BROKEN = """
import sys, triage.cli.schema
def main(words): raise KeyError("\\x1b[2J no such thing")
triage.cli.schema.main = main
from triage.cli import main
sys.exit(main(["schema"]))
"""


def test_a_mistake_of_ours_is_one_line_without_a_traceback() -> None:
    """It names the bug, the place and how to get the details; exit 70."""
    done = run_python("-c", BROKEN)

    assert (70, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert "internal error, KeyError at <string>:3" in done.stderr
    assert "GPU_TRIAGE_DEBUG=1" in done.stderr
    assert "\x1b" not in done.stderr


def test_the_details_of_a_mistake_are_there_when_asked_for() -> None:
    """With GPU_TRIAGE_DEBUG=1 the whole traceback is shown, still harmless."""
    done = run_python("-c", BROKEN, env={"GPU_TRIAGE_DEBUG": "1"})

    assert 70 == done.returncode
    assert "Traceback (most recent call last)" in done.stderr
    assert "\x1b" not in done.stderr


def test_the_output_does_not_depend_on_the_locale(log: Path) -> None:
    """A node with LANG=C prints what others print."""
    words = ("-m", "triage", "explain", str(log), "--now", "1787410000")
    plain = run_python(*words, env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"})

    assert 0 == plain.returncode, plain.stderr
    assert plain.stdout == run_python(*words, env={"LC_ALL": "C.UTF-8"}).stdout


def test_the_environment_of_these_tests_is_plain() -> None:
    """Otherwise the tests would test the developer's terminal."""
    assert not {"COLUMNS", "NO_COLOR", "FORCE_COLOR"} & environment().keys()
