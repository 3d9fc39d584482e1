"""Several large logs at once, each in a process of its own, with the result that one process would give.

Each log is read, scanned and folded where it is; what comes back is small, and
is put together in the order in which the logs were given.  Where it would
matter that another log came before (a crash that may go on in the next file, a
log that is no log but a capture), the log is read again here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, ProcessPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, NamedTuple

from probes.model import LogRecord
from triage.fastscan import FastIntake, large
from triage.model import Signal
from triage.rulebook.model import Rulebook
from triage.scanner import Scanner
from triage.taken import Input
from triage.timeline import Spans, build

if TYPE_CHECKING:
    from triage.window import Window

PATIENCE = 0.3
"""Seconds between two looks at how far the other processes are."""


class _Read(NamedTuple):
    """What one log held, read on its own."""

    taken: Input
    signals: tuple[Signal, ...]
    spans: Spans
    plain: int
    crash_open: bool  # a crash was under way when it ended
    whole: bool  # nothing was dropped and nothing but a log was found


class _Stopped(Exception):
    """The reading was called off."""


_given: list[Any] = []  # of a worker: rulebook, now, zone, window, whether to stop, bytes read and records found by all


def _begin(*given: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process tells when to stop
    _given[:] = given


def _read(path: str) -> _Read:
    rulebook, now, tz_offset, window, stop, read = _given
    told = [0, 0]

    def watch(*figures: int) -> None:
        with read.get_lock():
            for place, figure in enumerate(figures):
                read[place] += figure - told[place]
        told[:] = figures
        if stop.is_set():
            raise _Stopped

    return read_log(path, rulebook, now, tz_offset, window, watch)


def read_log(
    path: str,
    rulebook: Rulebook,
    now: float,
    tz_offset: float = 0.0,
    window: Window | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> _Read:
    """Read one log on its own, for whoever puts several together."""
    intake = FastIntake([path], rulebook=rulebook, now=now, tz_offset=tz_offset, window=window, progress=progress)
    scanner, spans = Scanner(rulebook), Spans()
    intake.begin(scanner, spans)
    crash_open = [False]

    def records() -> Iterator[LogRecord]:
        with contextlib.suppress(_Stopped):
            yield from spans.watch(intake)
        crash_open[0] = scanner.crashes.underway

    timeline = build(scanner.scan(records()), spans)
    if len(intake.inputs) != 1:  # nothing, or a folder after all
        return _Read(Input(path), (), spans, 0, False, False)
    (taken,) = intake.inputs
    whole = not timeline.notices and taken.found is None and intake.refused is None
    return _Read(taken, timeline.signals, spans, scanner.plain, crash_open[0], whole)


class ManyIntake(FastIntake):
    """A `FastIntake` that reads large files in up to `jobs` processes, None for as many as processors."""

    def __init__(self, paths: Sequence[str], *, rulebook: Rulebook, now: float, jobs: int | None, **rest: Any) -> None:
        super().__init__(paths, rulebook=rulebook, now=now, **rest)
        self._futures: dict[str, Any] = {}
        self._last: str | None = None  # what no other log comes after
        self._pool: ProcessPoolExecutor | None = None
        self._begin_reading(paths, rulebook, now, jobs, rest)

    def _begin_reading(
        self, paths: Sequence[str], rulebook: Rulebook, now: float, jobs: int | None, rest: dict[str, Any]
    ) -> None:
        worth = large(paths)
        jobs = len(os.sched_getaffinity(0)) if jobs is None else jobs
        if jobs < 2 or len(worth) < 2:
            return
        # A fork starts at once; but the threads that numpy starts would not come along.
        context: Any = get_context("spawn" if "numpy" in sys.modules else None)
        self._stop = context.Event()
        self._read: Any = context.Array("q", 2)
        given = (rulebook, now, rest.get("tz_offset", 0.0), rest.get("window"), self._stop, self._read)
        self._pool = ProcessPoolExecutor(min(jobs, len(worth)), context, _begin, given)
        self._futures = {path: self._pool.submit(_read, path) for path in worth}
        self._last = paths[-1] if paths.count(paths[-1]) == 1 else None

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._stop.set()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _records(self, taken: Input, file: Any, year_hint: float) -> Iterator[LogRecord]:
        path = taken.given
        future = self._futures.pop(path, None)
        read = None if future is None else self._result(future)
        if read is None or not self._adopt(taken, read, path):
            yield from super()._records(taken, file, year_hint)
        elif self._stopped():
            raise KeyboardInterrupt

    def _stopped(self) -> bool:
        stopped: bool = self._stop.is_set()
        return stopped

    def _result(self, future: Any) -> _Read | None:
        """Wait for what another process reads; Ctrl-C makes it what was read till then."""
        while True:
            try:
                found: _Read = future.result(PATIENCE)
                return found
            except NotYet:
                if self._progress is not None:
                    self._progress(*self._read)
            except KeyboardInterrupt:
                if self._stop.is_set():
                    raise
                self._stop.set()
            except (BrokenExecutor, CancelledError):  # the process was killed; this one may fare better
                return None

    def _adopt(self, taken: Input, read: _Read, path: str) -> bool:
        """Take what was read elsewhere as if it had been read here; false if that might not be the same."""
        scanner, spans = self._scanner, self._spans
        assert scanner is not None
        assert spans is not None
        if not read.whole or scanner.crashes.underway or (read.crash_open and path != self._last):
            return False
        if not spans.heard.apart(read.spans.heard):
            return False
        taken.__dict__.update(read.taken.__dict__)
        spans.adopt(read.spans)
        scanner.adopt(read.signals, read.plain)
        self.passed += read.taken.records
        return True
