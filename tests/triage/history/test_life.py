"""Incidents from sweep to sweep: open, seen again, acknowledged, over, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from probes.model import Missing, Reading, Source
from tests.triage.history.sweeps import (
    BOOT,
    LATER_BOOT,
    LOG,
    NVML,
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
from triage.history.people import NotOne, acknowledge, replaced, resolve, story
from triage.history.store import open_store
from triage.report import iso

BLIND = Source("kernel-log", "/dev/kmsg", False, reason="no permission")


def told(report: dict[str, Any]) -> list[tuple[str, int, bool]]:
    """State, how often seen, and whether this sweep saw it."""
    return [(i["state"], i["seen"], i["history"]["present"]) for i in report["incidents"]]


def row_of(directory: Path) -> Any:
    from triage.history.life import rows

    with open_store(directory, now=START) as store:
        (row,) = rows(store.db)
        return row


def test_a_line_that_is_still_in_the_log_is_not_seen_again(tmp_path: Path) -> None:
    """Only what is new counts; the first sight stays."""
    with open_memory(tmp_path) as memory:
        first = sweep(memory, at(60), incidents=[incident(0)])
        again = sweep(memory, at(360), incidents=[incident(0)])
        more = sweep(memory, at(9000), incidents=[incident(8000, first=0, seen=2)])

    assert [("open", 1, True)] == told(first) == told(again)
    assert [("open", 2, True)] == told(more)
    assert (iso(START), iso(START + 8000)) == (
        more["incidents"][0]["opened_at"],
        more["incidents"][0]["last_seen_at"],
    )
    assert "critical" == more["status"]


def test_a_line_that_the_log_has_lost_does_not_close_the_incident(tmp_path: Path) -> None:
    """The ring buffer is small; the GPU is still off the bus."""
    with open_memory(tmp_path) as memory:
        sweep(memory, at(60), incidents=[incident(0)])
        later = sweep(memory, at(400_000), incidents=[])

    assert [("open", 1, False)] == told(later)
    assert "critical" == later["status"]


def test_a_rule_that_lets_it_last_ends_it(tmp_path: Path) -> None:
    """Not before its time, and once it is over it is told once."""
    lasts: dict[str, float | None] = {"gpu-off-bus": 3600.0}
    with open_memory(tmp_path) as memory:
        sweep(memory, at(60), incidents=[incident(0)], lasts=lasts)
        early = sweep(memory, at(3000), lasts=lasts)
        late = sweep(memory, at(4000), lasts=lasts)
        after = sweep(memory, at(5000), lasts=lasts)

    assert [[("open", 1, False)], [("resolved", 1, False)], []] == [told(early), told(late), told(after)]
    assert ["critical", "ok", "ok"] == [early["status"], late["status"], after["status"]]


def test_a_reboot_ends_it_if_the_new_boots_log_could_be_read(tmp_path: Path) -> None:
    """A sweep that could not look proves nothing."""
    for name, source, state in (("a", LOG, "resolved"), ("b", BLIND, "open")):
        with open_memory(tmp_path / name) as memory:
            sweep(memory, at(60), incidents=[incident(0)])
            report = sweep(memory, at(600, LATER_BOOT, up=90), sources=[source, NVML])

        assert [(state, 1, False)] == told(report)


def test_a_reset_of_the_gpu_ends_it_and_is_told(tmp_path: Path) -> None:
    """Its counters begin anew while the driver stays loaded; what is new after that is a recurrence."""
    fault = [incident(5.0)]
    with open_memory(tmp_path, at(60)) as memory:
        sweep(memory, at(60), readings=[counter(7)], incidents=fault)
    with open_memory(tmp_path, at(360)) as memory:
        reset = sweep(memory, at(360), readings=[counter(0)], incidents=fault)
    with open_memory(tmp_path, at(660)) as memory:
        later = sweep(memory, at(660), readings=[counter(0)], incidents=fault)
    with open_memory(tmp_path, at(960)) as memory:
        back = sweep(memory, at(960), readings=[counter(1)], incidents=[incident(900.0, first=5.0, seen=2)])

    assert ("ok", ["resolved"]) == (reset["status"], [i["state"] for i in reset["incidents"]])
    assert "the GPU was reset and it did not come back" == reset["incidents"][0]["history"]["resolved_why"]
    assert [f"the GPU at {SLOT} was reset, or brought up anew, since the sweep before: its counters began anew"] == [
        notice for notice in reset["notices"] if "reset" in notice
    ]
    assert ["resolved"] == [i["state"] for i in later["incidents"]]
    assert [] == [notice for notice in later["notices"] if "reset" in notice]
    assert [("open", 1)] == [(i["state"], i["history"]["reopened"]) for i in back["incidents"]]
    with open_store(tmp_path, now=START) as store:
        kinds = [event.kind for event in story(store, row_of(tmp_path))]
    assert ["opened", "gpu-reset", "resolved", "reopened"] == kinds


@pytest.mark.parametrize(
    ("moment", "value"),
    [(at(360, load="2"), 0), (at(360, boot=LATER_BOOT, up=20.0), 0), (at(360), 7), (at(360), 9)],
    ids=["driver-loaded", "rebooted", "unchanged", "grown"],
)
def test_what_is_no_reset_of_the_gpu_is_not_told_as_one(tmp_path: Path, moment: Any, value: int) -> None:
    with open_memory(tmp_path, at(60)) as memory:
        sweep(memory, at(60), readings=[counter(7)], incidents=[incident(5.0)])
    with open_memory(tmp_path, moment) as memory:
        told_now = sweep(memory, moment, readings=[counter(value)], incidents=[])

    assert [] == [notice for notice in told_now["notices"] if "reset" in notice]


def test_one_counter_that_falls_beside_others_is_no_reset(tmp_path: Path) -> None:
    """A sum over links falls when one of them cannot be read; a reset sets all counters back."""
    with open_memory(tmp_path, at(60)) as memory:
        sweep(memory, at(60), readings=[counter(7), counter(40, "gpu.nvlink.errors.crc")], incidents=[incident(5.0)])
    with open_memory(tmp_path, at(360)) as memory:
        told_now = sweep(memory, at(360), readings=[counter(7), counter(3, "gpu.nvlink.errors.crc")], incidents=[])

    assert [] == [notice for notice in told_now["notices"] if "reset" in notice]


def test_a_fault_that_a_reading_still_shows_is_not_over_with_a_reset(tmp_path: Path) -> None:
    with open_memory(tmp_path, at(60)) as memory:
        sweep(memory, at(60), readings=[counter(7)], incidents=[incident(5.0)])
    with open_memory(tmp_path, at(360)) as memory:
        shown = incident(None, witness=counter(1, "gpu.rows.failure"))
        told_now = sweep(memory, at(360), readings=[counter(0)], incidents=[shown])

    assert ["open"] == [i["state"] for i in told_now["incidents"]]


def test_what_comes_back_is_a_recurrence(tmp_path: Path) -> None:
    """After a reboot, as the same incident, with the new time and the count of all times."""
    with open_memory(tmp_path) as memory:
        sweep(memory, at(60), incidents=[incident(0)])
        sweep(memory, at(600, LATER_BOOT, up=90))
        back = sweep(memory, at(1200, LATER_BOOT, up=690), incidents=[incident(1000, boot=LATER_BOOT, up=490)])

    (found,) = back["incidents"]
    assert ("open", 2, 1) == (found["state"], found["seen"], found["history"]["reopened"])
    assert (iso(START + 1000), iso(START)) == (found["opened_at"], found["history"]["first_opened_at"])


def test_a_reading_must_be_well_for_a_while(tmp_path: Path) -> None:
    """A link that flaps is one incident, not twenty; one that could not be read is not well."""

    def width(value: Any) -> list[Reading]:
        return [Reading(board(), "gpu.responsive", value, "flag", START), gpus(1)]

    bad = width(Missing("timed-out"))
    opened = incident(None, witness=bad[0])
    with open_memory(tmp_path) as memory:
        sweep(memory, at(0), incidents=[opened], readings=bad)
        unread = sweep(memory, at(5000), readings=[gpus(1)])
        well = sweep(memory, at(6000), readings=width(True))
        again = sweep(memory, at(6300), incidents=[opened], readings=bad)
        away = sweep(memory, at(6600), readings=width(True))
        still = sweep(memory, at(7300), readings=width(True))
        over = sweep(memory, at(7600), readings=width(True))

    assert ["open"] * 5 == [r["incidents"][0]["state"] for r in (unread, well, again, away, still)]
    assert [("resolved", 1, False)] == told(over)
    assert "it stayed away" == over["incidents"][0]["history"]["resolved_why"]


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 1e9, -1e9])
def test_a_jump_of_the_clock_makes_no_recurrence(tmp_path: Path, jump: float) -> None:
    """The kernel log's times move with the clock; the line is the same line."""
    with open_memory(tmp_path) as memory:
        sweep(memory, at(60), incidents=[incident(0)])
        with open_store(tmp_path, now=START) as store:
            resolve(store, "gpu-off-bus", at(100), "reseated")
        after = sweep(memory, at(400, jump=jump), incidents=[incident(0, jump=jump)])
        new = sweep(memory, at(900, jump=jump), incidents=[incident(800, first=0, seen=2, jump=jump)])

    assert [("resolved", 1, True)] == told(after)
    assert ("open", 1) == (new["incidents"][0]["state"], new["incidents"][0]["history"]["reopened"])


