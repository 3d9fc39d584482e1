"""Readings of several files become those of one node, the newest and fullest of each."""

from __future__ import annotations

from probes.model import Entity, Missing, Reading, Value
from triage.found import NOT_SHOWN, Found, together

GPU = Entity("gpu", "0000:4e:00.0")


def found(node: str | None, *values: tuple[str, Value, float]) -> Found:
    told = Found(f"file of {node}")
    told.node = node
    told.readings = [Reading(GPU, name, value, "count", at) for name, value, at in values]
    return told


def values(*all_found: Found) -> dict[str, Value]:
    return {reading.name: reading.value for reading in together(all_found)[0]}


def test_the_newest_reading_counts() -> None:
    """Also where a file does not say which node it is of."""
    assert {"a": 2, "b": 1} == values(found("n", ("a", 1, 1.0), ("b", 1, 1.0)), found(None, ("a", 2, 2.0)))
    assert {"a": 2} == values(found("n", ("a", 2, 2.0)), found("n", ("a", 1, 1.0)))


def test_a_part_that_lacks_a_value_does_not_hide_it() -> None:
    """`nvidia-smi -q -d ECC` beside `nvidia-smi -q`."""
    assert {"a": 1} == values(found(None, ("a", 1, 1.0)), found(None, ("a", Missing(NOT_SHOWN), 2.0)))
    assert {"a": Missing("lost")} == values(found(None, ("a", 1, 1.0)), found(None, ("a", Missing("lost"), 2.0)))


def test_readings_of_another_node_are_left_out_and_that_is_said() -> None:
    readings, notices = together([found("n", ("a", 1, 1.0)), found("m", ("a", 2, 2.0))])

    assert [1] == [reading.value for reading in readings]
    assert [
        "file of m: of another node than n, so its readings were left out;"
        " explain it by itself, or ask `gpu-triage fleet report`"
    ] == notices
