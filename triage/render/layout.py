"""Lines of a given width from styled words; the only place that breaks a line."""

from __future__ import annotations

from collections.abc import Iterable

from probes.named import NamedTuple
from triage.render.color import Paint, plain
from triage.render.safe import cells, cut, safe

NARROWEST = 40
"""Columns below which a line is no longer legible; narrower terminals wrap by themselves."""

Span = tuple[str, str]
"""A style and foreign or own text; made safe when it is laid out."""


class Look(NamedTuple):
    """How text is drawn: columns, colour, and whether nothing beyond ASCII may be printed."""

    width: int = 100
    paint: Paint = plain
    ascii_only: bool = False


def fill(look: Look, spans: Iterable[Span], indent: str = "", hang: str | None = None) -> list[str]:
    """Return the spans, a blank between each, as lines that start with `indent`, the later ones with `hang`."""
    rest = indent if hang is None else hang
    width = max(look.width, NARROWEST)
    lines: list[str] = []
    line, used, fresh = indent, len(indent), True
    for style, foreign in spans:
        for word in safe(foreign, ascii_only=look.ascii_only).split(" "):
            size = cells(word)
            if not fresh and used + 1 + size <= width:
                line, used = f"{line} {look.paint(style, word)}", used + 1 + size
                continue
            if not fresh:
                lines.append(line.rstrip(" "))
                line, used = rest, len(rest)
            while used + cells(word) > width:
                head, word = cut(word, width - used)
                lines.append(line + look.paint(style, head))
                line, used = rest, len(rest)
            line, used, fresh = line + look.paint(style, word), used + cells(word), False
    lines.append(line.rstrip(" "))
    return lines


def at_most(lines: list[str], most: int) -> list[str]:
    """Return the lines, or the first of them and a mark that says that some are not shown."""
    if len(lines) <= most:
        return lines
    indent = lines[most - 1][: len(lines[most - 1]) - len(lines[most - 1].lstrip(" "))]
    return [*lines[:most], f"{indent}[...]"]
