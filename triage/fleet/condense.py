"""Stays of one node that say the same as one: many sweeps weigh no more than the changes between them.

Nothing that is counted moves.  Time heard adds up; and no stay is drawn across a
moment at which "soon after a change" ends, so that each is soon after or long
after as a whole.  `tests/triage/fleet/test_condense.py` holds reports against each other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from triage.fleet.census import Stay
from triage.fleet.gather import Condense
from triage.fleet.hypotheses import Hypotheses


def condense_for(hypotheses: Hypotheses) -> Condense:
    """Return how stays are put together so that these hypotheses cannot tell."""
    within = sorted({h.within for h in hypotheses.all if h.kind == "changed"})
    return lambda stays: condense(stays, within)


def condense(stays: Sequence[Stay], within: Sequence[float]) -> list[Stay]:
    """Return stays of a node, in order, with neighbours put together that have the same facts and parts."""
    ends: list[float] = []
    done: list[Stay] = []
    before: Stay | None = None
    for stay in stays:
        alike = before is not None and _alike(before, stay)
        if before is not None and not alike:
            ends = sorted([*ends, *(stay.start + seconds for seconds in within)])
        before = stay
        if alike and done[-1].heard > 0 and stay.heard > 0 and not _between(ends, done[-1].start, stay.end):
            done[-1] = done[-1]._replace(end=stay.end, heard=done[-1].heard + stay.heard)
        else:
            done.append(stay)
    return done


def _alike(one: Stay, other: Stay) -> bool:
    return (one.facts is other.facts or one.facts == other.facts) and (one.gpus is other.gpus or one.gpus == other.gpus)


def _between(moments: Sequence[float], start: float, end: float) -> bool:
    place = bisect_right(moments, start)
    return place < len(moments) and moments[place] < end
