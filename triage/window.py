"""The stretch of time that is asked for, and where in a log it stands.

Whoever asks for an hour of a log of gigabytes does not want it read whole.  A
plain file whose times rise is cut by bisection: some fifty looks of a few
kilobytes each.  That they rise is seen by looking at `SAMPLES` places of the
file; where they do not, or where a place has no line with a date, the log is
read whole and its records are sifted by their times instead.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, cast

from probes.model import LogRecord
from probes.named import NamedTuple
from probes.records import parse_lines

SAMPLES = 64
"""Places of a file at which its times are compared."""
LOOK = 1 << 16
"""Bytes that are read at one place."""
FAR = 1 << 22
"""Bytes within which a line with a date must come."""
FALL = 2.0
"""Seconds by which times may fall back in a log that counts as sorted: hosts and processors race to write."""
PRIME = 1 << 16
"""Bytes before the window that are read as well, and left out, so that the reader knows the log's shape and boot."""

_AGO = re.compile(r"-?(\d{1,6}(?:\.\d{1,3})?) ?(s|m|h|d|w)(?: ago)?")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_CLOCK = re.compile(r"(\d\d):(\d\d)(?::(\d\d))?")
_DATED = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,9})?)?)? ?(Z|UTC|[+-]\d\d:?\d\d)?")

Date = Callable[[bytes], "float | None"]
"""Tells the time of one line, in epoch seconds."""


class Window(NamedTuple):
    """From when to when, both included, in epoch seconds; None for no end on that side."""

    since: float | None = None
    until: float | None = None

    def holds(self, at: float) -> bool:
        """Return whether a time is inside."""
        return (self.since is None or at >= self.since) and (self.until is None or at <= self.until)

    def sift(self, records: Iterator[LogRecord], outside: Callable[[], None]) -> Iterator[LogRecord]:
        """Yield the records inside, and tell of each that is not; one without a time stands where the one before did.

        Records before the first that has a time are let through, for nobody can tell.
        """
        inside = True
        for record in records:
            if record.at is not None:
                inside = self.holds(record.at)
            if inside:
                yield record
            else:
                outside()


def moment(text: str, now: float, tz_offset: float) -> float:
    """Return the epoch seconds that a person means by `2026-11-26 03:10`, `03:10`, `2h`, `@1764126000` or `now`.

    A clock without a day is that of the day that ends `now`; a time without a zone is of the zone `tz_offset`,
    in seconds east of UTC.

    Raises:
        ValueError: if it is none of these.
    """
    text = text.strip()
    ago, clock, dated = _AGO.fullmatch(text), _CLOCK.fullmatch(text), _DATED.fullmatch(text)
    if text == "now":
        return now
    if text.startswith("@") and text[1:].replace(".", "", 1).isdigit():
        return float(text[1:])
    if ago:
        return now - float(ago[1]) * _UNITS[ago[2]]
    if clock:
        hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        if hours < 24 and minutes < 60 and seconds < 61:
            midnight = (now + tz_offset) // 86400.0 * 86400.0 - tz_offset
            at = midnight + hours * 3600.0 + minutes * 60.0 + seconds
            return at if at <= now else at - 86400.0
    if dated:
        import calendar

        year, month, day, hours, minutes, seconds = (int(part or 0) for part in dated.groups()[:6])
        zone = dated[7]
        if zone is not None:
            digits = zone.replace(":", "")
            sign = -1.0 if digits[0] == "-" else 1.0
            tz_offset = 0.0 if digits in ("Z", "UTC") else sign * (int(digits[1:3]) * 3600.0 + int(digits[3:]) * 60.0)
        try:
            time.strptime(f"{year}-{month}-{day} {hours}:{minutes}:{seconds}", "%Y-%m-%d %H:%M:%S")
        except ValueError:
            raise ValueError(f"there is no time '{text}'") from None
        return calendar.timegm((year, month, day, hours, minutes, seconds)) - tz_offset
    raise ValueError(f"'{text}' is no time; write 2026-11-26 03:10, 03:10, 2h (ago), @EPOCH or now")


def dating(year_hint: float, tz_offset: float) -> Date:
    """Return what tells the time of one line of a log; see `parse_lines`."""

    def date(line: bytes) -> float | None:
        return next((r.at for r in parse_lines([line], origin="", year_hint=year_hint, tz_offset=tz_offset)), None)

    return date


def cut(file: BinaryIO, window: Window, date: Date) -> tuple[int, int] | None:
    """Return from which to which byte a file holds the window, or None if its times do not rise or are not there.

    The first line of the stretch begins at the first byte; the file is left where it stood.

    Raises:
        OSError: if the file cannot be read.
    """
    stood = file.tell()
    try:
        size = file.seek(0, 2)
        rises = _rises(file, size, date)
        if not rises:
            return None
        begin = 0 if window.since is None else _first(file, size, date, window.since, strictly=False)
        end = size if window.until is None else _first(file, size, date, window.until, strictly=True)
        return begin, max(begin, end)
    finally:
        file.seek(stood)


def _rises(file: BinaryIO, size: int, date: Date) -> bool:
    last = None
    for number in range(SAMPLES):
        found = _next(file, size * number // SAMPLES, size, date)
        if found is None:
            if number == 0:
                return False
            continue
        if last is not None and found[1] < last - FALL:
            return False
        last = found[1]
    return last is not None


def _first(file: BinaryIO, size: int, date: Date, at: float, *, strictly: bool) -> int:
    """Return where the first line stands whose time is at or, `strictly`, after `at`; the size if there is none."""
    low, high = 0, size  # the line that is looked for begins in here
    while high - low > LOOK:
        middle = (low + high) // 2
        found = _next(file, middle, high, date)
        if found is None or found[1] > at or (not strictly and found[1] == at):
            high = middle
        else:
            low = found[0]
    place = low
    while (found := _next(file, place, size, date)) is not None:
        if found[1] > at or (not strictly and found[1] == at):
            return found[0]
        place = found[0] + 1
    return size


def _next(file: BinaryIO, place: int, end: int, date: Date) -> tuple[int, float] | None:
    """Return where the next line from `place` on begins that has a time, and the time."""
    file.seek(max(0, place - 1))
    if place:
        _drop(file, place + FAR)  # the rest of the line before, or its newline
    while (here := file.tell()) < min(end, place + FAR):
        line = file.readline(LOOK)
        found = date(line) if line else None
        if found is not None:
            return here, found
        if not line.endswith(b"\n"):
            _drop(file, place + FAR)
    return None


def _drop(file: BinaryIO, limit: int) -> None:
    while file.tell() < limit:
        part = file.readline(LOOK)
        if not part or part.endswith(b"\n"):
            return


def part_of(file: BinaryIO, window: Window, date: Date, begins: Callable[[int], None]) -> BinaryIO | None:
    """Return what of a plain file is to be read for a window, and tell at which byte it begins.

    None if the whole file must be read; it then stands where it stood.
    """
    try:
        found = cut(file, window, date)
        if found is None:
            return None
        begin, end = found
        file.seek(max(0, begin - PRIME))
        if begin > PRIME:
            _drop(file, begin)
        begins(file.tell())
        return cast("BinaryIO", Part(file, end))
    except OSError:
        return None


class Part:
    """The bytes of a file from where it stands to `end`, to be read in blocks."""

    def __init__(self, file: BinaryIO, end: int) -> None:
        self._file = file
        self._left = max(0, end - file.tell())

    def read1(self, size: int = -1) -> bytes:
        """Read some, at most so many bytes; empty at the end."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    read = read1

    def tell(self) -> int:
        """Return how far the file is read."""
        return self._file.tell()
