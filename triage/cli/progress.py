"""How far a long reading is, on the terminal of whoever waits; nowhere else, and nothing for what is quick."""

from __future__ import annotations

import sys
import time

from triage.cli.output import columns, is_terminal

PATIENCE = 1.0
"""Seconds before the first sign, and half of them between two."""


class Line:
    """A line on the terminal that takes the place of the one before; `done` takes it off the screen again."""

    def __init__(self, patience: float, between: float) -> None:
        self._begun = time.monotonic()
        self._next = self._begun + patience
        self._between = between
        self._shown = 0
        self._wanted = is_terminal(sys.stderr)

    def due(self) -> bool:
        """Return whether somebody waits and it is time for a new line; then it is not for a while."""
        now = time.monotonic()
        if not self._wanted or now < self._next:
            return False
        self._next = now + self._between
        return True

    def show(self, text: str) -> None:
        """Show this in place of what stands there, as much as fits."""
        line = text[: columns() - 1]
        self._write(f"\r{line:<{self._shown}}")
        self._shown = len(line)

    def done(self) -> None:
        """Leave the screen as it was."""
        if self._shown:
            self._write(f"\r{'':<{self._shown}}\r")
            self._shown = 0

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            self._wanted = False


class Progress(Line):
    """Call it with bytes read and records found telling."""

    def __init__(self) -> None:
        super().__init__(PATIENCE, PATIENCE / 2)

    def __call__(self, read: int, telling: int) -> None:
        """Show how far it is, if it is time."""
        if self.due():
            rate = read / max(time.monotonic() - self._begun, 1e-9)
            self.show(f"{size(read)} read, {size(rate)}/s, {telling:,} {'line' if telling == 1 else 'lines'} found")


def size(number: float) -> str:
    """Return a number of bytes as people say it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit in ("B", "KiB") else f"{number:.1f} {unit}"
