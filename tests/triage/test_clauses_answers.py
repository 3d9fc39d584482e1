"""What an answer points at, what it counts, and why it is none."""

from __future__ import annotations

import pytest

from probes.model import Missing
from tests.triage.asked import GPU, OTHER, RULE, XID, ask, case, counted, reading, signal
from triage.model import Signal
from triage.rulebook.model import Absent, Count, Fact, Metric, Seen, Select, Sequence, Spread, Trigger

EXCERPT = "the log looks like an excerpt, so its silence proves nothing"
SHORT = "the log begins only 50 s before the event"
DPC = Select(signals=("dpc",))


def dpc(at: float, kind: str = "a", pci: str | None = None) -> Signal:
    return signal("dpc", at, pci, kind=kind)


# A line near the trigger


def test_a_line_that_is_seen_is_pointed_at_with_how_often_it_came() -> None:
    """The first of them; repeats that were folded count."""
    found = ask(Seen(DPC), case(dpc(990.0), dpc(995.0), dpc(996.0, "b"), XID))

    assert ("seen", None, 3) == (found.state, found.reason, found.count)
    assert found.record is not None
    assert (990.0, 990.0) == (found.at, found.record.at)


def test_as_many_lines_as_are_asked_for_are_enough() -> None:
    about = case(dpc(990.0), dpc(995.0, "b"), XID)

    assert "seen" == ask(Seen(DPC, at_least=2), about).state
    assert "quiet" == ask(Seen(DPC, at_least=3), about).state


@pytest.mark.parametrize(
    ("at", "within", "state"),
    [
        (900.0, None, "seen"),
        (899.0, None, "quiet"),
        (999.0, None, "seen"),
        (1001.0, None, "seen"),
        (1020.0, None, "seen"),
        (1021.0, None, "quiet"),
        (995.0, 5.0, "seen"),
        (994.0, 5.0, "quiet"),
        (1005.0, 5.0, "seen"),
        (1006.0, 5.0, "quiet"),
        (700.0, 300.0, "seen"),
        (1300.0, 300.0, "seen"),
    ],
)
def test_a_question_looks_as_far_as_it_says_or_else_as_its_rule_does(
    at: float, within: float | None, state: str
) -> None:
    """Which is 100 s back and 20 s ahead; on either side the bound itself is within."""
    lines = sorted([dpc(at), XID], key=lambda s: s.record.at or 0.0)

    assert state == ask(Seen(DPC, within=within), case(*lines)).state
    when = "before" if at < 1000.0 else "after"
    assert state == ask(Seen(DPC, when=when, within=within), case(*lines)).state
    other = "after" if at < 1000.0 else "before"
    assert "quiet" == ask(Seen(DPC, when=other, within=within), case(*lines)).state


def test_silence_before_the_trigger_needs_a_log_that_reaches_back_and_silence_after_it_does_not() -> None:
    about = case(XID, log=(950.0, 30))

    assert ("unknown", SHORT) == ask(Seen(DPC), about)[:2]
    assert ("unknown", SHORT) == ask(Seen(DPC, when="before", within=51.0), about)[:2]
    assert ("quiet", None) == ask(Seen(DPC, within=50.0), about)[:2]
    assert ("quiet", None) == ask(Seen(DPC, when="after"), about)[:2]


def test_what_kind_of_trigger_it_was_is_answered_by_the_lines_that_are_there() -> None:
    """Whatever the log lacks.  A question about anything that could be another line is not of that kind."""
    about = case(XID, whole=False)
    rule = RULE._replace(trigger=Trigger((Seen(DPC), Seen(Select(xids=(79, 48)))), {}, "", ()))

    assert ("quiet", None) == ask(Seen(Select(trigger=True, where={"xid": "48"})), about)[:2]
    assert ("quiet", None) == ask(Seen(Select(xids=(79,), where={"text": "x"})), about)[:2]
    assert ("unknown", EXCERPT) == ask(Seen(Select(xids=(79, 31), where={"text": "x"})), about)[:2]
    assert ("unknown", EXCERPT) == ask(Seen(Select(("dpc",), (79,), where={"text": "x"})), about)[:2]
    asked = Seen(Select(("dpc",), (48,), where={"text": "x"}))
    assert ("quiet", None) == ask(asked, case(XID, whole=False, rule=rule))[:2]
    assert ("unknown", "no kernel log was read") == ask(asked, case(rule=rule))[:2]