def test_an_acknowledged_incident_is_shown_but_does_not_count(tmp_path: Path) -> None:
    """Until it gets worse, its time has come, or it comes back."""
    with open_memory(tmp_path) as memory:
        sweep(memory, at(60), incidents=[incident(0, severity="warning")])
        with open_store(tmp_path, now=START) as store:
            acknowledge(store, SERIAL, at(100), "ticket 4711", START + 5000)
        quiet = sweep(memory, at(400), incidents=[incident(0, severity="warning")])
        worse = sweep(memory, at(700), incidents=[incident(0, severity="critical")])
        milder = sweep(memory, at(900), incidents=[incident(0, severity="warning")])
        expired = sweep(memory, at(5100), incidents=[incident(0, severity="warning")])

    assert ["acknowledged", "open", "acknowledged", "open"] == [
        r["incidents"][0]["state"] for r in (quiet, worse, milder, expired)
    ]
    assert ["ok", "critical", "ok", "warning"] == [r["status"] for r in (quiet, worse, milder, expired)]
    assert "ticket 4711" == quiet["incidents"][0]["history"]["acknowledged"]["reason"]


SERIAL = "1650123000001"


def test_an_acknowledgement_ends_with_the_incident(tmp_path: Path) -> None:
    """What comes back was not acknowledged."""
    with open_memory(tmp_path) as memory:
        sweep(memory, at(60), incidents=[incident(0)])
        with open_store(tmp_path, now=START) as store:
            acknowledge(store, SERIAL, at(100), "known", None)
            resolve(store, SERIAL, at(200), "riser reseated")
        back = sweep(memory, at(900), incidents=[incident(800, seen=1)])

    assert ("open", None) == (back["incidents"][0]["state"], back["incidents"][0]["history"]["acknowledged"])
    assert "critical" == back["status"]


