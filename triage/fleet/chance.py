"""How likely it is that something only looks like a pattern.

All tests are exact and conditional, so that three nodes and three thousand are
judged alike; nothing here knows what is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import exp, inf, lgamma, log, log1p
from typing import TypeVar

Key = TypeVar("Key")

SURE = 0.95
"""Confidence of the interval that is shown beside a lift."""
_NEGLIGIBLE = 1e-18


def at_least(k: int, n: int, share: float) -> float:
    """Return P(X >= k) for X ~ Binomial(n, share): the exact conditional test of two Poisson rates.

    Given that n units were affected in all, `share` of the exposure was where k
    of them were; Przyborowski and Wilenski, Biometrika 31 (1940).
    """
    if k <= 0:
        return 1.0
    if share <= 0.0 or k > n:
        return 0.0
    if share >= 1.0:
        return 1.0
    return min(1.0, _tail(range(k, n + 1), lambda i: _log_binomial(i, n, share)))


def at_least_in_strata(k: int, strata: Sequence[tuple[int, float]]) -> float:
    """Return P(X >= k) where X adds up one Binomial(n, share) for each stratum, none of which helps the others."""
    spread = [1.0]
    for n, share in strata:
        own = [1.0] if n == 0 else [_chance(i, n, share) for i in range(n + 1)]
        spread = _added(spread, own)
    return min(1.0, sum(spread[k:]))


def poisson_at_least(k: int, mean: float) -> float:
    """Return P(X >= k) for X ~ Poisson(mean)."""
    if k <= 0:
        return 1.0
    if mean <= 0.0:
        return 0.0
    if k <= mean:  # the other side is shorter
        below = sum(exp(i * log(mean) - mean - lgamma(i + 1)) for i in range(k))
        return max(0.0, 1.0 - below)
    return min(1.0, _tail(range(k, k + 10_000), lambda i: i * log(mean) - mean - lgamma(i + 1)))


def least_lift(k: int, n: int, share: float) -> float:
    """Return the lower end of the exact one-sided 95 % interval of the ratio of two rates.

    `k` of `n` affected units were where `share` of the exposure was (Clopper and Pearson, Biometrika 26, 1934).
    """
    if k <= 0 or not 0.0 < share < 1.0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if at_least(k, n, middle) < 1 - SURE else (low, middle)
    return (low / (1 - low)) / (share / (1 - share)) if low < 1 else inf


def lift(k: int, n: int, share: float) -> float:
    """Return how many times more often it happens there than elsewhere; half a case stands for none."""
    if not 0.0 < share < 1.0:
        return 1.0
    elsewhere = max(n - k, 0.5)
    return (k / share) / (elsewhere / (1 - share))


def corrected(chances: Mapping[Key, float], tried: int | None = None) -> dict[Key, float]:
    """Return each probability as it is after so many were tried (Holm, Scandinavian Journal of Statistics 6, 1979).

    `tried` counts the hypotheses that were looked at, if more than are given.
    """
    total = max(tried or 0, len(chances))
    result: dict[Key, float] = {}
    worst = 0.0
    for place, (key, chance) in enumerate(sorted(chances.items(), key=lambda pair: pair[1])):
        worst = max(worst, min(1.0, chance * (total - place)))
        result[key] = worst
    return result


def _chance(i: int, n: int, share: float) -> float:
    if share <= 0.0 or share >= 1.0:
        return float(i == (0 if share <= 0.0 else n))
    return exp(_log_binomial(i, n, share))


def _added(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """Return how the sum of two numbers is spread; what is negligible of either is not multiplied out."""
    total = [0.0] * (len(one) + len(other) - 1)
    worth = [(j, chance) for j, chance in enumerate(other) if chance > _NEGLIGIBLE]
    for i, chance in enumerate(one):
        if chance > _NEGLIGIBLE:
            for j, more in worth:
                total[i + j] += chance * more
    return total


def _log_binomial(i: int, n: int, share: float) -> float:
    chosen = lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1)
    return chosen + i * log(share) + (n - i) * log1p(-share)


def _tail(places: range, log_of: Callable[[int], float]) -> float:
    total = 0.0
    for i in places:
        term = exp(log_of(i))
        total += term
        if term < total * _NEGLIGIBLE and i > places[0] + 5:
            break
    return total
