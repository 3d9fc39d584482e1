"""The kernel log within a capture, as text that the log screen can open: an archive shows nothing by itself."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from probes.model import LogRecord
from triage.capture import begins_capture, read
from triage.found import Found
from triage.streams import Damaged, blocks
from tui.sweep import MOST_ROWS, write_spool

HEAD = 512
"""Bytes of a tar archive's first header."""


def is_capture(path: str) -> bool:
    """Return whether a file is a capture; what cannot be read is none."""
    try:
        with open(path, "rb") as file:
            return begins_capture(next(blocks(file), b"")[:HEAD].ljust(HEAD, b"\0"))
    except (OSError, ValueError, Damaged):
        return False


def spooled(paths: Iterable[str], folder: Path) -> Iterator[tuple[str, str, list[tuple[int, int]]]]:
    """Write the records of captures as text; yield for each source its origin, the file, and (line, row) of all.

    Of a long log the newest records are written.  Captures of the same source follow one another in one file.
    """
    kept: dict[str, deque[LogRecord]] = {}
    for path in paths:
        if not os.path.isfile(path) or not is_capture(path):
            continue
        try:
            with open(path, "rb") as file:
                for record in read(blocks(file), Found(path)):
                    kept.setdefault(record.origin, deque(maxlen=MOST_ROWS)).append(record)
        except (OSError, Damaged):
            continue  # what came before the damage is shown; the report says that it is damaged
    for number, (origin, records) in enumerate(sorted(kept.items())):
        spool = folder / f"captured-{os.getpid()}-{number}.log"
        yield origin, str(spool), write_spool(spool, records)
