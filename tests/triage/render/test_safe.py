"""Nothing that comes out of `safe` can move a cursor, hide or turn text around."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage.render.safe import cells, cut, safe


@pytest.mark.parametrize(
    ("expected", "hostile"),
    [
        ("python3 -m train", "python3 -m train"),
        ("\\x1b[2J\\x1b]0;owned\\x07", "\x1b[2J\x1b]0;owned\x07"),
        ("\\x9b31m\\x9d", "\x9b31m\x9d"),
        ("a\\nb\\rc\\td", "a\nb\rc\td"),
        ("\\x00\\x08\\x7f", "\0\b\x7f"),
        ("\\u202etxt.exe\\u2066", "\u202etxt.exe\u2066"),
        ("\\u200b\\u200d\\ufeff\\xad\\u2060", "\u200b\u200d\ufeff\xad\u2060"),
        ("\\udcff\\ud800", "\udcff\ud800"),
        ("\\u2028\\u2029\\x85", "\u2028\u2029\x85"),
        ("Z\\u0335\\u0489", "Z\u0335\u0489"),
        ("\\U000e0041", "\U000e0041"),
        ("\\u3164\\u2800", "\u3164\u2800"),
        ("\\xa0\\u3000", "\xa0\u3000"),
        ("naïve 東京 🙂", "naïve 東京 🙂"),
    ],
)
def test_what_is_not_plainly_visible_is_shown_as_an_escape(expected: str, hostile: str) -> None:
    """Escapes are shown, words stay words."""
    assert expected == safe(hostile)


def test_ascii_only_leaves_ascii_only() -> None:
    """For a serial console that knows nothing else."""
    assert "na\\xefve \\u6771 \\U0001f642" == safe("naïve 東 🙂", ascii_only=True)


@given(st.text(st.characters(), max_size=200), st.booleans())
def test_nothing_unprintable_comes_out(foreign: str, ascii_only: bool) -> None:
    """For any text at all."""
    shown = safe(foreign, ascii_only=ascii_only)

    assert shown.isprintable()
    assert not [char for char in shown if unicodedata.category(char) in ("Mn", "Me")]
    assert shown.isascii() or not ascii_only
    assert shown == safe(shown, ascii_only=ascii_only)


@given(st.text(max_size=60), st.integers(1, 20))
def test_a_cut_keeps_everything_and_the_width(foreign: str, width: int) -> None:
    """The two parts are the whole, and the first fits unless it is one wide character."""
    shown = safe(foreign)
    first, rest = cut(shown, width)

    assert shown == first + rest
    assert cells(first) <= width or 1 == len(first)
    assert first or not shown


def test_wide_characters_take_two_columns() -> None:
    """So that 80 columns stay 80 columns."""
    assert 7 == cells("ab東京!")
