"""A curve is proposed only where it is more honest on verdicts that it has not seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from triage.calibrate import STEEPEST, calibrate, isotonic, quality, stretched
from triage.evaluate import distinct, read_corpus
from triage.fit import Study, outcomes, studies
from triage.model import Assessment, Verdict
from triage.render.fitting import calibration_file, calibration_text
from triage.rulebook.load import load
from triage.verdict import shown

RULEBOOK = load()
INCIDENTS = sorted((Path(__file__).parents[1] / "incidents").glob("*.jsonl"))
CAP = RULEBOOK.cap


def test_a_curve_rises() -> None:
    said = [(0.5 + n / 200, n % 100 < 20 + n * 0.7) for n in range(100)]
    for table in (isotonic(said), stretched(said, 0.8)):
        assert list(table) == sorted(table)
        assert [level for _, level in table] == sorted(level for _, level in table)
    assert all(0 < level < 1 for _, level in isotonic(said))


def test_the_stretched_curve_begins_where_a_verdict_is_given() -> None:
    """What is not decided is shown as computed; who is right more often than said is believed more, up to a bound."""
    bent = RULEBOOK._replace(calibration=stretched([(0.9, True)] * 200 + [(0.9, False)], 0.8), cap=1.0)

    assert [0.3, 0.79, 0.8] == [pytest.approx(shown(raw, bent)) for raw in (0.3, 0.79, 0.8)]
    odds = 4 * (9 / 4) ** STEEPEST  # of 0.8, and of 0.9 against it
    assert pytest.approx(odds / (1 + odds), abs=0.001) == shown(0.9, bent)
    assert 1.0 == shown(1.0, bent)


def test_the_stretched_curve_says_how_often_it_was_right() -> None:
    said = [(0.85, n % 7 != 0) for n in range(70)] + [(0.95, n % 25 != 0) for n in range(100)]
    bent = RULEBOOK._replace(calibration=stretched(said, 0.8))

    assert pytest.approx(6 / 7, abs=0.02) == shown(0.85, bent)
    assert pytest.approx(24 / 25, abs=0.02) == shown(0.95, bent)


def test_where_most_of_it_is_wrong_the_stretched_curve_stays_at_the_threshold() -> None:
    bent = RULEBOOK._replace(calibration=stretched([(0.95, n % 4 != 0) for n in range(40)], 0.8))

    assert [pytest.approx(0.8, abs=0.001)] * 3 == [shown(raw, bent) for raw in (0.8, 0.9, 0.97)]


def test_the_isotonic_curve_says_how_often_it_was_right() -> None:
    """Of a hundred at 0.6 half were right; of a hundred at 0.9 all: each block as if with one more of both."""
    said = [(0.6, n % 2 == 0) for n in range(100)] + [(0.9, True) for _ in range(100)]
    table = dict(isotonic(said))

    assert pytest.approx(0.5, abs=0.02) == table[0.6]
    assert pytest.approx(101 / 102, abs=0.001) == table[0.9]


def test_where_everything_was_right_there_is_one_level_below_certainty() -> None:
    table = isotonic([(0.8 + n / 1000, True) for n in range(50)])

    assert [pytest.approx(51 / 52, abs=0.001)] * 2 == [level for _, level in table]
    assert (0.0, 1.0) == (table[0][0], table[-1][0])


def test_no_verdict_gives_no_curve() -> None:
    assert ((), ()) == (isotonic([]), stretched([], 0.8))
    assert (0.0, 0.0, 0) == quality([])


def test_a_table_is_followed_straight_between_its_knots_and_flat_beyond_them() -> None:
    bent = RULEBOOK._replace(calibration=((0.5, 0.4), (0.7, 0.5), (0.9, 0.9)))

    assert [0.4, 0.4, 0.45, 0.5, 0.7, 0.9, 0.9] == [
        pytest.approx(shown(raw, bent)) for raw in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
    ]


def test_without_a_table_confidence_is_as_computed_and_always_capped() -> None:
    plain = RULEBOOK._replace(calibration=())

    assert (0.83, CAP) == (shown(0.83, plain), shown(0.999, plain))
    assert CAP == shown(0.9, RULEBOOK._replace(calibration=((0.0, 1.0), (1.0, 1.0))))


def study(number: int, raw: float, right: bool) -> Study:
    """A verdict at this confidence, made by the weight of one trigger."""
    rule = next(rule for rule in RULEBOOK.rules if rule.id == "gpu-off-bus")
    verdict = Verdict("hardware", "hardware.link", raw, {"hardware": raw}, {"hardware.link": raw})
    case = {"id": f"c{number}", "log": "x", "cause": "platform" if right else "driver", "basis_grade": "A"}
    from tests.triage.samples import off_bus

    incident = off_bus()._replace(rule=rule.id, verdict=verdict)
    return Study(case, Assessment(None, "critical", (), (incident,), (), ()))


@pytest.fixture
def as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the verdicts of the studies as they are."""
    monkeypatch.setattr("triage.fit.reweighed", lambda assessment, rulebook: assessment)


