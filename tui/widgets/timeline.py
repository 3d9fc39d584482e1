"""The lines and readings that count, of one incident or of several, in order of time."""

from __future__ import annotations

from collections.abc import Sequence

from tui.facts import Evidence, Incident
from tui.look import Look
from tui.text import Line, Span, padded
from tui.widgets.page import PageRow
from tui.words import clock, witness_words


def timeline_rows(incidents: Sequence[Incident], width: int, look: Look) -> list[PageRow]:
    """Return the log lines and readings that count, in order of time: each line once, with the numbers it bears.

    The number is that of the evidence; `T` is the line that opened the incident.
    """
    lines: dict[tuple[str | None, int | None, str], tuple[Evidence, list[str]]] = {}
    for incident in incidents:
        for item in incident.evidence:
            if item.witness is None or item.state == "unknown" or item.witness.missing is not None:
                continue
            where = (item.witness.origin, item.witness.line, item.witness.text or item.witness.name)
            label = "T" if item.id == "trigger" else f"[{item.number}]"
            lines.setdefault(where, (item, []))[1].append(label)
    found = []
    day = None
    for item, labels in sorted(lines.values(), key=lambda pair: _when(pair[0])):
        witness = item.witness
        assert witness is not None
        if item.at is not None and (today := clock(item.at, day=True)[:10]) != day:
            day = today
            found.append(PageRow((("faint", f"  {day}"),)))
        stamp = clock(item.at, millis=width > 100)
        if item.at is None and witness.monotonic is not None:
            stamp = f"+{witness.monotonic:.3f}s"
        size = max(8, len(stamp)) if item.at is not None else 12
        often = f" x{item.count}" if item.count > 1 else ""
        tags = " ".join(dict.fromkeys(labels))  # several incidents may give a line the same number
        start: list[Span] = [
            ("", f"  {stamp:<{size}} "),
            ("mark", padded(tags, max(6, len(tags)), look) + " "),
        ]
        said = witness_words(witness)
        line: Line = (*start, ("strong" if "T" in labels else "", said), ("faint", often))
        found.append(PageRow(line, f"line {item.number} {witness.origin}:{witness.line}"))
    return found


def _when(item: Evidence) -> tuple[int, float, float]:
    witness = item.witness
    line = float(witness.line or 0) if witness is not None else 0.0
    if item.at is not None:
        return 0, item.at, line
    return 1, (witness.monotonic if witness is not None else None) or 0.0, line
