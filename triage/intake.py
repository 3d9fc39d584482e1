"""Kernel logs as people hand them over: files, folders, standard input, compressed or not.

`Intake` iterates over the records of all inputs, in the order given, without
ever holding them; what could be read of each, and what a person should know
about it, is told afterwards by `sources` and `notices`.  An input that cannot
be read is a source with a reason, and the others are still read.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import BinaryIO

from probes.model import LogRecord, Source
from probes.records import Tally, parse_lines
from probes.records_text import CONTINUATION_CAP, MESSAGE_CAP, as_it_stood
from triage.streams import Damaged, as_utf8, blocks, lines

KIND = "kernel-log"
DAY = 86400.0

STEP_BACK = 300.0
"""Seconds by which the wall clock may fall behind the time since boot: at boot, old messages are stamped late."""

_OLDEST_MTIME = 946684800.0
"""2000-01-01: archives that keep no times set earlier ones."""
_LOOKED_AT = 1 << 16
"""Bytes of an input by which text and binary data are told apart."""
_FOREIGN_SHARE = 0.15
"""Share of bytes that are no text above which an input without log lines is binary."""

_LOG_LINE = re.compile(rb"\[ {0,6}\d{1,8}\.\d{6}\]|kernel: |NVRM: |nvidia-nvswitch\d|Linux version \d")
_SERVICES = ("fabricmanager", "nv")
"""What the programs begin with whose own logs count: nv-fabricmanager, nv-hostengine, nvidia-persistenced ..."""

_OTHER_FILES = (
    (b"LPKSHHRH", 0, "a journal file; export it: journalctl --file FILE -o export"),
    (b"KDUMP   ", 0, "a crash dump; give the vmcore-dmesg.txt beside it, or: makedumpfile --dump-dmesg FILE OUT"),
    (b"\x7fELF", 0, "a program or crash dump; of a dump: makedumpfile --dump-dmesg FILE OUT"),
    (b"PK\x03\x04", 0, "a zip archive; unpack it and give the log inside"),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7z archive; unpack it and give the log inside"),
    (b"ustar", 257, "a tar archive; unpack it and give the log inside"),
    (b"\x04\x22\x4d\x18", 0, "compressed with lz4; unpack it first: lz4 -d FILE"),
    (b"\x1f\x9d", 0, "compressed with compress; unpack it first: gunzip FILE"),
)


class _Input:
    """What is known of one input so far."""

    def __init__(self, origin: str) -> None:
        self.origin = as_it_stood(origin)
        self.name = "standard input" if origin == "-" else self.origin
        self.tally = Tally()
        self.lines = 0
        self.records = 0
        self.kernel = 0
        self.service = 0
        self.start: float | None = None
        self.end: float | None = None
        self.from_boot = False
        self.reason: str | None = None
        self.ended = False
        self.stepped: str | None = None
        self._clock: tuple[str | None, str | None, float] | None = None

    def count(self, raw: Iterator[bytes]) -> Iterator[bytes]:
        """Pass lines on and count them.  Where the input breaks off, the line that was open is left out."""
        try:
            for line in raw:
                self.lines += 1
                yield line
        except (Damaged, OSError) as error:
            used = "1 line" if self.lines == 1 else f"{self.lines} lines"
            self.reason = f"{_broken(error)}; {used} before the end were used"

    def note(self, record: LogRecord) -> None:
        """Take notice of a record that goes by."""
        if record.kernel:
            if not self.kernel:
                early = record.monotonic is not None and record.monotonic < 1.0
                self.from_boot = early or record.message.startswith("Linux version ")
            self.kernel += 1
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

    def _compare(self, record: LogRecord, zero: float) -> None:
        """Note where the wall clock steps back within a boot.  Forward it may go: the machine slept."""
        if self._clock is None or self._clock[:2] != (record.host, record.boot):
            self._clock = (record.host, record.boot, zero)
        elif zero < self._clock[2] - STEP_BACK:
            back = self._clock[2] - zero
            self.stepped = f"the wall clock steps back by {_span(back)} at line {record.line}; times before it are late"
        else:
            self._clock = (record.host, record.boot, max(zero, self._clock[2]))

    def source(self) -> Source:
        """The source as the report shows it."""
        reason, readable = self.reason, self.records > 0
        if readable and not self.kernel and not self.service and self.ended:
            readable = False
            reason = reason or (
                "no record in it is the kernel's; give the output of dmesg, journalctl -k or kern.log as well"
            )
        return Source(
            KIND, self.origin, readable, self.start, self.end, self.records, self.from_boot and readable, reason
        )

    def notices(self, now: float) -> Iterator[str]:
        """What a person should know about this input."""
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
        paths: files, folders (their regular files by name) and `-` for standard input.
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
        return tuple(taken.source() for taken in self._inputs)

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know about what was read so far."""
        found = [notice for taken in self._inputs for notice in taken.notices(self._now)]
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
            names = sorted(entry.path for entry in os.scandir(path) if entry.is_file())
        except OSError as error:
            self._open(path).reason = _refused(error)
            return
        if not names:
            self._open(path).reason = "the folder holds no files; name the folder in which the logs are"
        for name in names:
            yield from self._read_file(name)

    def _read_file(self, path: str) -> Iterator[LogRecord]:
        taken = self._open(path)
        try:
            status = os.stat(path)
            if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
                taken.reason = "a device, not a log; save what dmesg prints to a file, or pipe it in"
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
            taken.reason = _refused(error)
            return
        written = status.st_mtime if stat.S_ISREG(status.st_mode) else self._now
        with file:
            yield from self._records(taken, file, min(self._now, written) if written > _OLDEST_MTIME else self._now)

    def _records(self, taken: _Input, file: BinaryIO, year_hint: float) -> Iterator[LogRecord]:
        parts = blocks(file)
        try:
            first = next(parts, b"")
        except (Damaged, OSError) as error:
            taken.reason = _broken(error)
            return
        taken.reason = _unfit(first)
        if taken.reason is not None:
            return
        raw = taken.count(lines(as_utf8(chain((first,), parts))))
        parsed = parse_lines(
            raw, origin=taken.origin, year_hint=year_hint, tz_offset=self._tz_offset, tally=taken.tally
        )
        for record in parsed:
            taken.note(record)
            yield record
        if not taken.records:
            taken.reason = taken.reason or "there is no text in it; check that it was written"
        taken.ended = True


def _unfit(first: bytes) -> str | None:
    """Why an input that begins like this is no log, with a remedy; None if it may be one."""
    if not first:
        return "empty; check that the log was written"
    for magic, place, what in _OTHER_FILES:
        if first.startswith(magic, place):
            return what
    if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return None  # UTF-16, which is converted
    sample = first[:_LOOKED_AT]
    foreign = sample.count(0) + sample.decode("utf-8", "replace").count("\ufffd")
    if foreign > _FOREIGN_SHARE * len(sample) and not _LOG_LINE.search(first):
        return "binary data without log lines; give the text that dmesg or journalctl prints"
    return None


def _broken(error: Damaged | OSError) -> str:
    return str(error) if isinstance(error, Damaged) else f"reading failed ({error.strerror or error})"


def _refused(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file; check the path"
    if isinstance(error, PermissionError):
        return "no permission to read it; run as root, or as a member of its group (adm, systemd-journal)"
    return f"cannot be opened ({getattr(error, 'strerror', None) or error})"


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
