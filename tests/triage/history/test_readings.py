"""Counters over time: resets, reboots, gaps and jumping clocks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.model import Missing, Reading
from probes.moment import Moment
from tests.triage.history.sweeps import BOOT, LATER_BOOT, SLOT, START, at, board, counter, open_memory, report_of, sweep
from triage.history import readings
from triage.history.past import Past
from triage.history.readings import Counted, Last, Moved, Sample, distance, grown, thin
from triage.history.store import open_store

HOUR = 3600.0


def moved(
    directory: Path,
    values: list[tuple[Moment, float]],
    now: tuple[Moment, float],
    over: float = HOUR,
    name: str = "gpu.pcie.replays",
    event: float | None = None,
) -> Moved:
    """Write these sweeps, then ask in one more how far the counter moved."""
    with open_memory(directory) as memory:
        for when, value in values:
            notices = sweep(memory, when, readings=[counter(value, name)])["notices"]
            assert [] == [notice for notice in notices if "its counters began anew" not in notice]
    with open_store(directory, now=START) as store:
        return Past(store.db, now[0], [counter(now[1], name)]).distance(
            SLOT, name, over, None if event is None else START + event
        )


def every(minutes: float, values: list[float], start: float = 0.0) -> list[tuple[Moment, float]]:
    return [(at(start + i * minutes * 60), value) for i, value in enumerate(values)]


def test_a_counter_moves_by_the_difference(tmp_path: Path) -> None:
    """Over the time asked about, and not longer."""
    found = moved(tmp_path, every(10, [0, 50, 50, 60, 60, 60, 70, 80]), (at(80 * 60), 95))

    assert Moved(45, 45) == found


def test_too_short_a_history_is_unknown_and_says_how_short(tmp_path: Path) -> None:
    """What is known already is a lower bound."""
    assert Moved(9, None, "only 20 min of history, the rule asks for 1 h") == moved(
        tmp_path, every(10, [1, 5]), (at(20 * 60), 10)
    )


def test_without_any_earlier_sweep_nothing_is_known(tmp_path: Path) -> None:
    """One reading is no distance."""
    assert "no earlier reading of this counter" == moved(tmp_path, [], (at(0), 7)).reason


def test_a_fall_is_a_new_count(tmp_path: Path) -> None:
    """What was counted before it is not lost, and what came after is not negative."""
    found = moved(tmp_path, every(5, [0, 0, 100, 100, 7, 9, 9, 9, 9, 9, 9, 9]), (at(60 * 60), 9))

    assert Moved(109, 109) == found


@pytest.mark.parametrize(
    ("name", "expected"),
    [("gpu.pcie.replays", 30 + 50), ("gpu.ecc.corrected.volatile", 30 + 50), ("gpu.ecc.corrected.aggregate", 50)],
)
def test_a_reboot_resets_what_is_volatile_even_if_the_value_has_grown(
    tmp_path: Path, name: str, expected: float
) -> None:
    """A volatile counter of 50 after the boot counted 50, whatever it was before; an aggregate goes on."""
    before = every(5, [0.0, 30.0, 30.0])
    after = [
        (at(900 + i * 300, LATER_BOOT, up=60 + i * 300), value) for i, value in enumerate([30.0, 35, 40, 45, 50, 50])
    ]

    assert expected == moved(tmp_path, before + after, (at(2700, LATER_BOOT, up=1900), 50), 2700, name).low


def test_a_new_load_of_the_driver_resets_what_nvml_counts_but_not_what_the_bus_counts(tmp_path: Path) -> None:
    """AER counters belong to the kernel's device, not to the driver."""
    before = Last(1, 1, Counted(30, 30, 0), at(0, load="1"))
    now = at(300, load="2")

    assert Counted(40, 70, 300) == grown("gpu.pcie.replays", before, 40, now)
    assert Counted(40, 40, 0) == grown("pci.aer.correctable", before, 40, now)


