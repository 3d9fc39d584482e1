"""Fits the confidence that is shown to how often verdicts were right, and says whether that helps.

Only decided verdicts count; one on an incident whose cause nobody found counts as wrong.
Two curves are tried on cases that they have not seen: an isotonic one (pooled adjacent
violators, each block counted as if it had one more right and one more wrong verdict) and
one that stretches the log odds above the threshold of a verdict.  The better is
proposed only if it lowers the calibration error by `WORTH`, does not raise the Brier
score, and makes no wrong verdict a confident one: a curve that trades honest doubt for a
smaller figure is worse than none.  Where hardly any verdict was wrong nothing can be
learned about doubt, and none is proposed: rules that have been mended until they fit
these cases are right more often here than elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import exp, log

from probes.named import NamedTuple
from triage.figures import CONFIDENT, calibration_error
from triage.fit import FOLDS, Study, outcomes, split, thread
from triage.rulebook.model import Rulebook
from triage.verdict import shown

WORTH = 0.005
"""Calibration error by which a curve must be better to be worth a table."""
LEAST_WRONG = 5
"""Wrong verdicts without which no curve is proposed."""
STEEPEST = 2.0
"""Slope of the log odds beyond which no curve goes: rules are righter on what they were mended with than elsewhere."""
STEPS, BENDS = 40, 10
EDGE = 1e-6
UNKNOWN = "unknown"
"""The cause of an incident whose cause nobody found, in a corpus."""
Pair = tuple[float, bool]
"""A computed confidence and whether the verdict was right."""
Table = tuple[tuple[float, float], ...]


class Quality(NamedTuple):
    """How good confidences were on verdicts that they were not fitted to."""

    error: float
    brier: float
    confident_wrong: int


class Calibration(NamedTuple):
    """What was found.  `table` is the proposed curve, fitted to all cases; empty if none is worth it."""

    verdicts: int
    wrong: int
    as_shown: Quality
    tried: dict[str, Quality]
    chosen: str | None
    table: Table


def calibrate(rulebook: Rulebook, read: Sequence[Study], folds: int = FOLDS) -> Calibration:
    """Fit both curves by cross-validation and choose."""
    plain = rulebook._replace(calibration=())
    said = outcomes(plain, read)
    groups = split([thread(study.case) for study in read], folds)
    pairs = [
        ((o.raw, o.known and o.result == "right"), group)
        for o, group in zip(said, groups, strict=True)
        if (o.known or o.cause == UNKNOWN) and o.leaf in rulebook.causes
    ]
    curves: dict[str, Callable[[Sequence[Pair]], Table]]
    curves = {"isotonic": isotonic, "stretched": partial(stretched, at_least=rulebook.at_least)}
    everything = [pair for pair, _ in pairs]

    def held_out(fitted: Callable[[Sequence[Pair]], Table]) -> Quality:
        found: list[Pair] = []
        for number in range(folds):
            table = fitted([pair for pair, group in pairs if group != number])
            curve = plain._replace(calibration=table)
            found += [(shown(raw, curve), right) for (raw, right), group in pairs if group == number]
        return quality(found)

    as_shown = quality([(shown(raw, plain), right) for raw, right in everything])
    tried = {name: held_out(curve) for name, curve in curves.items()}
    wrong = sum(not right for _, right in everything)
    better = [name for name, found in tried.items() if wrong >= LEAST_WRONG and _better(found, as_shown)]
    chosen = min(better, key=lambda name: tried[name].error, default=None)
    return Calibration(
        len(everything),
        wrong,
        as_shown,
        tried,
        chosen,
        curves[chosen](everything) if chosen else (),
    )


def quality(said: Sequence[Pair]) -> Quality:
    """Return how good these confidences were; nothing said is nothing wrong."""
    if not said:
        return Quality(0.0, 0.0, 0)
    return Quality(
        calibration_error(said) or 0.0,
        sum((confidence - right) ** 2 for confidence, right in said) / len(said),
        sum(confidence >= CONFIDENT and not right for confidence, right in said),
    )


def isotonic(said: Sequence[Pair]) -> Table:
    """Return the rising curve closest to what happened, as knots; empty without verdicts."""
    equal: dict[float, tuple[int, int]] = {}
    for raw, hit in sorted(said):
        right, count = equal.get(raw, (0, 0))
        equal[raw] = (right + hit, count + 1)
    blocks: list[tuple[float, int, int]] = []  # sum of what was computed, right ones, all
    for raw, (right, count) in equal.items():
        blocks.append((raw * count, right, count))
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][2] >= blocks[-1][1] * blocks[-2][2]:
            upper, lower = blocks.pop(), blocks.pop()
            blocks.append((lower[0] + upper[0], lower[1] + upper[1], lower[2] + upper[2]))
    return _rising([(total / count, (right + 1) / (count + 2)) for total, right, count in blocks])


def stretched(said: Sequence[Pair], at_least: float) -> Table:
    """Return the curve that leaves what is not decided as it is, and from `at_least` on stretches the log odds.

    One slope is fitted, that of the least log loss, and at most `STEEPEST`.
    """
    if not said:
        return ()
    base = _logit(at_least)

    def level(raw: float, slope: float) -> float:
        return raw if raw < at_least else _sigmoid(base + slope * (_logit(raw) - base))

    def loss(slope: float) -> float:
        return -sum(log(level(raw, slope) if right else 1 - level(raw, slope)) for raw, right in said)

    slope = min((STEEPEST * n / STEPS for n in range(STEPS + 1)), key=loss)
    higher = [at_least + (1 - at_least) * n / BENDS for n in range(BENDS)]
    return _rising([(0.0, 0.0), *((raw, level(raw, slope)) for raw in higher), (1.0, 1.0)])


def _better(found: Quality, than: Quality) -> bool:
    return (
        found.error <= than.error - WORTH
        and found.brier <= than.brier
        and found.confident_wrong <= than.confident_wrong
    )


def _rising(knots: Sequence[tuple[float, float]]) -> Table:
    """Round the knots and keep them strictly rising in what is computed, never falling in what is shown."""
    table: list[tuple[float, float]] = []
    for raw, level in knots:
        knot = (round(raw, 4), round(max(level, table[-1][1] if table else 0.0), 4))
        if not table or knot[0] > table[-1][0]:
            table.append(knot)
    if len(table) == 1:  # everything pooled: one level whatever was computed
        return ((0.0, table[0][1]), (1.0, table[0][1]))
    return tuple(table)


def _sigmoid(x: float) -> float:
    return min(max(1 / (1 + exp(-min(max(x, -60.0), 60.0))), 1e-12), 1 - 1e-12)


def _logit(raw: float) -> float:
    bounded = min(max(raw, EDGE), 1 - EDGE)
    return log(bounded / (1 - bounded))
