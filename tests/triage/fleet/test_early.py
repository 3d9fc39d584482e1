"""A GPU that leaves its own past or its peers is named before anything fails, and few others are."""

from __future__ import annotations

from collections.abc import Mapping

from tests.generated_counters import BEGIN, DAY, readings
from triage.fleet.early import load, look
from triage.fleet.early_values import MODEL, Early, Observation

ECC = "gpu.ecc.corrected.aggregate"


def fleet(
    *days: Mapping[int, float], gpus: int = 40, name: str = ECC, usual: float = 0.0, **facts: str
) -> list[Observation]:
    """Readings of equal GPUs, day by day; what is given by number differs."""
    told = {key.replace("_", "."): value for key, value in facts.items()}
    return [
        Observation(BEGIN + day * DAY, f"GPU-{n}", f"g{n // 8}", {MODEL: "H100", **told}, {
            name: own.get(n, usual), "gpu.utilization": 0.9,
        })
        for day, own in enumerate(days)
        for n in range(gpus)
    ]  # fmt: skip


def named(found: Early) -> list[tuple[str, str]]:
    """Signs and GPUs."""
    return [(seen.sign.id, seen.gpu) for seen in found.seen]


def test_a_counter_that_outgrows_its_peers_is_a_sign_with_its_counts() -> None:
    found = look(fleet({}, {3: 200.0}), load())

    assert [("corrected-errors", "GPU-3")] == named(found)
    assert "200 corrected memory errors in 1.0 days" in found.seen[0].says
    assert found.seen[0].chance is not None
    assert found.seen[0].chance < 0.01


def test_a_counter_that_grows_everywhere_is_none() -> None:
    assert [] == named(look(fleet({}, dict.fromkeys(range(40), 200.0)), load()))


def test_a_high_total_that_no_longer_grows_is_none() -> None:
    """It was high before anybody looked."""
    assert [] == named(look(fleet({3: 9000.0}, {3: 9000.0}, {3: 9001.0}), load()))


def test_a_counter_that_was_set_to_zero_has_not_grown() -> None:
    assert [] == named(look(fleet({3: 9000.0}, {3: 300.0}), load()))


def test_a_small_fleet_stays_open_and_says_so() -> None:
    found = look(fleet({}, {3: 200.0}, gpus=5), load())

    assert [] == named(found)
    assert ("corrected-errors", 5) in [entry[:2] for entry in found.not_judged]


def test_a_counter_that_is_not_told_is_not_well() -> None:
    assert ("replays", 40) in [entry[:2] for entry in look(fleet({}, {}), load()).not_judged]


def test_a_slow_gpu_is_held_against_its_own_job_only() -> None:
    """The same clock is usual for another job."""
    slow = {5: 1.2e9}
    told = fleet(slow, slow, name="gpu.clock.sm", usual=1.7e9, job_id="7")
    other = [
        each._replace(gpu=f"other {each.gpu}") for each in fleet({}, {}, name="gpu.clock.sm", usual=1.2e9, job_id="8")
    ]

    assert [("slow", "GPU-5")] == named(look([*told, *other], load()))


def test_a_gpu_that_was_slow_once_is_none() -> None:
    assert [] == named(look(fleet({5: 1.2e9}, {}, name="gpu.clock.sm", usual=1.7e9, job_id="7"), load()))


def test_without_a_job_nobody_is_slow() -> None:
    found = look(fleet({5: 1.2e9}, {5: 1.2e9}, name="gpu.clock.sm", usual=1.7e9), load())

    assert [] == named(found)
    assert ("slow", 40) in [entry[:2] for entry in found.not_judged]


def test_error_rates_that_are_as_good_as_none_differ_by_nothing() -> None:
    name = "gpu.nvlink.ber.effective"

    assert [] == named(look(fleet({2: 1e-15}, {2: 1e-15}, name=name), load()))
    assert [("link-errors", "GPU-2")] == named(look(fleet({2: 1e-9}, {2: 1e-9}, name=name), load()))


def days(*counts: float, gpu: int = 3, rises: float = 1.0) -> list[Observation]:
    """Forty GPUs that count one error in two days, or `rises` times that from the middle on, and one with these."""
    told: list[dict[int, float]] = []
    totals = dict.fromkeys(range(40), 0.0)
    for day, count in enumerate(counts):
        for n in totals:
            usual = (day + n) % 2 * (rises if day >= len(counts) / 2 else 1.0)
            totals[n] += count if n == gpu else usual
        told.append(dict(totals))
    return fleet(*told)


def test_what_lasts_is_a_sign_and_one_bad_day_is_none() -> None:
    quiet = [0.0, 1.0] * 6

    assert [("corrected-errors", "GPU-3")] == named(look(days(*quiet, *[150.0] * 6), load()))
    assert [] == named(look(days(*quiet, 0, 1, 150.0, 0, 1, 0), load()))


def test_a_sign_says_since_when_its_counter_grows() -> None:
    (seen,) = look(days(*[0.0, 1.0] * 8, *[500.0] * 3), load()).seen

    assert "in 3.0 days" in seen.says
    assert "its own past" in seen.says


def test_what_all_count_more_from_one_day_on_is_no_sign_of_any() -> None:
    """A new driver that counts otherwise."""
    usual = [float((day + 3) % 2) for day in range(10)]

    assert [] == named(look(days(*usual, *(50 * each for each in usual), rises=50.0), load()))


def test_a_board_that_was_cured_stands_out_when_time_runs_backwards() -> None:
    found = look(days(*[150.0] * 6, *[0.0, 1.0] * 6), load())

    assert ("past", 1) not in [(seen.against, found.backwards) for seen in found.seen]
    assert found.backwards == 1


def test_readings_may_come_in_any_order() -> None:
    told = days(*[0.0, 1.0] * 6, *[150.0] * 6)

    assert look(told, load()) == look(told[::-1], load())


def test_in_a_generated_fleet_only_sick_boards_are_named_and_in_a_quiet_one_none() -> None:
    """Boards that differ, bursts, counters that restart, sweeps that are missed and nodes that vanish."""
    sick = {"GPU-00017": "corrected-errors", "GPU-00411": "remaps", "GPU-00700": "corrected-errors"}

    def said(ill: Mapping[str, str]) -> set[tuple[str, str]]:
        told = readings(100, ill, seed=5)
        return set(named(look((Observation(c.at, c.gpu, c.node, c.facts, c.numbers) for c in told), load())))

    found = said(sick)
    assert {("remaps", "GPU-00411"), ("corrected-errors", "GPU-00700")} <= found
    assert found <= {(sign, gpu) for gpu, sign in sick.items()}
    assert set() == said({})
