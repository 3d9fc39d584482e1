"""Which board sits where: swaps, moves, removals, and what only looks like one."""

from __future__ import annotations

from triage.history.parts import Part, changes, same

A, B, C = (Part(pci, f"GPU-{pci}", f"S{pci}", None, 1, 9) for pci in ("a", "b", "c"))


def at(part: Part, pci: str) -> Part:
    return part._replace(pci=pci)


def kinds(
    before: dict[str, list[Part]], now: dict[str, Part], present: set[str] | None = None
) -> list[tuple[str, str]]:
    return [(c.kind, c.pci) for c in changes(before, now, set(now) if present is None else present)]


BEFORE = {"a": [A], "b": [B]}


def test_nothing_changed() -> None:
    """The first sweep knows of no change either."""
    assert [] == kinds(BEFORE, {"a": A, "b": B})
    assert [] == kinds({}, {"a": A})


def test_a_new_board_a_moved_board_a_removed_board() -> None:
    """Each is told by its own name."""
    assert [("part-changed", "a")] == kinds(BEFORE, {"a": at(C, "a"), "b": B})
    assert [("part-added", "c")] == kinds(BEFORE, {"a": A, "b": B, "c": C})
    assert [("part-gone", "b")] == kinds(BEFORE, {"a": A})
    assert [("part-changed", "a"), ("part-moved", "b")] == kinds(BEFORE, {"a": at(C, "a"), "b": at(A, "b")})


def test_a_gpu_that_is_there_but_does_not_tell_its_name_is_not_gone() -> None:
    """It has fallen silent; nor is one gone if the bus could not be looked at."""
    assert [] == kinds(BEFORE, {"a": A}, {"a", "b"})
    assert [] == [c.kind for c in changes(BEFORE, {"a": A}, None)]


def test_a_bus_that_is_numbered_anew_moves_no_board() -> None:
    """A card that was added shifts all addresses; nobody touched the GPUs."""
    assert [("renumbered", "c")] == kinds(BEFORE, {"c": at(A, "c"), "d": at(B, "d")})


def test_gpus_of_one_board_share_a_serial() -> None:
    """Another UUID with the same serial is another GPU of the same board, not a swap."""
    one, two = Part("a", "GPU-1", "S", None, 1, 9), Part("b", "GPU-2", "S", None, 1, 9)

    assert same(one, two)
    assert [] == kinds({"a": [one], "b": [two]}, {"a": one, "b": two})


def test_what_is_known_of_neither_is_unknown() -> None:
    """A serial on one side and a UUID on the other."""
    assert same(Part("a", "GPU-1", None, None), Part("a", None, "S", None)) is None
