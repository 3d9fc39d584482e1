"""Lines fit, words survive."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from triage.render.color import colored
from triage.render.layout import NARROWEST, Look, at_most, fill
from triage.render.safe import cells, safe


@given(st.text(max_size=300), st.integers(1, 130))
def test_no_line_is_wider_than_the_terminal(foreign: str, width: int) -> None:
    """Whatever the text is, and however long its words are."""
    lines = fill(Look(width), [("", foreign)], "  ", "      ")

    assert all(cells(line) <= max(width, NARROWEST) for line in lines)
    # Only blanks may go, and only where a line is broken.
    assert safe(foreign).replace(" ", "") == "".join(line.strip(" ") for line in lines).replace(" ", "")


def test_words_are_broken_between_and_hang_where_told() -> None:
    """A sentence stays readable."""
    lines = fill(Look(40), [("", "the driver lost contact with the GPU and it did not come back")], "- ", "  ")

    assert ["- the driver lost contact with the GPU", "  and it did not come back"] == lines


def test_colour_changes_no_letter() -> None:
    """Without the escapes both forms are the same."""
    spans = [("critical", "CRITICAL"), ("", "gpu-0417"), ("strong", "HARDWARE, very likely " * 8)]
    painted = "\n".join(fill(Look(60, colored), spans, "  "))

    assert "\n".join(fill(Look(60), spans, "  ")) == re.sub(r"\x1b\[[0-9;]*m", "", painted)


def test_lines_left_out_are_mentioned() -> None:
    """Nobody takes a part for the whole."""
    assert ["  a", "  b", "  [...]"] == at_most(["  a", "  b", "  c"], 2)
    assert ["  a", "  b"] == at_most(["  a", "  b"], 2)
