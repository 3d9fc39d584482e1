"""Waiting for what others do, and what must not take long, on a machine that may be busy.

Nothing here is a bet on how fast a machine is: what is waited for may take a long
time, and only a test that fails waits so long.
"""

from __future__ import annotations

import array
import fcntl
import termios
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
WITHIN = 120.0
"""Seconds after which what is waited for is taken never to come."""
TRIES = 5


def until(true: Callable[[], T], seconds: float = WITHIN) -> T:
    """Wait until something is so, and return what it then is."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it never came to be so"
        time.sleep(0.02)
    return found


def drained(pipe: int) -> None:
    """Wait until whoever reads a pipe has taken everything out of it."""
    left = array.array("i", [0])

    def empty() -> bool:
        fcntl.ioctl(pipe, termios.FIONREAD, left)
        return not left[0]

    until(empty)


def promptly(seconds: float, work: Callable[[], T]) -> T:
    """Return what `work` returned when it took less than so many seconds; too slow is what is so each time."""
    took = []
    for _ in range(TRIES):
        began = time.monotonic()
        done = work()
        took.append(round(time.monotonic() - began, 2))
        if took[-1] < seconds:
            return done
    raise AssertionError(f"it took {took} seconds and not {seconds}")