@pytest.mark.usefixtures("as_given")
def test_too_much_confidence_is_taken_back() -> None:
    """What is said at 0.95 and right in half the cases is shown as that."""
    found = calibrate(RULEBOOK, [study(n, 0.95, n % 2 == 0) for n in range(80)])

    assert (80, 40, 40) == (found.verdicts, found.wrong, found.as_shown.confident_wrong)
    assert found.chosen is not None
    assert pytest.approx(0.5, abs=0.03) == shown(0.95, RULEBOOK._replace(calibration=found.table))
    assert "proposed: " in calibration_text(found)
    text = calibration_file(found, "a.jsonl")
    assert "schema: 1\nsource: '" in text
    assert len(found.table) == text.count("  - {raw: ")


@pytest.mark.usefixtures("as_given")
def test_a_curve_that_makes_a_wrong_verdict_confident_is_not_proposed() -> None:
    """Fifteen of sixteen at 0.88 were right, but the sixteenth would be wrong at 0.9 or more."""
    found = calibrate(RULEBOOK, [study(n, 0.88, n % 16 != 0) for n in range(100)])

    assert any(tried.error < found.as_shown.error for tried in found.tried.values())
    assert all(tried.confident_wrong > 0 for tried in found.tried.values())
    assert (None, ()) == (found.chosen, found.table)
    assert "no curve is better" in calibration_text(found)


@pytest.mark.usefixtures("as_given")
def test_where_nothing_was_wrong_nothing_is_learned() -> None:
    """Or every verdict would be shown as near certain."""
    found = calibrate(RULEBOOK, [study(n, 0.82, True) for n in range(100)])

    assert all(tried.error < found.as_shown.error for tried in found.tried.values())
    assert (None, ()) == (found.chosen, found.table)
    assert "5 wrong verdicts are needed" in calibration_text(found)


@pytest.mark.usefixtures("as_given")
def test_a_verdict_where_nobody_found_the_cause_counts_as_wrong() -> None:
    unknown = study(0, 0.85, True)
    unknown.case["cause"] = "unknown"

    assert (3, 1) == calibrate(RULEBOOK, [unknown, study(1, 0.85, True), study(2, 0.85, True)], 2)[:2]


def test_the_shipped_curve_decides_nothing_and_is_more_honest_than_none() -> None:
    """On the incidents of this tree, with those whose cause nobody found."""
    read = studies(RULEBOOK, distinct(case for file in INCIDENTS for case in read_corpus(file)))
    pairs = [
        (o.raw, o.known and o.result == "right")
        for o in outcomes(RULEBOOK, read)
        if (o.known or o.cause == "unknown") and o.leaf in RULEBOOK.causes
    ]
    plain = RULEBOOK._replace(calibration=())
    without, with_it = (quality([(shown(raw, book), right) for raw, right in pairs]) for book in (plain, RULEBOOK))

    assert RULEBOOK.at_least == shown(RULEBOOK.at_least, RULEBOOK)
    assert with_it.error < without.error
    assert with_it.brier < without.brier
    assert with_it.confident_wrong <= without.confident_wrong
