"""Lines of styled text made harmless and fitted to columns; the only place where foreign text becomes a strip.

Text stays text: nothing here, and nothing that draws, reads markup or obeys an
escape sequence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip

from triage.render.safe import cells, cut, safe
from tui.look import Look, style

Span = tuple[str, str]
"""Style names and foreign or own text."""
Line = tuple[Span, ...]

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"))


class Whole(Strip):
    """A line of the screen that keeps no reference to itself.

    Textual's strip puts itself into its own cache when it is drawn in one piece.  Thousands of such circles a second
    are left to the garbage collector, which then holds up a key by tens of milliseconds.
    """

    __slots__ = ()

    def divide(self, cuts: Iterable[int]) -> Sequence[Strip]:
        """Return the pieces between these columns."""
        places = list(cuts)
        return [self] if places == [self.cell_length] else super().divide(places)


def whole(strips: Iterable[Strip]) -> list[Strip]:
    """Return lines as a widget hands them on, without circles."""
    return [Whole(strip, strip.cell_length) for strip in strips]


def width_of(line: Iterable[Span]) -> int:
    """Return the columns that a line of safe text takes."""
    return sum(cells(text) for _, text in line)


def clean(text: str, look: Look) -> str:
    """Return foreign text harmless, on one line, and as wide as the terminal library takes it to be."""
    shown = safe(text, ascii_only=look.ascii_only)
    if shown.isascii() or cell_len(shown) == cells(shown):
        return shown
    # Letters that join others (Hangul jamo, flags): terminals disagree about them, and a line must not shift.
    return "".join(char if cell_len(char) == cells(char) == 1 else safe(char, ascii_only=True) for char in shown)


def clipped(text: str, width: int, look: Look) -> str:
    """Return foreign text, harmless and at most `width` columns wide, with a mark where it was cut."""
    # A visible character takes at least one column, so what follows is never seen.
    shown = clean(text[: width + 1], look)
    if cells(shown) <= width:
        return shown
    if width <= 0:
        return ""
    return (cut(shown, width - 1)[0] if width > 1 else "") + look.sign("cut")


def padded(text: str, width: int, look: Look, right: bool = False) -> str:
    """Return foreign text exactly `width` columns wide."""
    shown = clipped(text, width, look)
    blank = " " * (width - cells(shown))
    return blank + shown if right else shown + blank


def fit(line: Iterable[Span], width: int, look: Look) -> Line:
    """Return the line harmless and cut to `width` columns."""
    fitted: list[Span] = []
    left = width
    for names, text in line:
        if left <= 0:
            break
        shown = clipped(text, left, look)
        left -= cells(shown)
        fitted.append((names, shown))
    return tuple(fitted)


def wrap(line: Iterable[Span], width: int, look: Look, hang: int = 0, most: int = 0) -> list[Line]:
    """Return the line broken at blanks, later lines indented by `hang`; of more than `most` lines the first, marked."""
    lines: list[Line] = []
    current: list[Span] = []
    used, indent, fresh, ends_blank = 0, 0, True, False
    for names, text in line:
        for place, word in enumerate(clean(text, look).split(" ")):
            gap = 1 if place else 0
            size = cells(word)
            broken = gap or ends_blank
            if not fresh and broken and used + gap + size > width:
                lines.append(tuple(current))
                current, used, indent, fresh, gap = [("", " " * hang)], hang, hang, True, 0
            if gap:
                word, size = f" {word}", size + 1
            while used + size > width and width > indent:
                room = width - used
                if room > 0:
                    head, word = cut(word, room)
                    current.append((names, head))
                lines.append(tuple(current))
                current, used, indent, size = [("", " " * hang)], hang, hang, cells(word)
            current.append((names, word))
            used, fresh, ends_blank = used + size, False, not word.strip(" ")
    lines.append(tuple(current))
    if most and len(lines) > most:
        last = fit(lines[most - 1], width - 1, look)
        marked = last if last != lines[most - 1] else (*last, ("faint", look.sign("cut")))
        lines = [*lines[: most - 1], marked]
    return lines


def strip(line: Iterable[Span], width: int, look: Look, base: str = "") -> Strip:
    """Return the line as exactly `width` columns in the theme's styles, each on top of `base`."""
    fitted = fit(line, width, look)
    segments = [Segment(text, style(look.theme, f"{names} {base}")) for names, text in fitted if text]
    blank = width - width_of(fitted)
    if blank > 0:
        segments.append(Segment(" " * blank, style(look.theme, base)))
    return Strip(segments, width)


def both(left: Sequence[Span], right: Sequence[Span], width: int, look: Look) -> Line:
    """Return a line with one part at its left and one at its right edge; the right one is kept whole."""
    ending = fit(right, width, look)
    room = width - width_of(ending)
    start = fit(left, max(0, room - 1), look)
    return (*start, ("", " " * (room - width_of(start))), *ending)


def heading(title: str, note: str, width: int, look: Look, focused: bool = False) -> Line:
    """Return the line that starts a section: `-- title  note ------`."""
    rule = look.sign("rule")
    words: list[Span] = [("faint", rule * 2 + " "), ("head bar" if focused else "head", title)]
    if note:
        words += [("", "  "), ("", note)]
    words = list(fit(words, width - 1, look))
    return (*words, ("faint", " " + rule * max(0, width - 1 - width_of(words))))


def age(seconds: float | None) -> str:
    """Return a span of time in at most four characters: `38s`, `4m`, `22h`, `3d`; `?` if unknown."""
    if seconds is None:
        return "?"
    seconds = max(0.0, seconds)
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{min(int(seconds // size), 999)}{unit}"
    return f"{int(seconds)}s"