def test_time_that_a_reset_hides_is_not_known(tmp_path: Path) -> None:
    """A reset some time within half an hour may have hidden anything."""
    found = moved(tmp_path, [(at(0), 5), (at(1800), 1)], (at(HOUR), 1))

    assert (1, None) == found[:2]
    assert "it was reset, which leaves 30 min known of the 1 h asked about" == found.reason


def test_a_movement_between_two_far_sweeps_has_no_known_hour(tmp_path: Path) -> None:
    """Between none and all of it lies in the hour asked about; standing still all day does answer."""
    found = moved(tmp_path / "a", [(at(-24 * HOUR), 0), (at(-60), 100)], (at(0), 100))
    still = moved(tmp_path / "b", [(at(-24 * HOUR), 100), (at(-60), 100)], (at(0), 100))

    assert (0, 100) == found[:2]
    assert "it moved by 100 within 1 d, and was not looked at in between" == found.reason
    assert Moved(0, 0) == still


def test_the_time_asked_about_ends_with_the_event(tmp_path: Path) -> None:
    """What a counter did hours after a fault is no evidence about the fault."""
    values = every(10, [0.0] * 7 + [40.0] * 6 + [900.0] * 12)

    assert Moved(40, 40) == moved(tmp_path, values, (at(250 * 60), 1000), HOUR, event=75 * 60)


def test_a_jump_of_the_wall_clock_within_a_boot_changes_nothing(tmp_path: Path) -> None:
    """Ages are those of the clock that does not jump."""
    steady = moved(tmp_path / "a", every(10, [float(i) for i in range(12)]), (at(120 * 60), 12))
    jumping = [
        (at(i * 600, jump=(86400 * 365 if i % 3 == 1 else -86400 if i % 3 == 2 else 0)), float(i)) for i in range(12)
    ]

    assert Moved(6, 6) == steady == moved(tmp_path / "b", jumping, (at(120 * 60, jump=-7e8), 12))


def test_a_clock_that_was_wrong_in_an_earlier_boot_does_not_hide_later_sweeps(tmp_path: Path) -> None:
    """A node that boots in 1970 and learns the time later."""
    early = [(Moment(100.0 + i, 10.0 + i, BOOT, "1"), 5.0) for i in range(3)]
    late = [(at(i * 600, LATER_BOOT), float(i)) for i in range(8)]

    assert Moved(6, 6) == moved(tmp_path, early + late, (at(4800, LATER_BOOT), 8), HOUR)


def test_a_swap_of_boards_is_no_movement(tmp_path: Path) -> None:
    """Each board has its own counters, wherever it sits and however it is listed."""
    one, two = board(1), board(2, "0000:9d:00.0", 1)
    with open_memory(tmp_path) as memory:
        for minute in range(0, 70, 10):
            sweep(memory, at(minute * 60), readings=[counter(500, gpu=one), counter(3, gpu=two)])
    swapped = [counter(3, gpu=board(2, SLOT, 0)), counter(501, gpu=board(1, "0000:9d:00.0", 1))]
    with open_store(tmp_path, now=START) as store:
        past = Past(store.db, at(70 * 60), swapped)

        assert Moved(0, 0) == past.distance(SLOT, "gpu.pcie.replays", HOUR, None)
        assert Moved(1, 1) == past.distance("0000:9d:00.0", "gpu.pcie.replays", HOUR, None)


def test_an_index_that_changes_changes_nothing(tmp_path: Path) -> None:
    """The index is only how it was listed this time."""
    with open_memory(tmp_path) as memory:
        for minute in range(0, 70, 10):
            sweep(memory, at(minute * 60), readings=[counter(minute, gpu=board(index=minute % 3))])
    with open_store(tmp_path, now=START) as store:
        past = Past(store.db, at(70 * 60), [counter(70, gpu=board(index=7))])

        assert Moved(60, 60) == past.distance(SLOT, "gpu.pcie.replays", HOUR, None)


