"""Probabilities as bars."""

from __future__ import annotations

import pytest

from tests.tui import samples
from tui.facts import Verdict
from tui.look import Look
from tui.text import Line, width_of
from tui.widgets import bars

LOOK = Look("plain", True)


def text(line: Line) -> str:
    """Return a line without styles."""
    return "".join(part for _, part in line)


@pytest.mark.parametrize(
    ("share", "drawn"), [(0.0, "...."), (0.1, "...."), (0.25, "#..."), (0.5, "##.."), (0.97, "####"), (1.0, "####")]
)
def test_a_bar_is_as_long_as_its_share(share: float, drawn: str) -> None:
    assert drawn == bars.bar(share, 4, LOOK)[1]


@pytest.mark.parametrize("width", [40, 79, 120, 199])
def test_every_family_is_named_with_its_number_at_any_width(width: int) -> None:
    verdict = samples.known().incidents[0].verdict
    for lines in (bars.compact(verdict, width, LOOK), bars.full(verdict, width, LOOK)):
        whole = "\n".join(map(text, lines))

        assert all(width_of(line) <= max(width, bars.FAMILY + 47) for line in lines)
        assert all(family in whole for family in verdict.by_family)
        assert "0.97" in whole
        assert "0.98" not in whole  # the leading family is given with the capped figure of the verdict


def test_causes_stand_beside_their_family() -> None:
    first = text(bars.full(samples.known().incidents[0].verdict, 110, LOOK)[0])

    assert first.endswith("0.97  link 0.73  gpu 0.24  power 0.01")


@pytest.mark.parametrize(
    ("confidence", "signs"),
    [
        (0.97, "#### 0.97"),
        (0.95, "#### 0.95"),
        (0.8, "###. 0.80"),
        (0.6, "##.. 0.60"),
        (0.59, "#... 0.59"),
        (None, "?"),
    ],
)
def test_four_signs_say_how_sure(confidence: float | None, signs: str) -> None:
    verdict = Verdict("hardware", "likely", confidence, "hardware", None, None, {}, {})

    assert signs == bars.sure(verdict, LOOK)[1]


def test_nothing_known_draws_nothing() -> None:
    empty = Verdict("undetermined", "?", None, "undetermined", None, None, {}, {})

    assert ([], []) == (bars.compact(empty, 80, LOOK), bars.full(empty, 80, LOOK))
