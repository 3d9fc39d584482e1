"""One table decides about colour."""

from __future__ import annotations

import pytest

from triage.render.color import colored, plain, wants_color


@pytest.mark.parametrize(
    ("expected", "choice", "environ", "terminal"),
    [
        (True, "auto", {}, True),
        (False, "auto", {}, False),
        (False, "auto", {"NO_COLOR": "1"}, True),
        (False, "auto", {"NO_COLOR": "0"}, True),
        (True, "auto", {"NO_COLOR": ""}, True),
        (False, "auto", {"TERM": "dumb"}, True),
        (True, "auto", {"TERM": "xterm-256color"}, True),
        (True, "auto", {"FORCE_COLOR": "1"}, False),
        (True, "auto", {"FORCE_COLOR": "1", "TERM": "dumb"}, False),
        (False, "auto", {"FORCE_COLOR": ""}, False),
        (False, "auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, True),
        (True, "always", {"NO_COLOR": "1", "TERM": "dumb"}, False),
        (False, "never", {"FORCE_COLOR": "1"}, True),
    ],
)
def test_who_decides_about_colour(expected: bool, choice: str, environ: dict[str, str], terminal: bool) -> None:
    """The flag, then NO_COLOR, then FORCE_COLOR, then the terminal."""
    assert expected == wants_color(choice, environ, terminal)


def test_a_colour_ends_where_its_text_ends() -> None:
    """No line leaves the terminal coloured."""
    assert "\x1b[1;31mCRITICAL\x1b[0m" == colored("critical", "CRITICAL")
    assert "" == colored("critical", "")
    assert "x" == colored("no such style", "x")
    assert "x" == plain("critical", "x")
