"""The stories of `gpu-triage demo`: whole on a pipe, step by step on a terminal."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from triage.cli.demo import stories
from triage.shipped import shipped

ENDS = {
    "riser": "HARDWARE, very likely (0.97) - PCIe path: slot, riser, cable, switch",
    "dying-hbm": "HARDWARE, very likely (0.97) - GPU board, its memory or silicon",
    "kernel-panic": "HARDWARE, very likely (0.97) - Host CPU, memory or mainboard",
    "bad-rollout": "11 of 13 nodes with driver version 570.99.99 show it, 1 of 27 others",
}
"""What the last chapter of each has to say."""

Ran = subprocess.CompletedProcess[str]


def played(*words: str) -> Ran:
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    return subprocess.run(
        [sys.executable, "-m", "triage", "demo", *words],
        env={**plain, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_the_stories_are_those_that_have_an_end() -> None:
    assert set(ENDS) == set(stories())


@pytest.mark.parametrize("name", ENDS)
def test_a_story_ends_with_what_the_program_says_today(name: str) -> None:
    done = played("--story", name)

    assert (0, "") == (done.returncode, done.stderr)
    last = done.stdout[done.stdout.rindex("$ gpu-triage ") :]
    assert ENDS[name] in last
    assert last.index(ENDS[name]) < last.index("How it ended: ")


@pytest.mark.parametrize("name", ENDS)
def test_each_chapter_names_files_that_travel_with_the_program(name: str) -> None:
    story = stories()[name]
    for words in [story["screens"], *(chapter["run"] for chapter in story["chapters"])]:
        for word in shlex.split(words):
            if "." in word and not word.startswith("-") and ":" not in word:
                assert (shipped("examples") / word).exists(), f"{name}: {word}"


def test_a_shortened_chapter_says_how_much_is_left() -> None:
    lines = played().stdout.splitlines()

    assert any(line.startswith("  ... and ") and line.endswith(" more lines") for line in lines)


def test_the_screens_of_a_story_need_a_terminal() -> None:
    done = played("--screens")

    assert (2, "gpu-triage: the screens need a terminal;") == (done.returncode, done.stderr[:40])


def test_the_list_names_every_story_on_a_line() -> None:
    assert list(ENDS) == [line.split()[0] for line in played("--list").stdout.splitlines()]


def on_a_terminal(typed: bytes) -> tuple[int, str]:
    """Play the first story on a terminal, and answer each of its questions with one line of what is typed."""
    main, other = pty.openpty()
    child = subprocess.Popen([sys.executable, "-m", "triage", "demo"], stdin=other, stdout=other, stderr=other)
    os.close(other)
    shown, answers = b"", iter(typed.splitlines(keepends=True))
    try:
        while True:
            try:
                shown += os.read(main, 1 << 16)
            except OSError:  # the other end is closed
                break
            if shown.endswith(b" -- "):
                os.write(main, next(answers))
                shown += b"<"
    finally:
        os.close(main)
    return child.wait(timeout=120), shown.decode()


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        (b"q\n", lambda text: "[1/3]" in text and "[2/3]" not in text),
        (b"\n\n\n", lambda text: "[3/3]" in text and "How it ended" in text),
        (b"\x04\n", lambda text: "[2/3]" not in text),
    ],
    ids=["q", "enter", "end-of-input"],
)
def test_a_terminal_is_asked_before_each_chapter(typed: bytes, seen: Callable[[str], bool]) -> None:
    code, text = on_a_terminal(typed)

    assert code == 0
    assert seen(text)
    assert "Traceback" not in text
