"""Kernel logs as people hand them over: files, folders, standard input, compressed or not.

`Intake` iterates over the records of all inputs, in the order given, without
ever holding them; what could be read of each, and what a person should know
about it, is told afterwards by `sources` and `notices`.  An input that cannot
be read is a source with a reason, and the others are still read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import BinaryIO

from probes.model import LogRecord, Reading, Source
from probes.records import Tally, parse_lines
from probes.records_text import CONTINUATION_CAP, MESSAGE_CAP, as_it_stood
from triage import folders
from triage.found import Found, together
from triage.recorded import Recorded
from triage.sections.recognise import Given, reader_of
from triage.streams import Damaged, as_utf8, blocks, lines
from triage.unfit import SPEAKS_OF_IT, broken, refused, unfit

KIND = "kernel-log"
DAY = 86400.0
LIVE_RING = "/proc/kmsg"
"""The kernel's log as its one daemon reads it: each line is given once."""

STEP_BACK = 300.0
"""Seconds by which the wall clock may fall behind the time since boot: at boot, old messages are stamped late."""

_OLDEST_MTIME = 946684800.0
"""2000-01-01: archives that keep no times set earlier ones."""
_SERVICES = ("fabricmanager", "nv")
"""What the programs begin with whose own logs count: nv-fabricmanager, nv-hostengine, nvidia-persistenced ..."""


class _Input:
    """What is known of one input so far."""

    def __init__(self, origin: str) -> None:
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
        self.found: Found | None = None

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


