"""Fitting finds what many incidents ask for, and refuses what one of them does."""

from __future__ import annotations

from typing import Any

import pytest

from triage.evaluate import Case
from triage.figures import figures
from triage.fit import (
    LEAST,
    Change,
    Fitted,
    Fold,
    Study,
    _Fitting,
    _Sample,
    fit,
    outcomes,
    search,
    split,
    studies,
    thread,
    weighed,
    weights_of,
)
from triage.render.fitting import change_text, overlay_files
from triage.rulebook.load import load
from triage.rulebook.model import Rulebook

SHIPPED = load()
OFF_BUS = "NVRM: Xid (PCI:0000:{bus:02x}:00): 79, GPU has fallen off the bus."
WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett", "kilo", "lima"]
REMAPPED = "NVRM: Xid (PCI:0000:9d:00): 64, Row Remapper Error: (0x1) - All reserved rows for bank are remapped"


def rulebook(**points: int) -> Rulebook:
    """The shipped rulebook with these points for the trigger of gpu-off-bus, causes written with two underscores."""
    trigger = {name.replace("__", "."): value for name, value in points.items()}
    return SHIPPED._replace(
        rules=tuple(
            rule._replace(trigger=rule.trigger._replace(points=trigger)) if rule.id == "gpu-off-bus" else rule
            for rule in SHIPPED.rules
        )
    )


def cases(causes: list[str], **more: Any) -> list[Case]:
    """One case of its own thread for each cause, all with the same line."""
    return [
        {
            "id": word,
            "log": f"{OFF_BUS.format(bus=number + 1)}\n{word}",
            "cause": cause,
            "url": f"https://x.org/{word}",
            "basis_grade": "A",
            **more,
        }
        for number, (word, cause) in enumerate(zip(WORDS, causes, strict=False))
    ]


def changes(rules: Rulebook, listed: list[Case]) -> tuple[Change, ...]:
    return search(rules, studies(rules, listed), LEAST)[1]


def test_what_many_incidents_ask_for_is_found() -> None:
    """Ten boards that were lost for want of power raise the word for power."""
    (change, *rest) = changes(rulebook(hardware__power=1), cases(["power-thermal"] * 10))

    assert ("gpu-off-bus", "trigger", "seen", "hardware.power", 1, 4) == change[1:7]
    assert 10 == change.incidents
    assert change.gain > 1
    assert all(other.gain <= change.gain for other in rest)


