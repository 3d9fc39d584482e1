"""The weighing."""

from __future__ import annotations

import pytest

from triage.model import UNDETERMINED, Evidence
from triage.rulebook.load import load
from triage.verdict import counted, decide, probabilities, sums

RULEBOOK = load()


def evidence(group: str, **points: int) -> Evidence:
    named = {leaf.replace("_", "."): value for leaf, value in points.items()}
    return Evidence(group, group, "seen", named, {}, "Why.")


def test_without_evidence_every_cause_stands_at_its_prior() -> None:
    """And they sum to one."""
    by_leaf = probabilities({}, RULEBOOK)

    assert pytest.approx(RULEBOOK.causes["workload"].prior) == by_leaf["workload"]
    assert pytest.approx(1.0) == sum(by_leaf.values())


def test_one_point_doubles_the_odds() -> None:
    """Against every other cause."""
    before, after = probabilities({}, RULEBOOK), probabilities({"workload": 1}, RULEBOOK)

    assert pytest.approx(2.0) == (after["workload"] / after["site"]) / (before["workload"] / before["site"])


def test_what_rests_on_the_same_fact_counts_once_per_cause() -> None:
    """The strongest member of a group stands for it."""
    items = [evidence("bus", hardware_link=4), evidence("bus", hardware_link=2, hardware_gpu=2)]

    assert {"hardware.link": 4, "hardware.gpu": 2} == sums(items)


def test_an_outvoted_member_of_a_group_is_marked() -> None:
    """So that the reader sees why the sum is not larger."""
    strong, weak = counted([evidence("bus", hardware_link=4), evidence("bus", hardware_link=2)])

    assert (True, False) == (strong.counted, weak.counted)


def test_two_independent_groups_carry_a_verdict() -> None:
    """Each alone would not."""
    one, other = evidence("a", hardware_link=4), evidence("b", hardware_link=4)

    assert UNDETERMINED == decide([one], RULEBOOK).family
    assert ("hardware", "hardware.link") == decide([one, other], RULEBOOK)[:2]


def test_one_group_is_not_enough_however_often_it_speaks() -> None:
    """Strong evidence that rests on one fact stays one fact."""
    items = [evidence("same", system_kernel=5) for _ in range(4)]

    assert UNDETERMINED == decide(items, RULEBOOK).family


def test_one_decisive_item_is_enough() -> None:
    """A message that names the cause needs no second witness."""
    verdict = decide([evidence("message", system_configuration=RULEBOOK.decisive)], RULEBOOK)

    assert "system.configuration" == verdict.leaf


def test_a_family_whose_leaf_is_open_is_not_named() -> None:
    """Hardware without saying which part would send nobody anywhere."""
    items = [evidence("a", hardware_link=4, hardware_gpu=4), evidence("b", hardware_link=4, hardware_gpu=4)]

    verdict = decide(items, RULEBOOK)

    assert (UNDETERMINED, None) == verdict[:2]
    assert "hardware" == next(iter(verdict.by_family))


def test_evidence_against_lowers_a_cause() -> None:
    """Opposing points turn a verdict."""
    items = [evidence("a", hardware_link=4), evidence("b", hardware_link=4)]

    assert UNDETERMINED == decide([*items, evidence("c", hardware_link=-7)], RULEBOOK).family


def test_shown_confidence_is_capped() -> None:
    """Points are judgement; certainty is not to be had from them."""
    items = [evidence(str(i), hardware_gpu=7) for i in range(5)]

    assert RULEBOOK.cap == decide(items, RULEBOOK).confidence


def test_probabilities_come_most_probable_first_and_ties_keep_their_order() -> None:
    """The same input gives the same text."""
    by_leaf = probabilities({"site": 3}, RULEBOOK)

    assert "site" == next(iter(by_leaf))
    assert list(by_leaf.values()) == sorted(by_leaf.values(), reverse=True)
