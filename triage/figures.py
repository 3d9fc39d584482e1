"""What the outcomes of a labelled corpus amount to: shares, macro-averages, reliability and scores.

Shares are of the wholes they are named after and None where there was nothing to count.
The Brier score is that of the decided verdicts: the mean squared gap between the shown
confidence and being right (1) or wrong (0).  The log loss is of all known cases with an
incident, on the probability that all accepted leaves hold together, decided or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import log
from typing import Any

from probes.named import NamedTuple
from triage.model import UNDETERMINED

CONFIDENT = 0.9
"""A wrong verdict at this confidence or more is a confident wrong one."""
BINS = 10
FLOOR = 1e-4
"""Least probability in the log loss, so that one case cannot outweigh all others."""


class Outcome(NamedTuple):
    """What was said of one case, and how good that was.

    `named` is the probability that the accepted leaves hold together, None
    without an incident; `raw` the confidence before calibration and cap.
    """

    id: str
    cause: str
    accepted: tuple[str, ...]
    known: bool
    grade: str
    result: str
    leaf: str
    leading: str
    confidence: float
    top1: bool
    summary: str
    why: tuple[str, ...]
    named: float | None = None
    raw: float = 0.0


class Bin(NamedTuple):
    """One bin of the reliability table: verdicts whose confidence lies in [low, high), or at 1."""

    low: float
    high: float
    count: int  # type: ignore[assignment]  # shadows tuple.count
    said: float
    right: float


class Share(NamedTuple):
    """The figures of one cause class."""

    known: int
    decided: int
    right: int
    top1: int


class Figures(NamedTuple):
    """The figures over a corpus."""

    known: int
    decided: int
    right: int
    wrong: int
    missed: int
    crashed: int
    accuracy: float | None
    coverage: float | None
    right_of_all: float | None
    top1: float | None
    confident_wrong: int | None
    unknown_left_open: float | None
    calibration_error: float | None
    skipped: int
    brier: float | None = None
    log_loss: float | None = None
    classes: Mapping[str, Share] = {}
    macro_accuracy: float | None = None
    macro_coverage: float | None = None
    macro_right_of_all: float | None = None
    macro_top1: float | None = None
    bins: tuple[Bin, ...] = ()


def figures(outcomes: Iterable[Outcome]) -> Figures:
    """Count."""
    cases = list(outcomes)
    run = [o for o in cases if o.result != "skipped"]
    known = [o for o in run if o.known]
    decided = [o for o in known if is_decided(o)]
    right = [o for o in decided if o.result == "right"]
    wrong = [o for o in decided if o.result == "wrong"]
    unknown = [o for o in run if o.cause == "unknown"]
    left_open = [o for o in unknown if o.leaf in (UNDETERMINED, "-")]
    named = [o for o in decided if o.leaf not in ("-", UNDETERMINED)]
    losses = [-log(max(o.named, FLOOR)) for o in known if o.named is not None]
    classes = _classes(known)
    spread = classes.values()
    return Figures(
        known=len(known),
        decided=len(decided),
        right=len(right),
        wrong=len(wrong),
        missed=sum(o.result == "missed" for o in known),
        crashed=sum(o.result == "crashed" for o in run),
        accuracy=_share(len(right), len(decided)),
        coverage=_share(len(decided), len(known)),
        right_of_all=_share(len(right), len(known)),
        top1=_share(sum(o.top1 for o in known), len(known)),
        confident_wrong=sum(o.confidence >= CONFIDENT for o in wrong),
        unknown_left_open=_share(len(left_open), len(unknown)),
        calibration_error=calibration_error([(o.confidence, o.result == "right") for o in named]),
        skipped=len(cases) - len(run),
        brier=_mean([(o.confidence - (o.result == "right")) ** 2 for o in named]),
        log_loss=_mean(losses),
        classes=classes,
        macro_accuracy=_mean([c.right / c.decided for c in spread if c.decided]),
        macro_coverage=_mean([c.decided / c.known for c in spread]),
        macro_right_of_all=_mean([c.right / c.known for c in spread]),
        macro_top1=_mean([c.top1 / c.known for c in spread]),
        bins=reliability([(o.confidence, o.result == "right") for o in named]),
    )


def is_decided(outcome: Outcome) -> bool:
    """Return whether a case was answered: a cause was named, or rightly nothing was found."""
    return outcome.result == "right" or (outcome.result == "wrong" and outcome.leaf != "-")


def reliability(said: Sequence[tuple[float, bool]]) -> tuple[Bin, ...]:
    """Sort (confidence, was right) into ten bins; empty ones are left out."""
    bins: dict[int, list[tuple[float, bool]]] = {}
    for confidence, right in said:
        bins.setdefault(min(BINS - 1, int(confidence * BINS)), []).append((confidence, right))
    return tuple(
        Bin(
            number / BINS,
            (number + 1) / BINS,
            len(members),
            sum(confidence for confidence, _ in members) / len(members),
            sum(right for _, right in members) / len(members),
        )
        for number, members in sorted(bins.items())
    )


def calibration_error(said: Sequence[tuple[float, bool]]) -> float | None:
    """Return the expected calibration error: the gap of confidence and share right, by size of the bin."""
    if not said:
        return None
    return sum(b.count * abs(b.said - b.right) for b in reliability(said)) / len(said)


def as_json(result: Figures) -> dict[str, Any]:
    """Return the figures as JSON values."""
    return {
        **result._asdict(),
        "classes": {name: share._asdict() for name, share in result.classes.items()},
        "bins": [b._asdict() for b in result.bins],
    }


def _classes(known: Iterable[Outcome]) -> dict[str, Share]:
    found: dict[str, Share] = {}
    for o in known:
        old = found.get(o.cause, Share(0, 0, 0, 0))
        found[o.cause] = Share(
            old.known + 1,
            old.decided + is_decided(o),
            old.right + (o.result == "right"),
            old.top1 + o.top1,
        )
    return dict(sorted(found.items()))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