def test_a_new_board_in_the_slot_ends_what_the_old_one_had(tmp_path: Path) -> None:
    """And the report says so; in another slot the old board still has it."""
    new = board(2)
    with open_memory(tmp_path / "swapped") as memory:
        sweep(memory, at(60), incidents=[incident(0)], readings=[counter(0), gpus(1)])
        swapped = sweep(memory, at(900, LATER_BOOT, up=90), readings=[counter(0, gpu=new), gpus(1)], sources=[BLIND])
    with open_memory(tmp_path / "moved") as memory:
        sweep(memory, at(60), incidents=[incident(0)], readings=[counter(0), gpus(1)])
        both = [counter(0, gpu=new), counter(0, gpu=board(1, OTHER_SLOT)), gpus(2)]
        moved = sweep(memory, at(900, LATER_BOOT, up=90), readings=both, sources=[BLIND])

    assert (
        "the part was replaced: serial 1650123000001 became serial 1650123000002"
        == (swapped["incidents"][0]["history"]["resolved_why"])
    )
    assert any("is another" in notice for notice in swapped["notices"])
    assert [("open", 1, False)] == told(moved)
    assert any(f"moved from {SLOT} to {OTHER_SLOT}" in notice for notice in moved["notices"])


def test_a_gpu_that_could_not_tell_its_serial_yet_is_the_same_incident_from_then_on(tmp_path: Path) -> None:
    """Its line came before anybody could ask the driver: it is told under the name that it had then, and once."""
    nameless = board()._replace(uuid=None, serial=None, name=None)
    with open_memory(tmp_path) as memory:
        first = sweep(memory, at(0), incidents=[incident(0, gpu=nameless)], readings=[])["incidents"]
        told = [sweep(memory, at(60 * n), incidents=[incident(0)])["incidents"] for n in (1, 2, 3)]

    assert [[first[0]["fingerprint"]]] * 3 == [[each["fingerprint"] for each in incidents] for incidents in told]


