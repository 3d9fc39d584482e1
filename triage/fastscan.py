"""Large logs at the speed of the disk, with the records and counts that the slow way would give.

`FastIntake` is an `Intake` that reads only what may matter.  Blocks of bytes are
searched for the phrases of all signal patterns at once (`hyperscan_db`), and the
beginnings of all their lines are checked at once (`fast_blocks`).  A stretch of
lines is passed over only if it is certain what reading them would have done:

- each begins a record of its own, in the same layout as one that was read just before
- none holds a phrase of a pattern, of a stack trace or of a boot, or anything but plain text
- no crash is being put together, and no clock falls back within it

What they would have done, counts and first and last times, is then done in one
step.  Every other line is read as ever, by the same reader; so an input of which
nothing is certain is simply read the slow way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from probes.model import LogRecord
from probes.named import NamedTuple
from probes.records_text import LINE_CAP
from triage.fast_reader import SteadyReader
from triage.intake import Intake
from triage.streams import Damaged, as_utf8, cut_line, line_start
from triage.taken import STEP_BACK, Input

if TYPE_CHECKING:
    from pathlib import Path

    from triage.fast_blocks import Layout, Lines
    from triage.hyperscan_db import Find
    from triage.rulebook.model import Rulebook
    from triage.scanner import Scanner
    from triage.timeline import Spans
    from triage.window import Window

SLOW_START = 1 << 19
"""Bytes of each input that are read the slow way, so that small logs need not load the engine."""
LAYOUTS = 4
"""Layouts that are looked for in one block."""
LARGE = 32 << 20
"""Bytes of a file, as it stands on the disk, from which on it is worth a process of its own."""
TRIES = 8
"""Lines of one block from which another layout is tried to be learnt."""
FIRST = 1 << 16
"""Bytes of a block in which these lines must end, where none is known."""
SHORTEST = 4
"""Lines of a stretch that is worth passing over."""
_FALL = 4_990_000
"""Microseconds that the time since boot may fall; a little less than what begins another boot."""
_DAY = 86_400_000_000
"""Microseconds of a day."""
_STEP = int(STEP_BACK * 1e6) - 10_000

# What changes the meaning of a line, or of those around it, though no pattern finds it.
_ALWAYS = ("NVRM", "Linux version", "+0x", "exited with", "message repeated")
_UNTAGGED = (*_ALWAYS, "kernel: ", "]: ")
_TAGGED = (*_ALWAYS, "#0", "#177")


class _Known(NamedTuple):
    """A layout, and the shape by which the reader reads it."""

    layout: Layout
    shape: Any


def _load_numpy() -> None:
    """Load numpy without the threads of its linear algebra, which spin for longer than all else of it takes to load."""
    name = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        import numpy  # noqa: F401  # by fast_blocks
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def large(paths: Iterable[str]) -> list[str]:
    """Return those of the files that are worth a process of their own, each once."""
    return [path for path in dict.fromkeys(paths) if os.path.isfile(path) and os.path.getsize(path) >= LARGE]


class FastIntake(Intake):
    """The records that may matter of all inputs, one after the other; the arguments are those of `Intake`.

    `begin` must be called before the first record is asked for.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        rulebook: Rulebook,
        now: float,
        tz_offset: float = 0.0,
        stdin: BinaryIO | None = None,
        window: Window | None = None,
        cache: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
        slow_start: int = SLOW_START,
    ) -> None:
        super().__init__(paths, now=now, tz_offset=tz_offset, stdin=stdin, window=window)
        self._patterns = tuple(signal.match for signal in rulebook.signals)
        self._cache = cache
        self._finders: dict[bool, Find] = {}
        self.refused: str | None = None
        """Why blocks cannot be searched here, if they cannot."""
        self._scanner: Scanner | None = None
        self._spans: Spans | None = None
        self._progress = progress
        self._bytes = 0
        self._slow_start = slow_start
        self.passed = 0
        """Records that nobody looked at, because they mean nothing."""

    def __enter__(self) -> FastIntake:
        return self

    def __exit__(self, *_: object) -> None:
        """End what was begun."""

    def begin(self, scanner: Scanner, spans: Spans) -> None:
        """Take notice of who scans the records and notes what they cover."""
        self._scanner, self._spans = scanner, spans

    @property
    def notices(self) -> tuple[str, ...]:
        """What a person should know about what was read so far."""
        slow = () if self.refused is None else (f"large logs are read slowly, with the same result: {self.refused}",)
        return super().notices + slow

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What was read so far, as it is noted."""
        return tuple(self._inputs)

    def usable(self) -> bool:
        """Whether what a fast reading needs is installed."""
        if self.refused is None and not self._finders:
            try:
                _load_numpy()
            except ImportError:
                self.refused = "the Python package numpy is not installed"
        return self.refused is None

    def finder(self, tagged: bool) -> Find | None:
        """Return the search for phrases in lines with or without a syslog tag, or None if there is none here."""
        if self.refused is not None:
            return None
        if tagged not in self._finders:
            from triage.hyperscan_db import NoHyperscan, finder

            try:
                self._finders[tagged] = finder(self._patterns, _TAGGED if tagged else _UNTAGGED, self._cache)
            except NoHyperscan as error:
                self.refused = str(error)
                return None
        return self._finders[tagged]

    def _parsed(self, taken: Input, parts: Iterator[bytes], year_hint: float) -> Iterator[LogRecord]:
        log = self._log(taken, year_hint)
        yield from log.records(as_utf8(self._counted(parts)), self._slow_start)
        yield from log.reader.close()

    def _log(self, taken: Input, year_hint: float) -> Log:
        assert self._scanner is not None
        assert self._spans is not None
        reader = SteadyReader(taken.origin, year_hint, self._tz_offset, taken.tally)
        return Log(self, taken, reader, self._scanner, self._spans)

    def _counted(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        for part in parts:
            yield part
            self._bytes += len(part)
            if self._progress is not None and self._scanner is not None:
                self._tell(self._bytes, sum(taken.records for taken in self._inputs) - self._scanner.plain)

    def _tell(self, read: int, telling: int) -> None:
        assert self._progress is not None
        self._progress(read, telling)


class Log:
    """One input while it is read."""

    def __init__(self, intake: FastIntake, taken: Input, reader: SteadyReader, scanner: Scanner, spans: Spans) -> None:
        self._intake = intake
        self._taken = taken
        self.reader = reader
        self._scanner = scanner
        self._spans = spans
        self._known: list[_Known] = []
        self._blocks: Any = None
        """`triage.fast_blocks`, once it is needed."""
        self.broken = False

    def records(self, parts: Iterator[bytes], slow_start: int) -> Iterator[LogRecord]:
        """Yield the records that may matter; those passed over are counted.  The last may stay open in the reader."""
        kept, full, size = b"", 0, 0  # the start of the open line, how long it is so far, bytes read
        for part in self._whole(parts):
            size += len(part)
            first = part.find(b"\n")
            if first < 0:
                kept, full = line_start(kept + part), full + len(part)
                continue
            yield from self._feed(cut_line(line_start(kept + part[:first]), full + first))
            last = part.rfind(b"\n") + 1
            if last > first + 1:
                block = memoryview(part)[first + 1 : last]
                yield from self._slowly(block) if size <= slow_start else self._quickly(block)
            full = len(part) - last
            kept = line_start(part[last:])
        if full and not self.broken:
            yield from self._feed(cut_line(kept, full))

    def _whole(self, parts: Iterator[bytes]) -> Iterator[bytes]:
        try:
            yield from parts
        except (Damaged, OSError) as error:
            self._taken.broke(error)
            self.broken = True

    def _feed(self, line: bytes) -> Iterator[LogRecord]:
        self._taken.lines += 1
        record = self.reader.feed(line)
        if record is not None:
            yield record

    def _slowly(self, block: memoryview) -> Iterator[LogRecord]:
        for line in bytes(block).split(b"\n")[:-1]:
            yield from self._feed(cut_line(line_start(line), len(line)))

    def _quickly(self, block: memoryview) -> Iterator[LogRecord]:
        begin = 0
        while begin < len(block):
            find = self._finder()
            if find is None:
                begin += yield from self._until_known(block[begin:])
            else:
                begin += yield from self._stretch(block[begin:], find)

    def _finder(self) -> Find | None:
        return self._intake.finder(self._known[0].layout.host is not None) if self._known else None

    def _until_known(self, block: memoryview) -> Generator[LogRecord, None, int]:
        """Read lines until one has a layout, or to the end of the block; return the bytes read."""
        done = 0
        for line in bytes(block[:FIRST]).split(b"\n", TRIES)[:-1]:
            yield from self._feed(cut_line(line_start(line), len(line)))
            done += len(line) + 1
            if self._learn(line):
                return done
        yield from self._slowly(block[done:])
        return len(block)

    def _learn(self, line: bytes) -> bool:
        """Note the layout of a line that was just read; whether it is a new one that can be used."""
        if not self._intake.usable():
            return False
        from triage import fast_blocks

        self._blocks = fast_blocks
        shape = self.reader.shape
        layout = fast_blocks.layout_of(line)
        if layout is None or shape is None or shape[1].__name__ != layout.shape:
            return False
        tagged = layout.host is not None
        if not shape[0].match(line.decode("latin-1")) or self._intake.finder(tagged) is None:
            return False
        if any(known.layout.key == layout.key for known in self._known):
            return False
        alike = [known for known in self._known if (known.layout.host is not None) == tagged]
        self._known = [_Known(layout, shape), *alike[: LAYOUTS - 1]]
        return True

    def _stretch(self, block: memoryview, find: Find) -> Generator[LogRecord, None, int]:
        """Read a block, passing over what can be; return the bytes done: not all where another layout was learnt."""
        places: list[int] = []
        find(block, lambda _id, _start, end, _flags, _context: places.append(end))
        lines = self._blocks.study(block, [known.layout for known in self._known], places)
        reader = self.reader
        tries = 0
        for first, end, begin, stop, odd, layout, sure in lines.stretches():
            if odd:
                line = bytes(block[begin:stop])
                self._taken.lines += 1
                record = reader.feed(line if stop - begin <= LINE_CAP else cut_line(line_start(line), len(line)))
                if record is not None:
                    yield record
                if layout < 0 and tries < TRIES:
                    tries += 1
                    if self._learn(line):
                        return int(stop) + 1
                continue
            known = self._known[layout]
            while first < end:
                if sure - first >= SHORTEST:
                    boot = self._boot(known)
                    if boot is not None:
                        if reader.open:
                            yield from reader.close()
                        if not self._scanner.crashes.underway and self._spans.knows((self._taken.origin, boot)):
                            passed = self._pass(block, lines, known, boot, first, sure)
                            if passed > first:
                                first = passed
                                continue
                yield from self._feed(bytes(block[lines.starts.item(first) : lines.ends.item(first)]))
                first += 1
        return len(block)

    def _boot(self, known: _Known) -> str | None:
        """The boot of lines of this layout, if it is certain what reading them would do."""
        boot = self.reader.boot(known.shape, known.layout.host)
        taken, layout = self._taken, known.layout
        if boot is None or not taken.kernel or self._scanner.crashes.underway:
            return None
        if layout.uptime is not None and self.reader.highest is None:
            return None
        compared = layout.uptime is not None and layout.clock is not None and taken.stepped is None
        if compared and (taken.clock is None or taken.clock[:2] != (layout.host, boot)):
            return None
        return boot

    def _pass(self, block: memoryview, lines: Lines, known: _Known, boot: str, first: int, end: int) -> int:
        """Do at once what reading the lines from `first` to before `end` would; return the first line not done."""
        before_fall, ends = self._blocks.before_fall, self._blocks.ends
        layout, taken, reader = known.layout, self._taken, self.reader
        zoneless = taken.tally.zoneless
        rising = lines.rising(first, end)
        uptime, clock = lines.uptime, lines.clock
        highest = reader.highest

        def at(line: int) -> float | None:
            # Within whole seconds of one day that only rise, counting from the first line is what reading would give.
            if begun is not None and rising and layout.fraction is None and clock.item(line) < _DAY:
                there: float = begun + (clock.item(line) - clock.item(first)) // 1_000_000
                if there <= reader.year_ends and begun.is_integer():
                    return there
            return reader.at(str(block[lines.starts.item(line) : lines.ends.item(line)], "latin-1"))

        if layout.uptime is not None and highest is not None:
            falls = int(highest * 1e6)
            if not rising or uptime.item(first) < falls - _FALL:
                end = first + before_fall(uptime[first:end], falls, _FALL)
        begun: float | None = None
        begun = at(first) if layout.clock is not None and end > first else None
        per_line = taken.tally.zoneless - zoneless
        zero: Any = None  # when the boot began, by the wall clock: microseconds after midnight
        midnight = 0.0
        then = taken.clock
        if begun is not None and layout.uptime is not None and taken.stepped is None and then is not None:
            midnight = begun - clock.item(first) / 1e6
            zero = clock[first:end] - uptime[first:end]
            latest = int((then[2] - midnight) * 1e6)
            lowest = int(zero.min())
            taken.earliest = min(taken.earliest, lowest / 1e6 + midnight)
            if lowest < max(int(zero.max()), latest) - _STEP:
                end = first + before_fall(zero, latest, _STEP)
                zero = zero[: end - first]
        times = monotonic = last = None
        if end > first and layout.uptime is not None:
            low, high = (first, end - 1) if rising else ends(uptime, first, end)
            monotonic = (uptime.item(low) / 1e6, uptime.item(high) / 1e6)
        if end > first and layout.clock is not None:
            low, high = (first, end - 1) if rising else ends(clock, first, end)
            earliest = begun if low == first else at(low)
            last = at(end - 1)
            final = last if high == end - 1 else at(high)
            if earliest is None or final is None or last is None or final < earliest:
                end = first
            else:
                times = (earliest, final)
        if end > first and zero is not None and then is not None and zero.max() / 1e6 + midnight > then[2] - 1e-3:
            place = first + int(zero.argmax())
            moment = at(place)
            if moment is not None:
                taken.clock = (then[0], then[1], max(moment - uptime.item(place) / 1e6, then[2]))
        taken.tally.zoneless = zoneless + per_line * (end - first)
        if end > first:
            self._count(boot, end - first, times, monotonic)
            reader.skip(end - first, last, None if monotonic is None else monotonic[1])
        return end

    def _count(
        self, boot: str, number: int, times: tuple[float, float] | None, monotonic: tuple[float, float] | None
    ) -> None:
        self._taken.skip(number, times)
        self._spans.skip((self._taken.origin, boot), number, times, monotonic)
        self._scanner.plain += number
        self._intake.passed += number
