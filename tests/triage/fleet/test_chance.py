"""Chance is reckoned exactly."""

from __future__ import annotations

from math import comb, exp, factorial, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.fleet.chance import at_least, at_least_in_strata, corrected, least_lift, lift, poisson_at_least


@pytest.mark.parametrize(("k", "n", "share"), [(1, 1, 0.3), (3, 10, 0.1), (8, 8, 0.5), (40, 60, 0.01), (0, 5, 0.2)])
def test_the_binomial_tail_is_the_sum_of_its_terms(k: int, n: int, share: float) -> None:
    """Held against the textbook's formula."""
    expected = sum(comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k, n + 1))

    assert isclose(expected, at_least(k, n, share), rel_tol=1e-9)


@pytest.mark.parametrize(("k", "mean"), [(1, 0.001), (3, 0.5), (2, 10.0), (30, 10.0), (0, 1.0)])
def test_the_poisson_tail_is_the_sum_of_its_terms(k: int, mean: float) -> None:
    """Held against the textbook's formula."""
    expected = 1 - sum(exp(-mean) * mean**i / factorial(i) for i in range(k))

    assert isclose(expected, poisson_at_least(k, mean), rel_tol=1e-6, abs_tol=1e-12)


@given(st.integers(0, 30), st.integers(0, 30), st.floats(0, 1))
def test_a_chance_is_a_probability_whatever_is_asked(k: int, n: int, share: float) -> None:
    """Also where nobody had the value, or everybody."""
    assert 0.0 <= at_least(k, n, share) <= 1.0
    assert 0.0 <= poisson_at_least(k, n * share) <= 1.0
    assert 0.0 <= at_least_in_strata(k, [(n, share), (k, 1 - share)]) <= 1.0 + 1e-12


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 24), st.floats(0.05, 0.95))
def test_strata_that_are_alike_are_one(n: int, m: int, k: int, share: float) -> None:
    """Two groups with the same share are as good as one."""
    assert isclose(at_least(k, n + m, share), at_least_in_strata(k, [(n, share), (m, share)]), abs_tol=1e-9)


def test_who_tries_often_needs_better_proof() -> None:
    """Holm: the smallest is multiplied by all that were tried, and none comes out smaller than one before it."""
    found = corrected({"a": 0.001, "b": 0.02, "c": 0.021}, tried=100)

    assert pytest.approx({"a": 0.1, "b": 1.0, "c": 1.0}) == found
    assert corrected({"a": 0.01})["a"] == 0.01


def test_a_lift_is_a_ratio_of_rates_and_has_a_lower_end() -> None:
    """Half a case stands for none elsewhere, so that no ratio is infinite."""
    assert pytest.approx(9.0) == lift(9, 10, 0.5)
    assert pytest.approx(8.0) == lift(4, 4, 0.5)
    assert 1.0 == lift(5, 5, 1.0)
    assert least_lift(9, 10, 0.5) < lift(9, 10, 0.5)
    least = least_lift(9, 10, 0.5)
    assert pytest.approx(0.05, rel=1e-3) == at_least(9, 10, least / (1 + least))
