"""What the lines of a block begin with, found for all lines at once.

A `Layout` says byte by byte how the lines of a stretch of a log begin: which
bytes are always the same (brackets, host, tag), where the date, the clock and
the time since boot stand.  A line that has the layout is a record of its own,
and its times are known, without that anybody has looked at it; what does not
have it to the byte, or holds more than printable ASCII and DEL, is `odd` and must be read.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from probes.named import NamedTuple

LONGEST = 8192
"""Bytes of a line that can do without being read; a longer one may have to be cut."""

_UPTIME = rb"\[ *(?P<seconds>\d{1,8})\.(?P<micro>\d{6})\]"
_CALLER = rb"(?:\[ *[TC]\d{1,8}\])?"
_CLOCK = rb"(?P<clock>\d\d:[0-5]\d:[0-5]\d)"
_KERNEL = rb"(?P<host>[A-Za-z0-9._-]{1,255}) kernel: "

# The shapes of `probes.records_shapes` in which everything stands at fixed places, and the method there that reads it.
_FORMS = tuple(
    (re.compile(form), shape)
    for form, shape in (
        (_UPTIME + rb" " + _KERNEL, "_uptime"),
        (_UPTIME + _CALLER + rb" ", "_uptime"),
        (rb"<[0-7]>" + _UPTIME + _CALLER + rb" ", "_printk"),
        (rb"(?P<date>[A-Z][a-z]{2} [ \d]\d) " + _CLOCK + rb" " + _KERNEL + rb"(?P<tag>" + _UPTIME + rb" |)", "_syslog"),
        (rb"(?P<date>\d{4}-\d\d-\d\d)T" + _CLOCK + rb",(?P<fraction>\d{6})[+-]\d\d:\d\d ", "_iso"),
        (rb"(?P<date>\d{4}-\d\d-\d\d)[T ]" + _CLOCK + rb"(?:\.(?P<fraction>\d{3}|\d{6}))?(?:Z|[+-]\d\d:?\d\d)? "
         + _KERNEL + rb"(?P<tag>" + _UPTIME + rb" |)", "_iso"),
        (rb"\[(?P<date>[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d) " + _CLOCK + rb" (?P<year>\d{4})\] ", "_ctime"),
    )
)  # fmt: skip

_DIGITS = np.uint64(0x0F0F0F0F0F0F0F0F)
_TOP = np.uint64(0x8080808080808080)
_ONE = np.uint64(0x0101010101010101)
_NONE = np.uint64(0)
# Digits become pairs, pairs fours, fours one number: the sum of an earlier part times its weight and of a later one
# stands in the upper half of the product; the distance of that, and what is kept of it.
_JOINED = tuple(
    (np.uint64(weight << shift | 1), np.uint64(shift), np.uint64(kept))
    for weight, shift, kept in (
        (10, 8, 0x00FF00FF00FF00FF),
        (100, 16, 0x0000FFFF0000FFFF),
        (10000, 32, 0x00000000FFFFFFFF),
    )
)
_CLOCK_DIGITS = np.uint64(0x0F0F000F0F000F0F)


_flags = np.empty(1 << 20, np.bool_)


class Layout(NamedTuple):
    """How a line begins.  Places are bytes from its start; `host` is None where the line names none, nor `kernel:`."""

    least: tuple[Any, ...]  # of eight bytes each, the lowest values
    room: tuple[Any, ...]  # and how far the highest are from 127
    open: int | None  # where no bracket may stand, which would begin a time since boot
    host: str | None
    dates: tuple[tuple[int, int], ...]
    clock: int | None
    fraction: tuple[int, int] | None
    uptime: tuple[int, int] | None  # of the seconds, and how many digits they have
    shape: str  # the method of `probes.records_shapes` that reads it
    key: bytes


class Stretch(NamedTuple):
    """Lines of a block that follow each other: the first, and the one after the last.

    `begin` and `stop` are where the first begins and ends; the lines before `sure` may be passed over.
    """

    first: int
    end: int
    begin: int
    stop: int
    odd: bool
    layout: int
    sure: int


class Lines(NamedTuple):
    """The lines of a block.

    `layout` is the index of each line's layout, -1 for none; `odd` says that it
    must be read.  `clock` (microseconds of the day) and `uptime` (microseconds
    since boot) hold where the layout has them.  `same_day` is false where
    the date is not that of the line before.  `falls` are the lines at which a
    clock is lower than at the line before.
    """

    starts: Any
    ends: Any
    layout: Any
    odd: Any
    clock: Any
    uptime: Any
    same_day: Any
    falls: list[int]

    def rising(self, first: int, end: int) -> bool:
        """Whether neither clock falls from one of these lines to the next."""
        place = bisect_right(self.falls, first)
        return place == len(self.falls) or self.falls[place] >= end

    def stretches(self) -> Iterator[Stretch]:
        """The lines in stretches of one layout and day; one that must be read stands alone."""
        odd, layout = self.odd, self.layout
        apart = odd | ~self.same_day
        apart[1:] |= odd[:-1] | (layout[1:] != layout[:-1])
        apart[0] = True
        firsts = np.flatnonzero(apart)
        after = np.append(firsts[1:], len(apart))
        # The last line before one that may go on with it must be read; so must the last of the block.
        sure = after - 1
        sure[:-1] += layout[firsts[1:]] >= 0
        columns = (firsts, after, self.starts[firsts], self.ends[firsts], odd[firsts], layout[firsts], sure)
        return map(Stretch, *(column.tolist() for column in columns))


def ends(values: Any, first: int, end: int) -> tuple[int, int]:
    """Return where the lowest and the highest of these values are."""
    return first + int(values[first:end].argmin()), first + int(values[first:end].argmax())


def before_fall(values: Any, highest: int, most: int) -> int:
    """Return how many of these values come before the first that is `most` lower than one before it or `highest`."""
    if (values[1:] >= values[:-1]).all():
        return len(values) if values[0] >= highest - most else 0
    fallen = np.flatnonzero(values < np.maximum(np.maximum.accumulate(values), highest) - most)
    return int(fallen[0]) if len(fallen) else len(values)


def layout_of(line: bytes) -> Layout | None:
    """Return the layout of a line, or None if its times stand at no fixed place."""
    for form, shape in _FORMS:
        found = form.match(line)
        if found:
            return _layout(found, shape)
    return None


def _layout(found: re.Match[bytes], shape: str) -> Layout:
    groups = found.groupdict()
    begin = found[0]
    low = bytearray(begin)
    high = bytearray(begin)

    def vary(first: int, end: int) -> None:
        for place in range(first, end):
            byte = begin[place]
            for lowest, highest in ((48, 57), (65, 90), (97, 122)):
                if lowest <= byte <= highest:
                    low[place], high[place] = lowest, highest

    for name in ("date", "clock", "year", "fraction", "seconds", "micro"):
        if groups.get(name):
            vary(*found.span(name))
    if begin.startswith(b"<"):
        low[1], high[1] = 48, 55
    caller = re.search(rb"\[ *[TC]\d+\] $", begin)
    if caller:
        for place in range(caller.start() + 1, caller.end() - 2):
            low[place], high[place] = 32, 84
    clock = found.start("clock") if groups.get("clock") else None
    if clock is not None:
        for place in (clock + 3, clock + 6):
            high[place] = 53
    bare = groups.get("tag") == b""
    uptime = (found.start("seconds"), len(groups["seconds"])) if groups.get("seconds") else None
    width = len(low) + 1  # with the byte at which no bracket may stand
    width += -width % 8
    low += bytes(width - len(low))
    high += b"\x7f" * (width - len(high))
    host = groups.get("host")
    return Layout(
        tuple(np.frombuffer(low, "<u8")),
        tuple(np.frombuffer(bytes(127 - byte for byte in high), "<u8")),
        len(begin) if bare else None,
        None if host is None else host.decode(),
        tuple(
            (place, min(8, found.end(name) - place))
            for name in ("date", "year")
            if groups.get(name)
            for place in range(found.start(name), found.end(name), 8)
        ),
        clock,
        found.span("fraction") if groups.get("fraction") else None,
        uptime,
        shape,
        bytes(low + high),
    )


def study(block: memoryview, layouts: Sequence[Layout], found: Sequence[int]) -> Lines:
    """Look at all lines of a block.

    Args:
        block: whole lines, the last one with its newline.
        layouts: how lines may begin.
        found: the places (their ends) of phrases that make a line worth reading, in any order.
    """
    data = np.frombuffer(block, np.uint8)
    size = len(data)
    # Fresh memory for each block would cost more than all that is done with it.
    if len(_flags) < size:
        _flags.resize(size, refcheck=False)
    # Control characters and, as negative numbers, what is not ASCII.  DEL is left: it is only spelt in another way.
    np.less(data.view(np.int8), np.int8(32), out=_flags[:size])
    special = _places(_flags[:size])
    kinds = data[special]
    newline = kinds == 10
    ends = special[newline]
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    odd = (ends - starts) > LONGEST
    foreign: Any = None
    if len(ends) != len(special):
        strange = ~newline
        ended = np.zeros_like(newline)
        ended[:-1] = newline[1:] & (special[1:] == special[:-1] + 1)
        strange &= ~((kinds == 13) & ended)  # the end of a line as some consoles write it
        foreign = np.searchsorted(ends, special[strange])
    if found:
        odd[np.searchsorted(ends, np.asarray(found, np.int64) - 1)] = True
    count = len(starts)
    lines = Lines(
        starts,
        ends,
        np.full(count, -1, np.int8),
        odd,
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.ones(count, np.bool_),
        [],
    )
    rest: Any = None  # the lines without a layout so far; None for all
    for index, layout in enumerate(layouts):
        rest = _assign(data, lines, rest, index, layout)
        if not len(rest):
            break
    if foreign is not None:
        lines.layout[foreign] = -1
    np.logical_or(odd, lines.layout < 0, out=odd)
    for times in (lines.clock, lines.uptime):
        lines.falls.extend((np.flatnonzero(times[1:] < times[:-1]) + 1).tolist())
    lines.falls.sort()
    return lines


def _places(flags: Any) -> Any:
    """Where flags are set; `flatnonzero`, but for few flags far apart."""
    whole = len(flags) & ~7
    words = flags[:whole].view("<u8")
    some = np.flatnonzero(words != _NONE)
    word = words[some]
    if (word & (word - np.uint64(1))).any():  # two flags in eight bytes
        return np.flatnonzero(flags)
    # A product that has the number of the one byte that is set in its top byte.
    places = some * 8 + (word * np.uint64(0x0001020304050607) >> np.uint64(56)).astype(np.int64)
    return np.concatenate((places, whole + np.flatnonzero(flags[whole:]))) if whole < len(flags) else places


def _assign(data: Any, lines: Lines, rest: Any, index: int, layout: Layout) -> Any:
    """Give the lines that have this layout what it says of them; return the others."""
    fit = int(np.searchsorted(lines.starts, len(data) - 8 * len(layout.least), "right"))
    tried: Any = slice(0, fit) if rest is None else rest[rest < fit]  # a slice, while it is all of them, costs nothing
    begins = lines.starts[tried]
    if not len(begins):
        return np.arange(len(lines.starts)) if rest is None else rest
    right: Any = None
    wrong: Any = None
    row = _heads(data, begins, len(layout.least))
    for word, least, room in zip(row, layout.least, layout.room, strict=True):
        if least + room == _TOP - _ONE:  # the same bytes in every line
            same = word == least
            right = same if right is None else np.logical_and(right, same, out=right)
            continue
        # The top bit of a byte tells: set by the first sum where it is too high, not by the second where it is too low.
        high = word | _TOP
        high -= least
        np.invert(high, out=high)
        high |= word + room
        wrong = high if wrong is None else np.bitwise_or(wrong, high, out=wrong)
    if wrong is not None:
        wrong &= _TOP
        fits = wrong == _NONE
        right = fits if right is None else np.logical_and(right, fits, out=right)
    if layout.open is not None:
        right &= data[begins + layout.open] != 0x5B
    if not right.all():
        tried = np.flatnonzero(right) if rest is None else tried[right]
        if not len(tried):
            return np.arange(len(lines.starts)) if rest is None else rest
        row = [word[right] for word in row]
    lines.layout[tried] = index
    if layout.uptime is not None:
        place, digits = layout.uptime
        uptime = _number(_part(row, place), digits)
        uptime *= 1_000_000
        uptime += _number(_part(row, place + digits + 1), 6)
        lines.uptime[tried] = uptime
    if layout.clock is not None:
        clock = _day_time(_part(row, layout.clock))
        clock *= 1_000_000
        if layout.fraction is not None:
            first, end = layout.fraction
            clock += _number(_part(row, first), end - first) * 10 ** (6 - end + first)
        lines.clock[tried] = clock
    for place, size in layout.dates:
        date = _part(row, place) & np.uint64((1 << 8 * size) - 1)
        changed = np.flatnonzero(date[1:] != date[:-1]) + 1
        if len(changed):
            lines.same_day[changed if isinstance(tried, slice) else tried[changed]] = False
    if len(row[0]) == len(lines.starts if rest is None else rest):
        return np.empty(0, np.int64)
    return np.flatnonzero(lines.layout < 0)


def _part(row: list[Any], place: int) -> Any:
    """The eight bytes of each line from a place on, of which the first eights are known."""
    index, bits = place // 8, np.uint64(8 * (place % 8))
    if not bits:
        return row[index]
    low = row[index] >> bits
    return low | row[index + 1] << (np.uint64(64) - bits) if index + 1 < len(row) else low


def _heads(data: Any, begins: Any, words: int) -> list[Any]:
    """The first bytes of the lines that begin at these places, in so many words of eight bytes."""
    # All at once, because what costs time is to come to the places.
    every = np.ndarray((len(data) + 1 - 8 * words,), f"V{8 * words}", data, 0, (1,))
    return list(np.ascontiguousarray(every[begins].view("<u8").reshape(-1, words).T))


def _number(word: Any, digits: int) -> Any:
    """The decimal numbers that the first bytes of these words (at most eight) spell."""
    word = word << np.uint64(64 - 8 * digits)
    word &= _DIGITS
    for factor, shift, kept in _JOINED:
        word *= factor
        word >>= shift
        word &= kept
    return word.view(np.int64)


def _day_time(word: Any) -> Any:
    """Seconds of the day of `HH:MM:SS`."""
    word = word & _CLOCK_DIGITS
    word = word * np.uint64(10) + (word >> np.uint64(8))
    times = word & np.uint64(0xFF)  # hours
    times *= np.uint64(60)
    times += word >> np.uint64(24) & np.uint64(0xFF)
    times *= np.uint64(60)
    times += word >> np.uint64(48) & np.uint64(0xFF)
    return times.view(np.int64)
