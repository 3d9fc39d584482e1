"""What earlier sweeps add to an answer: how far a counter moved, how often it was seen, over which boots."""

from __future__ import annotations

import pytest

from probes.model import Missing
from tests.triage.asked import GPU, OTHER, XID, Remembered, Sighting, ask, case, counted, reading, signal
from triage.history.readings import Moved
from triage.rulebook.model import Count, Delta, Select, Spread

REPLAYS = "gpu.pcie.replays"
NOW = reading(7, name=REPLAYS)
AT_LEAST, AT_MOST = Delta(REPLAYS, 3600.0, at_least=10.0), Delta(REPLAYS, 3600.0, at_most=10.0)
RULE = "gpu-off-bus"


@pytest.mark.parametrize(
    ("low", "high", "at_least", "at_most"),
    [
        (10.0, 10.0, "seen", "seen"),
        (11.0, 11.0, "seen", "quiet"),
        (9.0, 9.0, "quiet", "seen"),
        (9.0, 11.0, "unknown", "unknown"),
        (10.0, 11.0, "seen", "unknown"),
        (9.0, 10.0, "unknown", "seen"),
        (10.0, None, "seen", "unknown"),
        (11.0, None, "seen", "quiet"),
        (9.0, None, "unknown", "unknown"),
    ],
)
def test_a_counter_that_moved_between_two_bounds_is_held_against_a_limit(
    low: float, high: float | None, at_least: str, at_most: str
) -> None:
    """Seen or quiet only if it is so wherever between the bounds the truth lies."""
    past = Remembered(moved={(GPU, REPLAYS, 3600.0, 1000.0): Moved(low, high, "a gap")})
    about = case(XID, readings=[NOW], history=past)

    for clause, state in ((AT_LEAST, at_least), (AT_MOST, at_most)):
        found = ask(clause, about)
        assert (state, "a gap" if state == "unknown" else None, NOW) == (found.state, found.reason, found.reading)
        assert found.at == (None if state == "unknown" else 7.0)


def test_a_counter_moved_up_to_the_last_line_of_the_incident() -> None:
    """Not its first, nor now; without a line up to now."""
    burst = [XID, signal("xid", 1100.0, xid="79"), signal("xid", 2000.0, xid="79"), signal("xid", 2100.0, xid="79")]
    until = {at: Remembered(moved={(GPU, REPLAYS, 3600.0, at): Moved(10.0, 10.0)}) for at in (1000.0, 2100.0, None)}

    assert "seen" == ask(AT_LEAST, case(*burst, readings=[NOW], history=until[2100.0])).state
    assert "seen" == ask(AT_LEAST, case(XID, readings=[NOW], history=until[1000.0])).state
    assert "seen" == ask(AT_LEAST, case(readings=[NOW], history=until[None])).state


def test_a_counter_of_the_node_answers_where_the_gpu_has_none() -> None:
    of_node = reading(7, None, REPLAYS)
    past = Remembered(moved={(GPU, REPLAYS, 3600.0, 1000.0): Moved(10.0, 10.0)})

    assert of_node == ask(AT_LEAST, case(XID, readings=[of_node], history=past)).reading
    assert NOW == ask(AT_LEAST, case(XID, readings=[of_node, NOW], history=past)).reading


def test_a_counter_that_cannot_be_compared_says_what_is_missing() -> None:
    lost = reading(Missing("lost"), name=REPLAYS)
    history = "no history of this counter: it needs earlier sweeps by `gpu-triage check`"

    assert ("unknown", "not in a log") == ask(AT_LEAST, case(XID))[:2]
    assert ("unknown", "not read") == ask(AT_LEAST, case(XID, live=True))[:2]
    found = ask(AT_LEAST, case(XID, readings=[lost], history=Remembered()))
    assert ("unknown", "lost", lost) == (found.state, found.reason, found.reading)
    assert ("unknown", history) == ask(AT_LEAST, case(XID, readings=[NOW]))[:2]


TWICE, ONCE = Count(Select(trigger=True), 3600.0, at_least=2), Count(Select(trigger=True), 3600.0, at_most=1)


def watched(*seen: Sighting) -> Remembered:
    return Remembered(seen=seen, watched=3600.0)


def test_what_earlier_sweeps_saw_is_counted_with_what_the_log_holds() -> None:
    past = watched(Sighting(RULE, GPU, 100.0), Sighting(RULE, GPU, 200.0))
    found = ask(TWICE, case(XID, log=(900.0, 30), history=past))

    assert ("seen", 3, "xid {'xid': '79'}") == (found.state, found.count, found.record and found.record.message)
    assert ("quiet", 3) == counted(ask(ONCE, case(XID, log=(900.0, 30), history=past)))