# Readings


@pytest.mark.parametrize(
    ("clause", "value", "state"),
    [
        (Metric("gpu.temperature", at_least=92), 92, "seen"),
        (Metric("gpu.temperature", at_least=92), 91, "quiet"),
        (Metric("gpu.temperature", at_most=92), 92, "seen"),
        (Metric("gpu.temperature", at_most=92), 93, "quiet"),
        (Metric("gpu.temperature", at_most=0), 0, "seen"),
        (Metric("gpu.temperature", is_="Lost"), "LOST", "seen"),
        (Metric("gpu.temperature", is_="lost"), "ok", "quiet"),
        (Metric("gpu.temperature", is_="lost"), Missing("lost"), "seen"),
    ],
)
def test_a_reading_that_answers_is_named_with_its_time(clause: Metric, value: object, state: str) -> None:
    taken = reading(value)  # type: ignore[arg-type]
    found = ask(clause, case(XID, readings=[taken]))

    assert (state, None, None, 7.0, taken) == found[:5]


@pytest.mark.parametrize(
    ("value", "reason"), [(Missing("no-permission"), "no-permission"), ("hot", "not a number: hot")]
)
def test_a_reading_that_does_not_answer_is_named_with_the_reason(value: str | Missing, reason: str) -> None:
    for clause in (Metric("gpu.temperature", at_least=92), Metric("gpu.temperature", at_most=92)):
        found = ask(clause, case(XID, readings=[reading(value)]))
        assert ("unknown", reason, reading(value)) == (found.state, found.reason, found.reading)


def test_a_reading_of_the_node_answers_for_a_gpu_that_has_none_and_another_gpus_never() -> None:
    clause = Metric("gpu.temperature", at_least=92)
    own, node, other = reading(95), reading(93, None), reading(99, OTHER)

    assert own == ask(clause, case(XID, readings=[other, node, own])).reading
    assert node == ask(clause, case(XID, readings=[other, node])).reading
    assert ("unknown", "not read on this machine") == ask(clause, case(XID, readings=[other]))[:2]
    assert ("unknown", "not in a log") == ask(clause, case(XID))[:2]


# How often


def test_events_are_parted_by_silence_and_by_a_reboot() -> None:
    """Silence as long as a burst may be silent is still the burst."""
    select = Select(xids=(48,))
    lines = [signal("xid", at, xid="48", text=chr(97 + int(at) % 26)) for at in (800.0, 860.0, 921.0)]
    rebooted = [signal("xid", 930.0, xid="48", boot="#0")]

    def number(*signals: Signal, fold: float) -> int:
        return ask(Count(select, 3600.0, fold, at_least=1), case(*signals, XID)).count

    assert (1, 2, 3) == tuple(number(*lines, fold=fold) for fold in (61.0, 60.0, 59.0))
    assert 2 == number(*lines, *rebooted, fold=180.0)


def test_without_folding_every_line_counts() -> None:
    """Also those that came so fast that they are held as one signal."""
    lines = [signal("xid", 900.0 + n, xid="48") for n in range(5)]
    about = case(*lines, XID)

    for fold, number in ((0.0, 5), (0.5, 1), (180.0, 1)):
        found = ask(Count(Select(xids=(48,)), 3600.0, fold, at_least=1), about)
        assert ("seen", number, 900.0) == (found.state, found.count, found.at)
    assert ("seen", 5) == counted(ask(Count(Select(xids=(48,)), 3600.0, 0.0, at_most=5), about))
    assert ("quiet", 5) == counted(ask(Count(Select(xids=(48,)), 3600.0, 0.0, at_most=4), about))


