"""No other program can hold the caller up."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from probes import bounded


def run(script: str, seconds: float = 20.0, limit: int = 1 << 20) -> tuple[bounded.Run, list[bytes]]:
    made = bounded.Run(["/bin/sh", "-c", script], time.monotonic() + seconds, limit)
    return made, list(made.lines())


def test_lines_come_whole_and_the_last_needs_no_end() -> None:
    made, lines = run("printf 'one\\ntwo\\n\\nthree'; echo sorry >&2; exit 3")
    assert [b"one", b"two", b"", b"three"] == lines
    assert (3, None, b"sorry\n") == (made.status, made.cut, made.errors)


def test_a_program_that_does_not_finish_is_stopped() -> None:
    began = time.monotonic()
    made, lines = run("echo begun; sleep 60", seconds=0.5)
    assert time.monotonic() - began < 30
    assert [b"begun"] == lines
    assert (None, "it did not finish in time") == (made.status, made.cut)
    assert [] == bounded.left_behind()


def test_a_program_that_never_stops_talking_is_stopped() -> None:
    made, lines = run("yes", limit=100_000)
    assert made.cut is not None
    assert "MiB" in made.cut
    assert len(lines) < 200_000


def test_a_program_that_talks_past_its_time_is_stopped() -> None:
    began = time.monotonic()
    made = bounded.Run(["/bin/sh", "-c", "yes"], began + 0.3, 1 << 40)
    for _ in made.lines():  # a reader this slow always finds more to read
        assert time.monotonic() - began < 30
    assert made.cut == "it did not finish in time"


def test_a_line_without_end_is_cut() -> None:
    _, lines = run("head -c 3000000 /dev/zero; echo; echo after", limit=1 << 30)
    assert 1 << 20 <= len(lines[0]) <= (1 << 20) + 65536
    assert lines[-1] == b"after"


def test_errors_without_end_are_not_kept() -> None:
    made, _ = run("head -c 3000000 /dev/zero >&2; echo the end >&2")
    assert len(made.errors) <= 2000
    assert made.errors.endswith(b"the end\n")


def test_a_reader_that_loses_interest_ends_the_program() -> None:
    made = bounded.Run(["/bin/sh", "-c", "yes"], time.monotonic() + 60, 1 << 40)
    lines = made.lines()
    assert next(lines) == b"y"
    lines.close()
    assert [] == bounded.left_behind()


def test_programs_are_found_without_a_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Slurm runs its health check without PATH."""
    monkeypatch.delenv("PATH")
    assert bounded.find_program("sh") is not None
    assert bounded.find_program("no-such-program") is None
    monkeypatch.setenv("PATH", f".::{tmp_path}")
    (tmp_path / "sh").write_text("")
    assert bounded.find_program("sh") != str(tmp_path / "sh")  # not executable
    (tmp_path / "sh").chmod(0o755)
    assert bounded.find_program("sh") == str(tmp_path / "sh")
