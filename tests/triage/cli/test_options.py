"""Values are checked where they enter."""

from __future__ import annotations

import argparse

import pytest

from triage.cli.options import deadline, epoch, zone


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (0.0, "UTC"),
        (0.0, "z"),
        (7200.0, "+02:00"),
        (7200.0, "+0200"),
        (7200.0, "+02"),
        (-12600.0, "-03:30"),
        (50400.0, "+14:00"),
    ],
)
def test_a_zone_is_utc_or_an_offset(expected: float, text: str) -> None:
    """Seconds east of UTC."""
    assert expected == zone(text)


@pytest.mark.parametrize("text", ["", "CET", "2", "+2", "+16:00", "+02:60", "+02:0", "+١٢:00", "+02:00\n"])
def test_any_other_zone_is_refused(text: str) -> None:
    """A name may mean two offsets in one year."""
    with pytest.raises(argparse.ArgumentTypeError):
        zone(text)


@pytest.mark.parametrize("text", ["", "nan", "inf", "-inf", "1e999", "soon"])
def test_a_number_is_finite(text: str) -> None:
    """Neither a clock nor a limit is anything else."""
    with pytest.raises(argparse.ArgumentTypeError):
        epoch(text)
    with pytest.raises(argparse.ArgumentTypeError):
        deadline(text)


def test_a_deadline_is_above_zero_and_at_most_an_hour() -> None:
    """Zero would mean never to look, a year never to answer."""
    assert 0.5 == deadline("0.5")
    for text in ("0", "-1", "3600.1"):
        with pytest.raises(argparse.ArgumentTypeError):
            deadline(text)
