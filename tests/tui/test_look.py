"""Themes: colour is an extra, never the message."""

from __future__ import annotations

import pytest

from tui.look import THEMES, Look, style

NAMES = sorted(set().union(*THEMES.values()))


@pytest.mark.parametrize("name", NAMES)
def test_the_plain_theme_has_no_colour_at_all(name: str) -> None:
    drawn = style("plain", name)

    assert (None, None) == (drawn.color, drawn.bgcolor)


@pytest.mark.parametrize("theme", THEMES)
def test_only_the_sixteen_colours_of_the_terminal_are_used(theme: str) -> None:
    used = [color for name in NAMES for color in (style(theme, name).color, style(theme, name).bgcolor) if color]

    assert all(color.number is not None and color.number < 16 and not color.triplet for color in used)


def test_the_safe_theme_has_no_red_and_no_green() -> None:
    used = {color.name for name in NAMES if (color := style("safe", name).color) is not None}

    assert not {name for name in used if "red" in name or "green" in name}
    assert len({str(style("safe", name)) for name in ("critical", "warning", "unknown", "ok")}) == 4


def test_what_matters_differs_without_colour_too() -> None:
    assert style("plain", "cursor").reverse
    assert style("plain", "critical").bold
    assert style("plain", "hit") != style("plain", "cursor")


def test_every_sign_has_an_ascii_twin() -> None:
    for name in ("full", "empty", "rule", "wall", "cut", "cursor", "rest"):
        assert 1 == len(Look("plain", True).sign(name)) == len(Look("plain", False).sign(name))
        assert Look("plain", True).sign(name).isascii()
