"""How far a long reading is, on the terminal of whoever waits; nowhere else, and nothing for what is quick."""

from __future__ import annotations

import sys
import time

from triage.cli.output import is_terminal

PATIENCE = 1.0
"""Seconds before the first sign, and half of them between two."""


class Progress:
    """Call it with bytes read and records found telling; `done` takes the line off the screen again."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._next = self._begun + PATIENCE
        self._shown = 0
        self._wanted = is_terminal(sys.stderr)

    def __call__(self, read: int, telling: int) -> None:
        """Show how far it is, if it is time."""
        now = time.monotonic()
        if not self._wanted or now < self._next:
            return
        self._next = now + PATIENCE / 2
        rate = read / max(now - self._begun, 1e-9)
        line = f"{size(read)} read, {size(rate)}/s, {telling:,} {'line' if telling == 1 else 'lines'} found"
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


def size(number: float) -> str:
    """Return a number of bytes as people say it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit in ("B", "KiB") else f"{number:.1f} {unit}"