def test_a_gpu_that_cannot_tell_its_serial_any_more_is_the_same_incident(tmp_path: Path) -> None:
    """It fell off the bus; what NVML says of it now is an address."""
    nameless = board()._replace(uuid=None, serial=None, name=None)
    with open_memory(tmp_path) as memory:
        sweep(memory, at(60), incidents=[incident(0)])
        lost = sweep(memory, at(360), incidents=[incident(300, gpu=nameless, seen=2)])

    (found,) = lost["incidents"]
    assert (f"n/{SERIAL}/gpu-off-bus", 2) == (found["fingerprint"], found["seen"])


def test_a_part_that_was_replaced_by_hand_ends_all_its_incidents(tmp_path: Path) -> None:
    """By the serial of the old board; a wrong one is refused."""
    with open_memory(tmp_path) as memory:
        sweep(
            memory,
            at(60),
            incidents=[incident(0), incident(1, rule="gpu-memory"), incident(2, gpu=board(3, OTHER_SLOT))],
        )
    with open_store(tmp_path, now=START) as store:
        with pytest.raises(NotOne, match="no open incident of serial 7"):
            replaced(store, "7", "8", at(100), None)
        ended = replaced(store, SERIAL, "1650123000009", at(100), None)
        events = [(e.kind, e.says) for e in story(store, ended[0])]

    assert ["gpu-memory", "gpu-off-bus"] == sorted(row.rule for row in ended)
    assert ("part-replaced", f"serial {SERIAL} was replaced by serial 1650123000009") in events
    with open_memory(tmp_path) as memory:
        after = sweep(memory, at(400), incidents=[incident(0), incident(2, gpu=board(3, OTHER_SLOT))])
    assert ["open", "resolved"] == [i["state"] for i in after["incidents"]]


def test_an_incident_that_another_explains_since_is_not_carried_on_beside_it(tmp_path: Path) -> None:
    """Xid 45 alone, then the Xid 79 that it was a symptom of."""
    symptom = incident(0, rule="compute-exception")
    cause = incident(1)._replace(title="A", explains=(f"{symptom.title} on GPU {SLOT} (Xid 45)",))
    with open_memory(tmp_path) as memory:
        sweep(memory, at(60), incidents=[symptom])
        report = sweep(memory, at(360), incidents=[cause])

    assert [("open", "gpu-off-bus"), ("resolved", "compute-exception")] == [
        (i["state"], i["rule"]["id"]) for i in report["incidents"]
    ]


def test_what_is_over_already_when_first_seen_is_kept_as_such(tmp_path: Path) -> None:
    """A log of the boot before tells of it."""
    with open_memory(tmp_path) as memory:
        report = sweep(memory, at(60), incidents=[incident(0, state="resolved")])

    assert [("resolved", 1, True)] == told(report)
    assert ("resolved", BOOT) == (row_of(tmp_path).state, row_of(tmp_path).last_boot)
