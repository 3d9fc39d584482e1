"""Large logs read by several processes, with the result that one process would give.

This process reads from the first log on, the others from the last one back, and
of that its parts (`fast_parts`), until they meet; so nobody waits for long.
What is read elsewhere is scanned and folded there; what comes back is small, and
is put together in the order in which the logs were given.  Where it would
matter that another log came before (a crash that may go on in the next file, a
log that is no log but a capture), the log is read again here.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, ProcessPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

from probes.model import LogRecord
from probes.named import NamedTuple
from triage.fastscan import FastIntake, large
from triage.model import Signal
from triage.rulebook.model import Rulebook
from triage.scanner import Scanner
from triage.streams import blocks
from triage.taken import Input
from triage.timeline import Spans, build
from triage.worker import end_with_parent

if TYPE_CHECKING:
    from triage.fast_parts import Found, Part, Plan
    from triage.window import Window

PATIENT = 2
"""Parts of a log that may be read in vain before no other is."""
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


class _Task(NamedTuple):
    """What another process may read, unless this one comes to it first."""

    number: int
    future: Any


# of a worker: rulebook, now, zone, window, whether to stop, bytes and signals read by all, tasks taken, finders,
# what its scanners have compiled
_given: list[Any] = []


def _begin(*given: Any) -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process tells when to stop
    _given[:] = given


def _taken(tasks: Any, number: int) -> bool:
    """Take a task, unless another process has."""
    with tasks.get_lock():
        free, tasks[number] = not tasks[number], 1
    return free


def _read(number: int, path: str, plan: Plan | None = None, part: Part | None = None) -> _Read | Found | None:
    rulebook, now, tz_offset, window, stop, read, tasks, finders, sets = _given
    told = [0, 0]
    if stop.is_set() or not _taken(tasks, number):
        return None

    def watch(*figures: int) -> None:
        with read.get_lock():
            for place, figure in enumerate(figures):
                read[place] += figure - told[place]
        told[:] = figures
        if stop.is_set():
            raise _Stopped

    if plan is None or part is None:
        return read_log(path, rulebook, now, tz_offset, window, watch)
    from triage import fast_parts

    with contextlib.suppress(_Stopped):
        return fast_parts.read(path, plan, part, rulebook, now, tz_offset, watch, finders, sets)
    return None


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


def _alone() -> bool:
    """Whether this process has one thread; where that cannot be told, it has more."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


class ManyIntake(FastIntake):
    """A `FastIntake` that reads large files in up to `jobs` processes, None for as many as processors."""

    def __init__(self, paths: Sequence[str], *, rulebook: Rulebook, now: float, jobs: int | None, **rest: Any) -> None:
        super().__init__(paths, rulebook=rulebook, now=now, **rest)
        self._futures: dict[str, Any] = {}
        self._last: str | None = None  # what no other log comes after
        self._plan: Plan | None = None  # of the last log
        self._parts: list[_Task] = []  # but for the first of its parts
        self._file: Any = None
        self._pool: ProcessPoolExecutor | None = None
        self._begin_reading(paths, rulebook, now, jobs, rest)

    def _begin_reading(
        self, paths: Sequence[str], rulebook: Rulebook, now: float, jobs: int | None, rest: dict[str, Any]
    ) -> None:
        worth = large(paths)
        jobs = len(os.sched_getaffinity(0)) if jobs is None else jobs
        if jobs < 2 or not worth:
            return
        self._last = paths[-1] if paths.count(paths[-1]) == 1 else None
        if self._last == worth[-1] and rest.get("window") is None and self.usable():
            from triage import fast_parts

            self._plan = fast_parts.cuts(worth[-1], now)
        parts = () if self._plan is None else self._plan.parts[1:]
        number = len(worth) + len(parts)
        if number < 2:
            return
        if self._plan is not None:
            self.finder(self._plan.layout.host is not None)  # once for all processes
        # A fork starts at once and has all that is loaded here; but threads would not come along.
        alone = _alone()
        context: Any = get_context("fork" if alone else "spawn")
        self._stop = context.Event()
        self._read: Any = context.Array("q", 2)
        self._tasks: Any = context.Array("b", number)
        of_all: tuple[Any, ...] = (self._stop, self._read, self._tasks, self._finders if alone else {}, {})
        given = (rulebook, now, rest.get("tz_offset", 0.0), rest.get("window"), *of_all)
        self._pool = ProcessPoolExecutor(min(jobs, number) - 1, context, _begin, given)
        for part in reversed(parts):
            number -= 1
            self._parts.insert(0, _Task(number, self._pool.submit(_read, number, worth[-1], self._plan, part)))
        for path in reversed(worth):
            number -= 1
            if self._plan is None or path != self._last:
                self._futures[path] = _Task(number, self._pool.submit(_read, number, path))

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._stop.set()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def _records(self, taken: Input, file: Any, year_hint: float) -> Iterator[LogRecord]:
        path = taken.given
        self._file = file
        future = self._futures.pop(path, None)
        read = None if future is None else self._result(future)
        if read is None or not self._adopt(taken, read, path):
            yield from super()._records(taken, file, year_hint)
        elif self._stopped():
            raise KeyboardInterrupt

    def _parsed(self, taken: Input, parts: Iterator[bytes], year_hint: float) -> Iterator[LogRecord]:
        plan = self._plan
        if plan is None or taken.given != self._last or plan.file not in self._seen or plan.year_hint != year_hint:
            yield from super()._parsed(taken, parts, year_hint)
            return
        from triage import fast_parts

        assert self._scanner is not None
        assert self._spans is not None
        log, refused = self._log(taken, year_hint), 0
        for part, task in zip(plan.parts, (None, *self._parts), strict=True):
            found = None if task is None or refused >= PATIENT else self._result(task)
            if self._stopped():
                raise KeyboardInterrupt
            if found is not None and log.reader.state.like(found.entry):
                yield from log.reader.close()
                if fast_parts.join(found, taken, log.reader, self._scanner, self._spans):
                    self.passed += found.taken.records
                    continue
            refused += found is not None
            if refused == PATIENT:  # this log is not one of those that can be read in parts
                for each in self._parts:
                    self._takes_back(each)
            block = blocks(fast_parts.stretch(self._file, part))
            yield from log.records(self._counted(block), self._slow_start if task is None else 0)
            if log.broken:
                break
        yield from log.reader.close()

    def _stopped(self) -> bool:
        stopped: bool = self._stop.is_set()
        return stopped

    def _tell(self, read: int, telling: int) -> None:
        super()._tell(read + (self._read[0] if self._pool else 0), telling + (self._read[1] if self._pool else 0))

    def _result(self, task: Any) -> Any:
        """Wait for what another process reads, None if none does; Ctrl-C makes it what was read till then."""
        while not self._takes_back(task):
            try:
                return task.future.result(PATIENCE)
            except NotYet:
                if self._progress is not None:
                    self._tell(self._bytes, 0)
            except KeyboardInterrupt:
                if self._stop.is_set():
                    raise
                self._stop.set()
            except (BrokenExecutor, CancelledError):  # the process was killed; this one may fare better
                break
        return None

    def _takes_back(self, task: _Task) -> bool:
        """Whether this process is to do a task, because none has begun it."""
        return _taken(self._tasks, task.number)

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
