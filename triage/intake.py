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
from typing import BinaryIO, cast

from probes.model import LogRecord, Reading, Source
from probes.records import parse_lines
from probes.records_text import as_it_stood
from triage import folders, remote
from triage.found import Found, together
from triage.recorded import Recorded
from triage.remote import is_address
from triage.sections.recognise import Given, reader_of
from triage.streams import Damaged, as_utf8, blocks, lines
from triage.taken import Input
from triage.unfit import broken, refused, unfit
from triage.window import Window, dating, part_of

LIVE_RING = "/proc/kmsg"
"""The kernel's log as its one daemon reads it: each line is given once."""

_OLDEST_MTIME = 946684800.0
"""2000-01-01: archives that keep no times set earlier ones."""


class Intake:
    """The records of all inputs, one after the other.

    Args:
        paths: files, folders (read as `triage.folders` says) and `-` for standard input.
        now: epoch seconds, by which stamps without a year are dated.
        tz_offset: seconds east of UTC of stamps that name no zone.
        stdin: what `-` reads; None if there is no standard input.
        window: the stretch of time whose records are wanted; counters are taken whatever it is.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        now: float,
        tz_offset: float = 0.0,
        stdin: BinaryIO | None = None,
        window: Window | None = None,
    ) -> None:
        self._window = window
        self._paths = tuple(paths)
        self._now = now
        self._tz_offset = tz_offset
        self._stdin = stdin
        self._inputs: list[Input] = []
        self._seen: set[tuple[int, int]] = set()
        self._twice: list[str] = []

    def __iter__(self) -> Iterator[LogRecord]:
        self._inputs.clear()
        self._seen.clear()
        self._twice.clear()
        for path in self._paths:
            if path == "-":
                yield from self._read_stdin()
            elif is_address(path):
                yield from self._read_addresses(path)
            elif os.path.isdir(path):
                yield from self._read_folder(path)
            else:
                yield from self._read_file(path)

    @property
    def files(self) -> dict[str, tuple[str, int]]:
        """Of each origin that can be read again, the path and the byte from which its lines are counted."""
        return {taken.origin: (taken.path, taken.first_byte) for taken in self._inputs if taken.path is not None}

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

    def _open(self, origin: str) -> Input:
        taken = Input(origin)
        self._inputs.append(taken)
        return taken

    def _read_stdin(self) -> Iterator[LogRecord]:
        taken = self._open("-")
        if self._stdin is None:
            taken.reason = "there is no standard input; name a file"
            return
        yield from self._records(taken, self._stdin, self._now)

    def _read_addresses(self, path: str) -> Iterator[LogRecord]:
        try:
            addresses = remote.expand(path)
        except remote.NotReadable as error:
            self._open(path).reason = str(error)
            return
        for address in addresses:
            taken = self._open(address)
            try:
                file = remote.Opened(address)
            except remote.NotReadable as error:
                taken.reason = str(error)
                continue
            with file:
                yield from self._records(taken, cast("BinaryIO", file), self._now)

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

    def _noted(self, taken: Input, records: Iterator[LogRecord]) -> Iterator[LogRecord]:
        if self._window is not None:
            records = self._window.sift(records, taken.leave_out)
        for record in records:
            taken.note(record)
            yield record
        if not taken.records:
            taken.reason = taken.reason or (
                "none of its records is of the time that was asked for; give another --since or --until"
                if taken.left_out
                else "there is no text in it; check that it was written"
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
        taken.path = path if stat.S_ISREG(status.st_mode) else None
        with file:
            yield from self._records(taken, file, year_hint(status, self._now))
            left = os.fstat(file.fileno()).st_size
            if taken.path is not None and left < status.st_size:
                taken.shrank(status.st_size, left)

    def _records(self, taken: Input, file: BinaryIO, year_hint: float) -> Iterator[LogRecord]:
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
        if self._window is not None:
            stretch = self._stretch(taken, file, first, year_hint)
            if stretch is None:  # passing over lines would count what is outside as heard
                yield from self._noted(taken, Intake._parsed(self, taken, chain((first,), parts), year_hint))
            else:
                yield from self._noted(taken, self._parsed(taken, blocks(stretch), year_hint))
            return
        yield from self._noted(taken, self._parsed(taken, chain((first,), parts), year_hint))

    def _stretch(self, taken: Input, file: BinaryIO, first: bytes, year_hint: float) -> BinaryIO | None:
        """The part of a plain file whose times rise that holds the window, or None if it must be read whole."""
        assert self._window is not None
        try:
            stood = file.tell()
            file.seek(0)
            plain = file.read(len(first)) == first
            file.seek(stood)
        except (OSError, ValueError):  # a pipe
            return None
        if not plain:
            return None
        return part_of(file, self._window, dating(year_hint, self._tz_offset), taken.begin_at)

    def _parsed(self, taken: Input, parts: Iterator[bytes], year_hint: float) -> Iterator[LogRecord]:
        """The records of a log."""
        return parse_lines(
            taken.count(lines(as_utf8(parts))),
            origin=taken.origin,
            year_hint=year_hint,
            tz_offset=self._tz_offset,
            tally=taken.tally,
        )


def year_hint(status: os.stat_result, now: float) -> float:
    """Return the time than which no line of a file is younger, by when it was written."""
    written = status.st_mtime if stat.S_ISREG(status.st_mode) else now
    return min(now, written) if written > _OLDEST_MTIME else now


def _place(file: BinaryIO) -> int:
    """How many bytes of the file were read; where that cannot be told, none (0)."""
    try:
        return file.tell()
    except (OSError, ValueError):
        return 0


def _names(origins: Sequence[str]) -> str:
    more = len(origins) - 3
    return ", ".join(origins[:3]) + (f" and {more} more" if more > 0 else "")


def _offset(seconds: float) -> str:
    minutes = round(abs(seconds) / 60)
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"
