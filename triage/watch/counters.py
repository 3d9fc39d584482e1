"""The counters, read again and again by a thread that ends each time, and told through a pipe that can be waited on.

What shows a GPU in trouble is read more often than the rest; what then looks
other than well is followed by a reading of everything.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from probes import node, nvml
from probes.model import NODE, Entity, Reading, Source
from probes.named import NamedTuple

DEADLINE = 15.0
"""Seconds that one reading of everything may take; what does not answer by then is unknown."""


BRIEFLY = 0.5
"""Seconds that a reading under way is waited for at the end."""
APART = 10.0
"""Least seconds between two readings that something else than time asks for."""


class Swept(NamedTuple):
    """What was read, and when it was begun (seconds of CLOCK_MONOTONIC)."""

    readings: list[Reading]
    sources: list[Source]
    began: float


class Counters:
    """Reads everything once in `every` seconds, or when asked to, and in between, once in `often` seconds, in brief.

    Nothing is read twice at the same time.
    """

    def __init__(self, every: float, often: float, children: Path | None) -> None:
        """Begin with the first call of `tick`; `children` is where children that hang are noted."""
        self.every, self.often = every, often
        self._brief_due = 0.0
        self._asked = 0.0
        self._last: Swept | None = None
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
        return time.monotonic() + DEADLINE if self._thread is not None else min(self._due, self._brief_due)

    def soon(self, seconds: float = 0.0) -> None:
        """Read once more within so many seconds."""
        self._due = min(self._due, time.monotonic() + seconds)

    def ask(self) -> None:
        """Read once more, as soon as that is long enough after it was asked for last."""
        now = time.monotonic()
        pause = max(0.0, self._asked + APART - now)
        if not pause:
            self._asked = now
        self.soon(pause)

    def tick(self) -> None:
        """Begin to read, if it is time."""
        now = time.monotonic()
        if self._thread is not None or now < min(self._due, self._brief_due):
            return
        brief = now < self._due and self._last is not None
        self._brief_due = now + self.often
        if not brief:
            self._due = now + self.every
        # Here, because a copy of this process must be made before there is a second thread.
        started = nvml.begin(DEADLINE, state_dir=self._children, brief=brief)
        sweep = self._in_brief if brief else self._sweep
        self._thread = threading.Thread(target=sweep, args=(started,), name="counters", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as failure:  # too many processes for a further one, or no memory for it
            self._thread = None
            if started is not None:
                nvml.stop(started, self._children)
            self._tell(_nothing(failure, time.clock_gettime(time.CLOCK_MONOTONIC)))

    def take(self) -> Swept | None:
        """Return what was read since it was asked last, None if nothing was."""
        try:
            os.read(self._read, 64)
        except BlockingIOError:
            return None
        if self._thread is not None:
            self._thread.join()  # it has nothing left to do
            self._thread = None
        self._last = self._done.pop() if self._done else self._last
        return self._last

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
            self._tell(_nothing(failure, began))
        else:
            self._tell(Swept(readings, sources, began))

    def _in_brief(self, started: nvml.Started | None) -> None:
        last = self._last
        assert last is not None
        began = time.clock_gettime(time.CLOCK_MONOTONIC)
        try:
            told, _, sources = nvml.sweep(DEADLINE, state_dir=self._children, started=started, brief=True)
            merged = brought_up(last, told, sources, began)
        except Exception:  # the reading of everything tells what is wrong
            merged = None
        if merged is None:
            self._due = 0.0
            merged = last
        self._tell(merged)

    def _tell(self, swept: Swept) -> None:
        self._done.append(swept)
        os.write(self._write, b"x")


def _nothing(failure: Exception, began: float) -> Swept:
    now = time.time()
    reason = f"the counters could not be read: {type(failure).__name__}: {failure}"
    return Swept([], [Source("nvml", "libnvidia-ml.so.1", False, now, now, reason=reason)], began)


def brought_up(last: Swept, told: Sequence[Reading], sources: Sequence[Source], began: float) -> Swept | None:
    """Return the last readings with newer ones in their places; None if only a reading of everything will do.

    That is so if a GPU is not well or not the one that it was, or NVML cannot be read as before.
    """
    by_index = {reading.entity.index: reading.entity for reading in last.readings if reading.entity.kind == "gpu"}
    newer: dict[tuple[Entity, str], Reading] = {}
    for reading in told:
        if reading.name in ("gpu.state", "gpu.responsive") and reading.value not in ("ok", True):
            return None
        entity = NODE
        if reading.entity.kind == "gpu":
            known = by_index.get(reading.entity.index)
            now = reading.entity
            if known is None or known.uuid != now.uuid or known.pci not in (now.pci, node.placed(now).pci):
                return None
            entity = known
        newer[entity, reading.name] = reading._replace(entity=entity)
    before = {source.kind: source.readable for source in last.sources}
    if any(before.get(source.kind) != source.readable for source in sources):
        return None
    count = next((reading.value for reading in last.readings if reading.name == "gpu.count"), None)
    if newer.get((NODE, "gpu.count"), Reading(NODE, "gpu.count", count or 0, "count", 0.0)).value != (count or 0):
        return None
    kept = [newer.pop((reading.entity, reading.name), reading) for reading in last.readings]
    fresh = {source.kind: source for source in sources}
    return Swept(kept, [fresh.get(source.kind, source) for source in last.sources], began)
