"""What is known of one input while and after it is read."""

from __future__ import annotations

import math
from collections.abc import Iterator

from probes.model import LogRecord, Source
from probes.records import Tally
from probes.records_text import CONTINUATION_CAP, MESSAGE_CAP, as_it_stood
from triage.found import Found
from triage.streams import Damaged
from triage.unfit import SPEAKS_OF_IT, broken

KIND = "kernel-log"
DAY = 86400.0

STEP_BACK = 300.0
"""Seconds by which the wall clock may fall behind the time since boot: at boot, old messages are stamped late."""

_SERVICES = ("fabricmanager", "nv")
"""What the programs begin with whose own logs count: nv-fabricmanager, nv-hostengine, nvidia-persistenced ..."""


class Input:
    """What is known of one input so far."""

    def __init__(self, origin: str) -> None:
        self.given = origin
        """The path, address or `-` that was given."""
        self.origin = as_it_stood(origin)
        self.name = "standard input" if origin == "-" else self.origin
        self.tally = Tally()
        self.lines = 0
        self.records = 0
        self.kernel = 0
        self.log_like = False
        self.service = 0
        self.start: float | None = None
        self.end: float | None = None
        self.from_boot = False
        self.reason: str | None = None
        self.ended = False
        self.stepped: str | None = None
        self.clock: tuple[str | None, str | None, float] | None = None
        """Host and boot of the record before, and the latest moment at which, by its wall clock, that boot began."""
        self.earliest = math.inf
        """The earliest moment at which, by the wall clock, a boot began."""
        self.found: Found | None = None
        self.path: str | None = None
        """Where it can be read again: of a file."""
        self.left_out = 0
        """Records that are not of the time that was asked for."""
        self.first_byte = 0
        """Where the reading began, and with it the count of lines."""

    def leave_out(self) -> None:
        """Count a record that is not of the time that was asked for."""
        self.left_out += 1

    def begin_at(self, byte: int) -> None:
        """Take notice that what stands before this byte is not read."""
        self.first_byte = byte

    def count(self, raw: Iterator[bytes]) -> Iterator[bytes]:
        """Pass lines on and count them.  Where the input breaks off, the line that was open is left out."""
        try:
            for line in raw:
                self.lines += 1
                yield line
        except (Damaged, OSError) as error:
            self.broke(error)

    def broke(self, error: Damaged | OSError) -> None:
        """Take notice that the input breaks off."""
        used = "1 line" if self.lines == 1 else f"{self.lines} lines"
        self.reason = f"{broken(error)}; {used} before the end were used"

    def shrank(self, before: int, left: int) -> None:
        """Take notice that the file was cut short while it was read, as copytruncate of logrotate does."""
        self.reason = (
            f"cut from {before:,} to {left:,} bytes while it was read, so that lines may be missing;"
            " read what was rotated as well"
        )

    def note(self, record: LogRecord) -> None:
        """Take notice of a record that goes by."""
        if record.kernel:
            if not self.kernel:
                early = record.monotonic is not None and record.monotonic < 1.0
                self.from_boot = early or record.message.startswith("Linux version ")
            self.kernel += 1
            self.log_like = self.log_like or not record.pasted or SPEAKS_OF_IT.search(record.message) is not None
        elif record.identifier is not None and record.identifier.startswith(_SERVICES):
            self.service += 1
        self.records += 1
        at = record.at
        if at is None:
            return
        if self.start is None or at < self.start:
            self.start = at
        if self.end is None or at > self.end:
            self.end = at
        if record.monotonic is not None and record.kernel and self.stepped is None:
            self._compare(record, at - record.monotonic)

    def skip(self, number: int, at: tuple[float, float] | None) -> None:
        """Take notice of so many kernel records, written between these times, that nobody looked at."""
        self.lines += number
        self.records += number
        self.kernel += number
        self.log_like = True  # only lines with a stamp are passed over
        if at is not None:
            self.start = at[0] if self.start is None else min(self.start, at[0])
            self.end = at[1] if self.end is None else max(self.end, at[1])

    def _compare(self, record: LogRecord, zero: float) -> None:
        """Note where the wall clock steps back within a boot.  Forward it may go: the machine slept."""
        self.earliest = min(self.earliest, zero)
        if self.clock is None or self.clock[:2] != (record.host, record.boot):
            self.clock = (record.host, record.boot, zero)
        elif zero < self.clock[2] - STEP_BACK:
            back = self.clock[2] - zero
            self.stepped = f"the wall clock steps back by {_span(back)} at line {record.line}; times before it are late"
        else:
            self.clock = (record.host, record.boot, max(zero, self.clock[2]))

    def sources(self) -> tuple[Source, ...]:
        """The sources as the report shows them: that of its kernel log, unless it holds none, and what else it has."""
        if self.found is None:
            return (self.source(),)
        log = () if self.found.whole else (self.source(),)
        return (*log, *self.found.sources)

    def source(self) -> Source:
        """The kernel log as a source."""
        reason, readable = self.reason, self.records > 0
        if readable and not self.kernel and not self.service and self.ended:
            readable = False
            reason = reason or (
                "no record in it is the kernel's; give the output of dmesg, journalctl -k or kern.log as well"
            )
        elif readable and self.kernel and not self.log_like and self.ended:
            readable, reason = (
                False,
                reason or "no line in it looks like a kernel log's; give what dmesg or journalctl -k prints",
            )
        return Source(
            KIND, self.origin, readable, self.start, self.end, self.records, self.from_boot and readable, reason
        )

    def notices(self, now: float) -> Iterator[str]:
        """What a person should know about this input."""
        if self.found is not None:
            yield from self.found.notices
            if self.found.whole:
                return
        if self.reason is not None and self.records:
            yield f"{self.name}: {self.reason}"
        if self.first_byte:
            yield f"{self.name}: read from byte {self.first_byte:,} on, where lines are counted from"
        if self.left_out and self.start is None and self.records:
            yield f"{self.name}: records without a time were kept, for nobody can tell whether they are of that time"
        if self.tally.cut:
            yield (
                f"{self.name}: {_many(self.tally.cut, 'record')} cut to {MESSAGE_CAP} characters"
                f" or {CONTINUATION_CAP} lines"
            )
        if self.tally.not_text and self.records:
            yield f"{self.name}: {_many(self.tally.not_text, 'byte')} not text (UTF-8)"
        if self.tally.unproven:
            yield (
                f"{self.name}: {_many(self.tally.unproven, 'journal record')} without _TRANSPORT and so not taken"
                " for the kernel's; export without --output-fields"
            )
        if self.stepped is not None:
            yield f"{self.name}: {self.stepped}"
        if self.end is not None and self.end > now + DAY:
            yield (
                f"{self.name}: its last record is {_span(self.end - now)} ahead of this machine's clock;"
                " one of the two is wrong"
            )


def _many(number: int, what: str) -> str:
    return f"1 {what} was" if number == 1 else f"{number} {what}s were"


def _span(seconds: float) -> str:
    if seconds >= 2 * DAY:
        return f"{seconds / DAY:.0f} days"
    return f"{seconds / 3600:.1f} hours" if seconds >= 2 * 3600 else f"{seconds / 60:.0f} minutes"
