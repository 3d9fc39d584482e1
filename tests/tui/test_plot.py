"""Courses over time, drawn: nothing where nothing was looked at, and no peak lost."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tui.look import Look
from tui.plot import Cell, columns, line, plot
from tui.trend import Course, Lay

ASCII = Look("plain", True)
HOUR = 3600.0


def level(*lays: tuple[float, float, float]) -> Course:
    """Lays of an hour each: the hour, the mean, the greatest."""
    return Course(tuple(Lay(n * HOUR, (n + 1) * HOUR, 0.0, mean, most) for n, mean, most in lays), False)


def test_a_column_is_the_mean_and_the_greatest_of_what_fell_into_it() -> None:
    went = level((0, 10, 20), (1, 30, 90), (2, 5, 5))

    assert [(20, 90), (5, 5)] == columns(went, 0.0, 4 * HOUR, 2)
    assert [(10, 20), (30, 90), (5, 5), None] == columns(went, 0.0, 4 * HOUR, 4)


def test_what_lasts_fills_its_columns_and_what_was_before_is_left_out() -> None:
    went = Course((Lay(-9 * HOUR, -8 * HOUR, 1, 1, 1), Lay(-HOUR, 3 * HOUR, 7, 7, 7)), False)

    assert [(7, 7)] * 3 + [None] == columns(went, 0.0, 4 * HOUR, 4)


def test_counts_add_up_and_stand_still_between() -> None:
    went = Course(
        (Lay(HOUR, 2 * HOUR, 0, 0, 0), Lay(3 * HOUR, 9 * HOUR, 4, 4, 4), Lay(3.5 * HOUR, 4 * HOUR, 2, 2, 2)), True
    )

    assert [None, (0, 0), (0, 0), (6, 6), (0, 0)] == columns(went, 0.0, 5 * HOUR, 5)


def test_a_line_has_gaps_where_nothing_is_known() -> None:
    assert "_ #" == line([(1, 1), None, (9, 9)], ASCII)
    assert "__" == line([(5, 5), (5, 9)], ASCII)
    assert "" == line([], ASCII)


def drawn(cells: list[Cell | None], height: int) -> list[str]:
    times = (0.0, len(cells) * HOUR)
    return [
        "".join(text for _, text in each) for each in plot(cells, height, times, lambda value: f"{value:g} C", ASCII)
    ]


def test_a_plot_has_its_scale_its_peaks_and_its_gaps() -> None:
    assert [
        "     90 C |  :",
        "          |  :",
        "      0 C |##. o",
        "           ",
    ] == [
        row.rstrip() if row.strip() else row[:11] for row in drawn([(30, 30), (30, 30), (0.0, 90), None, (20, 20)], 3)
    ]


def test_the_lowest_is_told_from_the_unknown() -> None:
    rows = drawn([(50, 50), None, (90, 90)], 2)

    assert "     50 C |. #" == rows[1]


@pytest.mark.parametrize(("hours", "width"), [(3, 60), (24, 60), (7 * 24, 60), (7 * 24, 180)])
def test_the_days_below_do_not_run_into_each_other(hours: int, width: int) -> None:
    *_, axis = plot([(1.0, 1.0)] * width, 1, (0.0, hours * HOUR), str, ASCII)
    words = "".join(text for _, text in axis).split()

    assert words
    assert {5} == {len(word) for word in words}
    assert all(a != b for a, b in pairwise(words))
