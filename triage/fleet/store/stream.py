"""A sweep's way into a store while it goes on: each answer is read by another process and written as soon as it is.

The sweep does not wait for the store.  What the store has not acknowledged is
told at the end, and is in the sweep's folder.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from probes.named import NamedTuple
from triage.fleet import read
from triage.fleet.gather import Places
from triage.fleet.model import FAILED, Answer
from triage.fleet.store import write
from triage.fleet.store.opened import Store
from triage.fleet.store.trouble import Unreachable, Unusable
from triage.fleet.store.write import BATCH, Swept

LINGER = 0.5
"""Seconds for which answers are gathered before they are written."""
AGAIN = 0.2
"""Seconds between two tries, each of which has waited for the store already."""
BROKEN = "the process that read it ended (out of memory?); read it by itself: gpu-triage explain FILE"


class Ended(NamedTuple):
    """All answers, the nodes of which the store has nothing, and why."""

    answers: list[Answer]
    unsaved: list[str]
    reason: str | None


class Stream:
    """`add` each node's capture or its silence, then `end`."""

    def __init__(
        self,
        store: Store,
        swept: Swept,
        *,
        root: Path | None,
        overlays: Sequence[Path],
        now: float,
        tz_offset: float,
        jobs: int | None,
        places: Places,
    ) -> None:
        """Start the processes that read and the thread that writes.

        Args:
            store: is used by that thread alone until `end` has returned.
            swept: the sweep.
            root: the directory of the rulebook, None for the built-in one.
            overlays: folders of site rules.
            now: UTC epoch seconds.
            tz_offset: seconds east of UTC of times without a zone.
            jobs: most processes.
            places: what an inventory knows of each node; it is kept with its facts.
        """
        self._store, self._swept, self._places = store, swept, places
        self._more = {"now": now, "tz_offset": tz_offset}
        # Not forked: by now there are threads and pipes to nodes, and a child must hold none of them.
        self._pool = ProcessPoolExecutor(
            jobs or os.cpu_count() or 1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(root, tuple(overlays)),
        )
        self._came: queue.Queue[Answer | None] = queue.Queue()
        self._answers: list[Answer] = []
        self._saved: set[str] = set()
        self._reason: str | None = None
        self._over = False
        self._open: list[Future[Answer]] = []
        self._writer = threading.Thread(target=self._write, name="store", daemon=True)
        self._writer.start()

    def add(self, node: str, took: float, capture: str) -> None:
        """Read a node's capture and write what it says."""

        def done(future: Future[Answer]) -> None:
            self._came.put(_outcome(future, node)._replace(took=took))

        try:
            future = self._pool.submit(_read, capture, node, self._more)
        except (BrokenProcessPool, RuntimeError):
            self._came.put(Answer(node, FAILED, BROKEN, took=took))
            return
        self._open.append(future)
        future.add_done_callback(done)

    def silent(self, answer: Answer) -> None:
        """Write that a node said nothing."""
        self._came.put(answer)

    def end(self) -> Ended:
        """Wait until all is read, and written or given up; Ctrl-C ends the waiting."""
        interrupted = False
        try:
            for future in self._open:
                while not future.done():
                    time.sleep(0.02)
        except KeyboardInterrupt:
            interrupted = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._came.put(None)
        try:
            while self._writer.is_alive() and not interrupted:
                self._writer.join(0.2)
        except KeyboardInterrupt:
            interrupted = True
        self._over = True
        answers = list(self._answers)
        unsaved = sorted({answer.node for answer in answers} - self._saved)
        reason = self._reason or ("interrupted" if interrupted or unsaved else None)
        return Ended(answers, unsaved, reason if unsaved or interrupted else None)

    def _write(self) -> None:
        waiting: list[Answer] = []
        ended = False
        while not self._over:
            ended = self._gather(waiting) or ended
            if not waiting:
                if ended:
                    return
                continue
            batch = waiting[:BATCH]
            try:
                write.put(self._store, self._swept, [self._placed(answer) for answer in batch])
            except Unreachable as error:
                self._reason = str(error)
                if ended:
                    return
                time.sleep(AGAIN)
            except Unusable as error:
                self._reason = str(error)
                return self._drain(ended)
            except Exception as error:  # a mistake of ours must not cost the sweep its end
                what = " ".join(str(error).split())[:200]
                self._reason = f"internal error, {type(error).__name__}: {what}; please report it"
                return self._drain(ended)
            else:
                self._saved |= {answer.node for answer in batch}
                del waiting[: len(batch)]

    def _gather(self, waiting: list[Answer]) -> bool:
        """Take all that came, for a moment if that is no batch yet; true if nothing more will come."""
        until = time.monotonic() + LINGER
        while True:
            left = until - time.monotonic() if len(waiting) < BATCH else 0.0
            try:
                answer = self._came.get(timeout=left) if left > 0 else self._came.get_nowait()
            except queue.Empty:
                return False
            if answer is None:
                return True
            self._answers.append(answer)
            waiting.append(answer)

    def _drain(self, ended: bool) -> None:
        """Keep hearing, for the report, what can no longer be written."""
        while not ended:
            answer = self._came.get()
            if answer is None:
                return
            self._answers.append(answer)

    def _placed(self, answer: Answer) -> Answer:
        place: Mapping[str, str] | None = self._places.get(answer.node)
        return answer if place is None else answer._replace(facts={**answer.facts, **place})


def _outcome(future: Future[Answer], node: str) -> Answer:
    if future.cancelled():
        return Answer(node, FAILED, "interrupted before it was read")
    error = future.exception()
    if error is None:
        return future.result()
    return Answer(node, FAILED, BROKEN if isinstance(error, BrokenProcessPool) else f"it could not be read: {error}")


def _begin(root: Path | None, overlays: Sequence[Path]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever pressed Ctrl-C is heard by the process that started this one
    read.load_rules(root, overlays)


def _read(capture: str, node: str, more: Mapping[str, float]) -> Answer:
    return read.called(read.read_in_worker(capture, now=more["now"], tz_offset=more["tz_offset"]), node)