@pytest.mark.parametrize(
    "seen",
    [
        Sighting("another-rule", GPU, 100.0),
        Sighting(RULE, OTHER, 100.0),
        Sighting(RULE, GPU, 1000.0 - 3601.0),  # before the time asked about
        Sighting(RULE, GPU, 900.0),  # in the log, which counts it itself
    ],
)
def test_only_this_incident_within_the_time_and_before_the_log_is_counted(seen: Sighting) -> None:
    assert "quiet" == ask(TWICE, case(XID, log=(900.0, 30), history=watched(seen))).state
    assert "seen" == ask(TWICE, case(XID, log=(900.0, 30), history=watched(seen, Sighting(RULE, GPU, 899.0)))).state


def test_the_history_knows_incidents_and_not_other_lines() -> None:
    """Of a line that opened none, or of some of its lines only, it says nothing."""
    past = watched(Sighting(RULE, GPU, 100.0), Sighting(RULE, GPU, 200.0))
    about = case(XID, log=(900.0, 30), history=past)
    short = "the log begins only 100 s before the event"

    for select in (Select(xids=(79,)), Select(trigger=True, where={"xid": "79"})):
        assert ("unknown", short) == ask(Count(select, 3600.0, at_least=2), about)[:2]
        assert ("unknown", short) == ask(Spread(select, "boot", 3600.0, at_least=2), about)[:2]


def test_an_incident_without_a_line_or_a_time_has_nothing_before_its_log() -> None:
    past = watched(Sighting(RULE, GPU, 100.0), Sighting(RULE, GPU, 200.0))

    assert "quiet" == ask(TWICE, case(readings=[NOW], history=past)).state
    assert "quiet" == ask(TWICE, case(signal("xid", None, xid="79"), history=past)).state


def test_a_short_log_is_no_silence_unless_sweeps_watched_all_the_time() -> None:
    short = "the log begins only 100 s before the event"

    assert ("unknown", short) == ask(TWICE, case(XID, log=(900.0, 30)))[:2]
    assert ("unknown", short) == ask(ONCE, case(XID, log=(900.0, 30)))[:2]
    assert ("unknown", short) == ask(TWICE, case(XID, log=(900.0, 30), history=Remembered(watched=3599.0)))[:2]
    assert ("quiet", None) == ask(TWICE, case(XID, log=(900.0, 30), history=watched()))[:2]
    assert ("seen", None) == ask(ONCE, case(XID, log=(900.0, 30), history=watched()))[:2]


def test_boots_that_earlier_sweeps_saw_it_in_are_counted_with_this_one() -> None:
    clause = Spread(Select(trigger=True), "boot", 86400.0, at_least=2)
    before = Remembered(lives={(RULE, GPU, "boot", 86400.0): frozenset({"an earlier boot"})})
    twice = Remembered(lives={(RULE, GPU, "boot", 86400.0): frozenset({"an earlier boot", "another"})})
    found = ask(clause, case(XID, history=before))

    assert ("seen", 2, 1000.0) == (found.state, found.count, found.at)
    assert ("seen", 3) == counted(ask(clause, case(XID, history=twice)))
    assert "quiet" == ask(clause, case(XID, history=Remembered())).state
    assert "unknown" == ask(clause, case(readings=[NOW], history=before)).state


def test_loads_of_the_driver_are_known_to_the_history_and_the_incident_is_their_witness() -> None:
    clause = Spread(Select(trigger=True), "driver-load", 86400.0, at_least=2)
    before = Remembered(lives={(RULE, GPU, "driver-load", 86400.0): frozenset({"a/1", "a/2"})})
    found = ask(clause, case(XID, history=before))

    assert ("seen", 1000.0) == (found.state, found.at)
    assert ("unknown", "the log does not say which driver-load it was") == ask(clause, case(XID))[:2]


def test_a_spread_that_is_not_there_is_quiet_only_where_all_the_time_was_watched() -> None:
    clause = Spread(Select(trigger=True), "boot", 3600.0, at_least=2)
    short = "the log begins only 100 s before the event"

    assert ("unknown", short) == ask(clause, case(XID, log=(900.0, 30)))[:2]
    assert ("quiet", None) == ask(clause, case(XID, log=(900.0, 30), history=watched()))[:2]
