"""The laws by which counters of many boards scatter: about their peers, and about their own past.

Against the peers: two laws are fitted to what the boards counted, gamma-Poisson
and a log-normal tail, and the one that is surprised less is believed.

Against the past: each board has a rate of its own, and how often which rate
occurs is told by the fleet itself without a formula (Kiefer and Wolfowitz, Annals of
Mathematical Statistics 27, 1956); errors come in bursts, whose size the boards
that count much tell.  What a board counted before leaves only some rates likely,
and by those the later count is judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, erfc, exp, floor, inf, lgamma, log, log1p, sqrt
from statistics import NormalDist

from probes.named import NamedTuple

Steps = Sequence[tuple[float, float]]
"""What a counter grew by, and the seconds in which it did."""
OUTLIERS = 0.01
"""Share of the fastest counters that do not shape the law; the sick must not make sickness usual."""
TAIL, ENOUGH = 0.1, 80
"""Share of the GPUs that tell how the fastest thin out, and how many GPUs that takes."""
GRID, ROUNDS = 40, 60
"""Rates that a board may have, and how often it is asked again how usual each is."""
COUNTED, TELL_BURSTS = 10, 30
"""Errors that a board must count, and how many such boards there must be, to tell how errors come in bursts."""
BURSTS = 1.0
"""How even the steps of a board are (the shape of a gamma law) where the fleet does not tell."""
SIZES = tuple(0.005 * 1.4**i for i in range(25))
"""How many times its usual count a step may have: from a two-hundredth to sixteen times."""
MOST_STEPS = 2000
"""Steps that are asked how often which of these occurs."""
CURED = 0.001
"""Share of the fleet that may have been cured within the time looked at: it stands out when time runs backwards."""


class Law(NamedTuple):
    """How counts scatter about what is expected of them: a gamma law of this shape, and a log-normal tail.

    The tail is of the ratio of both, told by its `middle` and `spread` (natural logarithms; none if the spread is 0).
    """

    shape: float
    middle: float = 0.0
    spread: float = 0.0

    def chance(self, count: float, mean: float) -> float:
        """Return how likely so much or more is, by the less surprised of both."""
        beyond = 0.0
        if self.spread > 0 and count > 0:
            beyond = erfc((log(count / (mean + 1)) - self.middle) / self.spread / sqrt(2)) / 2
        return max(more(count, mean, self.shape), beyond)


def law(told: Sequence[tuple[float, float]]) -> Law:
    """Fit the law to (count, mean), by moments and without those that are furthest above their means."""
    ordered = sorted(told, key=lambda pair: pair[0] / (pair[1] + 1))
    kept = ordered[: len(ordered) - max(1, round(len(ordered) * OUTLIERS))]
    beyond = sum((count - mean) ** 2 - mean for count, mean in kept)
    square = sum(mean**2 for _, mean in kept)
    shape = min(100.0, max(0.05, square / beyond)) if beyond > 0 else 100.0
    low, high = kept[round(len(kept) * (1 - TAIL)) - 1], kept[-1]
    if len(told) < ENOUGH or low[0] <= 0:
        return Law(shape)
    below, above = (log(count / (mean + 1)) for count, mean in (low, high))
    usual = NormalDist()
    spread = (above - below) / (usual.inv_cdf(1 - OUTLIERS) - usual.inv_cdf(1 - TAIL))
    return Law(shape, below - spread * usual.inv_cdf(1 - TAIL), spread)


def more(count: float, mean: float, shape: float) -> float:
    """Return P(X >= count) for a gamma-Poisson X of this mean."""
    if count <= 0 or mean <= 0:
        return 1.0 if count <= 0 else 0.0
    share = mean / (mean + shape)
    first, total = int(count), 0.0
    term = exp(_log_chance(first, mean, shape))
    for i in range(first, first + 1_000_000):
        total += term
        term *= share * (i + shape) / (i + 1)
        if term < total * 1e-6 or term == 0.0:
            break
    return min(1.0, total)


class Rates(NamedTuple):
    """How many of `boards` have which rate (a second), and how even a step is (the shape of a gamma law).

    `bursts` tells the same without a law, if the fleet can: how many times its usual count a step has, and how often.
    """

    rates: tuple[float, ...]
    boards: tuple[float, ...]
    shape: float
    bursts: tuple[tuple[float, float], ...] = ()

    def expected(self, whole: Steps, before: Steps, seconds: float, late: int, count: float) -> tuple[float, float]:
        """Return the mean of, and the chance of so much or more in, `seconds` after a board's past.

        The board itself (`whole`) does not help to make its own rate usual.
        """
        own = self._likely(*_added(whole), len(whole), self.boards)
        others = [max(0.0, boards - part) for boards, part in zip(self.boards, own, strict=True)]
        likely = self._stepwise(before, others) if self.bursts else self._likely(*_added(before), len(before), others)
        mean = chance = 0.0
        for rate, part in zip(self.rates, likely, strict=True):
            if part > 1e-15:
                mean += part * rate * seconds
                over = rate * seconds >= count
                chance += part * (1.0 if over else more(count, rate * seconds, self.shape * late))
        return (mean, min(1.0, chance)) if any(likely) else (count, 1.0)

    def _stepwise(self, before: Steps, boards: Sequence[float]) -> list[float]:
        logs = [log(many) if many > 0 else -inf for many in boards]
        for count, seconds in before:
            for place, rate in enumerate(self.rates):
                if logs[place] > -inf:
                    mean = rate * seconds
                    told = sum(
                        often * exp(count * log(mean * size) - mean * size - lgamma(count + 1))
                        for size, often in self.bursts
                    )
                    logs[place] += log(told) if told > 0 else -inf
        return _shares(logs)

    def _likely(self, count: float, seconds: float, steps: int, boards: Sequence[float]) -> list[float]:
        shape = self.shape * steps
        logs = [
            log(many) + _log_chance(count, rate * seconds, shape) if many > 0 else -inf
            for rate, many in zip(self.rates, boards, strict=True)
        ]
        return _shares(logs)


def rates(told: Sequence[Steps]) -> Rates:
    """Let the boards tell how often which rate occurs."""
    shape = _evenness(told)
    cells: dict[tuple[int, int, int], int] = {}
    for own in told:
        count, seconds = _added(own)
        key = (_cell(count), round(log(seconds) / 0.1), len(own))
        cells[key] = cells.get(key, 0) + 1
    summed = [_added(own) for own in told]
    slowest = 0.1 / max(seconds for _, seconds in summed)
    fastest = max(slowest * 10, *((count + 1) / seconds for count, seconds in summed))
    grid = [slowest * (fastest / slowest) ** (i / (GRID - 1)) for i in range(GRID)]
    table = [
        (many, _shares_and_top([
            _log_chance(_counted(cell), rate * exp(0.1 * about), shape * steps) for rate in grid
        ]))
        for (cell, about, steps), many in cells.items()
    ]  # fmt: skip
    often = [1 / GRID] * GRID
    for _ in range(ROUNDS):
        often = _asked_again(often, table, len(told))
    boards = tuple(share * len(told) for share in often)
    return Rates(tuple(grid), boards, shape, _bursts(told))


def honest(backwards: Sequence[float], boards: int) -> float:
    """Return the power by which chances must be taken so that time running backwards shows no more than they say.

    Nothing wears out backwards.  `backwards` are the chances of the boards that stand out there, any order.
    """
    power = 1.0
    least = max(2, ceil(boards * CURED))
    for place, chance in enumerate(sorted(backwards), 1):
        if place >= least and 0.0 < chance < 1.0:
            power = min(power, log(boards / place) / -log(chance)) if place < boards else power
        elif place >= least and chance == 0.0:
            return 0.0
    return max(0.0, power)


def _evenness(told: Sequence[Steps]) -> float:
    """Return the shape of the gamma law of a step, from how unevenly boards with many errors count them."""
    uneven: list[tuple[float, int]] = []
    for own in told:
        count, seconds = _added(own)
        if count < COUNTED or len(own) < 2:
            continue
        square = sum((grown - count * time / seconds) ** 2 / (count * time / seconds) for grown, time in own)
        uneven.append(((square / (len(own) - 1) - 1) / (count - 1), len(own)))
    if len(uneven) < TELL_BURSTS:
        return BURSTS
    uneven.sort()
    kept = uneven[: len(uneven) - max(1, round(len(uneven) * OUTLIERS))]
    wanted = sum(own for own, _ in kept)
    low, high = 0.01, 100.0
    for _ in range(40):
        middle = sqrt(low * high)
        low, high = (middle, high) if sum(1 / (middle * many + 1) for _, many in kept) > wanted else (low, middle)
    return low


def _bursts(told: Sequence[Steps]) -> tuple[tuple[float, float], ...]:
    """Return how many times the usual count of its board a step has, and how often; empty if too few boards tell."""
    usual: list[tuple[float, float]] = []
    boards = 0
    for own in told:
        count, seconds = _added(own)
        if count >= COUNTED / 2 * len(own) and len(own) > 1:
            boards += 1
            usual += ((grown, count * time / seconds) for grown, time in own)
    if boards < TELL_BURSTS:
        return ()
    usual = usual[:: ceil(len(usual) / MOST_STEPS)]
    table = [_shares([count * log(mean * size) - mean * size for size in SIZES]) for count, mean in usual]
    often = [1 / len(SIZES)] * len(SIZES)
    for _ in range(ROUNDS):
        often = _asked_again(often, ((1, chances) for chances in table), len(table))
    return tuple((size, many) for size, many in zip(SIZES, often, strict=True) if many > 1e-9)


def _asked_again(
    often: Sequence[float], table: Iterable[tuple[int, Sequence[float]]], everyone: float
) -> list[float]:  # fmt: skip
    """Return how often each value occurs, by what it makes likely of each that was told (one step of EM)."""
    after = [0.0] * len(often)
    for many, chances in table:
        parts = [chance * weight for chance, weight in zip(chances, often, strict=True)]
        factor = many / everyone / (sum(parts) or 1.0)
        after = [old + part * factor for old, part in zip(after, parts, strict=True)]
    return after


def _cell(count: float) -> int:
    """Counts that are nearly alike have one cell."""
    return int(count) if count < 20 else 20 + floor(log(count / 20) / 0.1)


def _counted(cell: int) -> float:
    return float(cell) if cell < 20 else float(round(20 * exp(0.1 * (cell - 20 + 0.5))))


def _log_chance(count: float, mean: float, shape: float) -> float:
    """Return the logarithm of P(X = count) for a gamma-Poisson X."""
    return (
        lgamma(count + shape) - lgamma(shape) - lgamma(count + 1)
        - shape * log1p(mean / shape) + count * log(mean / (mean + shape))
    )  # fmt: skip


def _shares(logs: Sequence[float]) -> list[float]:
    top = max(logs)
    if top == -inf:
        return [0.0] * len(logs)
    parts = [exp(each - top) for each in logs]
    total = sum(parts)
    return [part / total for part in parts]


def _shares_and_top(logs: Sequence[float]) -> list[float]:
    top = max(logs)
    return [exp(each - top) for each in logs]


def _added(steps: Steps) -> tuple[float, float]:
    return sum(count for count, _ in steps), sum(seconds for _, seconds in steps)
