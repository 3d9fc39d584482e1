"""Several logs on one time axis: what each says within two hours of a moment, in order, as one text.

Whole logs are not put in order: a log may have gigabytes, and what is asked is
what else happened then.  A log whose lines have no wall clock cannot be placed
and is left out, by name.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from probes.model import LogRecord
from probes.records import parse_lines
from tui.logfile import LogFile, Stop
from tui.source import LogText

WINDOW = 2 * 3600.0
"""Seconds before and after the moment."""
MOST = 100_000
"""Lines of each log before and after the moment, at most."""
_NEAR = 50
_TAG = re.compile(r"[^\w.@-]+")


class Merged(NamedTuple):
    """The text and what it is of: `row` is that of the moment; the file is to be removed once it is open."""

    log: LogText
    row: int
    start: float
    end: float
    left_out: tuple[str, ...]


class _Entry(NamedTuple):
    at: float
    place: int
    row: int
    tag: str
    message: str


class Clock(NamedTuple):
    """What a line does not say of its time: the year it is near (UTC epoch seconds), and seconds east of UTC."""

    year_hint: float
    zone: float = 0.0


def wall(raw: bytes, clock: Clock) -> float | None:
    """Return the time of a line in UTC epoch seconds, None if it names none."""
    return next((record.at for record in _parsed([raw], "-", clock)), None)


def _parsed(lines: Iterable[bytes], origin: str, clock: Clock) -> Iterator[LogRecord]:
    return parse_lines(lines, origin=origin, year_hint=clock.year_hint, tz_offset=clock.zone)


def merged(
    logs: Sequence[LogText],
    around: float | None,
    clock: Clock,
    stop: Stop,
    on: tuple[str, int] | None = None,
) -> Merged | None:
    """Return the logs as one around a moment (the end of the newest, if None); None if none has a time, or if stopped.

    `on` is the origin and row of a line that is looked at.

    Raises:
        OSError: if a log cannot be read or the text not be written.
    """
    files: list[tuple[LogText, LogFile]] = []
    left_out: list[str] = []
    try:
        for log in logs:
            file = LogFile(log.path)
            file.index(stop)
            if _near(file, 0, 1, clock) is None:
                left_out.append(log.origin)
                file.close()
            else:
                files.append((log, file))
        if around is None:
            ends = [_near(file, file.count - 1, -1, clock) for _, file in files]
            around = max((end for end in ends if end is not None), default=None)
        if around is None or stop():
            return None
        entries = [
            entry for place, (log, file) in enumerate(files) for entry in _entries(log, file, place, around, clock)
        ]
    finally:
        for _, file in files:
            file.close()
    entries.sort()
    return _written(entries, [log for log, _ in files], around, on, tuple(left_out))


def _near(file: LogFile, row: int, by: int, clock: Clock) -> float | None:
    """The time of a line, or of the nearest with one."""
    for at in range(row, row + by * _NEAR, by):
        if not 0 <= at < file.count:
            return None
        found = wall(file.line(at), clock)
        if found is not None:
            return found
    return None


def _row_at(file: LogFile, moment: float, clock: Clock) -> int:
    """The first row of about this time; times in a log may step back a little."""
    low, high = 0, file.count
    while low < high:
        middle = (low + high) // 2
        at = _near(file, middle, 1, clock)
        if at is not None and at < moment:
            low = middle + 1
        else:
            high = middle
    return low


def _entries(log: LogText, file: LogFile, place: int, around: float, clock: Clock) -> Iterator[_Entry]:
    middle = _row_at(file, around, clock)
    first = max(_row_at(file, around - WINDOW, clock), middle - MOST)
    last = min(_row_at(file, around + WINDOW, clock), middle + MOST)
    lines = file.lines(first, last - first)
    at = around - WINDOW
    for record in _parsed(lines, log.origin, clock):
        at = at if record.at is None else record.at
        yield _Entry(at, place, first + record.line - 1, _tag(record, log), record.message)


def _tag(record: LogRecord, log: LogText) -> str:
    """Who says it: the kernel, a program, else the file."""
    if record.kernel and not record.pasted:
        return "kernel"
    return _TAG.sub("-", record.identifier or os.path.basename(log.origin) or "log")[:24] or "log"


def _written(
    entries: Sequence[_Entry],
    logs: Sequence[LogText],
    around: float,
    on: tuple[str, int] | None,
    left_out: tuple[str, ...],
) -> Merged:
    parts: dict[str, dict[int, int]] = {log.origin: {} for log in logs}
    lines = [{row: line for line, row in log.rows.items()} if log.rows is not None else None for log in logs]
    row, here, found = 0, 0, False
    opened, path = tempfile.mkstemp(prefix="gpu-triage-merged-", suffix=".log")
    with open(opened, "w", encoding="utf-8", errors="replace", newline="\n") as file:
        for entry in entries:
            numbers = lines[entry.place]
            line = entry.row + 1 if numbers is None else numbers.get(entry.row)
            if line is not None:
                parts[logs[entry.place].origin][line] = row
            if (logs[entry.place].origin, entry.row) == on:
                here, found = row, True
            elif entry.at <= around and not found:
                here = row
            first, *more = entry.message.split("\n")
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(entry.at))
            file.write(f"{stamp}.{int(entry.at % 1 * 1000):03d}Z {entry.tag}: {first}\n")
            file.writelines(f"{text}\n" for text in more)
            row += 1 + len(more)
    start, end = (entries[0].at, entries[-1].at) if entries else (around, around)
    return Merged(LogText(f"{len(logs)} logs by time", path, None, parts), here, start, end, left_out)
