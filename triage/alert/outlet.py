"""A watch's way to the queue: fills it, and keeps the process running that sends what is in it.

Nothing here waits for a peer.  What cannot be put down is tried again with the
next decision, for the history keeps what was found.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from probes.moment import moment
from triage.alert import config
from triage.alert.feed import changes, whole
from triage.alert.queue import Queue, open_queue
from triage.alert.room import MOST_BYTES
from triage.history.place import Unavailable
from triage.history.store import Store
from triage.report import iso
from triage.rulebook.problems import RulebookError

Json = dict[str, Any]
Note = Callable[[str, str], None]

PATIENCE = 0.25
"""Seconds for which a file that is in use is waited for."""
FAST = 2.0
SLOW = 60.0
"""Seconds after which a sender that ended is started again: at first, and after it ended some times in a row."""
STEADY = 60.0
"""Seconds after which a sender is one that runs."""
_START = "import sys; from triage.alert.sender import main; main(sys.argv[1:])"


class Outlet:
    """Where a watch leaves what is to be told; `note` is told what people should know."""

    def __init__(self, directory: Path, path: Path, note: Note) -> None:
        """Begin; the file has been read and found good."""
        self._directory, self._path, self._note = directory, path, note
        self._queue: Queue | None = None
        self._known: dict[str, str] = {}
        self._lost = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._leaving: list[subprocess.Popen[bytes]] = []
        self._began = self._again = 0.0
        self._pause = FAST
        self._rest = b""
        self._start()

    @property
    def descriptors(self) -> list[int]:
        """What to wait on."""
        out = None if self._process is None else self._process.stdout
        return [] if out is None else [out.fileno()]

    @property
    def due(self) -> float | None:
        """When to call `tick` at the latest, in seconds of CLOCK_MONOTONIC."""
        return self._again if self._process is None else None

    def take(self, report: Json, store: Store) -> bool:
        """Put down what stands otherwise than before; false if it could not be, and is to be tried again."""
        try:
            queue = self._open()
            now = moment()
            changed = changes(report, store.db, self._known, now, lasting=store.inode != 0)
            if changed:
                bodies = {change.fingerprint: queue.body(change.fingerprint) for change in changed if not change.body}
                dropped = queue.put(whole(changed, bodies, iso(now.at)), now.at)
                self._known = queue.stands()
                self._wake()
                if dropped:
                    says = (
                        f"the queue of alerts holds {MOST_BYTES >> 20} MiB: {dropped} updates, or details, were dropped"
                    )
                    self._note("alerts-dropped", f"{says}, the oldest first; no opening and no end was")
        except Unavailable as error:
            if self._queue is not None:
                self._queue.close()
                self._queue = None
            if str(error) != self._lost:
                self._lost = str(error)
                self._note("alerts-queue", f"{error}; what is to be told waits in the history")
            return False
        self._lost = ""
        return True

    def tick(self) -> None:
        """Hear what the sender tells, and start it again if it has ended."""
        self._leaving = [process for process in self._leaving if process.poll() is None]
        if self._process is None:
            if time.monotonic() >= self._again:
                self._start()
            return
        assert self._process.stdout is not None
        while select.select([self._process.stdout], [], [], 0.0)[0]:
            data = os.read(self._process.stdout.fileno(), 65536)
            if not data:
                self._has_ended()
                return
            *whole_lines, self._rest = (self._rest + data).split(b"\n")
            for line in whole_lines:
                told = json.loads(line)
                self._tell_once(told["what"], told["says"])

    def reload(self) -> None:
        """Take a configuration that has changed, if it is good; else go on with the one before."""
        try:
            config.load(self._path)
        except RulebookError as error:
            first = str(error).partition("\n")[0]
            self._note("alerts-kept", f"the new targets of alerts are not used, the old ones stay: {first}")
            return
        self._note("alerts-loaded", f"alerts go where {self._path} says from here on")
        if self._process is not None:
            # It ends once it has said what is due; the next one waits for that before it sends.
            self._hang_up()
        self._start()

    def close(self, seconds: float) -> None:
        """Let what is due be sent, but wait no longer than this."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
            self._hang_up()
        if self._queue is not None:
            self._queue.close()

    def _open(self) -> Queue:
        if self._queue is None:
            self._queue = open_queue(self._directory, patience=PATIENCE)
            for notice in self._queue.notices:
                self._note("alerts-queue", notice)
            self._known = self._queue.stands()
        return self._queue

    def _start(self) -> None:
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(self._directory.absolute()), str(self._path.absolute())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            self._note("alerts-off", f"what sends alerts cannot be started: {(error.strerror or '').lower()}")
            self._again = time.monotonic() + SLOW
            return
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        self._rest, self._began = b"", time.monotonic()

    def _wake(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it is awake, or has ended
                os.write(self._process.stdin.fileno(), b"x")

    def _has_ended(self) -> None:
        assert self._process is not None
        process = self._process
        self._hang_up()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        if time.monotonic() - self._began > STEADY:
            self._pause = FAST
        self._tell_once("alerts-off", f"what sends alerts has ended ({process.returncode}); it is started again")
        self._again = time.monotonic() + self._pause
        self._pause = min(SLOW, self._pause * 2)

    def _tell_once(self, what: str, says: str) -> None:
        """Tell it; but of a sender that ends again and again only the first time, for that would fill a log."""
        if what != "alerts-off" or self._pause == FAST:
            self._note(what, says)

    def _hang_up(self) -> None:
        assert self._process is not None
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._leaving.append(self._process)
        self._process = None
