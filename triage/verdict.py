"""The weighing: from answered evidence to one cause, or to `undetermined`.

Every cause starts at its prior; each point doubles or halves its odds.  Within
a group only the strongest member counts per cause, because what rests on the
same fact must not be counted twice.  Nothing else happens here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from triage.model import SEVERITIES, UNDETERMINED, Evidence, Verdict
from triage.rulebook.model import Rulebook

LEAF_SHARE = 0.6
"""Of a family's probability, what one leaf must hold before the verdict names it."""
MOVED = 0.01
"""A group moved the balance if without it the family would be this much less probable."""


def counted(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """Mark the evidence that a stronger member of its group stands for.

    A member counts if it is, for at least one cause, the strongest of its group.
    """
    items = tuple(evidence)
    best: dict[tuple[str, str], tuple[int, int]] = {}
    for place, item in enumerate(items):
        for leaf, points in item.points.items():
            if abs(points) > best.get((item.group, leaf), (0, 0))[0]:
                best[item.group, leaf] = (abs(points), place)
    winners = {place for _, place in best.values()}
    return tuple(item._replace(counted=place in winners or not item.points) for place, item in enumerate(items))


def sums(evidence: Sequence[Evidence], without: str | None = None) -> dict[str, int]:
    """Return the points per cause, the strongest of each group, leaving one group out if asked."""
    best: dict[tuple[str, str], int] = {}
    for item in evidence:
        if item.group == without:
            continue
        for leaf, points in item.points.items():
            if abs(points) > abs(best.get((item.group, leaf), 0)):
                best[item.group, leaf] = points
    totals: dict[str, int] = {}
    for (_, leaf), points in best.items():
        totals[leaf] = totals.get(leaf, 0) + points
    return totals


def probabilities(points: Mapping[str, int], rulebook: Rulebook) -> dict[str, float]:
    """Return the probability of every leaf, most probable first; ties keep the order of the causes."""
    odds = {leaf: cause.prior * 2.0 ** points.get(leaf, 0) for leaf, cause in rulebook.causes.items()}
    total = sum(odds.values())
    return dict(sorted(((leaf, value / total) for leaf, value in odds.items()), key=lambda pair: -pair[1]))


def families(by_leaf: Mapping[str, float], rulebook: Rulebook) -> dict[str, float]:
    """Add the leaves up to families, most probable first."""
    by_family: dict[str, float] = {}
    for leaf, value in by_leaf.items():
        family = rulebook.causes[leaf].family
        by_family[family] = by_family.get(family, 0.0) + value
    return dict(sorted(by_family.items(), key=lambda pair: -pair[1]))


def shown(share: float, rulebook: Rulebook) -> float:
    """Return the confidence that is shown for a computed probability: by the calibration if there is one, capped."""
    table = rulebook.calibration
    if table:
        place = min(max(bisect_right(table, (share, 1.0)), 1), len(table) - 1)
        (low, at_low), (high, at_high) = table[place - 1], table[place]
        inside = min(max(share, low), high)
        share = at_low + (at_high - at_low) * (inside - low) / (high - low)
    return min(share, rulebook.cap)


def carriers(evidence: Sequence[Evidence], rulebook: Rulebook, family: str, share: float) -> tuple[str, ...]:
    """Return the groups without which the family would be less probable, in the order they were asked."""
    groups = dict.fromkeys(item.group for item in evidence if item.points)
    without = {group: families(probabilities(sums(evidence, group), rulebook), rulebook) for group in groups}
    return tuple(group for group in groups if share - without[group][family] > MOVED)


def spare(evidence: Sequence[Evidence], rulebook: Rulebook, family: str) -> bool:
    """Return whether the family would still reach `at_least` without any one group, so that no group alone decides.

    Where all speak for it strongly, none is missed, and so none counts as carrying it.
    """
    if rulebook.independent_groups > 2:
        return False
    groups = dict.fromkeys(item.group for item in evidence if item.points)
    without = (families(probabilities(sums(evidence, group), rulebook), rulebook) for group in groups)
    return all(shares[family] >= rulebook.at_least for shares in without) and bool(groups)


def decisive(evidence: Iterable[Evidence], rulebook: Rulebook, leaf: str) -> bool:
    """Return whether one item alone may decide for the leaf."""
    return any(item.points.get(leaf, 0) >= rulebook.decisive for item in evidence)


def decide(evidence: Sequence[Evidence], rulebook: Rulebook) -> Verdict:
    """Weigh the evidence.

    A family is named if it holds `at_least`, if one leaf holds `LEAF_SHARE` of
    it, and if enough independent groups carried it there, no one group is needed
    or one item was decisive; otherwise the verdict is `undetermined`.
    """
    by_leaf = probabilities(sums(evidence), rulebook)
    by_family = families(by_leaf, rulebook)
    family = next(iter(by_family))
    share = by_family[family]
    leaf = next(name for name in by_leaf if rulebook.causes[name].family == family)
    carrying = carriers(evidence, rulebook, family, share)
    decided = (
        share >= rulebook.at_least
        and by_leaf[leaf] >= LEAF_SHARE * share
        and (
            len(carrying) >= rulebook.independent_groups
            or decisive(evidence, rulebook, leaf)
            or spare(evidence, rulebook, family)
        )
    )
    confidence = shown(share, rulebook)
    if not decided:
        return Verdict(UNDETERMINED, None, confidence, by_family, by_leaf)
    return Verdict(family, leaf, confidence, by_family, by_leaf)


def status(open_severities: Iterable[str], readable: Sequence[bool]) -> str:
    """Return the status of a node: its worst open incident's, else whether all its sources could be read."""
    worst = max((SEVERITIES.index(severity) for severity in open_severities), default=0)
    if worst > 0:
        return SEVERITIES[worst]
    return "ok" if readable and all(readable) else "unknown"
