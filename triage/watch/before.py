"""What an earlier boot still logged after its watch had ended: what the journal kept, and what a crash left in pstore.

A kernel that dies has no time to tell the journal: its last lines, which are
the ones that matter, are in the firmware's store alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from probes.follow import of_boot
from probes.model import LogRecord
from probes.records import Tally
from triage import folders
from triage.watch.telling import Cursor

PSTORE = (Path("/sys/fs/pstore"), Path("/var/lib/systemd/pstore"))
"""Where the kernel shows what it left, and to where systemd-pstore moves it at the next boot."""
JOURNAL = 20.0
"""Seconds that reading the journal of an earlier boot may take."""


def earlier(been: Cursor, journal: Sequence[str], pstore: Iterable[Path]) -> list[LogRecord]:
    """Return what the boot of a cursor logged after it, in order; nothing if nobody kept it."""
    kept = of_boot(been.boot, been.at, JOURNAL, journal)
    known = {record.message for record in kept}
    left = [record for folder in pstore for record in left_behind(folder, been) if record.message not in known]
    # What both kept is told once; what only the dump has came last, for then nothing reached the journal any more.
    return [*kept, *{(record.monotonic, record.message): record for record in left}.values()]


def left_behind(folder: Path, been: Cursor) -> Iterator[LogRecord]:
    """Yield what a crash after the cursor left in a folder, as far as it was logged after the cursor."""
    try:
        items = folders.plan(str(folder)) if folder.is_dir() else []
    except OSError:
        return
    for item in items:
        paths = item.paths if isinstance(item, folders.Parts) else [item.path] if isinstance(item, folders.One) else []
        made = max((_changed(path) for path in paths), default=0.0)
        dumps, _ = folders.dumps([path for path in paths if isinstance(path, str)])
        fresh = [dump._replace(stamp=dump.stamp or made) for dump in dumps if (dump.stamp or made) > been.at]
        for record in folders.pstore_records(fresh, origin=str(folder), year_hint=made, tz_offset=0.0, tally=Tally()):
            if record.at is not None and record.at > been.at:
                yield record._replace(boot=been.boot)


def _changed(path: object) -> float:
    try:
        return os.stat(str(path)).st_mtime
    except OSError:
        return 0.0
