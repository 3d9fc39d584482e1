"""The weighing."""

from __future__ import annotations

import pytest

from tests.triage.asked import RULEBOOK
from triage.model import UNDETERMINED, Evidence
from triage.verdict import carriers, counted, decide, decisive, families, probabilities, shown, spare, status, sums


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


SMALL = RULEBOOK._replace(
    causes={
        name: RULEBOOK.causes["workload"]._replace(leaf=name, family=name.split(".")[0], prior=prior)
        for name, prior in (("a.one", 0.25), ("a.two", 0.25), ("b", 0.5))
    },
    at_least=0.8,
    independent_groups=2,
    decisive=7,
    cap=0.97,
    calibration=(),
)
"""Three causes in two families that are as probable as each other."""


def says(group: str, a: int = 0, b: int = 0, two: int = 0, name: str = "") -> Evidence:
    points = {leaf: value for leaf, value in (("a.one", a), ("a.two", two), ("b", b)) if value}
    return Evidence(name or group, group, "seen", points, {}, "Why.")


def test_the_strongest_of_a_group_is_found_cause_by_cause_for_and_against() -> None:
    items = [says("g", a=2, b=1), says("g", a=-3), says("g", b=-1), says("h", b=5)]

    assert {"a.one": -3, "b": 6} == sums(items)
    assert {"a.one": -3, "b": 1} == sums(items, without="h")
    assert {"b": 5} == sums(items, without="g")


def test_who_is_counted_is_the_strongest_for_at_least_one_cause_and_of_equals_the_first() -> None:
    """What is worth nothing is not outvoted."""
    items = [says("g", a=2, b=1), says("g", a=-3), says("g", a=3, b=1), says("g"), says("h", a=1)]

    assert [True, True, False, True, True] == [item.counted for item in counted(items)]


def test_families_are_their_leaves_together_most_probable_first() -> None:
    by_leaf = probabilities({"a.one": 1}, SMALL)

    by_family = families(by_leaf, SMALL)

    assert (["a.one", "b", "a.two"], ["a", "b"]) == (list(by_leaf), list(by_family))
    assert pytest.approx([0.4, 0.4, 0.2]) == list(by_leaf.values())
    assert pytest.approx([0.6, 0.4]) == list(by_family.values())
    assert "b" == next(iter(families(probabilities({"b": 1}, SMALL), SMALL)))


@pytest.mark.parametrize(
    ("share", "confidence"),
    [(0.0, 0.1), (0.5, 0.1), (0.6, 0.2), (0.7, 0.3), (0.8, 0.6), (0.9, 0.9), (1.0, 0.9)],
)
def test_confidence_is_read_from_the_calibration_and_between_its_points(share: float, confidence: float) -> None:
    """Below the first and above the last it is theirs."""
    curve = SMALL._replace(calibration=((0.5, 0.1), (0.7, 0.3), (0.9, 0.9)))

    assert pytest.approx(confidence) == shown(share, curve)
    assert pytest.approx(min(confidence, 0.25)) == shown(share, curve._replace(cap=0.25))
    assert min(share, 0.97) == shown(share, SMALL)


def test_a_family_is_named_from_a_probability_on() -> None:
    """Four to one is eighty percent."""
    two = [says("g", b=1), says("h", b=1)]

    assert ("b", "b", 0.8) == decide(two, SMALL)[:3]
    assert (UNDETERMINED, None, 0.8) == decide(two, SMALL._replace(at_least=0.81))[:3]


def test_a_leaf_is_named_if_it_holds_enough_of_its_family() -> None:
    three = SMALL._replace(causes={**SMALL.causes, "a.two": SMALL.causes["a.two"]._replace(prior=1 / 6)})

    strong = [says("g", a=3, two=3), says("h", a=3, two=3)]
    assert "a.one" == decide(strong, three._replace(at_least=0.9)).leaf, "three of five"
    assert UNDETERMINED == decide(strong, SMALL).family, "one of two"


def test_groups_are_counted_only_if_the_verdict_needs_them() -> None:
    """One that changes nothing is no second witness."""
    strong, idle, against = says("g", b=5), says("h", a=-1, two=-1), says("i", a=1)

    assert UNDETERMINED == decide([strong], SMALL).family
    assert UNDETERMINED == decide([strong, against], SMALL).family
    assert "b" == decide([strong, idle], SMALL).family
    assert ("g", "h") == carriers([strong, idle, against], SMALL, "b", 0.97)
    assert "b" == decide([strong], SMALL._replace(independent_groups=1)).family


def test_where_all_speak_strongly_none_is_missed_and_the_family_is_named() -> None:
    """So strongly that without any one of them it would still be; but never if three witnesses are asked for."""
    both = [says("g", b=12), says("h", b=12)]

    assert () == carriers(both, SMALL, "b", 1.0)
    assert (True, "b") == (spare(both, SMALL, "b"), decide(both, SMALL._replace(decisive=99)).family)
    assert not spare(both, SMALL._replace(independent_groups=3), "b")
    assert not spare([says("g", b=12)], SMALL, "b")
    assert not spare([says("g", b=12), says("h", b=1)], SMALL, "b")
    assert spare([says("g", b=2), says("h", b=2)], SMALL, "b")
    assert not spare([], SMALL._replace(at_least=0.5), "b")


def test_one_item_decides_alone_for_the_leaf_that_it_is_decisive_for() -> None:
    assert "b" == decide([says("g", b=7)], SMALL).family
    assert UNDETERMINED == decide([says("g", b=6)], SMALL).family
    assert not decisive([says("g", a=7)], SMALL, "b")


@pytest.mark.parametrize(
    ("severities", "readable", "expected"),
    [
        ([], [True, True], "ok"),
        (["info"], [True], "ok"),
        ([], [True, False], "unknown"),
        ([], [], "unknown"),
        (["info"], [False], "unknown"),
        (["info", "warning"], [False], "warning"),
        (["warning", "critical", "info"], [], "critical"),
    ],
)
def test_a_node_is_as_bad_as_its_worst_open_incident_and_ok_only_if_all_was_read(
    severities: list[str], readable: list[bool], expected: str
) -> None:
    assert expected == status(severities, readable)
