"""The language of `/` in tables."""

from __future__ import annotations

import pytest

from tui.filters import Fields, FilterError, parse

NAMES = ("sev", "where", "what", "temp")
ROW: Fields = {"sev": "CRIT critical", "where": "g3 0000:4e:00.0", "what": "GPU fell off the bus", "temp": 91}
UNKNOWN: Fields = {"sev": "WARN warning", "where": "node", "what": "GSP time-out", "temp": None}


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("", True),
        ("crit", True),
        ("CRIT fell", True),
        ("crit gsp", False),
        ("!gsp", True),
        ("!fell", False),
        ("sev:crit", True),
        ("sev=crit", False),
        ("sev:*cal", True),
        ("where:4e:00", True),
        ('"fell off"', True),
        ('what:"fell off the"', True),
        ("temp>=91", True),
        ("temp>91", False),
        ("temp<=91 temp<100", True),
        ("!temp>90", False),
        ("what:[x]", False),
    ],
)
def test_a_row_is_wanted_if_every_term_holds(asked: str, wanted: bool) -> None:
    assert wanted is parse(asked, NAMES)(ROW)


@pytest.mark.parametrize("asked", ["temp>0", "temp<200", "temp>=0"])
def test_unknown_is_neither_large_nor_small(asked: str) -> None:
    assert not parse(asked, NAMES)(UNKNOWN)


def test_unknown_is_found_by_its_sign() -> None:
    assert parse("temp:?", NAMES)(UNKNOWN)


@pytest.mark.parametrize(
    ("asked", "column", "says"),
    [
        ("crit sevv:x", 6, "did you mean 'sev'?"),
        ("colour:red", 1, "one of sev, where, what, temp"),
        ("temp>hot", 6, "'hot' is no number"),
        ("crit !", 7, "a word is missing"),
        ("sev:", 5, "a word is missing"),
        ('what:"fell off', 6, "quote is not closed"),
    ],
)
def test_what_is_wrong_is_said_with_its_column(asked: str, column: int, says: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse(asked, NAMES)

    assert column == caught.value.column
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"column {column}: ")
