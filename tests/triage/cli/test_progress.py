"""A long reading shows how far it is, to people only."""

from __future__ import annotations

import io

import pytest

from triage.cli.progress import Progress, size


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_told_and_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, clock = Screen(), iter((0.0, 0.5, 2.0, 2.1, 4.0))
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr("triage.cli.progress.time.monotonic", lambda: next(clock))
    shown = Progress()
    for read in (1 << 20, 3 << 20, 4 << 20, 8 << 20):
        shown(read, 1)
    first, second = "3.0 MiB read, 1.5 MiB/s, 1 line found", "8.0 MiB read, 2.0 MiB/s, 1 line found"
    assert f"\r{first}\r{second}" == screen.getvalue()
    shown.done()
    assert screen.getvalue().endswith(f"\r{' ' * len(second)}\r")


def test_what_is_no_terminal_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, clock = io.StringIO(), iter((0.0, 99.0))
    monkeypatch.setattr("sys.stderr", pipe)
    monkeypatch.setattr("triage.cli.progress.time.monotonic", lambda: next(clock))
    shown = Progress()
    shown(1 << 30, 5)
    shown.done()
    assert "" == pipe.getvalue()


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 B"), (1536, "2 KiB"), (1 << 20, "1.0 MiB"), (5 << 40, "5120.0 GiB")]
)
def test_bytes_are_said_as_people_say_them(number: int, expected: str) -> None:
    assert expected == size(number)
