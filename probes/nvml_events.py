"""What happens on the GPUs, as NVML's events tell it, without ever waiting for NVML.

    with Events() as events:
        while watching:
            for event in events.wait(1.0):
                ...

A child process registers and waits (`probes.nvml_event_child`).  If the driver
holds it up, `source` says so and the child is killed, or left behind; nothing
here takes longer than it was told to.  NVML tells critical Xids only, and only
while somebody listens: the kernel log has more, and keeps it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Optional

from probes import bounded
from probes.model import Entity, Source
from probes.named import NamedTuple
from probes.nvml_process import GRACE, asked, called, end, left_over, remedy, start

SILENCE = 5.0
"""Seconds without a sign of life after which the driver hangs; there is one every second."""
OPENING = 30.0
"""Seconds that opening all GPUs may take: without persistence mode each is brought up first."""
MOST = 10_000
"""Events that one wait returns; more are told by the next."""
FOR_EVER = 1e9
"""Seconds, which a process that is to run as long as its parent takes for no limit."""


class Event(NamedTuple):
    """Something that happened: on which GPU (None: NVML did not say), what, and NVML's number for it.

    `kind` is one of `probes.nvml_event_child.KINDS`, or `unknown-<type>`; `at` is
    when it was told, UTC epoch seconds.  `instance` are the GPU and compute
    instance of a MIG device.
    """

    gpu: Optional[Entity]
    kind: str
    data: int
    at: float
    instance: Optional[tuple[int, int]] = None


class Events:
    """The events of all GPUs from now on; close it, or use it in a `with`.

    `told` says of each GPU which kinds it tells, or why it tells nothing.
    """

    def __init__(self, *, library_env: Optional[Mapping[str, str]] = None, state_dir: Optional[Path] = None) -> None:
        """Begin to listen; the arguments are those of `probes.nvml.sweep`."""
        self.told: dict[int, tuple[Entity, tuple[str, ...], Optional[str]]] = {}
        self._state_dir = state_dir
        self._gpus: dict[int, Entity] = {}
        self._waiting: list[Event] = []
        self._notes: list[str] = []
        self._rest = b""
        self._asking: tuple[Optional[int], str] = (None, "start-up")
        self._ready = False
        self._reason: Optional[str] = None
        self._seen = 0
        self._began = self._heard_at = time.time()
        self._until = time.monotonic() + OPENING
        self._process: Optional[bounded.Process] = None
        hung = left_over(state_dir)
        if hung:
            self._reason = f"process {hung[0].pid} of an earlier sweep still hangs; no other was started beside it"
            return
        try:
            # how long it will run nobody knows, so it is no leftover while it does
            self._process = start("probes.nvml_event_child", [], FOR_EVER, library_env, state_dir, self._notes)
        except OSError as failure:
            self._reason = f"it could not be asked: {failure.strerror}"
            return
        self._listener = bounded.Listener(self._process)

    def __enter__(self) -> Events:
        return self

    def __exit__(
        self, _kind: Optional[type[BaseException]], _error: Optional[BaseException], _trace: Optional[TracebackType]
    ) -> None:
        self.close()

    @property
    def listening(self) -> bool:
        """Whether events may still come."""
        return self._process is not None

    @property
    def descriptors(self) -> list[int]:
        """What to wait on beside other things: `wait(0.0)` has something to do when one of them can be read."""
        pipes = () if self._process is None else (self._process.stdout, self._process.stderr)
        return [pipe.fileno() for pipe in pipes if pipe is not None and not pipe.closed]

    @property
    def source(self) -> Source:
        """From when to when events were listened for, how many came, and why no more."""
        silent = [f"GPU {index}: {why}" for index, (_, _, why) in sorted(self.told.items()) if why is not None]
        reason = "; ".join([*([self._reason] if self._reason else []), *silent, *self._notes]) or None
        return Source(
            "nvml-events", "libnvidia-ml.so.1", self._ready, self._began, self._heard_at, self._seen, reason=reason
        )

    def wait(self, seconds: float) -> list[Event]:
        """Return the events that have come, waiting at most `seconds` for the first; none once it is over."""
        until = time.monotonic() + seconds
        while self._process is not None and not self._waiting:
            chunk = self._listener.wait(min(until, self._until))
            try:
                *lines, self._rest = (self._rest + chunk.output).split(b"\n")
                for line in lines:
                    self._take(line)
            except (ValueError, TypeError, KeyError, IndexError):
                self._end("what the child said was garbled")
            if chunk.ended:
                self._end(self._reason or "the child that listened ended")
            elif time.monotonic() >= self._until:
                self._end(f"NVML did not answer in {self._asking[1]}{self._where()}; see the kernel log")
            elif time.monotonic() >= until:
                break
        told, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        return told

    def close(self) -> None:
        """Stop listening."""
        self._end(None)

    def _take(self, line: bytes) -> None:
        self._heard_at = time.time()
        if line.startswith(b"?"):
            self._asking = asked(line)
            if self._ready:
                self._until = time.monotonic() + SILENCE
            return
        kind, *words = json.loads(line)
        if kind == "gpu":
            index, pci, uuid, serial, name = words
            self._gpus[index] = Entity("gpu", pci, uuid, serial, index, name)
        elif kind == "registered":
            self.told[words[0]] = (self._gpus[words[0]], tuple(map(str, words[1])), None)
        elif kind == "refused":
            self.told[words[0]] = (self._gpus[words[0]], (), str(words[1]))
        elif kind == "ready":
            self._ready = True
            self._began = time.time()
        elif kind == "event":
            index, what, data, at, instance = words
            gpu = None if index is None else self._gpus[index]
            self._seen += 1
            self._reason = None
            self._waiting.append(
                Event(gpu, str(what), int(data), float(at), None if instance is None else tuple(instance))
            )
        elif kind == "failed":
            self._reason = f"waiting failed ({words[0]})"
        elif kind == "fatal":
            self._reason = remedy(str(words[0]), str(words[1]))[1]

    def _where(self) -> str:
        index = self._asking[0]
        return "" if index is None else f" on {called(self._gpus.get(index, Entity('gpu', index=index)))}"

    def _end(self, reason: Optional[str]) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        self._reason = reason or self._reason
        index, function = self._asking
        gpu = None if index is None else self._gpus.get(index)
        end(process, GRACE, self._state_dir, function, gpu, self._notes)


def events(
    seconds: float, *, library_env: Optional[Mapping[str, str]] = None, state_dir: Optional[Path] = None
) -> Iterator[Event]:
    """Yield what happens within so many seconds; ends earlier if no more can come."""
    until = time.monotonic() + seconds
    with Events(library_env=library_env, state_dir=state_dir) as listening:
        while listening.listening and time.monotonic() < until:
            yield from listening.wait(max(0.0, until - time.monotonic()))