def test_what_is_counted_is_of_this_gpu_and_within_the_time() -> None:
    others = [signal("xid", 960.0, OTHER, xid="48"), XID]
    lines = [signal("xid", 939.0, xid="48", text="a"), *others, signal("xid", 1061.0, xid="48", text="b")]

    def number(over: float, same: str) -> int:
        return ask(Count(Select(xids=(48,)), over, 0.0, at_most=0, same=same), case(*lines)).count

    assert (0, 1) == (number(60.0, "gpu"), number(60.0, "node"))
    assert (2, 3) == (number(61.0, "gpu"), number(61.0, "node"))


def test_a_count_in_an_excerpt_is_at_least_what_it_shows() -> None:
    about = case(signal("xid", 900.0, xid="48"), XID, whole=False)

    assert "seen" == ask(Count(Select(xids=(48,)), 3600.0, at_least=1), about).state
    assert ("unknown", EXCERPT) == ask(Count(Select(xids=(48,)), 3600.0, at_least=2), about)[:2]
    assert ("unknown", EXCERPT) == ask(Count(Select(xids=(48,)), 3600.0, at_most=1), about)[:2]


# One after the other


def test_the_first_of_a_pair_is_pointed_at_and_the_pairs_are_counted() -> None:
    clause = Sequence(Select(xids=(48,)), DPC, within=60.0, at_least=2)
    lines = [signal("xid", 900.0, xid="48"), dpc(930.0), dpc(960.0, "b"), XID]
    found = ask(clause, case(*lines))

    assert ("seen", 2, 900.0) == (found.state, found.count, found.at)
    assert "quiet" == ask(clause._replace(at_least=3), case(*lines)).state
    assert "quiet" == ask(clause._replace(within=59.0), case(*lines)).state


def test_a_pair_needs_both_on_this_gpu_and_in_this_order() -> None:
    clause = Sequence(Select(xids=(48,)), DPC, within=60.0)
    others = signal("xid", 900.0, OTHER, xid="48")

    assert "quiet" == ask(clause, case(others, dpc(930.0, pci=GPU), XID)).state
    assert "seen" == ask(clause._replace(same="node"), case(others, dpc(930.0, pci=GPU), XID)).state
    apart = [signal("xid", 900.0, xid="48"), dpc(930.0, pci=OTHER), XID]
    assert "quiet" == ask(clause, case(*apart)).state
    assert "seen" == ask(clause._replace(same="node"), case(*apart)).state
    assert "quiet" == ask(clause, case(dpc(900.0), signal("xid", 930.0, xid="48"), XID)).state


def test_lines_without_a_time_are_a_pair_by_their_order_in_the_log() -> None:
    clause = Sequence(Select(xids=(48,)), DPC, within=60.0)
    first, then = signal("xid", None, xid="48"), signal("dpc", None)

    assert "seen" == ask(clause, case(first, then, XID)).state
    assert "quiet" == ask(clause, case(then, first, XID)).state


def test_a_clock_that_went_back_makes_no_pair() -> None:
    """What stands first in the log but has the later time was not first."""
    clause = Sequence(Select(xids=(48,)), DPC, within=60.0)

    assert "quiet" == ask(clause, case(signal("xid", 930.0, xid="48"), dpc(900.0), XID)).state
    assert "seen" == ask(clause, case(signal("xid", 930.0, xid="48"), dpc(930.0), XID)).state


def test_the_first_of_a_pair_is_found_among_many() -> None:
    clause = Sequence(Select(xids=(48,)), DPC, within=60.0)
    many = [signal("xid", float(n), xid="48", text=chr(97 + n)) for n in range(20)]

    assert "seen" == ask(clause, case(*many, dpc(79.0), XID)).state
    assert "quiet" == ask(clause, case(*many, dpc(80.0), XID)).state


def test_no_pair_in_a_log_that_is_too_short_is_no_answer() -> None:
    clause = Sequence(Select(xids=(48,)), DPC, within=51.0)

    assert ("unknown", SHORT) == ask(clause, case(XID, log=(950.0, 30)))[:2]
    assert ("quiet", None) == ask(clause._replace(within=50.0), case(XID, log=(950.0, 30)))[:2]


