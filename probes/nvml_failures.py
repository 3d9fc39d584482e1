"""What is known of the GPUs on which a call to NVML hung or crashed, and what is asked of them nevertheless.

One call that fails must not hide what the others would say.  So a GPU is asked
again, once all others were, without the call that failed; not if it cannot be
opened, hung too often, or left a process behind that nobody can kill.
"""

from __future__ import annotations

from typing import Optional

from probes.model import TIMED_OUT

OPENING = "nvmlDeviceGetHandleByIndex"
MOST, MOST_HUNG, MOST_KILLED = 8, 3, 2
"""Calls of one GPU that may crash, hang, or end with a child that somebody killed, before no more is asked of it."""
# What a call may do that is told as a fault of its GPU; a child that an operator or the kernel killed tells nothing.
FAULTS = (TIMED_OUT, *(f"error:{name}" for name in ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE")))


class Failures:
    """The GPUs on which a child ended, and what is to be left out when they are asked again, after all others."""

    def __init__(self) -> None:
        self.first: dict[int, str] = {}
        self.left_out: list[str] = []
        """For a child: `gpu:function:why`."""
        self.hung: set[object] = set()
        """The functions and GPUs that hung."""
        self._hopeless: set[int] = set()
        self._times: dict[int, int] = {}

    def add(self, index: int, function: str, why: str, stays: bool) -> None:
        """Note that a child ended; `stays` if it cannot be killed, so that none is to hang beside it."""
        self._times[index] = times = self._times.get(index, 0) + 1
        known = self.first.setdefault(index, why)
        if why in FAULTS:
            self.left_out.append(f"{index}:{function}:{why}")
            if known not in FAULTS:
                self.first[index] = why
        most = MOST_HUNG if why == TIMED_OUT else MOST if why in FAULTS else MOST_KILLED
        if stays or function == OPENING or times >= most:
            self._hopeless.add(index)
        if why == TIMED_OUT:
            self.hung |= {index, function}

    def skipped(self, count: Optional[int], done: set[int]) -> set[int]:
        """The GPUs that the next child is not to ask."""
        waiting = set(self.first) - done - self._hopeless
        others = set(range(count or 0)) - done - set(self.first)
        return done | self._hopeless | (waiting if others else set())

    def over(self, count: Optional[int], done: set[int]) -> bool:
        """Whether no GPU is left to be asked."""
        return count is None or count <= len(done | self._hopeless)

    def told(self, done: set[int]) -> dict[int, str]:
        """Why the GPUs failed that a call hung or crashed on, or that nothing is known of."""
        return {index: why for index, why in self.first.items() if why in FAULTS or index not in done}
