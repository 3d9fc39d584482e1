"""What differs between two answers is told once, as what it is."""

from __future__ import annotations

from typing import Any

from tests.triage.fleet.places import DAY
from tests.triage.fleet.store.made import answer
from triage.fleet.changes import Change, across, between, gathered, of_node
from triage.fleet.model import TIMED_OUT, Answer, Part


def facts(**told: str) -> Answer:
    return answer(facts={name.replace("_", "."): value for name, value in told.items()}, gpus=())


def boards(*names: str, vbios: str = "a") -> Answer:
    """A node with these boards, the first in the first slot; an empty name is an empty slot."""
    gpus = tuple(
        Part(f"slot{i}", f"U{name}", name, i, "H100", {"gpu.vbios": vbios}) for i, name in enumerate(names) if name
    )
    return answer(gpus=gpus, facts={})


def told(one: Answer, other: Answer, node: str = "g1") -> list[tuple[Any, ...]]:
    return [(c.kind, c.what, c.was, c.now, c.part) for c in between(node, (1.0, one), (2.0, other))]


def test_a_fact_that_changed_is_told_by_what_sort_it_is() -> None:
    """What only one of them knows is no change, and a job that is another one neither."""
    one = facts(driver_version="1", kernel_release="a", leaf="l1", job_id="7", rack="r1", bios_version="1")
    other = facts(driver_version="2", kernel_release="a", leaf="l2", job_id="8", kernel_parameter_iommu="pt")

    assert [("cabling", "leaf", "l1", "l2", None), ("driver", "driver.version", "1", "2", None)] == told(one, other)


def test_boards_that_change_places() -> None:
    """Swapped for another, moved within the node, new, gone; and their firmware."""
    assert [("part", "swapped", "A", "C", "slot0")] == told(boards("A", "B"), boards("C", "B"))
    assert [("part", "moved", "slot0", "slot1", "A"), ("part", "moved", "slot1", "slot0", "B")] == told(
        boards("A", "B"), boards("B", "A")
    )
    assert [("part", "added", None, "slot1", "B")] == told(boards("A", ""), boards("A", "B"))
    assert [("part", "gone", "slot1", None, "B")] == told(boards("A", "B"), boards("A", ""))
    assert [("firmware", "gpu.vbios", "a", "b", "A")] == told(boards("A"), boards("A", vbios="b"))


def test_a_node_that_tells_no_board_at_all_has_lost_none() -> None:
    """Its driver may be gone; and when it is back, nothing came."""
    assert [] == told(boards("A", "B"), boards())
    assert [("part", "added", None, "slot0", "A")] == told(boards(), boards("A"))


def test_an_answer_that_is_none_is_passed_over() -> None:
    """The change lies between the two answers around it."""
    silent = Answer("g1", TIMED_OUT, "late")
    found = of_node("g1", [(1.0, facts(driver_version="1")), (2.0, silent), (3.0, facts(driver_version="2"))])

    assert [Change("g1", "driver", "driver.version", "1", "2", 1.0, 3.0)] == found


def test_a_board_that_left_one_node_and_came_to_another_has_moved() -> None:
    """One change and not four, where two nodes exchanged theirs."""
    found = across(
        [
            *between("g1", (1.0, boards("A", "B")), (2.0, boards("X", "B"))),
            *between("g2", (1.0, boards("X")), (2.0, boards("A"))),
            *between("g3", (1.0, boards("Q")), (2.0, boards("R"))),
        ]
    )

    assert [
        ("swapped", "Q", "R"),
        ("moved", "g2 slot0", "g1 slot0"),
        ("moved", "g1 slot0", "g2 slot0"),
    ] == [(c.what, c.was, c.now) for c in found]


def test_the_same_change_on_many_nodes_is_one_with_the_incidents_beside_it() -> None:
    """Those before the sweep before it, and those since until a week after."""
    changes = [Change(f"g{n}", "driver", "driver.version", "1", "2", 10 * DAY, 11 * DAY) for n in range(3)]
    other = Change("g1", "kernel", "kernel.release", "5", "6", 10 * DAY, 11 * DAY)
    opened = {"g0": [(2 * DAY, "old"), (5 * DAY, "x"), (10.5 * DAY, "y"), (12 * DAY, "y"), (30 * DAY, "late")]}
    groups = gathered([*changes, other], opened)

    assert [("driver.version", ["g0", "g1", "g2"]), ("kernel.release", ["g1"])] == [(g.what, g.nodes) for g in groups]
    assert ({"x": 1}, {"y": 2}) == (groups[0].before, groups[0].since)
    assert ({}, {}) == (groups[1].before, groups[1].since)
