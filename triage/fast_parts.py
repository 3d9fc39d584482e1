"""One large log in parts that several processes read, with the result that one would give.

A log is cut before lines that begin a record whatever came before (`cuts`).  Who
reads a part has not seen what comes before it, so it reads a few kilobytes
before the part as well, to know the shape of the lines and the boot (`read`).
What it found counts only if the reader that comes from before knows exactly the
same there (`join`); boots and lines are then called by their numbers in the
whole log.  Where that is not so (a crash goes on, another host has spoken, the
clock was ahead), the part is read again by who comes from before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from probes.model import LogRecord
from probes.named import NamedTuple
from probes.records_text import Tally
from triage.fast_reader import State, SteadyReader
from triage.fastscan import FastIntake
from triage.intake import year_hint
from triage.model import Signal
from triage.rulebook.model import Rulebook
from triage.scanner import Scanner
from triage.storm import ALL
from triage.streams import KINDS, blocks
from triage.taken import STEP_BACK, Input
from triage.timeline import Spans, build
from triage.window import Part as Stretch

if TYPE_CHECKING:
    from triage.fast_blocks import Layout
    from triage.hyperscan_db import Find

PARTS = 32
"""Parts of a log: so many that no process waits long for another at the end."""
LEAST = 8 << 20
"""Bytes of the smallest part: below, what comes before it costs too much."""
PRIME = 8 << 10
"""Bytes before a part that are read to know the log."""

Key = tuple[int, int]
Clock = tuple[str | None, str | None, float]


class Part(NamedTuple):
    """A stretch of a file: from which byte to which (None for its end), and how the line after it is read."""

    begin: int
    end: int | None
    then: str | None


class Plan(NamedTuple):
    """A file as it is to be read."""

    file: Key
    year_hint: float
    parts: tuple[Part, ...]
    layout: Layout


class Found(NamedTuple):
    """What a part held, read on its own, and what its reader knew before and after it."""

    taken: Input
    signals: tuple[Signal, ...]
    spans: Spans
    plain: int
    entry: State
    exit: State
    clock: Clock | None  # of the input, before


def cuts(path: str, now: float) -> Plan | None:
    """Return how a log can be read in parts, or None if it cannot."""
    from triage.fast_blocks import layout_of

    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if any(file.read(8).startswith(kind.magic) for kind in KINDS):
                return None
            step = max(LEAST, status.st_size // PARTS)
            places: list[tuple[int, Layout]] = []
            for place in range(step, status.st_size - step // 2, step):
                file.seek(place)
                begin = place + len(file.readline(PRIME))
                line = file.readline(PRIME)
                layout = layout_of(line)
                if layout is not None and line.endswith(b"\n"):
                    places.append((begin, layout))
    except OSError:
        return None
    if not places:
        return None
    begins, ends = (0, *(begin for begin, _ in places)), (*places, (None, None))
    parts = (Part(begin, end, layout and layout.shape) for begin, (end, layout) in zip(begins, ends, strict=True))
    return Plan((status.st_dev, status.st_ino), year_hint(status, now), tuple(parts), places[0][1])


class _PartIntake(FastIntake):
    """Reads one part of a file."""

    def __init__(self, path: str, plan: Plan, part: Part, finders: dict[bool, Find], **rest: Any) -> None:
        super().__init__([path], slow_start=0, **rest)
        self._finders = finders
        self._plan, self._part = plan, part
        self.entry: State | None = None
        self.exit: State | None = None
        self.clock: Clock | None = None

    def _records(self, taken: Input, file: BinaryIO, _year_hint: float) -> Iterator[LogRecord]:
        if self._seen == {self._plan.file}:  # and not another one that has its name now
            yield from self._noted(taken, self._part_of(taken, file))

    def _part_of(self, taken: Input, file: BinaryIO) -> Iterator[LogRecord]:
        log = self._log(taken, self._plan.year_hint)
        reader, then = log.reader, self._part.then
        self._prime(taken, reader, file)
        yield from log.records(self._counted(blocks(stretch(file, self._part))), 0)
        ended = reader.state
        if then is None or (reader.shape is not None and reader.shape[1].__name__ == then and not ended.exporting):
            yield from reader.close()
            self.exit = reader.state

    def _prime(self, taken: Input, reader: SteadyReader, file: BinaryIO) -> None:
        """Learn what can be known of the log from the lines before the part."""
        begin = self._part.begin
        file.seek(max(0, begin - PRIME))
        file.readline()
        before = Input(taken.given)
        for line in file.read(max(0, begin - file.tell())).split(b"\n")[:-1]:
            record = reader.feed(line)
            if record is not None:
                before.note(record)
        for record in reader.close():
            before.note(record)
        self.entry = reader.state
        self.clock = taken.clock = before.clock
        for name in Tally.__slots__:
            setattr(taken.tally, name, 0)


def stretch(file: BinaryIO, part: Part) -> BinaryIO:
    """The bytes of a part, to be read in blocks."""
    file.seek(part.begin)
    return file if part.end is None else cast("BinaryIO", Stretch(file, part.end))


def read(
    path: str,
    plan: Plan,
    part: Part,
    rulebook: Rulebook,
    now: float,
    tz_offset: float,
    progress: Callable[[int, int], None],
    finders: dict[bool, Find],
    sets: dict[str, Any],
) -> Found | None:
    """Read one part of a log on its own; None if nobody can go on from what came of it.

    The `finders` and `sets` (of the scanner) of this rulebook that are at hand are used, and others added.
    """
    intake = _PartIntake(path, plan, part, finders, rulebook=rulebook, now=now, tz_offset=tz_offset, progress=progress)
    scanner, spans = Scanner(rulebook, sets), Spans()
    intake.begin(scanner, spans)
    clocks = set()
    crash_open = False

    def signals() -> Iterator[Signal]:
        nonlocal crash_open
        for record in spans.watch(intake):
            for signal in scanner.feed(record):
                clocks.add((bool(signal.record.at), bool(signal.record.monotonic)))
                yield signal
        crash_open = scanner.crashes.underway

    timeline = build(signals(), spans)
    if intake.entry is None or intake.exit is None or intake.refused is not None or crash_open or timeline.notices:
        return None
    (taken,) = intake.inputs
    held = sum(len(signal.processes) + len(signal.addresses) for signal in timeline.signals)
    # If lines have different clocks, how bursts go on depends on those before; where many are told apart, who is, too.
    if len(clocks) > 1 or held > ALL // len(plan.parts) or taken.stepped is not None or taken.reason is not None:
        return None
    return Found(taken, timeline.signals, spans, scanner.plain, intake.entry, intake.exit, intake.clock)


def join(found: Found, taken: Input, reader: SteadyReader, scanner: Scanner, spans: Spans) -> bool:
    """Take what was found in a part as if it had been read here; false if that might not be the same.

    Args:
        found: what `read` returned.
        taken: the input so far.
        reader: who read it so far; no record may be open.
        scanner: who scanned it so far.
        spans: what was noted so far.
    """
    here, entry = reader.state, found.entry
    if not here.like(entry) or scanner.crashes.underway or not taken.kernel:
        return False
    names = {entry.names[host]: name for host, name in here.names.items()}
    further = here.boots - entry.boots

    def moved(boot: str | None) -> str | None:
        if boot is None or not boot.startswith("#"):
            return boot
        return names.get(boot) or f"#{int(boot[1:]) + further}"

    lines = here.number - entry.number
    clock = _clock(found, taken, moved)
    heard = found.spans.moved(moved, lines)
    if clock is None or not spans.heard.went_on(heard.heard):
        return False
    (taken.clock,) = clock
    its = found.taken
    for name in ("lines", "records", "kernel", "service"):
        setattr(taken, name, getattr(taken, name) + getattr(its, name))
    for name in Tally.__slots__:
        setattr(taken.tally, name, getattr(taken.tally, name) + getattr(its.tally, name))
    taken.log_like |= its.log_like
    starts = [at for at in (taken.start, its.start) if at is not None]
    ends = [at for at in (taken.end, its.end) if at is not None]
    taken.start, taken.end = min(starts, default=None), max(ends, default=None)
    taken.earliest = min(taken.earliest, its.earliest)
    spans.go_on(heard)
    scanner.adopt((_moved(signal, moved, lines) for signal in found.signals), found.plain)
    left = found.exit
    reader.state = left._replace(
        number=left.number + lines,
        boots=left.boots + further,
        names={host: moved(name) or name for host, name in left.names.items()},
    )
    return True


def _clock(found: Found, taken: Input, moved: Callable[[str | None], str | None]) -> tuple[Clock | None] | None:
    """In a tuple the clock of the input after the part; None if what is known before it would have mattered in it."""
    before, after, here = found.clock, found.taken.clock, taken.clock
    if taken.stepped is not None:
        return (here,)
    if before is None or after is None or here is None:
        return None if before is not after or before is not here else (None,)
    if (before[0], moved(before[1])) != here[:2] or found.taken.earliest < here[2] - STEP_BACK + 1.0:
        return None
    boot = moved(after[1])
    return ((after[0], boot, max(after[2], here[2]) if (after[0], boot) == here[:2] else after[2]),)


def _moved(signal: Signal, moved: Callable[[str | None], str | None], lines: int) -> Signal:
    record = signal.record
    return signal._replace(record=record._replace(boot=moved(record.boot), line=record.line + lines))
