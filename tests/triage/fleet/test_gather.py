"""Answers become a census: each stay once, each incident once, and time only where a log was heard."""

from __future__ import annotations

from typing import Any

from tests.triage.fleet.places import DAY, incident
from triage.fleet.gather import epoch, gather, silent_of, unheard
from triage.fleet.model import ANSWERED, FAILED, TIMED_OUT, Answer, Json, Part
from triage.report import iso


def told(day: float, *incidents: Json, since: float | None = 0.0, **more: Any) -> Answer:
    heard = None if since is None else (since * DAY, day * DAY)
    return Answer("gpu-0001", ANSWERED, at=day * DAY, heard=heard, incidents=incidents, **more)


def opened(day: float, last: float | None = None) -> Json:
    return {
        **incident("gpu-off-bus"),
        "fingerprint": "gpu-0001/serial-1/gpu-off-bus",
        "opened_at": iso(day * DAY),
        "last_seen_at": iso((day if last is None else last) * DAY),
    }


def test_a_node_is_counted_for_the_time_that_its_log_was_heard() -> None:
    """From the first line to the sweep, then from sweep to sweep, less what the ring buffer lost."""
    census = gather([told(10), told(20, since=8), told(30, since=25)])

    assert [10 * DAY, 10 * DAY, 5 * DAY] == [stay.heard for stay in census.stays]
    assert [(0.0, 10 * DAY), (10 * DAY, 20 * DAY), (25 * DAY, 30 * DAY)] == [(s.start, s.end) for s in census.stays]


def test_a_node_whose_log_could_not_be_read_is_in_no_rate() -> None:
    """It is there, but nothing would have been heard of it."""
    (stay,) = gather([told(10, since=None)]).stays

    assert 0.0 == stay.heard


def test_the_same_incident_in_two_sweeps_is_one() -> None:
    """The later sweep knows how long it lasted."""
    (event,) = gather([told(10, opened(9)), told(20, opened(9, last=15))]).events

    assert (9 * DAY, 15 * DAY) == (event.at, event.last)


def test_an_incident_that_opened_again_is_another() -> None:
    """Its first line tells them apart."""
    assert 2 == len(gather([told(10, opened(9)), told(20, opened(18))]).events)


def test_a_node_that_did_not_answer_is_not_counted() -> None:
    """It is unknown, and neither well nor ill."""
    census = gather([Answer("gpu-0002", TIMED_OUT, "no answer within 20 s")])

    assert ([], []) == (census.stays, census.events)


def test_what_the_inventory_knows_stands_with_what_the_node_says() -> None:
    """And an event finds both."""
    parts = (Part("0000:10:00.0", serial="serial-1", facts={"gpu.vbios": "96.00"}),)
    census = gather([told(10, opened(9), facts={"driver.version": "570"}, gpus=parts)], {"gpu-0001": {"rack": "r1"}})
    (event,) = census.events

    assert ["570", "r1", "96.00"] == [census.fact(event, name) for name in ("driver.version", "rack", "gpu.vbios")]
    assert census.fact(event, "leaf") is None


def test_a_time_of_a_report_is_read_back() -> None:
    """And what is none is none."""
    assert 1795696988.581 == epoch(iso(1795696988.581))
    assert [None, None, None] == [epoch(None), epoch("yesterday"), epoch(7)]


def test_a_node_that_was_silent_once_was_heard_and_one_that_is_silent_now_is_named() -> None:
    def silent(node: str, at: float | None) -> Answer:
        return Answer(node, TIMED_OUT, "no answer", at=at)

    answers = [
        *(Answer(node, ANSWERED, at=1.0) for node in ("a", "b")),
        silent("c", 1.0), silent("b", 2.0), silent("c", 2.0),
        silent("a", 0.5), Answer("messages", FAILED, "empty"), Answer("messages", FAILED, "empty"),
    ]  # fmt: skip
    unread, fallen = silent_of(answers)

    assert [("c", 2.0), ("messages", None), ("messages", None)] == [(each.node, each.at) for each in unread]
    assert ["b"] == fallen
    assert "1 node did not answer when asked last (b)" in unheard(fallen)[0]
    assert [] == unheard([])