def test_what_could_not_be_read_is_neither_zero_nor_a_reset(tmp_path: Path) -> None:
    """A gap in the readings leaves the counter where it was."""
    missing = Reading(board(), "gpu.pcie.replays", Missing("lost"), "count", START)
    with open_memory(tmp_path) as memory:
        for minute in range(0, 70, 10):
            sweep(memory, at(minute * 60), readings=[missing if minute == 30 else counter(40)])
    with open_store(tmp_path, now=START) as store:
        past = Past(store.db, at(70 * 60), [counter(41)])
        blind = Past(store.db, at(70 * 60), [missing])

        assert Moved(1, 1) == past.distance(SLOT, "gpu.pcie.replays", HOUR, None)
        assert "it is no number now" == blind.distance(SLOT, "gpu.pcie.replays", HOUR, None).reason


def test_of_two_sweeps_at_once_the_later_written_one_is_no_reset(tmp_path: Path) -> None:
    """It may have read first."""
    with open_memory(tmp_path) as memory:
        for minute in range(0, 60, 10):
            sweep(memory, at(minute * 60), readings=[counter(100 + minute)])
        began = at(50 * 60 - 5)
        sweep(memory, at(50 * 60 + 2), readings=[counter(155)])
        memory.began = began
        memory.remember(
            report_of((), (), at(50 * 60 + 3)),
            incidents=(),
            lasts={},
            read=[counter(149)],
            sources=(),
            now=at(50 * 60 + 3),
        )
    with open_store(tmp_path, now=START) as store:
        assert Moved(60, 60) == Past(store.db, at(3600), [counter(160)]).distance(SLOT, "gpu.pcie.replays", HOUR, None)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.floats(30, 4000), st.integers(0, 20), st.sampled_from(["", "", "", "fall", "load", "boot"])),
        min_size=1,
        max_size=25,
    ),
    over=st.floats(60, 40_000),
)
def test_the_bounds_hold_the_truth(steps: list[tuple[float, int, str]], over: float) -> None:
    """Whatever happens to a counter, it moved at least `low` and, where that is said, at most `high`."""
    when, load, boot, value, true = 0.0, 1, 1, 0, 0
    samples: list[tuple[float, float]] = [(0.0, 0)]
    last = Last(1, 1, Counted(0, 0, 0), at(0, "1", "1"))
    kept = [(0.0, last.counted)]
    for seconds, step, what in steps:
        when += seconds
        true += step
        load, boot = load + (what == "load"), boot + (what == "boot")
        value = step if what else value + step
        now = at(when, str(boot), str(load), up=when)
        counted = grown("gpu.pcie.replays", last, value, now)
        assert counted is not None
        last = Last(1, 1, counted, now)
        kept.append((when, counted))
        samples.append((when, true))
    found = distance([Sample(when - t, c.total, c.blind) for t, c in reversed(kept)], over)
    # It moved somewhere between two looks: the least and the most that the time asked about can hold.
    slack = 0.1 * over
    least = sum(b[1] - a[1] for a, b in pairwise(samples) if a[0] >= when - over)
    most = sum(b[1] - a[1] for a, b in pairwise(samples) if b[0] > when - over - slack)

    assert found.low <= most
    if found.high is not None and not any(what for _, _, what in steps):
        assert least <= found.high
    assert found.high is None or found.low <= found.high


def test_thinning_changes_no_distance_between_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Months of sweeps shrink to days, and the distance over all of them stays."""
    monkeypatch.setattr(readings, "EVERY", 10**9)
    with open_memory(tmp_path) as memory:
        for hour in range(0, 24 * 60, 2):
            sweep(memory, at(hour * HOUR), readings=[counter(hour % 100)])
    with open_store(tmp_path, now=START) as store:
        now = at(24 * 60 * HOUR)
        before = Past(store.db, now, [counter(3)]).distance(SLOT, "gpu.pcie.replays", 59 * 24 * HOUR, None)
        (count,) = store.db.execute("SELECT count(*) FROM run").fetchone()
        with store.transaction() as db:
            thin(db, now)
        after = Past(store.db, now, [counter(3)]).distance(SLOT, "gpu.pcie.replays", 59 * 24 * HOUR, None)
        (left,) = store.db.execute("SELECT count(*) FROM run").fetchone()

    assert left < count / 3
    assert before.low > 1000
    assert abs(before.low - after.low) <= 24
