"""What rules may ask of the history: how often, over how many boots, since which part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from probes.model import NODE, LogRecord, Missing, Reading, Source
from probes.moment import Moment
from tests.triage.history.sweeps import (
    BOOT,
    LATER_BOOT,
    OTHER_SLOT,
    SLOT,
    START,
    at,
    board,
    counter,
    gpus,
    incident,
    open_memory,
    sweep,
)
from triage.assess import assess
from triage.history import parts
from triage.history.past import Past
from triage.history.store import open_store
from triage.model import Assessment
from triage.rulebook.load import load
from triage.rulebook.model import Count, Delta, Select, Spread

RULEBOOK = load()
NOW = at(9000, LATER_BOOT, up=600)
HERE = [counter(0), gpus(1)]


def asked(directory: Path, clause: Any, now: Moment = NOW, here: list[Reading] | None = None) -> tuple[str, str | None]:
    """Return the answer to a clause about an Xid 79 of this boot, with the history of this directory."""
    found = concluded(directory, now, here, clause)
    evidence = {e.id: e for e in found.incidents[0].evidence}["asked"]
    return evidence.state, evidence.reason


def concluded(directory: Path, now: Moment = NOW, here: list[Reading] | None = None, clause: Any = None) -> Assessment:
    rule = next(rule for rule in RULEBOOK.rules if rule.id == "gpu-off-bus")
    if clause is not None:
        rule = rule._replace(evidence=(rule.evidence[0]._replace(id="asked", group="asked", clause=clause),))
    zero = now.at - now.monotonic
    ordinary = [LogRecord(f"usb 1-{n}: x", zero + n, float(n), now.boot, origin="k", line=n) for n in range(1, 41)]
    fault = LogRecord(
        f"NVRM: Xid (PCI:{SLOT[:-2]}): 79, GPU has fallen off the bus.",
        now.at - 60,
        now.monotonic - 60,
        now.boot,
        origin="k",
        line=41,
    )
    with open_memory(directory, now) as memory:
        past, readings = memory.past(HERE if here is None else here, now)
        assert past is not None, memory.notices
        return assess(
            RULEBOOK._replace(rules=(rule,)),
            [*ordinary, fault],
            readings,
            [Source("kernel-log", "k", True)],
            node="n",
            now=now.at,
            history=past,
        )


def seen_before(directory: Path, slot: str = SLOT, number: int = 1) -> None:
    gpu = board(number, slot)
    with open_memory(directory) as memory:
        for minute in range(0, 100, 20):
            found = [incident(60, gpu=gpu)] if minute else []
            sweep(memory, at(minute * 60), incidents=found, readings=[counter(minute, gpu=gpu), gpus(1)])


def test_a_fault_of_an_earlier_boot_is_one_of_two_boots(tmp_path: Path) -> None:
    """The log of a live node begins with its boot; the history goes on."""
    seen_before(tmp_path / "known")
    clause = Spread(Select(trigger=True), "boot", 30 * 86400.0, at_least=2)

    assert ("seen", None) == asked(tmp_path / "known", clause)
    assert "quiet" == asked(tmp_path / "new", clause)[0] or "unknown" == asked(tmp_path / "new", clause)[0]


def test_how_often_counts_what_earlier_sweeps_saw(tmp_path: Path) -> None:
    """Within the time asked about."""
    seen_before(tmp_path)

    assert "seen" == asked(tmp_path, Count(Select(trigger=True), 7 * 86400.0, at_least=2))[0]
    assert "seen" != asked(tmp_path, Count(Select(trigger=True), 3600.0, at_least=2))[0]


@pytest.mark.parametrize(("at_least", "state"), [(50.0, "seen"), (70.0, "quiet"), (None, "seen")])
def test_a_delta_is_answered_from_the_history(tmp_path: Path, at_least: float | None, state: str) -> None:
    """Seen, or quiet because all the time was covered."""
    with open_memory(tmp_path) as memory:
        for minute in range(0, 140, 10):
            sweep(memory, at(minute * 60), readings=[counter(minute)])
    clause = Delta("gpu.pcie.replays", 3600.0, at_least, 60.0 if at_least is None else None)

    assert (state, None) == asked(tmp_path, clause, at(8400, up=9400), [counter(140)])


def test_a_delta_that_cannot_be_answered_says_why(tmp_path: Path) -> None:
    """What is missing, in words."""
    clause = Delta("gpu.pcie.replays", 3600.0, at_least=10)
    lost = [Reading(board(), "gpu.pcie.replays", Missing("lost"), "count", START)]
    with open_memory(tmp_path) as memory:
        for minute in (100, 110):
            sweep(memory, at(minute * 60), readings=[counter(3)])

    assert ("unknown", "only 19 min of history, the rule asks for 1 h") == asked(
        tmp_path, clause, at(7200, up=8200), [counter(3)]
    )
    assert ("unknown", "lost") == asked(tmp_path, clause, at(7200, up=8200), lost)
    assert ("unknown", "no earlier reading of this counter") == asked(tmp_path / "new", clause, NOW, [counter(3)])


def test_a_fault_that_stays_with_the_slot_or_goes_with_the_board_is_told_apart(tmp_path: Path) -> None:
    """The one question that a swap answers."""
    seen_before(tmp_path / "a")
    with open_memory(tmp_path / "a", NOW) as memory:
        past, _ = memory.past([counter(0, gpu=board(2)), gpus(1)], NOW)
        assert past is not None
        assert {"history.follows": "slot"} == past.facts("gpu-off-bus", SLOT)
        past, _ = memory.past([counter(0, gpu=board(1, OTHER_SLOT)), gpus(1)], NOW)
        assert past is not None
        assert {"history.follows": "part"} == past.facts("gpu-off-bus", OTHER_SLOT)
        past, _ = memory.past(HERE, NOW)
        assert past is not None
        assert {} == past.facts("gpu-off-bus", SLOT)


def test_a_recurrence_is_evidence_in_words(tmp_path: Path) -> None:
    """How often it was over, in how many boots, and what was exchanged."""
    seen_before(tmp_path)
    with open_memory(tmp_path) as memory:
        sweep(memory, at(8000, LATER_BOOT, up=100), readings=HERE)
    (found,) = concluded(tmp_path).incidents
    (swapped,) = concluded(tmp_path, here=[counter(0, gpu=board(2)), gpus(1)]).incidents

    def why(evidence: Any) -> list[str]:
        return [e.why for e in evidence if e.id == "recurrence"]

    assert ["It came back: seen in 1 earlier boot; over 1 time before."] == why(found.evidence)
    assert ["It came back: another board had it in this slot."] == why(swapped.evidence)


def test_a_changed_part_is_a_reading(tmp_path: Path) -> None:
    """For as long as it is news; a first sweep knows nothing."""
    with open_memory(tmp_path) as memory:
        assert [] == _parts(memory, [counter(0), gpus(1)], at(0))
        sweep(memory, at(0), readings=[counter(0), gpus(1)])
        assert ["same"] == _parts(memory, [counter(0), gpus(1)], at(60))
        sweep(memory, at(60, LATER_BOOT), readings=[counter(0, gpu=board(2)), gpus(1)])
        assert ["replaced"] == _parts(memory, [counter(0, gpu=board(2)), gpus(1)], at(120, LATER_BOOT))
        assert ["same"] == _parts(memory, [counter(0, gpu=board(2)), gpus(1)], at(40 * 86400, LATER_BOOT))


def _parts(memory: Any, read: list[Reading], now: Moment) -> list[Any]:
    _, known = memory.past(read, now)
    return [reading.value for reading in known if reading.name == "gpu.part"]


def test_the_driver_before_this_one_is_known(tmp_path: Path) -> None:
    """Did it start with the update?"""

    def version(text: str) -> list[Reading]:
        return [Reading(NODE, "driver.version", text, "text", START), counter(0)]

    with open_memory(tmp_path) as memory:
        sweep(memory, at(0), readings=version("550.54.15"))
        sweep(memory, at(600, load="2"), readings=version("570.86.10"))
        _, known = memory.past(version("570.86.10"), at(1200, load="2"))

    assert {"driver.previous-version": "550.54.15", "driver.age": 600.0} == {
        r.name: r.value for r in known if r.entity == NODE and r.name != "driver.version"
    }


def test_a_gpu_that_is_lost_keeps_the_name_that_it_had_in_this_boot(tmp_path: Path) -> None:
    """Its serial is what the data centre needs; after a reboot it may be another board."""
    nameless = board()._replace(uuid=None, serial=None, name=None)
    lost = [Reading(nameless, "gpu.state", "lost", "text", START)]
    with open_memory(tmp_path) as memory:
        sweep(memory, at(0))
        with open_store(tmp_path, now=START) as store:
            (here,) = parts.named(store.db, lost, at(60))
            (later,) = parts.named(store.db, lost, at(60, LATER_BOOT))

    assert (board().serial, None) == (here.entity.serial, later.entity.serial)


def test_a_history_that_breaks_while_it_is_read_answers_nothing(tmp_path: Path) -> None:
    """And ends no sweep."""
    seen_before(tmp_path)
    store = open_store(tmp_path, now=START)
    past = Past(store.db, NOW, HERE)
    store.close()

    assert past.distance(SLOT, "gpu.pcie.replays", 60.0, None).high is None
    assert ({}, frozenset(), 0, False) == (
        past.facts("gpu-off-bus", SLOT),
        past.lives("gpu-off-bus", SLOT, "boot", 1e9),
        past.earlier("gpu-off-bus", SLOT, 0, 1e12),
        past.covers(60.0),
    )


def test_a_gap_between_sweeps_is_no_coverage(tmp_path: Path) -> None:
    """Something may have come and gone."""
    with open_memory(tmp_path) as memory:
        for hour in (*range(0, 24), *range(40, 48)):
            sweep(memory, at(hour * 3600.0, BOOT))
    with open_store(tmp_path, now=START) as store:
        past = Past(store.db, at(48 * 3600.0), HERE)

        assert (True, False) == (past.covers(7 * 3600.0), past.covers(30 * 3600.0))
