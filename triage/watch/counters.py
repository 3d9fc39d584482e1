"""The counters, read again and again by a thread that ends each time, and told through a pipe that can be waited on."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

from probes import node, nvml
from probes.model import Reading, Source

DEADLINE = 15.0
"""Seconds that one reading of everything may take; what does not answer by then is unknown."""


BRIEFLY = 0.5
"""Seconds that a reading under way is waited for at the end."""


class Swept(NamedTuple):
    """What was read, and when it was begun (seconds of CLOCK_MONOTONIC)."""

    readings: list[Reading]
    sources: list[Source]
    began: float


class Counters:
    """Reads everything once in `every` seconds, or when asked to; never twice at the same time."""

    def __init__(self, every: float, children: Path | None) -> None:
        """Begin with the first call of `tick`; `children` is where children that hang are noted."""
        self.every = every
        self._children = children
        self._due = 0.0
        self._thread: threading.Thread | None = None
        self._done: list[Swept] = []
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    @property
    def descriptor(self) -> int:
        """What to wait on: it can be read once `take` has something."""
        return self._read

    @property
    def due(self) -> float:
        """When to call `tick` next, in seconds of CLOCK_MONOTONIC."""
        return time.monotonic() + DEADLINE if self._thread is not None else self._due

    def soon(self, seconds: float = 0.0) -> None:
        """Read once more within so many seconds."""
        self._due = min(self._due, time.monotonic() + seconds)

    def tick(self) -> None:
        """Begin to read, if it is time."""
        if self._thread is not None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + self.every
        # Here, because a copy of this process must be made before there is a second thread.
        started = nvml.begin(DEADLINE, state_dir=self._children)
        self._thread = threading.Thread(target=self._sweep, args=(started,), name="counters", daemon=True)
        self._thread.start()

    def take(self) -> Swept | None:
        """Return what was read since it was asked last, None if nothing was."""
        try:
            os.read(self._read, 64)
        except BlockingIOError:
            return None
        if self._thread is not None:
            self._thread.join()  # it has nothing left to do
            self._thread = None
        return self._done.pop() if self._done else None

    def close(self) -> None:
        """Let go; what is under way is not waited for, and its child ends with this process."""
        if self._thread is not None:
            self._thread.join(BRIEFLY)
            if self._thread.is_alive():
                return
        os.close(self._read)
        os.close(self._write)

    def _sweep(self, started: nvml.Started | None) -> None:
        began = time.clock_gettime(time.CLOCK_MONOTONIC)
        try:
            readings, sources = node.counters(DEADLINE, state_dir=self._children, started=started)
        except Exception as failure:  # whatever is wrong with one sweep, the watch goes on
            now = time.time()
            reason = f"the counters could not be read: {type(failure).__name__}: {failure}"
            readings, sources = [], [Source("nvml", "libnvidia-ml.so.1", False, now, now, reason=reason)]
        self._done.append(Swept(readings, sources, began))
        os.write(self._write, b"x")