def test_the_fitted_rulebook_says_so() -> None:
    rules = rulebook(hardware__power=1)
    read = studies(rules, cases(["power-thermal"] * 10))
    fitted, _ = search(rules, read, LEAST)

    before, after = outcomes(rules, read), outcomes(fitted, read)
    assert all((one.named or 0) < (other.named or 0) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("number", [1, LEAST - 1])
def test_few_incidents_change_nothing(number: int) -> None:
    assert () == changes(rulebook(hardware__power=1), cases(["power-thermal"] * number))


def test_one_thread_is_one_incident_however_often_it_is_there() -> None:
    assert () == changes(rulebook(hardware__power=1), cases(["power-thermal"] * 10, url="https://x.org/same"))


def test_a_gain_that_rests_on_one_incident_is_refused() -> None:
    """Three rivals lose what one gains: without that one nothing is left of it."""
    listed = cases(["power-thermal"] + ["platform"] * 5)

    assert not [c for c in changes(rulebook(hardware__power=1), listed) if c.leaf == "hardware.power" and c.new > c.old]


def test_incidents_whose_cause_nobody_knows_count_for_nothing() -> None:
    assert () == changes(rulebook(hardware__power=1), cases(["power-thermal"] * 10, basis_grade="D"))


def test_a_word_is_never_turned_into_its_opposite() -> None:
    """A person said that it speaks against the fabric: it may be taken away, not reversed."""
    found = changes(rulebook(hardware__fabric=-2), cases(["fabric"] * 10))

    assert [0] == [change.new for change in found if change.leaf == "hardware.fabric"]


def test_no_item_is_raised_until_it_decides_alone() -> None:
    assert max(change.new for change in changes(rulebook(), cases(["power-thermal"] * 12))) < SHIPPED.decisive


def test_cases_of_one_thread_stay_in_one_fold() -> None:
    threads = [f"t{number // 3}" for number in range(60)]
    folds = split(threads, 5)

    assert {0, 1, 2, 3, 4} == set(folds)
    assert 20 == len(set(zip(threads, folds, strict=True)))
    assert folds == split(threads, 5)


def test_a_thread_is_its_address_and_a_list_is_none() -> None:
    assert "https://x.org/1" == thread({"id": "a", "url": "https://x.org/1"})
    assert "a" == thread({"id": "a", "url": "https://x.org/list/..."})
    assert "a" == thread({"id": "a", "url": "somebody's diary"})


def test_held_out_figures_come_from_weights_that_never_saw_the_case() -> None:
    """With one cause throughout, every fold learns it from the others."""
    rules = rulebook(hardware__power=1)
    found = fit(rules, studies(rules, cases(["power-thermal"] * 12)), folds=3)

    assert (3, 12) == (len(found.folds), found.held_out.after.known)
    assert found.held_out.after.log_loss < found.held_out.before.log_loss  # type: ignore[operator]
    assert sum(fold.before.known for fold in found.folds) == found.all_cases.before.known


def test_a_rule_that_does_no_better_on_cases_it_has_not_seen_keeps_its_points() -> None:
    """What one fold learns the next one contradicts: all of a fold's cases have one cause, and each fold another."""
    rules = rulebook(hardware__power=1)
    listed = cases(["power-thermal"] * 12)
    folds = split([thread(case) for case in listed], 2)
    for case, fold in zip(listed, folds, strict=True):
        case["cause"] = ("power-thermal", "fabric")[fold]
    found = fit(rules, studies(rules, listed), folds=2)

    assert found.gains["gpu-off-bus"] < 0
    assert () == found.changes
    assert found.held_out.before == found.held_out.after
    assert list(rules.rules) == list(found.rulebook.rules)


def test_fitting_twice_gives_the_same() -> None:
    rules = rulebook(hardware__power=1)
    read = studies(rules, cases(["power-thermal", "platform", "hardware"] * 4))

    assert fit(rules, read) == fit(rules, read)


def test_weights_are_taken_out_and_put_back_unchanged() -> None:
    assert list(SHIPPED.rules) == [weighed(rule, weights_of(rule)) for rule in SHIPPED.rules]


def test_the_search_adds_up_as_a_verdict_does() -> None:
    """Its own sum of points must be that of `triage.verdict`, on every incident of a real rule."""
    for read in studies(SHIPPED, cases(["platform"])):
        (incident,) = read.assessment.incidents
        slots = tuple(
            (e.id, "otherwise" if e.state == "quiet" else "seen") for e in incident.evidence if e.state != "unknown"
        )
        rule = next(rule for rule in SHIPPED.rules if rule.id == incident.rule)
        odds = _Fitting(SHIPPED, rule, [_Sample("t", slots, frozenset())], LEAST)._odds[0]
        total = sum(odds.values())

        assert pytest.approx(dict(incident.verdict.by_leaf)) == {leaf: value / total for leaf, value in odds.items()}


def test_a_change_is_printed_with_its_place_and_words() -> None:
    place = SHIPPED.rules[0].place._replace(path="rules/x.yaml", line=12)
    change = Change(place, "x", "trigger", "seen", "workload", 2, 4, 16, 2.03)

    assert "rules/x.yaml:12: trigger: workload: moderate -> strong (16 incidents, gain 2.03)" == change_text(
        change, SHIPPED
    )
    assert "item otherwise: site: against weak -> none" in change_text(
        change._replace(item="item", side="otherwise", leaf="site", old=-1, new=0), SHIPPED
    )


def test_what_is_written_is_an_overlay_that_gives_the_fitted_points(tmp_path: Any) -> None:
    """All kinds of change: up, away, against, and of the silent answer."""
    rule = next(rule for rule in SHIPPED.rules if rule.id == "gpu-off-bus")
    moves = [
        ("trigger", "seen", "hardware.link", 4),
        ("trigger", "seen", "workload", 0),
        ("link-noise", "seen", "site", -2),
        ("driver-wave", "otherwise", "driver.module", -1),
    ]
    before = weights_of(rule)
    listed = tuple(
        Change(rule.place, rule.id, item, side, leaf, before[item, side].get(leaf, 0), new, 4, 1.0)
        for item, side, leaf, new in moves
    )
    nothing = Fold(figures([]), figures([]))
    files = overlay_files(Fitted((), nothing, nothing, listed, SHIPPED), SHIPPED, "It's fitted.")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    after = weights_of(next(r for r in load(overlays=[tmp_path]).rules if r.id == "gpu-off-bus"))

    for item, side, leaf, new in moves:
        before[item, side] = {name: value for name, value in {**before[item, side], leaf: new}.items() if value}
    assert before == after


def test_a_study_holds_every_incident_so_that_another_may_come_first() -> None:
    log = f"{OFF_BUS.format(bus=1)}\n{REMAPPED}"
    (study,) = studies(SHIPPED, [{"id": "a", "log": log, "cause": "hardware", "basis_grade": "A"}])

    assert isinstance(study, Study)
    assert 2 == len(study.assessment.incidents)