class Intake:
    """The records of all inputs, one after the other.

    Args:
        paths: files, folders (read as `triage.folders` says) and `-` for standard input.
        now: epoch seconds, by which stamps without a year are dated.
        tz_offset: seconds east of UTC of stamps that name no zone.
        stdin: what `-` reads; None if there is no standard input.
    """

    def __init__(
        self, paths: Sequence[str], *, now: float, tz_offset: float = 0.0, stdin: BinaryIO | None = None
    ) -> None:
        self._paths = tuple(paths)
        self._now = now
        self._tz_offset = tz_offset
        self._stdin = stdin
        self._inputs: list[_Input] = []
        self._seen: set[tuple[int, int]] = set()
        self._twice: list[str] = []

    def __iter__(self) -> Iterator[LogRecord]:
        self._inputs.clear()
        self._seen.clear()
        self._twice.clear()
        for path in self._paths:
            if path == "-":
                yield from self._read_stdin()
            elif os.path.isdir(path):
                yield from self._read_folder(path)
            else:
                yield from self._read_file(path)

    @property
    def sources(self) -> tuple[Source, ...]:
        """What was read so far, in the order given."""
        return tuple(source for taken in self._inputs for source in taken.sources())

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The counters and facts that captures and bug reports held, of one node."""
        return tuple(together(self._found)[0])

    @property
    def node(self) -> str | None:
        """The machine that the readings are of, if an input says so."""
        return next((found.node for found in self._found if found.node is not None), None)

    @property
    def taken_at(self) -> float | None:
        """When the youngest of them was taken, in epoch seconds: the moment that the readings speak of."""
        return max((found.taken_at for found in self._found if found.taken_at is not None), default=None)

    @property
    def rulebooks(self) -> frozenset[str]:
        """The digests of the rules by which captures were judged when they were taken."""
        return frozenset(found.rulebook for found in self._found if found.rulebook is not None)

    @property
    def history(self) -> Recorded | None:
        """What the history of that node answered when a capture of it was taken."""
        told = [found for found in self._found if found.history is not None and found.node == self.node]
        return Recorded(told[-1].history or {}) if told else None

    @property
    def _found(self) -> list[Found]:
        return [taken.found for taken in self._inputs if taken.found is not None]

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know about what was read so far."""
        found = [notice for taken in self._inputs for notice in taken.notices(self._now)]
        found += together(self._found)[1]
        if self._twice:
            found.append(f"{_names(self._twice)}: given twice, read once")
        zoneless = [taken.name for taken in self._inputs if taken.tally.zoneless]
        if zoneless:
            zone = "UTC" if not self._tz_offset else _offset(self._tz_offset)
            found.append(f"{_names(zoneless)}: times without a zone were taken as {zone}")
        return tuple(found)

    def _open(self, origin: str) -> _Input:
        taken = _Input(origin)
        self._inputs.append(taken)
        return taken

    def _read_stdin(self) -> Iterator[LogRecord]:
        taken = self._open("-")
        if self._stdin is None:
            taken.reason = "there is no standard input; name a file"
            return
        yield from self._records(taken, self._stdin, self._now)

    def _read_folder(self, path: str) -> Iterator[LogRecord]:
        try:
            items = folders.plan(path)
        except OSError as error:
            self._open(path).reason = refused(error)
            return
        if not items:
            self._open(path).reason = "the folder holds no files; name the folder in which the logs are"
        for item in items:
            if isinstance(item, folders.One):
                yield from self._read_file(item.path)
            elif isinstance(item, folders.Parts):
                yield from self._read_parts(item)
            else:
                yield from self._read_boots(item)

    def _read_parts(self, item: folders.Parts) -> Iterator[LogRecord]:
        taken = self._open(item.folder)
        dumps, unread = folders.dumps(item.paths)
        if unread:
            taken.reason = f"{_names(unread)} could not be read; the other {len(item.paths) - len(unread)} parts were"
        stamps = [dump.stamp for dump in dumps if dump.stamp is not None]
        yield from self._noted(
            taken,
            folders.pstore_records(
                dumps,
                origin=taken.origin,
                year_hint=max(stamps, default=self._now),
                tz_offset=self._tz_offset,
                tally=taken.tally,
            ),
        )

    def _read_boots(self, item: folders.Boots) -> Iterator[LogRecord]:
        """Read the journals of several boots as one log, so that a reboot between them ends what it cured."""
        taken = self._open(item.folder)
        for boot, path in item.paths:
            try:
                with open(path, "rb") as file:
                    raw = taken.count(lines(as_utf8(blocks(file))))
                    parsed = parse_lines(
                        raw,
                        origin=taken.origin,
                        year_hint=min(self._now, os.fstat(file.fileno()).st_mtime),
                        tz_offset=self._tz_offset,
                        tally=taken.tally,
                    )
                    yield from self._noted(taken, (record._replace(boot=boot) for record in parsed))
            except OSError as error:
                taken.reason = f"{as_it_stood(path)}: {refused(error)}"

    def _noted(self, taken: _Input, records: Iterator[LogRecord]) -> Iterator[LogRecord]:
        for record in records:
            taken.note(record)
            yield record
        if not taken.records:
            taken.reason = taken.reason or (
                "there is no text in it; check that it was written"
                if taken.found is None
                else "it holds no kernel log; give the output of dmesg or journalctl -k as well"
            )
        taken.ended = True

    def _read_file(self, path: str) -> Iterator[LogRecord]:
        taken = self._open(path)
        try:
            status = os.stat(path)
            if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                taken.reason = "a device, not a log; save what dmesg prints to a file, or pipe it in"
                return
            if os.path.realpath(path) == LIVE_RING:
                taken.reason = "reading it takes the lines from whoever else reads it, and never ends; pipe dmesg in"
                return
            identity = (status.st_dev, status.st_ino)
            if stat.S_ISREG(status.st_mode):
                if identity in self._seen:
                    self._inputs.pop()
                    self._twice.append(taken.origin)
                    return
                self._seen.add(identity)
            file = open(path, "rb")  # noqa: SIM115  # closed below; only opening it may be refused here
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            taken.reason = refused(error)
            return
        written = status.st_mtime if stat.S_ISREG(status.st_mode) else self._now
        with file:
            yield from self._records(taken, file, min(self._now, written) if written > _OLDEST_MTIME else self._now)

    def _records(self, taken: _Input, file: BinaryIO, year_hint: float) -> Iterator[LogRecord]:
        parts = blocks(file)
        try:
            first = next(parts, b"")
        except (Damaged, OSError) as error:
            taken.reason = broken(error)
            return
        reader = reader_of(first)
        if reader is not None:
            taken.found = Found(taken.origin)
            size = partial(_place, file)
            given = Given(taken.found, year_hint, self._tz_offset, taken.tally, size, taken.count)
            yield from self._noted(taken, reader(chain((first,), parts), given))
            return
        taken.reason = unfit(first)
        if taken.reason is not None:
            return
        yield from self._noted(taken, self._parsed(taken, chain((first,), parts), year_hint))

    def _parsed(self, taken: _Input, parts: Iterator[bytes], year_hint: float) -> Iterator[LogRecord]:
        """The records of a log."""
        return parse_lines(
            taken.count(lines(as_utf8(parts))),
            origin=taken.origin,
            year_hint=year_hint,
            tz_offset=self._tz_offset,
            tally=taken.tally,
        )


def _place(file: BinaryIO) -> int:
    """How many bytes of the file were read; where that cannot be told, none (0)."""
    try:
        return file.tell()
    except (OSError, ValueError):
        return 0


def _many(number: int, what: str) -> str:
    return f"1 {what} was" if number == 1 else f"{number} {what}s were"


def _names(origins: Sequence[str]) -> str:
    more = len(origins) - 3
    return ", ".join(origins[:3]) + (f" and {more} more" if more > 0 else "")


def _span(seconds: float) -> str:
    if seconds >= 2 * DAY:
        return f"{seconds / DAY:.0f} days"
    return f"{seconds / 3600:.1f} hours" if seconds >= 2 * 3600 else f"{seconds / 60:.0f} minutes"


def _offset(seconds: float) -> str:
    minutes = round(abs(seconds) / 60)
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
