"""A curve is proposed only where it is more honest on verdicts that it has not seen."""

from __future__ import annotations

import pytest

from triage.calibrate import calibrate, isotonic, logistic, quality
from triage.fit import Study
from triage.model import Assessment, Verdict
from triage.render.fitting import calibration_file, calibration_text
from triage.rulebook.load import load
from triage.verdict import shown

RULEBOOK = load()
CAP = RULEBOOK.cap


@pytest.mark.parametrize("curve", [isotonic, logistic])
def test_a_curve_rises(curve: object) -> None:
    said = [(0.5 + n / 200, n % 100 < 20 + n * 0.7) for n in range(100)]
    table = curve(said)  # type: ignore[operator]

    assert list(table) == sorted(table)
    assert [level for _, level in table] == sorted(level for _, level in table)
    assert all(0 < level < 1 for _, level in table)


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
    assert ((), ()) == (isotonic([]), logistic([]))
    assert (0.0, 0.0, 0) == quality([])


def test_a_table_is_followed_straight_between_its_knots_and_flat_beyond_them() -> None:
    bent = RULEBOOK._replace(calibration=((0.5, 0.4), (0.7, 0.5), (0.9, 0.9)))

    assert [0.4, 0.4, 0.45, 0.5, 0.7, 0.9, 0.9] == [
        pytest.approx(shown(raw, bent)) for raw in (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
    ]


def test_without_a_table_confidence_is_as_computed_and_always_capped() -> None:
    assert (0.83, CAP) == (shown(0.83, RULEBOOK), shown(0.999, RULEBOOK))
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
    """Fifteen of sixteen at 0.82 were right, but the sixteenth would be wrong at 0.9 or more."""
    found = calibrate(RULEBOOK, [study(n, 0.82, n % 16 != 0) for n in range(100)])

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
