"""Probabilities as bars, one per family, with the number beside each: a bar alone says too little."""

from __future__ import annotations

from triage.render.words import number
from tui.facts import Verdict
from tui.look import Look
from tui.text import Line, Span, padded, width_of

FAMILY = 9
"""Columns of a family's name; `hardware` and `workload` are the longest."""
_CELL = 26
_LONGEST = 50


def bar(share: float, width: int, look: Look) -> Span:
    """Return a bar of exactly `width` columns."""
    full = max(0, min(width, round(share * width)))
    return "strong" if share >= 0.5 else "", look.sign("full") * full + look.sign("empty") * (width - full)


def sure(verdict: Verdict, look: Look) -> Span:
    """Return four signs of how sure a verdict is, and the number; brackets while it is undetermined."""
    if verdict.confidence is None:
        return "unknown", "?"
    full = next((n for limit, n in ((0.95, 4), (0.80, 3), (0.60, 2)) if verdict.confidence >= limit), 1)
    signs = look.sign("full") * full + look.sign("empty") * (4 - full)
    return "", f"{signs} {number(verdict.confidence)}"


def compact(verdict: Verdict, width: int, look: Look) -> list[Line]:
    """Return all families side by side in as few lines as they fit."""
    shares = ranked(verdict)
    columns = max(1, width // _CELL)
    size = width // columns
    lines: list[Line] = []
    for place in range(0, len(shares), columns):
        spans: list[Span] = []
        for family, share in shares[place : place + columns]:
            room = max(3, min(_LONGEST, size - FAMILY - 7))
            spans += [("", padded(family, FAMILY, look)), bar(share, room, look), ("", f" {number(share):<6}")]
        lines.append(tuple(spans))
    return lines


def full(verdict: Verdict, width: int, look: Look) -> list[Line]:
    """Return one line per family with the causes that it is made of."""
    lines: list[Line] = []
    room = max(8, min(_LONGEST, width - FAMILY - 8 - 30))
    for family, share in ranked(verdict):
        start: list[Span] = [
            ("", padded(family, FAMILY + 1, look)),
            bar(share, room, look),
            ("", f" {number(share):<6}"),
        ]
        leaves = [
            f"{leaf.partition('.')[2]} {number(part)}"
            for leaf, part in sorted(verdict.by_leaf.items(), key=lambda pair: (-pair[1], pair[0]))
            if leaf.startswith(f"{family}.") and part >= 0.005
        ]
        words = ""
        for leaf in leaves:
            if width_of(start) + len(words) + len(leaf) + 2 <= width:
                words += f"{leaf}  "
        lines.append((*start, ("faint", words.rstrip(" "))))
    return lines


def ranked(verdict: Verdict) -> list[tuple[str, float]]:
    """Return the families, most probable first; the leading one with the (capped) figure of the verdict."""
    shares = dict(verdict.by_family)
    if verdict.confidence is not None and verdict.lead_family in shares:
        shares[verdict.lead_family] = min(shares[verdict.lead_family], verdict.confidence)
    return sorted(shares.items(), key=lambda pair: (-verdict.by_family[pair[0]], pair[0]))
