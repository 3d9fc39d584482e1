"""What a person does after a verdict: what would settle it, what ends a known bug, which actions go with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from triage.model import Evidence, Step
from triage.rulebook.model import Action, Rule, Rulebook
from triage.verdict import families, probabilities, sums

TELLS = 0.02
"""Probability that the leading family must win or lose for a question to be worth a person's time."""

REMEDY_RISK = "reboots-node"
"""What it takes to load another driver version."""


def to_settle(
    rule: Rule, evidence: Sequence[Evidence], by_family: Mapping[str, float], rulebook: Rulebook
) -> tuple[str, ...]:
    """Return what a person can find out, the one that could move the leading family furthest first."""
    leading = next(iter(by_family))
    items = {item.id: item for item in rule.evidence}
    moves: list[tuple[float, str]] = []
    base = sums(evidence)
    for unread in evidence:
        item = items.get(unread.id)
        if unread.state != "unknown" or item is None or unread.settle is None:
            continue
        answers = [item.points, item.otherwise.points if item.otherwise else {}]
        shift = 0.0
        for points in answers:
            moved = dict(base)
            for leaf, value in points.items():
                moved[leaf] = moved.get(leaf, 0) + value
            shift = max(shift, abs(families(probabilities(moved, rulebook), rulebook)[leading] - by_family[leading]))
        if shift >= TELLS:
            moves.append((-shift, unread.settle))
    return tuple(dict.fromkeys(text for _, text in sorted(moves, key=lambda move: move[0])))


def remedies(evidence: Sequence[Evidence], family: str, rulebook: Rulebook) -> Iterator[Step]:
    """Yield what ends a known bug, where the verdict is what the bug speaks for."""
    for item in evidence:
        leaf = max(item.points, key=item.points.__getitem__, default=None)
        if item.do is not None and leaf is not None and rulebook.causes[leaf].family == family:
            yield Step(item.do, REMEDY_RISK, rulebook.causes[leaf].owner)


def steps(rule: Rule, family: str, leaf: str, leading: str, rulebook: Rulebook) -> tuple[Step, ...]:
    """Return the actions for the verdict, those naming the leaf before those naming the family."""
    chosen: list[Action] = []
    for wanted in dict.fromkeys((leaf, family)):
        chosen.extend(action for action in rule.actions if action.for_ == wanted)
    cause = rulebook.causes[leaf if leaf in rulebook.causes else leading]
    return tuple(Step(action.do, action.risk, cause.owner) for action in chosen)
