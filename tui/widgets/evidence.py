"""The evidence of an incident as blocks of a page: for, against, checked and quiet, could not check."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from triage.render.words import number
from tui.facts import Evidence, Incident
from tui.look import Look
from tui.text import Line, Span, heading, padded, width_of, wrap
from tui.widgets.page import PageRow
from tui.words import clock, points, points_short, swing, witness_place, witness_words

BRIEF_MOST = 3
"""Items shown of a list on a low screen unless it is opened; the rest is counted."""
LONG_MOST = 8
_BRIEF = 100
"""Columns from which two moves of an item are shown, not only the one that matters most."""
_MOVES = 0.03
"""Share by which an answer must move the verdict to be named."""
_CAP = 0.97
_DECIDES = 0.80


def key(item: Evidence) -> str:
    """Return the key of an item's block."""
    return f"evidence {item.number}"


def section(title: str, rows: Iterable[PageRow], width: int, look: Look, note: str = "") -> list[PageRow]:
    """Return rows below a heading; an empty section says so rather than vanish."""
    return [PageRow(heading(title, note, width, look)), *rows]


def nothing(text: str) -> list[PageRow]:
    """Return the row of a section that is empty for a reason."""
    return [PageRow((("faint", f"  {text}"),))]


def rows(incident: Incident, width: int, look: Look, *, brief: bool, opened: bool) -> list[PageRow]:
    """Return all evidence below four headings.  `brief` is one line an item, `opened` hides none."""
    family = incident.verdict.lead_family
    seen = [item for item in incident.evidence if item.state == "seen"]
    quiet = [item for item in incident.evidence if item.state == "quiet"]
    unknown = _by_reason([item for item in incident.evidence if item.state not in ("seen", "quiet")])
    most = len(incident.evidence) if opened else BRIEF_MOST if brief else LONG_MOST
    found: list[PageRow] = []
    for bearing, style in (("for", "for"), ("against", "against")):
        items = [item for item in seen if item.bearing == bearing]
        note = "1 point doubles the odds" if bearing == "for" else ""
        listed = _items(items, family, width, look, style, brief)
        found += section(f"for {family}" if bearing == "for" else f"against {family}", listed or nothing("none found"),
                         width, look, note)  # fmt: skip
    neutral = [item for item in seen if item.bearing not in ("for", "against")]
    if neutral:
        listed = _items(neutral, family, width, look, "", brief)
        found += section(f"seen, neither for nor against {family}", listed, width, look)
    found += section("checked and quiet", _some(quiet, most, family, width, look, brief), width, look, _many(quiet))
    return found + section(
        "could not check", _some(unknown, most, family, width, look, brief), width, look, _many(unknown)
    )


def _by_reason(items: Sequence[Evidence]) -> list[Evidence]:
    """Items of one reason together, the reasons in the order of the weightiest item that they keep from us."""
    reasons = list(dict.fromkeys(item.reason for item in items))
    return sorted(items, key=lambda item: reasons.index(item.reason))


def _many(items: Sequence[Evidence]) -> str:
    return str(len(items)) if items else ""


def _some(items: Sequence[Evidence], most: int, family: str, width: int, look: Look, brief: bool) -> list[PageRow]:
    if not items:
        return nothing("nothing")
    listed: list[PageRow] = []
    reason = None
    unknown = items[0].state not in ("seen", "quiet")
    for item in items[:most]:
        if unknown and item.reason != reason:
            reason = item.reason
            listed += [PageRow(line) for line in wrap([("faint", f"  {reason or 'no reason given'}:")], width, look, 4)]
        listed += _items([item], family, width, look, "faint" if not unknown and not item.points else "", brief)
    if len(items) > most:
        listed.append(PageRow((("faint", f"      {len(items) - most} more that weigh less; z shows all"),), "more"))
    return listed


def _items(items: Iterable[Evidence], family: str, width: int, look: Look, style: str, brief: bool) -> list[PageRow]:
    return [row for item in items for row in _item(item, family, width, look, style, brief)]


def _item(item: Evidence, family: str, width: int, look: Look, style: str, brief: bool) -> list[PageRow]:
    moved = points_short(item, family, 1 if width < _BRIEF else 2)
    if item.state == "unknown":
        moved = f"?{moved}"
    room = 13 if width < _BRIEF else 22
    mark = f" [{item.number}]"
    start: list[Span] = [("mark", f"{mark:<6}"), (style, padded(moved, room, look) + " ")]
    why = item.why
    if item.state == "quiet" and not item.points:
        why = f"not so: {why}"
    often = f" ({item.count} times)" if item.count > 1 else ""
    aside = "" if item.counted else f" (not counted: a stronger one in '{item.group}' is)"
    line: Line = (*start, (style, why), ("faint", often + aside))
    if brief:
        return [PageRow(line, key(item))]
    return [PageRow(each, key(item)) for each in wrap(line, width, look, width_of(start))]


def _moves(item: Evidence) -> dict[str, int]:
    return dict(item.would_be if item.state == "unknown" else item.points)


def detail(item: Evidence, incident: Incident, width: int, look: Look) -> list[Line]:
    """Return everything about one item: the sentence, the witness, where it stands, what it moves."""
    lines = wrap([("mark", f"[{item.number}] "), ("strong", item.why)], width, look, 4)
    if item.witness is not None:
        quoted: list[Span] = [("", f"    {look.sign('wall')} "), ("", witness_words(item.witness))]
        lines += wrap(quoted, width, look, 6, most=2)
    facts = [f"{item.state}, rule {incident.rule} item {item.id}"]
    if item.witness is not None:
        facts.insert(0, witness_place(item.witness, item.at))
        if item.at is not None and item.witness.kind == "log":
            facts.insert(1, clock(item.at, day=True) + "Z")
    if item.reason is not None:
        facts.append(item.reason)
    lines += wrap([("faint", "    " + "; ".join(facts))], width, look, 4)
    said = points(_moves(item), incident.verdict.lead_family)
    if said and item.state == "unknown":
        said = f"if seen: {said}"
    return lines + wrap([("", f"    {said or 'moves nothing'}")], width, look, 4) + _swing(item, incident, width, look)


def _swing(item: Evidence, incident: Incident, width: int, look: Look) -> list[Line]:
    turned = would_change(item, incident)
    return wrap([("", f"    {turned}")], width, look, 4) if turned else []


def would_change(item: Evidence, incident: Incident) -> str | None:
    """Return in words what the verdict would be were an unread item seen, None if that changes little."""
    verdict = incident.verdict
    turned = swing(verdict, item.would_be) if item.state == "unknown" else None
    if turned is None:
        return None
    family, share = turned
    cap = max(_CAP, verdict.confidence or 0.0)
    share, now = min(share, cap), min(verdict.by_family.get(verdict.lead_family, 0.0), cap)
    if family == verdict.lead_family and abs(share - now) < _MOVES:
        return None
    ahead = f"{family} {number(share)}" + ("" if share >= _DECIDES else ", too little to decide")
    return f"if seen: about {ahead} (now {verdict.lead_family} {number(now)})"
