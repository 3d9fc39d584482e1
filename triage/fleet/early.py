"""Which GPUs leave their own past or their peers before anything fails: signs, never verdicts.

Counters are held against laws that the GPUs of one model share: the mean is what
the peers count, the spread how unlike they are, so that boards which differ are
no surprise.  Two are fitted, gamma-Poisson and log-normal, and the one that is
surprised less is believed.  A GPU's own past moves the mean.  All comparisons
are corrected together.  Levels are held against the median and the median
deviation of peers, several readings in a row.  What cannot be compared is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import erfc, exp, lgamma, log, log1p, log10, sqrt
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

from probes.named import NamedTuple
from triage.fleet.chance import corrected
from triage.fleet.model import ANSWERED, Answer
from triage.rulebook.load import RULES
from triage.rulebook.shape import checked

FILE = RULES / "fleet" / "early.yaml"
DAY = 86400.0
SHORTEST = 600.0
"""Seconds between two readings below which a rate says nothing."""
OUTLIERS = 0.01
"""Share of the fastest counters that do not shape the law; the sick must not make sickness usual."""
TAIL, ENOUGH = 0.1, 80
"""Share of the GPUs that tell how the fastest thin out, and how many GPUs that takes."""
DEVIATION = 1.4826
"""A median deviation in standard deviations of a normal law."""
MODEL = "gpu.name"


class Observation(NamedTuple):
    """What one GPU told at one moment (UTC epoch seconds); `gpu` is who it is, wherever it sits."""

    at: float
    gpu: str
    node: str
    facts: Mapping[str, str]
    numbers: Mapping[str, float]


class Sign(NamedTuple):
    """One entry of the file."""

    id: str
    kind: str
    of: tuple[str, ...]
    named: str
    why: str
    do: str
    at_least: int
    lift: float
    far: float
    least: float
    times: int
    beside: str | None
    busy: float | None
    logarithm: bool
    no_less: float


class Signs(NamedTuple):
    """All of them; `alpha` and `peers` as in the file."""

    alpha: float
    peers: int
    all: tuple[Sign, ...]


class Seen(NamedTuple):
    """A GPU that shows a sign: `value` where `expected` was likely, against its `past` or its `peers`."""

    sign: Sign
    of: str
    gpu: str
    node: str
    against: str
    at: float
    value: float
    expected: float
    chance: float | None
    distance: float | None
    says: str


class Early(NamedTuple):
    """Signs, worst first; what could not be compared, by sign, with the number of GPUs and why."""

    seen: tuple[Seen, ...]
    nodes: int
    gpus: int
    tests: int
    not_judged: tuple[tuple[str, int, str], ...]


class _Grown(NamedTuple):
    """What a counter of a GPU grew by: (count, seconds) between two readings each, in order."""

    of: str
    last: Observation
    steps: Sequence[tuple[float, float]]

    @property
    def whole(self) -> tuple[float, float]:
        """Count and seconds of all of it."""
        return _added(self.steps)


class _Law(NamedTuple):
    """How counts scatter about what is expected of them: a gamma law of this shape, and a log-normal tail.

    The tail is of the ratio of both, told by its `middle` and `spread` (natural logarithms; none if the spread is 0).
    """

    shape: float
    middle: float = 0.0
    spread: float = 0.0

    def chance(self, count: float, mean: float) -> float:
        """Return how likely so much or more is, by the less surprised of both."""
        beyond = 0.0
        if self.spread > 0:
            beyond = erfc((log(count / (mean + 1)) - self.middle) / self.spread / sqrt(2)) / 2
        return max(_more(count, mean, self.shape), beyond)


def load(path: Path = FILE) -> Signs:
    """Read the file against its schema.

    Raises:
        RulebookError: with everything that is wrong and where.
    """
    told: Any = checked(path, f"rules/fleet/{path.name}" if path == FILE else str(path), "early.v1").root
    return Signs(float(told["alpha"]), int(told["peers"]), tuple(map(_sign, told["signs"])))


def _sign(told: Mapping[str, Any]) -> Sign:
    return Sign(
        told["id"], told["kind"], tuple(told["of"]), told["named"], told["why"], told["do"],
        int(told.get("at_least", 1)), float(told.get("lift", 1)), float(told.get("far", 6)),
        float(told.get("least", 0)), int(told.get("times", 1)), told.get("beside"), told.get("busy"),
        bool(told.get("logarithm", False)), float(told.get("no_less", 1e-30)),
    )  # fmt: skip


def observations(answers: Iterable[Answer]) -> Iterator[Observation]:
    """Yield what the GPUs told in these answers; one without a name or a time cannot be followed."""
    for answer in answers:
        if answer.state != ANSWERED or answer.at is None:
            continue
        for part in answer.gpus:
            who = part.uuid or part.serial
            if who is not None and part.numbers:
                facts = {**answer.facts, **part.facts}
                if part.name is not None:
                    facts[MODEL] = part.name
                yield Observation(answer.at, who, answer.node, facts, part.numbers)


def look(told: Iterable[Observation], signs: Signs) -> Early:
    """Return the GPUs that show a sign; the readings may come in any order."""
    by_gpu: dict[str, list[Observation]] = {}
    for each in told:
        by_gpu.setdefault(each.gpu, []).append(each)
    for own in by_gpu.values():
        own.sort(key=lambda each: each.at)
    rated: list[tuple[float, Seen]] = []
    levels: list[Seen] = []
    tests = 0
    left_out: list[tuple[str, int, str]] = []
    for sign in signs.all:
        if sign.kind == "rate":
            found, made, alone, reason = _rates(by_gpu, sign, signs)
            rated += found
        else:
            more, made, alone, reason = _levels(by_gpu, sign, signs)
            levels += more
        tests += made
        if alone:
            left_out.append((sign.id, alone, reason))
    sure = corrected({place: chance for place, (chance, _) in enumerate(rated)}, tests)
    rates = [seen._replace(chance=sure[place]) for place, (_, seen) in enumerate(rated) if sure[place] <= signs.alpha]
    best: dict[tuple[str, str], Seen] = {}
    for seen in sorted(rates, key=lambda seen: (seen.chance or 0.0, -seen.value / max(seen.expected, 1e-9))):
        best.setdefault((seen.sign.id, seen.gpu), seen)
    levels.sort(key=lambda seen: -(seen.distance or 0.0))
    nodes = len({each.node for own in by_gpu.values() for each in own})
    return Early((*best.values(), *levels), nodes, len(by_gpu), tests, tuple(left_out))


def _rates(
    by_gpu: Mapping[str, Sequence[Observation]], sign: Sign, signs: Signs
) -> tuple[list[tuple[float, Seen]], int, int, str]:
    alike: dict[tuple[str, str], list[_Grown]] = {}
    alone = 0
    for own in by_gpu.values():
        grown = _grown(own, sign)
        if grown is None:
            alone += 1
        else:
            alike.setdefault((grown.of, grown.last.facts.get(MODEL, "")), []).append(grown)
    found: list[tuple[float, Seen]] = []
    tests = 0
    for group in alike.values():
        if len(group) < signs.peers:
            alone += len(group)
            continue
        for against, told in _compared(group):
            tests += len(told)
            law = _law([(count, mean) for _, count, _, mean in told])
            for grown, count, seconds, mean in told:
                if count < sign.at_least or count < sign.lift * mean:
                    continue
                chance = law.chance(count, mean)
                usual = "its peers" if against == "peers" else "its own past and its peers"
                says = (
                    f"{count:.0f} {sign.named} in {seconds / DAY:.1f} days,"
                    f" where {usual} ({len(group)} GPUs) let expect {mean:.2g}"
                )
                last = grown.last
                seen = Seen(sign, grown.of, last.gpu, last.node, against, last.at, count, mean, None, None, says)
                found.append((chance, seen))
    return found, tests, alone, f"fewer than two readings, or fewer than {signs.peers} GPUs of the model"


def _grown(own: Sequence[Observation], sign: Sign) -> _Grown | None:
    """Return what a counter grew by; where it went back it was set to zero, and nothing is known of that time."""
    name = next((name for name in sign.of if sum(name in each.numbers for each in own) > 1), None)
    if name is None:
        return None
    told = [each for each in own if name in each.numbers]
    steps = [
        (after.numbers[name] - before.numbers[name], after.at - before.at)
        for before, after in pairwise(told)
        if after.at - before.at >= SHORTEST and after.numbers[name] >= before.numbers[name]
    ]
    return _Grown(name, told[-1], steps) if steps else None


def _compared(group: Sequence[_Grown]) -> Iterator[tuple[str, list[tuple[_Grown, float, float, float]]]]:
    """Yield what is held against what, with count, seconds and what is expected.

    All of a GPU's time is held against its peers; the last one, two, four ... steps against those before them,
    for nobody knows when a board began to fail.
    """
    wholes = sorted((grown.whole for grown in group), key=lambda pair: pair[0] / pair[1])
    kept = wholes[: len(wholes) - max(1, round(len(wholes) * OUTLIERS))]
    rate = max(sum(count for count, _ in kept), 0.5) / sum(seconds for _, seconds in kept)
    peers = [(grown, *grown.whole, rate * grown.whole[1]) for grown in group]
    yield "peers", peers
    shape = _law([(count, mean) for _, count, _, mean in peers]).shape
    late = 1
    while True:
        told = []
        for grown in group:
            if late < len(grown.steps):
                before, time = _added(grown.steps[:-late])
                count, seconds = _added(grown.steps[-late:])
                told.append((grown, count, seconds, (shape + before) / (shape / rate + time) * seconds))
        if not told:
            return
        yield "past", told
        late *= 2


def _added(steps: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(count for count, _ in steps), sum(seconds for _, seconds in steps)


def _law(told: Sequence[tuple[float, float]]) -> _Law:
    """Fit the law to (count, mean), by moments and without those that are furthest above their means."""
    ordered = sorted(told, key=lambda pair: pair[0] / (pair[1] + 1))
    kept = ordered[: len(ordered) - max(1, round(len(ordered) * OUTLIERS))]
    beyond = sum((count - mean) ** 2 - mean for count, mean in kept)
    square = sum(mean**2 for _, mean in kept)
    shape = min(100.0, max(0.05, square / beyond)) if beyond > 0 else 100.0
    low, high = kept[round(len(kept) * (1 - TAIL)) - 1], kept[-1]
    if len(told) < ENOUGH or low[0] <= 0:
        return _Law(shape)
    below, above = (log(count / (mean + 1)) for count, mean in (low, high))
    usual = NormalDist()
    spread = (above - below) / (usual.inv_cdf(1 - OUTLIERS) - usual.inv_cdf(1 - TAIL))
    return _Law(shape, below - spread * usual.inv_cdf(1 - TAIL), spread)


def _more(count: float, mean: float, shape: float) -> float:
    """Return P(X >= count) for a gamma-Poisson X of this mean."""
    if count <= 0 or mean <= 0:
        return 1.0
    share = mean / (mean + shape)
    first, total, term = int(count), 0.0, 0.0
    at_first = lgamma(first + shape) - lgamma(shape) - lgamma(first + 1) + shape * log1p(-share) + first * log(share)
    term = exp(at_first)
    for i in range(first, first + 1_000_000):
        total += term
        term *= share * (i + shape) / (i + 1)
        if term < total * 1e-6 or term == 0.0:
            break
    return min(1.0, total)


def _levels(by_gpu: Mapping[str, Sequence[Observation]], sign: Sign, signs: Signs) -> tuple[list[Seen], int, int, str]:
    """Find GPUs that stood away from their peers at each of their last readings."""
    last = {gpu: tuple(own[-sign.times :]) for gpu, own in by_gpu.items()}
    groups: dict[tuple[str, ...], dict[str, float]] = {}
    for gpu, own in last.items():
        for back, each in enumerate(reversed(own)):
            level = _level(each, sign)
            if level is not None:
                name, value, peers = level
                groups.setdefault((str(back), name, *peers), {})[gpu] = value
    far: dict[str, list[tuple[float, float, float, str, int]]] = {}
    judged: set[str] = set()
    for key, members in groups.items():
        if len(members) < signs.peers:
            continue
        middle = median(members.values())
        floor = sign.least if sign.logarithm else abs(middle) * sign.least
        spread = max(DEVIATION * median(abs(value - middle) for value in members.values()), floor / sign.far)
        for gpu, value in members.items():
            judged.add(gpu)
            off = (middle - value) if sign.kind == "below" else (value - middle)
            if spread > 0 and off >= floor and off / spread >= sign.far:
                far.setdefault(gpu, []).append((off / spread, value, middle, key[1], len(members)))
    found = []
    for gpu, times in far.items():
        if len(times) < sign.times:
            continue
        distance = min(each[0] for each in times)
        _, value, middle, name, count = times[0]
        each = last[gpu][-1]
        value, middle = (10**value, 10**middle) if sign.logarithm else (value, middle)
        job = f" of {sign.beside} {each.facts[sign.beside]}" if sign.beside else ""
        says = (
            f"{sign.named} {value:.3g}, and {middle:.3g} is usual among {count} GPUs{job};"
            f" {distance:.1f} robust deviations away in each of {sign.times} readings"
        )
        found.append(Seen(sign, name, gpu, each.node, "peers", each.at, value, middle, None, distance, says))
    needs = f" busy and with {sign.beside} known" if sign.beside else ""
    return found, len(judged), len(by_gpu) - len(judged), f"not told, or fewer than {signs.peers} peers{needs}"


def _level(each: Observation, sign: Sign) -> tuple[str, float, tuple[str, ...]] | None:
    name = next((name for name in sign.of if name in each.numbers), None)
    if name is None or (sign.busy is not None and each.numbers.get("gpu.utilization", 0.0) < sign.busy):
        return None
    value = each.numbers[name]
    peers: tuple[str, ...] = (each.facts.get(MODEL, ""),)
    if sign.beside is not None:
        fact = each.facts.get(sign.beside)
        if fact is None:
            return None
        peers = (*peers, fact)
    return name, log10(max(value, sign.no_less)) if sign.logarithm else value, peers
