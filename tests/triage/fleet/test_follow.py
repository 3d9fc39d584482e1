"""What a fault goes with is found, and told apart from what only goes along."""

from __future__ import annotations

from tests.triage.fleet.places import Fleet, part, rulebook
from triage.fleet.follow import RECENT, Facts, Pattern, patterns
from triage.fleet.hypotheses import load

OLD, NEW = "550.54.15", "570.86.15"
HYPOTHESES = load(rulebook())


def found(fleet: Fleet) -> dict[tuple[str, str], Pattern]:
    return {(p.hypothesis.id, p.value): p for p in patterns(Facts(fleet.census()), HYPOTHESES)}


def standing(fleet: Fleet) -> set[tuple[str, str]]:
    return {key for key, pattern in found(fleet).items() if pattern.stands}


def rollout(nodes: int, rolled: int, ill: int) -> Fleet:
    fleet = Fleet()
    for n in range(nodes):
        name = f"gpu-{n:04}"
        fleet.node(name, part(n), driver_version=NEW if n < rolled else OLD)
        if n < ill:
            fleet.fails(name, "gsp-fault", 1 + n % 20)
    return fleet


def test_a_fault_that_keeps_to_a_driver_version_follows_it() -> None:
    """With the counts that say so."""
    pattern = found(rollout(200, 20, 8))["follows-driver", NEW]

    assert (8, 20, 0, 180) == (
        pattern.tally.affected, pattern.tally.units, pattern.tally.affected_elsewhere, pattern.tally.units_elsewhere,
    )  # fmt: skip
    assert pattern.stands


def test_a_fault_that_is_everywhere_follows_nothing() -> None:
    """Every fifth node on either version."""
    fleet = rollout(200, 100, 0)
    for n in range(0, 200, 5):
        fleet.fails(f"gpu-{n:04}", "gsp-fault", 3)

    assert set() == standing(fleet)


def test_where_all_nodes_are_alike_nothing_can_be_said() -> None:
    """One driver everywhere is no pattern."""
    assert set() == standing(rollout(100, 100, 30))


def test_few_nodes_prove_nothing() -> None:
    """Two of two against none of two may be chance."""
    assert set() == standing(rollout(4, 2, 2))


def test_one_node_that_fails_often_counts_once() -> None:
    """A storm on one node says nothing about its driver."""
    fleet = rollout(200, 20, 1)
    for _ in range(50):
        fleet.fails("gpu-0000", "gsp-fault", 4)

    assert set() == standing(fleet)


def test_a_rate_is_per_time_heard() -> None:
    """Nodes that were on the new version for a tenth of the time and fail as often are ten times as bad."""
    fleet = Fleet()
    for n in range(100):
        fleet.node(f"gpu-{n:04}", part(n), end=27, driver_version=OLD)
        fleet.node(f"gpu-{n:04}", part(n), start=27, driver_version=NEW)
    for n in range(20):
        fleet.fails(f"gpu-{n:04}", "gsp-fault", 5)
        fleet.fails(f"gpu-{n + 40:04}", "gsp-fault", 28)

    assert ("follows-driver", NEW) in standing(fleet)
    assert ("follows-driver", OLD) not in standing(fleet)


def test_a_rack_whose_nodes_took_the_bad_driver_is_not_to_blame() -> None:
    """The driver fails in other racks too, and the rack's other nodes do not fail."""
    fleet = Fleet()
    for n in range(320):
        rack = f"r{n // 32}"
        new = n % 32 < (24 if n // 32 == 0 else 4)
        fleet.node(f"gpu-{n:04}", part(n), rack=rack, driver_version=NEW if new else OLD)
        if new:
            fleet.fails(f"gpu-{n:04}", "gsp-fault", 9)

    told = found(fleet)
    assert {("follows-driver", NEW)} == standing(fleet)
    assert ("follows-driver", NEW) == told["follows-rack", "r0"].explained_by


def test_two_facts_that_always_go_together_are_said_to_be_tangled() -> None:
    """Nobody can tell a rack from a driver that only it has."""
    fleet = Fleet()
    for n in range(320):
        first = n < 32
        fleet.node(f"gpu-{n:04}", part(n), rack=f"r{n // 32}", driver_version=NEW if first else OLD)
        if first and n % 3 == 0:
            fleet.fails(f"gpu-{n:04}", "gsp-fault", 9)

    told = found(fleet)
    assert set() == standing(fleet)
    assert ("follows-rack", "r0") == told["follows-driver", NEW].tangled_with
    assert ("follows-driver", NEW) == told["follows-rack", "r0"].tangled_with


def test_a_firmware_image_is_counted_by_board() -> None:
    """It belongs to the GPU, not to the node."""
    fleet = Fleet()
    for n in range(100):
        boards = [
            part(2 * n, gpu_vbios="1"),
            part(2 * n + 1, "0000:20:00.0", gpu_vbios="2" if n < 15 else "1"),
        ]
        boards = [p._replace(facts={"gpu.vbios": p.facts["gpu.vbios"]}) for p in boards]
        fleet.node(f"gpu-{n:04}", *boards)
        if n < 8:
            fleet.fails(f"gpu-{n:04}", "controller-halt", 3, "0000:20:00.0")

    told = found(fleet)["follows-vbios", "2"]
    assert (8, 15, 0, 185) == (
        told.tally.affected, told.tally.units, told.tally.affected_elsewhere, told.tally.units_elsewhere,
    )  # fmt: skip


def test_a_fault_that_comes_soon_after_a_change_is_seen_to() -> None:
    """Each node changed on another day, and failed the day after."""
    fleet = Fleet(days=60)
    for n in range(100):
        changed = 5 + n % 50
        fleet.node(f"gpu-{n:04}", part(n), end=changed, driver_version=f"550.{n % 3}")
        fleet.node(f"gpu-{n:04}", part(n), start=changed, driver_version=f"550.{(n + 1) % 3}")
        if n % 4 == 0:
            fleet.fails(f"gpu-{n:04}", "gsp-fault", changed + 1)

    assert ("after-driver-change", RECENT) in found(fleet)


def test_the_nodes_of_a_job_are_told_from_those_of_others() -> None:
    """What the incident says of its job counts before what the sweep saw."""
    fleet = Fleet()
    for n in range(200):
        fleet.node(f"gpu-{n:04}", part(n), job_user="ada" if n % 20 == 0 else f"u{n % 19}")
        if n % 20 == 0:
            fleet.fails(f"gpu-{n:04}", "compute-exception", 2, job_user="ada")

    assert {("follows-user", "ada")} == standing(fleet)
