"""The figures that tell how good the verdicts are must themselves be right."""

from __future__ import annotations

from math import log

import pytest

from triage.figures import FLOOR, Bin, Outcome, Share, as_json, calibration_error, figures, reliability


def outcome(
    result: str,
    leaf: str,
    confidence: float,
    cause: str = "hardware",
    grade: str = "A",
    named: float | None = None,
) -> Outcome:
    known = grade != "D" and cause != "unknown"
    right = result == "right"
    return Outcome("x", cause, (cause,), known, grade, result, leaf, leaf, confidence, right, "", (), named)


def test_the_figures_are_shares_of_the_right_wholes() -> None:
    """Coverage is of the known, accuracy of the decided."""
    result = figures(
        [
            outcome("right", "hardware.gpu", 0.85),
            outcome("right", "hardware.gpu", 0.95),
            outcome("wrong", "workload", 0.95),
            outcome("open", "undetermined", 0.5),
            outcome("wrong", "workload", 0.99, grade="D"),
            outcome("right", "undetermined", 0.5, cause="unknown", grade="D"),
            outcome("wrong", "workload", 0.9, cause="unknown", grade="D"),
        ]
    )

    assert (4, 3, 2, 1, 1) == (result.known, result.decided, result.right, result.wrong, result.confident_wrong)
    assert (0.75, 0.5, 0.5) == (result.coverage, result.right_of_all, result.unknown_left_open)
    assert pytest.approx(2 / 3) == result.accuracy


def test_a_miss_is_known_but_not_decided() -> None:
    result = figures([outcome("missed", "-", 0.0), outcome("right", "-", 0.0, cause="none")])

    assert (2, 1, 1, 1) == (result.known, result.decided, result.right, result.missed)


def test_the_calibration_error_is_the_gap_between_said_and_right() -> None:
    """Two at 0.85 of which one was right are off by 0.35."""
    result = figures([outcome("right", "hardware.gpu", 0.85), outcome("wrong", "workload", 0.85)])

    assert pytest.approx(0.35) == result.calibration_error
    assert (Bin(0.8, 0.9, 2, 0.85, 0.5),) == result.bins
    assert calibration_error([]) is None


def test_the_brier_score_is_the_mean_squared_gap_of_decided_verdicts() -> None:
    result = figures(
        [outcome("right", "hardware.gpu", 0.8), outcome("wrong", "workload", 0.9), outcome("open", "undetermined", 0.5)]
    )

    assert pytest.approx((0.2**2 + 0.9**2) / 2) == result.brier


def test_the_log_loss_is_bounded_so_that_one_case_cannot_outweigh_all_others() -> None:
    result = figures(
        [
            outcome("open", "undetermined", 0.5, named=0.5),
            outcome("wrong", "workload", 0.9, named=0.0),
            outcome("missed", "-", 0.0),
        ]
    )

    assert pytest.approx((log(2) - log(FLOOR)) / 2) == result.log_loss


def test_macro_averages_count_each_cause_class_once() -> None:
    """However heavy the collection is in one of them."""
    kernels = [outcome("right", "system.kernel", 0.9, cause="kernel")] * 9
    result = figures([*kernels, outcome("wrong", "workload", 0.85)])

    assert (0.9, 0.5, 0.5) == (result.accuracy, result.macro_accuracy, result.macro_right_of_all)
    assert {"hardware": Share(1, 1, 0, 0), "kernel": Share(9, 9, 9, 9)} == result.classes


def test_the_last_bin_holds_certainty() -> None:
    assert (Bin(0.9, 1.0, 2, 0.95, 1.0),) == reliability([(0.9, True), (1.0, True)])


def test_no_case_gives_no_figure_and_no_error() -> None:
    result = figures([])

    assert (None, None, None, None) == (result.accuracy, result.brier, result.log_loss, result.macro_top1)
    assert [] == as_json(result)["bins"]
