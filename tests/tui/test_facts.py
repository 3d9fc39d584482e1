"""Reports become values, whatever is missing in them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.triage.samples import assessment, off_bus, report_of, timeout
from tests.tui import samples
from tui.facts import Gpu, epoch, facts

json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def test_what_the_program_writes_is_read_whole() -> None:
    """No field of a real report is lost on the way."""
    report = report_of(assessment(off_bus(), timeout()))
    known = facts(report)

    assert "gpu-0417" == known.node
    assert ["gpu-off-bus", "gsp-timeout"] == [incident.rule for incident in known.incidents]
    first = known.incidents[0]
    assert {"hardware", "hardware.link"} == {first.verdict.family, first.verdict.lead_leaf}
    assert len(report["incidents"][0]["evidence"]) == len(first.evidence)
    assert list(range(1, len(first.evidence) + 1)) == [item.number for item in first.evidence]
    assert "undetermined" == known.incidents[1].verdict.family
    assert known.incident(first.key) is first


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, each in inner for place in _places(each, (*path, key))]


PLACES = _places(samples.REPORT)


@given(st.sampled_from(PLACES), json)
def test_any_value_in_any_place_is_taken(path: tuple[Any, ...], value: Any) -> None:
    report = copy.deepcopy(samples.REPORT)
    inner: Any = report
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value

    known = facts(report)

    assert all(0.0 <= share <= 1.0 for each in known.incidents for share in each.verdict.by_family.values())


@given(st.sampled_from(PLACES))
def test_any_field_may_be_missing(path: tuple[Any, ...]) -> None:
    report = copy.deepcopy(samples.REPORT)
    inner: Any = report
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]

    assert facts(report).raw is report


def test_evidence_is_numbered_by_what_it_answers_and_weighs() -> None:
    items = samples.known().incidents[0].evidence

    assert ["aer-fatal", "trigger", "oops", "hot", "again", "bmc-power", "driver-wave", "replays"] == [
        item.id for item in items
    ]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Gpu(pci="0000:4E:00.0"), Gpu(pci="0000:4e:00.0", index=3), True),
        (Gpu(pci="0000:4e:00.0", index=3), Gpu(pci="0000:1b:00.0", index=3), False),
        (Gpu(uuid="GPU-1"), Gpu(uuid="GPU-1", pci="0000:4e:00.0"), True),
        (Gpu(index=3), Gpu(index=3), True),
        (Gpu(), Gpu(), False),
        (Gpu(serial="1"), Gpu(uuid="GPU-1"), False),
    ],
)
def test_a_gpu_is_known_by_its_best_identity(one: Gpu, other: Gpu, same: bool) -> None:
    assert same is one.same(other)
    assert same is other.same(one)


@pytest.mark.parametrize(
    ("iso", "seconds"),
    [
        ("2026-08-22T14:02:31.250Z", 1787407351.25),
        ("2026-08-22T14:02:31Z", 1787407351.0),
        ("yesterday", None),
        ("2026-13-40T99:99:99Z", None),
        (None, None),
        (5, None),
    ],
)
def test_times_are_epoch_seconds_or_unknown(iso: Any, seconds: float | None) -> None:
    assert seconds == epoch(iso)
