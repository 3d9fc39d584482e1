"""What a board counted before says what it will count; what the fleet does by chance is learnt from the fleet."""

from __future__ import annotations

import random
from math import exp, lgamma, log

import pytest

from triage.fleet.early_laws import Law, honest, law, more, rates

DAY = 86400.0


def poisson(rnd: random.Random, mean: float) -> int:
    """Draw one."""
    count, left = 0, rnd.expovariate(1.0)
    while left < mean:
        count, left = count + 1, left + rnd.expovariate(1.0)
    return count


def boards(count: int, steps: int, seed: int = 1) -> list[list[tuple[float, float]]]:
    """Boards of two kinds, one error in ten days and ten in one, each as even as errors can be."""
    rnd = random.Random(seed)
    return [
        [(float(poisson(rnd, 10.0 if n % 2 else 0.1)), DAY) for _ in range(steps)] for n in range(count)
    ]  # fmt: skip


def test_the_gamma_poisson_tail_is_that_of_the_textbook() -> None:
    mean, shape = 3.0, 2.0
    share = mean / (mean + shape)
    each = [
        exp(lgamma(k + shape) - lgamma(shape) - lgamma(k + 1)) * share**k * (1 - share) ** shape for k in range(200)
    ]  # fmt: skip

    assert pytest.approx(1.0) == sum(each)
    assert pytest.approx(sum(each[7:]), rel=1e-4) == more(7, mean, shape)
    assert more(0, mean, shape) == 1.0


def test_what_is_expected_of_a_board_is_what_boards_with_its_past_count() -> None:
    """Of two boards the quiet one is expected to stay so, and so is the other."""
    told = boards(120, 6)
    usual = rates(told)
    quiet, busy = told[0], told[1]

    mean, chance = usual.expected(quiet, quiet[:4], 2 * DAY, 2, 30)
    assert mean < 1
    assert chance < 1e-6
    mean, chance = usual.expected(busy, busy[:4], 2 * DAY, 2, 30)
    assert pytest.approx(20, rel=0.2) == mean
    assert chance > 0.01


def test_a_board_does_not_make_its_own_rate_usual() -> None:
    """Nobody else counts so much: that it does is no reason to expect it."""
    told = boards(120, 6)
    odd = [(0.0, DAY)] * 4 + [(500.0, DAY)] * 2
    usual = rates([*told, odd])

    assert usual.expected(odd, odd[:4], 2 * DAY, 2, 1000)[1] < 1e-9


def test_time_backwards_measures_what_chance_does() -> None:
    """Two of a hundred at one in a million each is no chance of one in a million."""
    assert honest([0.5, 0.02, 0.01], 100) == 1.0
    power = honest([1e-6, 1e-6], 100)
    assert pytest.approx(log(50) / log(1e6)) == power
    assert honest([1e-6], 100) == 1.0  # one may have been cured
    assert honest([0.0, 0.0], 100) == 0.0


def test_a_law_of_few_boards_has_no_tail() -> None:
    assert law([(float(n), 5.0) for n in range(20)]).spread == 0.0
    assert law([(float(n), 5.0) for n in range(200)]).spread > 0.0
    assert Law(1.0, 0.0, 1.0).chance(0, 2.0) == 1.0
