"""Ctrl-C while a log is read: stop reading, say what is known so far.

The first interrupt ends the records as if the log ended there; a second one
ends the program.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

from probes.model import LogRecord


class UntilInterrupted:
    """Passes records on until the user presses Ctrl-C, which is afterwards told by `interrupted`."""

    def __init__(self, records: Iterable[LogRecord]) -> None:
        self._records = records
        self._waiting = False
        self._previous: Any = None
        self.interrupted = False
        self.count = 0

    def __enter__(self) -> UntilInterrupted:
        self._previous = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._previous)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        # A blocked read goes on after a handler that returns; only an exception ends it.
        # Called from within a library, the exception may get lost; then the end comes with the next record.
        again, self.interrupted = self.interrupted, True
        if self._waiting or again:
            raise KeyboardInterrupt

    def __iter__(self) -> Iterator[LogRecord]:
        source = iter(self._records)
        while not self.interrupted:
            try:
                self._waiting = True
                record = next(source, None)
                self._waiting = False
            except KeyboardInterrupt:
                self._waiting = False
                self.interrupted = True
                return
            if record is None:
                return
            self.count += 1
            yield record
