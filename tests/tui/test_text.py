"""Lines of foreign text, fitted and harmless."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tui.look import Look
from tui.text import age, both, clipped, fit, heading, padded, strip, width_of, wrap

PLAIN = Look("plain", False)
ASCII = Look("plain", True)

texts = st.text(st.characters(), max_size=60)


@given(texts, st.integers(1, 40), st.booleans())
def test_a_line_is_never_wider_than_it_may_be(text: str, width: int, ascii_only: bool) -> None:
    look = Look("plain", ascii_only)

    for line in [fit([("", text), ("strong", text)], width, look), (("", padded(text, width, look)),)]:
        assert width_of(line) <= width
        assert all(char.isprintable() for _, part in line for char in part)


@given(st.lists(texts, max_size=4), st.integers(2, 40))
def test_wrapped_lines_lose_nothing_but_blanks_and_are_never_too_wide(parts: list[str], width: int) -> None:
    lines = wrap([("", part) for part in parts], width, ASCII)

    assert all(width_of(line) <= width for line in lines)
    shown = "".join(text for line in lines for _, text in line)
    whole = "".join(clipped(part, 10_000, ASCII) for part in parts)
    assert whole.replace(" ", "") == shown.replace(" ", "")


@example("\u1161", 1)  # a letter that Hangul joins to the one before
@example("\U0001f1e9\U0001f1ea", 8)  # two letters that make one flag
@given(texts, st.integers(1, 40))
def test_a_strip_is_exactly_as_wide_as_asked(text: str, width: int) -> None:
    drawn = strip([("critical", text)], width, PLAIN, "cursor")

    assert width == drawn.cell_length == sum(segment.cell_length for segment in drawn)


@pytest.mark.parametrize("hostile", ["\x1b[31mred", "a\x00b", "\u202eevil", "[bold]x[/bold]", "a\nb", "\x9b2J"])
def test_foreign_text_is_shown_and_never_obeyed(hostile: str) -> None:
    drawn = "".join(segment.text for segment in strip([("", hostile)], 60, ASCII))

    assert drawn.isprintable()
    assert drawn.isascii()
    assert "[bold]x[/bold]" in drawn or "[bold]" not in hostile


def test_later_lines_hang_and_a_cut_is_marked() -> None:
    lines = wrap([("", "[1] one two three four five six")], 12, ASCII, 4, most=2)

    assert ["[1] one two", "    three~"] == ["".join(text for _, text in line) for line in lines]


def test_a_blank_at_the_end_of_a_part_is_a_place_to_break() -> None:
    lines = wrap([("", "one two; "), ("faint", "seen once")], 12, ASCII)

    assert ["one two; ", "seen once"] == ["".join(text for _, text in line) for line in lines]


def test_the_right_part_is_kept_whole() -> None:
    line = both([("", "a long name of a node")], [("", "READ-ONLY")], 20, ASCII)

    assert "a long na~ READ-ONLY" == "".join(text for _, text in line)


def test_a_heading_fills_its_line() -> None:
    assert "-- for driver  2 --------" == "".join(text for _, text in heading("for driver", "2", 25, ASCII))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "?"), (0, "0s"), (38.9, "38s"), (60, "1m"), (5400, "1h"), (86400 * 95, "95d"), (-5, "0s"), (1e12, "999d")],
)
def test_an_age_takes_four_characters_at_most(seconds: float | None, words: str) -> None:
    assert words == age(seconds)
    assert len(words) <= 4
