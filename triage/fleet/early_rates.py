"""Counters that grow faster than those of the peers, or than they did themselves.

All of a GPU's time is held against its peers; its last steps are held against
those before them, from each step on, for nobody knows when a board began to fail.
The same is done with time running backwards, in which nothing wears out: what
stands out there is what chance does in this fleet, whatever law the bursts of its
errors follow, and the chances are taken no smaller than that.  What all boards
count more or less at some time is taken out before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from probes.named import NamedTuple
from triage.fleet.early_laws import OUTLIERS, Steps, honest, law, rates
from triage.fleet.early_past import Pace, Past, steps
from triage.fleet.early_values import DAY, Seen, Sign, Signs

FINE = 8
"""So many last steps are each tried as the beginning; of more, those a quarter further back each time."""


class Compared(NamedTuple):
    """GPUs that stand out and how likely that is, so with time backwards; comparisons made; how many were left out."""

    found: list[tuple[float, Seen]]
    backwards: list[tuple[float, str]]
    tests: int
    alone: int
    reason: str


class _Grown(NamedTuple):
    """What a counter grew by, in seconds at the fleet's usual pace.

    `sums` are count and seconds of the first none, one, two ... steps; `lasted` is how long each was by the clock.
    """

    of: str
    gpu: str
    node: str
    at: float
    steps: Steps
    sums: Steps
    lasted: Sequence[float]

    @property
    def whole(self) -> tuple[float, float]:
        """Count and seconds of all of it."""
        return self.sums[-1]

    def apart(self, late: int, backwards: bool) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return count and seconds before and after a change, of which there are so many steps."""
        (count, seconds), (whole, time) = self.sums[late if backwards else -1 - late], self.sums[-1]
        rest = whole - count, time - seconds
        return (rest, (count, seconds)) if backwards else ((count, seconds), rest)

    def before(self, late: int, backwards: bool) -> Steps:
        """Return the steps before a change."""
        return self.steps[late:] if backwards else self.steps[:-late]

    def after(self, late: int, backwards: bool) -> Steps:
        """Return the steps after it."""
        return self.steps[:late] if backwards else self.steps[-late:]


def compare(by_gpu: Mapping[str, Past], sign: Sign, signs: Signs) -> Compared:
    """Compare one counter of all GPUs, model by model."""
    alike: dict[tuple[str, str], dict[str, list[tuple[float, float, float]]]] = {}
    alone = 0
    for gpu, past in by_gpu.items():
        grown = steps(past, sign)
        if grown is None:
            alone += 1
        else:
            alike.setdefault((grown[0], past.model), {})[gpu] = grown[1]
    result = Compared([], [], 0, 0, f"fewer than two readings, or fewer than {signs.peers} GPUs of the model")
    tests = 0
    for (name, _), told in alike.items():
        if len(told) < signs.peers:
            alone += len(told)
            continue
        pace = Pace(list(told.values()))
        group = [_grown(name, gpu, by_gpu[gpu], own, pace) for gpu, own in told.items()]
        tests += len(group)
        result.found.extend(_beside_peers(group, sign))
        tests += _beside_past(group, sign, result)
    return result._replace(tests=tests, alone=alone)


def _grown(name: str, gpu: str, past: Past, told: Sequence[tuple[float, float, float]], pace: Pace) -> _Grown:
    own = [(count, pace.seconds(start, end)) for count, start, end in told]
    sums = [(0.0, 0.0), *accumulate(own, lambda one, other: (one[0] + other[0], one[1] + other[1]))]
    return _Grown(name, gpu, past.node, past.latest[-1][0], own, sums, [end - start for _, start, end in told])


def _beside_peers(group: Sequence[_Grown], sign: Sign) -> Iterator[tuple[float, Seen]]:
    told = [_lasting(sign, grown.steps) for grown in group]
    rate = _rate(sorted(told, key=_speed))
    usual = law([(count, rate * seconds) for count, seconds in told])
    for grown, (count, seconds) in zip(group, told, strict=True):
        mean = rate * seconds
        if count >= sign.at_least and count >= sign.lift * mean:
            whole = rate * grown.whole[1]
            yield usual.chance(count, mean), _seen(sign, grown, "peers", len(grown.steps), whole, len(group))


def _lasting(sign: Sign, told: Steps) -> tuple[float, float]:
    """Return count and seconds of these steps, without the worst of a sign that has to last: one bad day is none."""
    count, seconds = sum(count for count, _ in told), sum(seconds for _, seconds in told)
    if sign.lasting and len(told) > 1:
        worst = max(told)
        return count - worst[0], seconds - worst[1]
    return count, seconds


def _rate(wholes: Sequence[tuple[float, float]]) -> float:
    """Return what all but the fastest count a second; these are the last."""
    kept = wholes[: len(wholes) - max(1, round(len(wholes) * OUTLIERS))]
    return max(sum(count for count, _ in kept), 0.5) / sum(seconds for _, seconds in kept)


def _beside_past(group: Sequence[_Grown], sign: Sign, result: Compared) -> int:
    """Add who left his own past, in both directions of time, and return how many comparisons that were."""
    longest = max(len(grown.steps) for grown in group)
    beginnings = [late for late in _beginnings(longest) if late > sign.lasting]
    if not beginnings or all(grown.whole[0] < sign.at_least for grown in group):
        return sum(sum(1 for late in beginnings if late < len(grown.steps)) for grown in group)
    usual = rates([grown.steps for grown in group])
    tests = 0
    for late in beginnings:
        tried = [grown for grown in group if late < len(grown.steps)]
        tests += len(tried)
        sides: list[list[tuple[float, Seen]]] = []
        for backwards in (False, True):
            side: list[tuple[float, Seen]] = []
            for grown in tried:
                (was, time), (count, seconds) = grown.apart(late, backwards)
                if count < sign.at_least or count * time < sign.lift * (was - 3 * was**0.5) * seconds:
                    continue
                whole = seconds
                count, seconds = _lasting(sign, grown.after(late, backwards))
                if count < sign.at_least:
                    continue
                before = grown.before(late, backwards)
                mean, chance = usual.expected(grown.steps, before, seconds, late - sign.lasting, count)
                if count >= sign.lift * mean:
                    side.append((chance, _seen(sign, grown, "past", late, mean * whole / seconds, len(group))))
            sides.append(side)
        power = honest([chance for chance, _ in sides[1]], len(tried))
        result.found.extend((chance**power, seen) for chance, seen in sides[0])
        result.backwards.extend((chance**power, seen.gpu) for chance, seen in sides[1])
    return tests


def _speed(told: tuple[float, float]) -> float:
    return told[0] / told[1]


def _beginnings(longest: int) -> Iterator[int]:
    late = 1
    while late < longest:
        yield late
        late = late + 1 if late < FINE else late + late // 4


def _seen(sign: Sign, grown: _Grown, against: str, late: int, mean: float, peers: int) -> Seen:
    """Say what the last so many steps counted, where so much was expected."""
    usual = "its peers" if against == "peers" else "its own past and its peers"
    count, seconds = sum(step[0] for step in grown.steps[-late:]), sum(grown.lasted[-late:])
    says = f"{count:.0f} {sign.named} in {seconds / DAY:.1f} days, where {usual} ({peers} GPUs) let expect {mean:.2g}"
    return Seen(sign, grown.of, grown.gpu, grown.node, against, grown.at, count, mean, None, None, says)
