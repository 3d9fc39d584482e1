"""The rulebook in plain words, for `gpu-triage rules list` and `rules show`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as Several
from typing import Any

from triage.rulebook.model import (
    Absent,
    Clause,
    Count,
    Delta,
    Fact,
    Item,
    KnownBug,
    Metric,
    Points,
    Rule,
    Rulebook,
    Seen,
    Select,
    Sequence,
    SignalPattern,
    Spread,
)

WIDTH = 100
"""Columns that text is wrapped to."""

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"), (1.0, "s"), (0.001, "ms"))
_SAME = {"gpu": "on the same GPU", "node": "on this node", "pci-path": "on the way to this GPU"}
_WHEN = {"before": " before the trigger", "after": " after the trigger", "near": ""}
_KINDS = {"gpu": "GPUs", "node": "nodes", "process": "programs", "boot": "boots", "driver-load": "loads of the driver"}


def list_text(rulebook: Rulebook) -> str:
    """Return one line for each rule: id, version, status, severity, scope, title, and what a site changed."""
    rows = [("RULE", "VERSION", "STATUS", "SEVERITY", "SCOPE", "TITLE")]
    for rule in sorted(rulebook.rules):
        origin = f" [{rulebook.origins[rule.id]}]" if rule.id in rulebook.origins else ""
        rows.append((rule.id, str(rule.version), rule.status, rule.severity, rule.scope, rule.title + origin))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)


def list_json(rulebook: Rulebook) -> dict[str, Any]:
    """Return the same as JSON values, with the digest of the whole rulebook; `site` is what a site changed, or null."""
    listed = [
        {
            "id": rule.id,
            "version": rule.version,
            "status": rule.status,
            "severity": rule.severity,
            "scope": rule.scope,
            "title": rule.title,
            "evidence": len(rule.evidence),
            "tests": len(rule.tests),
            "site": rulebook.origins.get(rule.id),
        }
        for rule in sorted(rulebook.rules)
    ]
    return {"schema_version": 1, "kind": "rules", "digest": rulebook.digest, "rules": listed}


def show_text(rulebook: Rulebook, rule_id: str) -> str:
    """Return everything that one rule says.

    Raises:
        KeyError: if there is no such rule.
    """
    rule = {rule.id: rule for rule in rulebook.rules}[rule_id]
    patterns = {pattern.id: pattern for pattern in rulebook.signals}
    return "\n".join(_rule(rule, rulebook, patterns)) + "\n"


def duration(seconds: float) -> str:
    """Return seconds the way a rule file writes them: `90s`, `10m`, `7d`."""
    for size, unit in _UNITS:
        if seconds >= size and abs(seconds / size - round(seconds / size)) < 1e-6:
            return f"{round(seconds / size)}{unit}"
    return f"{seconds:g}s"


def clause_text(clause: Clause, patterns: Mapping[str, SignalPattern]) -> str:
    """Return what a clause asks, in words."""
    if isinstance(clause, Metric):
        return f"{clause.of} is {_limit(clause.at_least, clause.at_most, clause.is_)}"
    if isinstance(clause, Delta):
        return f"{clause.of} rose by {_limit(clause.at_least, clause.at_most)} over {duration(clause.over)}"
    if isinstance(clause, Fact):
        return f"{clause.name} matches {' or '.join(clause.globs)}"
    if isinstance(clause, KnownBug):
        return f"the loaded driver has a known bug of {clause.leaf} that shows like the trigger"
    if isinstance(clause, Sequence):
        often = f", {clause.at_least} times" if clause.at_least > 1 else ""
        first, then = _select(clause.first, patterns), _select(clause.then, patterns)
        return f"{first}, then {then} within {duration(clause.within)} {_SAME[clause.same]}{often}"
    what = _select(clause.select, patterns)
    if isinstance(clause, Seen):
        often = f"at least {clause.at_least} of " if clause.at_least > 1 else ""
        within = f", within {duration(clause.within)}" if clause.within is not None else ""
        return f"{often}{what} {_SAME[clause.same]}{_WHEN[clause.when]}{within}"
    if isinstance(clause, Count):
        fold = f", {duration(clause.fold)} folded into one" if clause.fold else ""
        limit = _limit(clause.at_least, clause.at_most)
        return f"{what} {_SAME[clause.same]}: {limit} in {duration(clause.over)}{fold}"
    if isinstance(clause, Absent):
        return f"no {what} {_SAME[clause.same]} for {duration(clause.over)}"
    return _spread(clause, what)


def _spread(clause: Spread, what: str) -> str:
    kinds = _KINDS.get(clause.across, f"{clause.across}s")
    alike = f" with the same {' and '.join(clause.alike)}" if clause.alike else ""
    within = " of this node" if clause.within else ""
    lift = f", {clause.lift:g} times the rate of the rest" if clause.lift is not None else ""
    limit = _limit(clause.at_least, clause.at_most)
    return f"{what} over {limit} {kinds}{within}{alike} in {duration(clause.over)}{lift}"


def _limit(at_least: float | None, at_most: float | None, word: str | None = None) -> str:
    if word is not None:
        return word
    parts = [f"{text} {value:g}" for text, value in (("at least", at_least), ("at most", at_most)) if value is not None]
    return " and ".join(parts) or "any number of"


def _select(select: Select, patterns: Mapping[str, SignalPattern]) -> str:
    parts = ["the trigger"] if select.trigger else []
    if select.xids:
        parts.append(f"Xid {_or(map(str, select.xids))}")
    own = [patterns[name] for name in select.signals if "/" in name and name in patterns]
    named = [name for name in select.signals if "/" not in name]
    if named:
        parts.append(f"signal {_or(named)}")
    parts.extend(f"a line of {_writer(pattern)} that matches '{pattern.match}'" for pattern in own)
    where = " and ".join(f"{field} ~ '{regex}'" for field, regex in select.where.items())
    return " or ".join(parts) + (f" where {where}" if where else "")


def _writer(pattern: SignalPattern) -> str:
    if pattern.programs:
        return _or(pattern.programs)
    return {"kernel": "the kernel", "service": "a program", "any": "kernel or program"}[pattern.source]


def _or(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def _points(points: Points) -> str:
    """Return what moves, the furthest first: `for hardware.link +2; against workload -4`."""
    ranked = sorted(points.items(), key=lambda pair: (-abs(pair[1]), pair[0]))
    gains = ", ".join(f"{leaf} +{value}" for leaf, value in ranked if value > 0)
    losses = ", ".join(f"{leaf} {value}" for leaf, value in ranked if value < 0)
    sides = [f"for {gains}" if gains else "", f"against {losses}" if losses else ""]
    return "; ".join(side for side in sides if side) or "moves nothing"


def _rule(rule: Rule, rulebook: Rulebook, patterns: Mapping[str, SignalPattern]) -> Iterator[str]:
    yield f"{rule.id}: {rule.title}"
    scope = {"gpu": "GPU", "node": "node"}[rule.scope]
    yield f"version {rule.version}, {rule.status}, {rule.severity}, about one {scope}"
    yield ""
    yield from _wrapped(rule.summary, "")
    yield ""
    yield "OPENS ON"
    for clause in rule.trigger.any:
        yield from _wrapped(_opening(clause, patterns), "  ", "    ")
    yield from _wrapped(rule.trigger.why, "    ")
    yield from _wrapped(_points(rule.trigger.points), "    ", "      ")
    if rule.suppress:
        yield ""
        yield "UNLESS"
        for suppress in rule.suppress:
            yield from _wrapped(clause_text(suppress.clause, patterns), "  ", "    ")
            yield from _wrapped(suppress.why, "    ")
    yield ""
    yield f"EVIDENCE, from {duration(rule.look_before)} before to {duration(rule.look_after)} after"
    for item in rule.evidence:
        yield from _item(item, patterns)
    if rule.explains:
        yield ""
        yield "EXPLAINS"
        yield from _wrapped(", ".join(rule.explains), "  ")
    yield ""
    yield "WHAT TO DO"
    for action in rule.actions:
        owners = {c.owner for c in rulebook.causes.values() if action.for_ in (c.leaf, c.family)}
        yield f"  {action.for_} ({', '.join([action.risk, *sorted(owners)])})"
        yield from _wrapped(action.do, "    ")
    yield from _references(rule)
    yield ""
    tests = "1 test" if len(rule.tests) == 1 else f"{len(rule.tests)} tests"
    origin = f"; {rulebook.origins[rule.id]}" if rule.id in rulebook.origins else ""
    yield f"{tests}; file {rule.place.path}{origin}"


def _opening(clause: Clause, patterns: Mapping[str, SignalPattern]) -> str:
    """What opens an incident, without where: it is what says where."""
    return _select(clause.select, patterns) if isinstance(clause, Seen) else clause_text(clause, patterns)


def _item(item: Item, patterns: Mapping[str, SignalPattern]) -> Iterator[str]:
    group = f" [{item.group}]" if item.group != item.id else ""
    severity = f", then {item.severity}" if item.severity else ""
    yield f"  {item.id}{group}{severity}"
    yield from _wrapped(clause_text(item.clause, patterns), "    ", "      ")
    yield from _wrapped(item.why, "    ")
    yield from _wrapped(_points(item.points), "    ", "      ")
    if item.otherwise is not None:
        yield from _wrapped(f"else: {item.otherwise.why}", "    ", "      ")
        yield from _wrapped(_points(item.otherwise.points), "      ")
    if item.settle is not None:
        yield from _wrapped(f"if unread: {item.settle}", "    ", "      ")


def _references(rule: Rule) -> Iterator[str]:
    if rule.references:
        yield ""
        yield "REFERENCES"
    for reference in rule.references:
        used = [item.id for item in rule.evidence if reference.id in item.ref]
        whole: Several[str] = ["trigger", *used] if reference.id in rule.trigger.ref else used
        yield from _wrapped(f"{reference.title} ({', '.join(whole) or 'background'})", "  ", "    ")
        yield f"    {reference.url}"


def _wrapped(text: str, indent: str, further: str | None = None) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent if further is None else further,
        break_long_words=False,
        break_on_hyphens=False,
    )
