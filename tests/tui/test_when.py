"""Moments as people type them."""

from __future__ import annotations

from calendar import timegm

import pytest

from tui.when import moment_of

NEWEST = float(timegm((2026, 8, 22, 14, 2, 31)))


def utc(day: int, hour: int, minute: int, second: int) -> float:
    return float(timegm((2026, 8, day, hour, minute, second)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("03:10", utc(22, 3, 10, 59)),
        ("3:10", utc(22, 3, 10, 59)),
        ("14:02", utc(22, 14, 2, 59)),
        ("14:03", utc(21, 14, 3, 59)),
        ("23:59:07", utc(21, 23, 59, 7)),
        ("2026-08-20", utc(20, 23, 59, 59)),
        ("2026-08-20T03:10Z", utc(20, 3, 10, 59)),
        ("2026-08-20T03:10:05Z", utc(20, 3, 10, 5)),
        ("2026-08-20 03:10+02:00", utc(20, 1, 10, 59)),
    ],
)
def test_a_time_of_day_is_the_last_such_one_and_a_day_or_a_minute_means_its_end(text: str, expected: float) -> None:
    assert expected == moment_of(text, NEWEST)


@pytest.mark.parametrize("text", ["", "noon", "25:00", "2026-13-01", "1787407351"])
def test_what_is_no_time_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(ValueError, match="write 03:10, 2026-08-22 or"):
        moment_of(text, NEWEST)
