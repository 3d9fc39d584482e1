"""Tells that the machine slept or that its wall clock was set, by what three clocks show."""

from __future__ import annotations

import time
from collections.abc import Callable

JUMP = 2.0
"""Seconds by which a clock must have moved at once for it to be told; what is slewed is followed and not told."""


def read() -> tuple[float, float]:
    """Return how long the machine has slept since it was booted, and the wall clock at its boot."""
    monotonic = time.clock_gettime(time.CLOCK_MONOTONIC)
    boot = time.clock_gettime(time.CLOCK_BOOTTIME)
    return boot - monotonic, time.time() - boot


class Clocks:
    """Compares clocks with how they stood before."""

    def __init__(self, now: Callable[[], tuple[float, float]] = read) -> None:
        """Note how they stand; `now` is what to ask."""
        self._now = now
        self._asleep, self._wall = now()

    def moved(self) -> tuple[float, float]:
        """Return how many seconds the machine slept, and by how many the wall clock was set, since the last call."""
        asleep, wall = self._now()
        slept, jumped = asleep - self._asleep, wall - self._wall
        self._asleep, self._wall = asleep, wall
        return (slept if slept > JUMP else 0.0), (jumped if abs(jumped) > JUMP else 0.0)
