"""Courses drawn over time: a line of signs, or columns of several lines beside a scale and above the days.

A column holds the mean as a full bar and what it reached at most as a lighter one.  Where nothing was looked at
there is nothing: a gap is a gap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tui.look import Look
from tui.text import Line
from tui.trend import Course
from tui.words import clock

SCALE = 9
"""Columns of the figures at the left of a plot."""
DAY, HOUR = 86400.0, 3600.0
_FINE = " ▁▂▃▄▅▆▇█"
_ASCII = " .o#"

Cell = tuple[float, float]
"""Mean and greatest of a column."""


def columns(course: Course, start: float, end: float, width: int) -> list[Cell | None]:
    """Return mean and greatest of each column, None where nothing was looked at."""
    found: list[list[Cell]] = [[] for _ in range(width)]
    size = max(end - start, 1e-9) / width
    for lay in course.lays:
        first, last = (min(width - 1, int((at - start) // size)) for at in (lay.at, lay.until - 1e-3))
        for column in range(max(0, first), (first if course.counts else max(first, last)) + 1):
            found[column].append((lay.mean, lay.most))
    if course.counts:
        since = next((number for number, cells in enumerate(found) if cells), width)
        rose = [sum(most for _, most in cells) for cells in found]
        return [None if number < since else (most, most) for number, most in enumerate(rose)]
    return [
        (sum(mean for mean, _ in cells) / len(cells), max(most for _, most in cells)) if cells else None
        for cells in found
    ]


def line(cells: Sequence[Cell | None], look: Look) -> str:
    """Return one line of signs, from the lowest mean to the greatest."""
    means = [cell[0] for cell in cells if cell is not None]
    low, high = min(means, default=0.0), max(means, default=0.0)
    signs = "_.:-=+*#" if look.ascii_only else _FINE[1:]
    span = high - low
    return "".join(
        " "
        if cell is None
        else signs[0 if span == 0 else min(len(signs) - 1, int((cell[0] - low) / span * len(signs)))]
        for cell in cells
    )


def bounds(cells: Sequence[Cell | None]) -> Cell:
    """Return the lowest mean and the greatest value of all columns."""
    known = [cell for cell in cells if cell is not None]
    return min((mean for mean, _ in known), default=0.0), max((most for _, most in known), default=0.0)


def plot(
    cells: Sequence[Cell | None], height: int, times: tuple[float, float], say: Callable[[float], str], look: Look
) -> list[Line]:
    """Return `height` lines of columns with a scale, and one of times below.

    Args:
        cells: mean and greatest of each column.
        height: lines of the columns.
        times: UTC epoch seconds of the first column's beginning and the last one's end.
        say: how a value is written on the scale.
        look: how it is drawn.
    """
    low, high = bounds(cells)
    low = 0.0 if low >= 0 and (high == low or low < (high - low) / 2) else low  # a scale begins at nothing where it may
    signs = _ASCII if look.ascii_only else _FINE
    full, steps, span = signs[-1], len(signs) - 1, (high - low) or 1.0
    light = ":" if look.ascii_only else "░"
    wall = look.sign("wall")
    lines: list[Line] = []
    for row in range(height):
        base = height - 1 - row
        drawn = ""
        for cell in cells:
            mean, most = ((value - low) / span * height - base for value in cell) if cell is not None else (-1.0, -1.0)
            part = full if mean >= 1 else signs[int(mean * steps)] if mean > 0 else " "
            if cell is not None and base == 0 and part == " ":
                part = signs[1]  # known, and lowest
            drawn += light if part == " " and most > 0 else part
        words = say(high) if row == 0 else say(low) if row == height - 1 else ""
        lines.append((("faint", f"{words:>{SCALE}} {wall}"), ("", drawn)))
    return [*lines, (("faint", " " * (SCALE + 2) + _axis(times, len(cells))),)]


def _axis(times: tuple[float, float], width: int) -> str:
    """Name the days below the columns in which they begin (or hours, of a short time)."""
    start, end = times
    size = (end - start) / width
    step = next((each for each in (HOUR, 6 * HOUR, DAY, 7 * DAY) if each / size >= 8), 7 * DAY)
    axis = [" "] * width
    at = (start // step + 1) * step
    while at < end:
        words = clock(at)[:5] if step < DAY else clock(at, day=True)[5:10]
        place = int((at - start) / size)
        if place + len(words) <= width:
            axis[place : place + len(words)] = words
        at += step
    return "".join(axis)
