"""What keeps to a board, a seat or a moment is found, and chance is not taken for it."""

from __future__ import annotations

from tests.triage.fleet.places import DAY, Fleet, part, rulebook
from triage.fleet.follow import Facts, patterns
from triage.fleet.hypotheses import load
from triage.fleet.together import Coincidence, coincidences

HYPOTHESES = load(rulebook())


def found(fleet: Fleet) -> dict[tuple[str, str], Coincidence]:
    facts = Facts(fleet.census())
    told = coincidences(facts, HYPOTHESES, patterns(facts, HYPOTHESES))
    return {(c.hypothesis.id, c.value): c for c in told}


def ordinary(nodes: int = 400) -> Fleet:
    """Healthy nodes, but for two that failed once."""
    fleet = Fleet()
    for n in range(nodes):
        fleet.node(f"gpu-{n:04}", part(n))
    for n in (7, 8):
        fleet.fails(f"gpu-{n:04}", "gpu-off-bus", n)
    return fleet


def test_a_board_that_fails_in_two_seats_took_the_fault_with_it() -> None:
    """It was moved on day 15."""
    fleet = ordinary()
    fleet.node("gpu-0500", part(500), end=15)
    fleet.node("gpu-0501", part(501), end=15)
    fleet.node("gpu-0500", part(501), start=15)
    fleet.node("gpu-0501", part(500), start=15)
    first = fleet.fails("gpu-0500", "gpu-off-bus", 9)
    then = fleet.fails("gpu-0501", "gpu-off-bus", 21)

    told = found(fleet)
    assert {first.fingerprint, then.fingerprint} == told["follows-board", "serial-500"].members
    assert "gpu-0500 0000:10:00.0, gpu-0501 0000:10:00.0" in told["follows-board", "serial-500"].counts
    assert {"follows-board"} == {kind for kind, _ in told}


def test_a_seat_in_which_two_boards_fail_keeps_the_fault() -> None:
    """The board was replaced on day 15, and the new one fails too."""
    fleet = ordinary()
    fleet.node("gpu-0500", part(500), end=15)
    fleet.node("gpu-0500", part(501), start=15)
    fleet.fails("gpu-0500", "gpu-off-bus", 9)
    fleet.fails("gpu-0500", "gpu-off-bus", 21)

    assert {("stays-with-seat", "gpu-0500 0000:10:00.0")} == set(found(fleet))


def test_where_a_fault_is_common_two_seats_prove_nothing() -> None:
    """Half of all boards fail."""
    fleet = Fleet()
    for n in range(100):
        fleet.node(f"gpu-{n:04}", part(n), end=15)
        fleet.node(f"gpu-{n:04}", part(99 - n), start=15)
        if n % 2:
            fleet.fails(f"gpu-{n:04}", "gpu-off-bus", 9)
            fleet.fails(f"gpu-{n:04}", "gpu-off-bus", 21)

    assert not {kind for kind, _ in found(fleet)} & {"follows-board", "stays-with-seat"}


def test_a_board_that_fails_again_and_again_is_alone_with_it() -> None:
    """Five times, where the rest of the fleet has two."""
    fleet = ordinary()
    for day in (3, 9, 14, 20, 26):
        fleet.fails("gpu-0050", "gpu-off-bus", day)

    told = found(fleet)
    assert {("only-here", "serial-50 in gpu-0050 0000:10:00.0")} == set(told)
    assert told["only-here", "serial-50 in gpu-0050 0000:10:00.0"].counts.startswith("5 of the fleet's 7 times")


def test_lines_of_one_hour_are_one_time() -> None:
    """A storm is not a history."""
    fleet = ordinary()
    for minute in range(5):
        fleet.fails("gpu-0050", "gpu-off-bus", 3 + minute / 1440)

    assert {} == found(fleet)


def test_nodes_of_one_rack_that_fail_together_are_a_burst_of_the_rack() -> None:
    """And not of its switches, though those saw it too."""
    fleet = Fleet()
    for n in range(320):
        fleet.node(f"gpu-{n:04}", part(n), rack=f"r{n // 32}", leaf=f"l{n // 16}")
    for n in range(64, 96, 2):
        fleet.fails(f"gpu-{n:04}", "gpu-off-bus", 12 + n / DAY)

    told = found(fleet)
    assert {("burst-in-rack", "r2")} == set(told)
    assert told["burst-in-rack", "r2"].counts.startswith(
        "16 of 32 nodes with rack r2 failed within 2 minutes, and 0 of 288"
    )


def test_what_fails_everywhere_at_once_is_no_burst_of_a_rack() -> None:
    """The whole room lost its clock, its network or its file system."""
    fleet = Fleet()
    for n in range(320):
        fleet.node(f"gpu-{n:04}", part(n), rack=f"r{n // 32}")
        if n % 3 == 0:
            fleet.fails(f"gpu-{n:04}", "gpu-off-bus", 12)

    assert {} == found(fleet)
