"""Folded names of nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.fleet.nodesets import folded, matcher, natural


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ""),
        (["gpu-0417"], "gpu-0417"),
        ([f"gpu-{n}" for n in (*range(2201, 2239), 2240)], "gpu-[2201-2238,2240]"),
        (["n8", "n9", "n10", "n11"], "n[8-11]"),
        (["n08", "n09", "n10"], "n[08-10]"),
        (["n1", "n01", "n2"], "n[1,01,2]"),
        (["r1-n2-ib", "r1-n3-ib", "r2-n3-ib"], "r1-n[2-3]-ib,r2-n3-ib"),
        (["login", "gpu-1"], "gpu-1,login"),
        (["gpu[1-99999999]", "gpu1"], "gpu1,gpu[1-99999999]"),
    ],
)
def test_names_that_differ_in_their_last_number_stand_together(names: list[str], expected: str) -> None:
    assert expected == folded(names)


def test_a_folded_set_holds_its_names_and_no_others() -> None:
    inside = matcher("gpu-[2201-2238,2240],r[01-12]-ib,login")
    assert inside is not None
    for name in ("gpu-2201", "gpu-2238", "gpu-2240", "r01-ib", "r12-ib", "login"):
        assert inside(name), name
    for name in ("gpu-2239", "gpu-02201", "gpu-", "r1-ib", "r13-ib", "login2", "", "gpu-2201x"):
        assert not inside(name), name


@pytest.mark.parametrize("text", ["gpu-1", "gpu*", "gpu-[a-b]", "gpu-[1-2", "gpu-[1-99999999999999999999]"])
def test_what_is_no_set_is_none(text: str) -> None:
    assert matcher(text) is None


def test_a_set_of_any_size_is_never_written_out() -> None:
    inside = matcher("n[0-999999999999999999]")
    assert inside is not None
    assert inside("n123456789012345678")


@given(st.sets(st.from_regex(r"\A[a-c]{0,2}-?[0-9]{1,4}[a-c]?\Z"), min_size=2, max_size=40))
def test_what_is_folded_holds_exactly_its_names(names: set[str]) -> None:
    some = set(list(names)[: len(names) // 2 + 1])
    inside = matcher(folded(some) + ",")

    assert inside is not None
    assert some == {name for name in names if inside(name)}


def test_numbers_are_sorted_as_numbers() -> None:
    assert ["gpu9", "gpu10", "gpu10a", "gpu100"] == sorted(["gpu100", "gpu10a", "gpu9", "gpu10"], key=natural)