# Absence


def test_what_is_not_absent_is_pointed_at() -> None:
    found = ask(Absent(DPC, 300.0), case(dpc(701.0), dpc(999.0, "b"), XID))

    assert ("quiet", None, 701.0) == (found.state, found.reason, found.at)
    assert found.record is not None
    assert 701.0 == found.record.at


def test_absence_is_asked_of_the_time_before_and_a_little_after() -> None:
    """As far ahead as the rule looks; on this GPU, unless the node is asked about."""
    assert "quiet" == ask(Absent(DPC, 300.0), case(dpc(700.0), XID)).state
    assert "seen" == ask(Absent(DPC, 300.0), case(dpc(699.0), XID)).state
    assert "quiet" == ask(Absent(DPC, 300.0), case(XID, dpc(1020.0))).state
    assert "seen" == ask(Absent(DPC, 300.0), case(XID, dpc(1021.0))).state
    assert "seen" == ask(Absent(DPC, 300.0), case(XID, dpc(1001.0, pci=OTHER))).state
    assert "quiet" == ask(Absent(DPC, 300.0, same="node"), case(XID, dpc(1001.0, pci=OTHER))).state


def test_the_trigger_itself_is_not_absent() -> None:
    assert "quiet" == ask(Absent(Select(trigger=True), 300.0), case(XID)).state


def test_absence_before_the_log_begins_is_unknown() -> None:
    assert ("unknown", SHORT) == ask(Absent(DPC, 51.0), case(XID, log=(950.0, 30)))[:2]
    assert ("seen", None) == ask(Absent(DPC, 50.0), case(XID, log=(950.0, 30)))[:2]


# Over how many different things


def test_what_went_over_several_gpus_is_counted_by_gpu() -> None:
    """Only what is like the trigger, and within the time; one GPU counts once."""
    clause = Spread(Select(trigger=True), "gpu", 60.0, within="node", at_least=2)
    far, near = signal("xid", 1062.0, OTHER, xid="79"), signal("xid", 1061.0, OTHER, xid="79")
    again, unlike = signal("xid", 1001.0, xid="79", text="x"), signal("xid", 1002.0, OTHER, xid="48")
    found = ask(clause, case(XID, again, near))

    assert ("seen", 2, 1000.0) == (found.state, found.count, found.at)
    assert ("quiet", None) == ask(clause, case(XID, again, unlike, far))[:2]
    assert "seen" == ask(clause._replace(at_least=1), case(XID)).state


def test_what_fields_the_lines_must_have_is_asked_of_them_all() -> None:
    clause = Spread(Select(trigger=True, where={"text": "fell"}), "gpu", 60.0, at_least=2)
    own, other = signal("xid", 1000.0, xid="79", text="fell off"), signal("xid", 1001.0, OTHER, xid="79", text="fell")

    assert "seen" == ask(clause, case(own, other)).state
    assert "quiet" == ask(clause, case(own, other._replace(fields={"xid": "79", "text": "lost"}))).state


def test_a_spread_may_be_that_of_other_lines_than_the_trigger() -> None:
    clause = Spread(Select(xids=(31,)), "gpu", 60.0, at_least=2)
    faults = [signal("xid", 1001.0, xid="31"), signal("xid", 1002.0, OTHER, xid="31")]

    found = ask(clause, case(XID, *faults))
    assert ("seen", 2, 1001.0) == (found.state, found.count, found.at)
    assert "quiet" == ask(clause, case(XID, faults[0])).state
    assert ("unknown", "the log does not say which gpu it was") == ask(clause, case(XID))[:2]


