"""The sum behind a verdict, line by line: prior, what each group of evidence moved, and what decided.

A column is a cause; causes that never mattered share the last one.  Each group is one
line of points, for within a group only the strongest counts per cause, followed by the
probabilities that hold up to there.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from triage.model import UNDETERMINED, Evidence, Incident
from triage.rulebook.model import Points, Rule, Rulebook
from triage.verdict import LEAF_SHARE, carriers, counted, decide, decisive, families, probabilities, shown, sums

MOST_COLUMNS = 6
SHOWN = 0.05
"""Probability that a cause must reach somewhere along the sum to get a column of its own."""
LABEL = 22
WIDTH = 10
TEXT = 100


def incident_text(incident: Incident, rulebook: Rulebook) -> str:
    """Return the sum behind the verdict of one incident."""
    head = [incident.summary, f"rule {incident.rule} version {incident.rule_version}, {incident.severity}"]
    if incident.explains:
        head.append(f"explains {len(incident.explains)} more: {'; '.join(incident.explains)}")
    return "\n".join([*head, "", *_sum(incident.evidence, rulebook)])


def rule_text(rule: Rule, rulebook: Rulebook) -> str:
    """Return what a rule says on its trigger alone, and what each of its questions would then change."""
    opening = _asked("trigger", "trigger", rule.trigger.points, "seen", rule.trigger.why)
    lines = [f"{rule.id}: {rule.title}", "on the trigger alone:", "", *_sum((opening,), rulebook), ""]
    lines.append("and with one more answer:")
    for item in rule.evidence:
        answers = [("seen", item.points, item.why)]
        if item.otherwise is not None:
            answers.append(("quiet", item.otherwise.points, item.otherwise.why))
        for state, points, why in answers:
            verdict = decide(counted((opening, _asked(item.id, item.group, points, state, why))), rulebook)
            leaf = next(iter(verdict.by_leaf))
            outcome = f"decided, {verdict.leaf}" if verdict.leaf else f"open, {leaf} leads"
            lines.append(f"  {item.id} {state}: {outcome} at {verdict.confidence:.2f} ({_moves(points)})")
    return "\n".join(lines)


def _asked(name: str, group: str, points: Points, state: str, why: str) -> Evidence:
    return Evidence(name, group, state, points, {}, why)


def _sum(evidence: Sequence[Evidence], rulebook: Rulebook) -> Iterator[str]:
    groups = list(dict.fromkeys(e.group for e in evidence if e.points))
    steps: list[tuple[str, Mapping[str, int], Mapping[str, float]]] = []
    before: dict[str, int] = {}
    for number, group in enumerate(groups, 1):
        now = sums([e for e in evidence if e.group in groups[:number]])
        shift = {leaf: now.get(leaf, 0) - before.get(leaf, 0) for leaf in now}
        steps.append((group, shift, probabilities(now, rulebook)))
        before = now
    prior = probabilities({}, rulebook)
    columns = _columns([prior, *(shares for _, _, shares in steps)])
    yield _row("", [_short(leaf) for leaf in columns] + ["others"])
    yield _shares("prior", columns, prior)
    for group, moved, shares in steps:
        members = [e for e in evidence if e.group == group]
        yield _row(f"+ {group}", [f"{moved.get(leaf, 0):+d}" if moved.get(leaf) else "." for leaf in columns])
        elsewhere = {leaf: value for leaf, value in moved.items() if value and leaf not in columns}
        if elsewhere:
            yield f"    others: {_moves(elsewhere)}"
        for e in members:
            yield from _member(e)
        yield _shares("  makes", columns, shares)
    silent = [e for e in evidence if e.group not in groups]
    if silent:
        yield ""
        yield "moved nothing:"
        for e in silent:
            yield f"  {e.id}: {e.state}{f', {e.reason}' if e.reason else ''}"
    yield ""
    yield from _conditions(evidence, rulebook)


def _member(e: Evidence) -> Iterator[str]:
    name = "" if e.id == e.group else f"{e.id} "
    state = e.state if e.count == 1 else f"{e.state} {e.count} times"
    behind = "" if e.counted or not e.points else ", stands behind a stronger one of its group"
    reason = f", {e.reason}" if e.reason else ""
    yield from textwrap.wrap(
        f"{name}{state}{behind}{reason}: {e.why}",
        TEXT,
        initial_indent="    ",
        subsequent_indent="      ",
    )


def _conditions(evidence: Sequence[Evidence], rulebook: Rulebook) -> Iterator[str]:
    by_leaf = probabilities(sums(evidence), rulebook)
    by_family = families(by_leaf, rulebook)
    family, share = next(iter(by_family.items()))
    leaf = next(name for name in by_leaf if rulebook.causes[name].family == family)
    verdict = decide(evidence, rulebook)
    carrying = carriers(evidence, rulebook, family, share)
    alone = decisive(evidence, rulebook, leaf)
    held = by_leaf[leaf] / share
    listed = ", ".join(f"{name} {value:.3f}" for name, value in list(by_family.items())[:4])
    yield f"families: {listed}"
    yield f"  {_met(share >= rulebook.at_least)} {family} holds {share:.3f}; {rulebook.at_least:.2f} is needed"
    yield f"  {_met(held >= LEAF_SHARE)} {leaf} holds {held:.3f} of its family; {LEAF_SHARE:.2f} is needed"
    enough = len(carrying) >= rulebook.independent_groups
    groups = f"{len(carrying)} ({', '.join(carrying)})" if carrying else "0"
    yield f"  {_met(enough or alone)} groups that carry it: {groups}; {rulebook.independent_groups} are needed"
    if alone:
        yield "      or one decisive item, which there is"
    if verdict.family == UNDETERMINED:
        yield f"verdict: {UNDETERMINED}; {leaf} leads"
    else:
        yield f"verdict: {verdict.leaf}"
    how = "as computed" if shown(share, rulebook) == share else "after calibration and cap"
    yield f"confidence: {verdict.confidence:.3f} {how}"


def _met(condition: bool) -> str:
    return "yes" if condition else "NO "


def _columns(rows: Iterable[Mapping[str, float]]) -> list[str]:
    """Return the causes that matter, those most probable at the end first."""
    listed = list(rows)
    peak = {leaf: max(row[leaf] for row in listed[1:] or listed) for leaf in listed[-1]}
    chosen = [leaf for leaf in listed[-1] if peak[leaf] >= SHOWN]
    return chosen[:MOST_COLUMNS]


def _shares(label: str, columns: Sequence[str], shares: Mapping[str, float]) -> str:
    rest = sum(value for leaf, value in shares.items() if leaf not in columns)
    return _row(label, [f"{shares[leaf]:.3f}" for leaf in columns] + [f"{rest:.3f}"])


def _row(label: str, cells: Sequence[str]) -> str:
    return f"{label:<{LABEL}}{''.join(f'{cell:>{WIDTH}}' for cell in cells)}".rstrip()


def _short(leaf: str) -> str:
    return leaf.rpartition(".")[2][: WIDTH - 1]


def _moves(points: Points) -> str:
    ranked = sorted(points.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{leaf} {value:+d}" for leaf, value in ranked)