@pytest.mark.parametrize(
    ("across", "one", "other"),
    [
        ("process", {"name": "python", "pid": "1"}, {"name": "java", "pid": "1"}),
        ("process", {"pid": "1"}, {"pid": "2"}),
        ("unit", {"unit": "GPC 1"}, {"unit": "GPC 2"}),
    ],
)
def test_programs_and_units_are_told_apart_on_this_gpu(across: str, one: dict[str, str], other: dict[str, str]) -> None:
    """A program by its name, else its number; what another GPU had is another matter."""
    clause = Spread(Select(xids=(31,)), across, 60.0, at_least=2)

    def fault(at: float, fields: dict[str, str], pci: str = GPU) -> Signal:
        return signal("xid", at, pci, xid="31", text=chr(97 + int(at) % 26), **fields)

    assert "seen" == ask(clause, case(XID, fault(1001.0, one), fault(1002.0, other))).state
    assert "quiet" == ask(clause, case(XID, fault(1001.0, one), fault(1002.0, one))).state
    assert "quiet" == ask(clause, case(XID, fault(1001.0, one), fault(1002.0, other, OTHER))).state
    nameless = ask(clause, case(XID, fault(1001.0, {})))
    assert ("unknown", f"the log does not say which {across} it was") == nameless[:2]


def test_a_program_that_has_many_numbers_is_one_program() -> None:
    clause = Spread(Select(xids=(31,)), "process", 60.0, at_least=2)
    lines = [signal("xid", 1001.0 + n, xid="31", text=chr(97 + n), name="python", pid=str(n)) for n in range(3)]

    assert "quiet" == ask(clause, case(XID, *lines)).state


def test_boots_are_told_apart_and_a_log_that_names_none_is_one() -> None:
    clause = Spread(Select(trigger=True), "boot", 86400.0, at_least=2)
    nameless = [XID._replace(record=XID.record._replace(boot=None, at=at)) for at in (1000.0, 9000.0)]

    assert "seen" == ask(clause, case(XID, signal("xid", 9000.0, xid="79", boot="#2"))).state
    assert "quiet" == ask(clause, case(XID, signal("xid", 9000.0, xid="79"))).state
    assert "unknown" == ask(clause, case(*nameless)).state, "of a boot without a name no log was read from its start"
    assert 1 == ask(clause._replace(at_least=1), case(*nameless)).count
    assert 1 == ask(clause._replace(at_least=1), case(XID, nameless[1])).count, "the first of a log has no name yet"


def test_always_the_same_thing_needs_more_than_one_line() -> None:
    """That something never changed is said only of what happened again."""
    clause = Spread(Select(xids=(31,)), "unit", 3600.0, at_most=1)

    def fault(at: float, unit: str) -> Signal:
        return signal("xid", at, xid="31", unit=unit)

    again = ask(clause, case(fault(500.0, "GPC 1"), fault(900.0, "GPC 1"), XID))
    assert ("seen", None, None, 2) == (again.state, again.reason, again.at, again.count)
    assert again.record is not None
    assert 500.0 == again.record.at
    assert "seen" == ask(clause, case(fault(900.0, "GPC 1"), fault(901.0, "GPC 1"), XID)).state
    assert ("quiet", 2) == counted(ask(clause, case(fault(500.0, "GPC 1"), fault(900.0, "GPC 2"), XID)))
    assert ("unknown", "it happened only once") == ask(clause, case(fault(900.0, "GPC 1"), XID))[:2]


@pytest.mark.parametrize(("across", "lift"), [("node", None), ("gpu", 3.0)])
def test_what_needs_other_nodes_is_left_to_the_fleet(across: str, lift: float | None) -> None:
    reason = "one node cannot answer this; ask the fleet (gpu-triage fleet report)"

    assert ("unknown", reason) == ask(Spread(Select(trigger=True), across, 60.0, at_least=1, lift=lift), case(XID))[:2]


# Facts


def test_a_fact_matches_any_of_its_globs_and_is_missed_by_its_name() -> None:
    clause = Fact("driver.version", ("525.*", "535.54.*"))

    assert "seen" == ask(clause, case(XID, facts={"driver.version": "535.54.03"})).state
    assert "quiet" == ask(clause, case(XID, facts={"driver.version": "535.86.05"})).state
    assert ("unknown", "driver.version is not known here") == ask(clause, case(XID, facts={"driver.flavour": "x"}))[:2]
