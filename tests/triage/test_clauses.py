"""How questions are answered: seen, quiet or unknown."""

from __future__ import annotations

import pytest

from probes.model import Entity, LogRecord, Missing, Reading
from tests.triage.asked import RULEBOOK
from triage.clauses import Answer, Case, answer, events
from triage.model import Signal
from triage.rulebook.model import (
    Absent,
    Clause,
    Count,
    Delta,
    Fact,
    Metric,
    Seen,
    Select,
    Sequence,
    Spread,
)
from triage.timeline import Spans, build

RULE = next(rule for rule in RULEBOOK.rules if rule.id == "gpu-off-bus")
GPU, OTHER = "0000:4e:00.0", "0000:9d:00.0"


def signal(name: str, at: float, pci: str | None = GPU, boot: str = "#1", **fields: str) -> Signal:
    return Signal(name, pci, fields, LogRecord(name, at=at, boot=boot, origin="log", line=int(at) + 1))


def ask(
    clause: Clause,
    *signals: Signal,
    triggers: tuple[str, ...] = ("79",),
    readings: dict[tuple[str | None, str], Reading] | None = None,
    whole: bool = True,
    facts: dict[str, str] | None = None,
) -> Answer:
    """Ask about the Xid 79 in a log, whole since its boot or an excerpt of it."""
    spans = Spans()
    plain = [LogRecord("Linux version 6.1", at=0.0, boot="#1", origin="log")] if whole else []
    plain += [LogRecord("ordinary", at=1.0, boot="#1", origin="log")] * (30 if whole else 2)
    list(spans.watch([*plain, *(s.record for s in signals)]))
    timeline = build(signals, spans)
    opened = [s for s in timeline.signals if s.fields.get("xid") in triggers and s.pci == GPU]
    case = Case(RULE, timeline, opened, GPU, frozenset({GPU, OTHER}), readings or {}, facts or {}, bool(readings))
    return answer(clause, case)


XID = signal("xid", 1000.0, xid="79")


@pytest.mark.parametrize(
    ("when", "at", "state"),
    [
        ("near", 990.0, "seen"),
        ("near", 1010.0, "seen"),
        ("before", 990.0, "seen"),
        ("before", 1010.0, "quiet"),
        ("after", 1010.0, "seen"),
        ("after", 990.0, "quiet"),
        ("near", 100.0, "quiet"),
    ],
)
def test_a_line_counts_if_it_stands_in_the_window(when: str, at: float, state: str) -> None:
    """Before, after or on either side, within what the rule looks at."""
    clause = Seen(Select(signals=("dpc",)), same="node", when=when)

    assert state == ask(clause, *sorted([XID, signal("dpc", at, None)], key=lambda s: s.record.at or 0)).state


def test_another_gpus_line_is_not_this_ones() -> None:
    """But it is one of the node's."""
    line = signal("xid", 1001.0, OTHER, xid="48")
    select = Select(xids=(48,))

    assert "quiet" == ask(Seen(select, same="gpu"), XID, line).state
    assert "seen" == ask(Seen(select, same="node"), XID, line).state


def test_a_port_may_be_the_one_above_this_gpu_unless_it_is_another_gpu() -> None:
    """Without the topology that is all that is known."""
    select = Select(signals=("aer-fatal",))

    assert "seen" == ask(Seen(select, same="pci-path"), XID, signal("aer-fatal", 1001.0, "0000:4d:01.0")).state
    assert "quiet" == ask(Seen(select, same="pci-path"), XID, signal("aer-fatal", 1001.0, OTHER)).state


def test_silence_in_an_excerpt_is_unknown() -> None:
    """The same question, asked of a whole log and of two lines."""
    clause = Seen(Select(signals=("dpc",)), same="node")

    assert "quiet" == ask(clause, XID).state
    found = ask(clause, XID, whole=False)
    assert ("unknown", "the log looks like an excerpt, so its silence proves nothing") == (found.state, found.reason)


def test_a_question_about_the_trigger_itself_is_answered_by_it() -> None:
    """Even in an excerpt: the line is there."""
    clause = Seen(Select(xids=(79,), where={"text": "never printed"}))

    assert "quiet" == ask(clause, XID, whole=False).state


def test_a_field_is_searched_with_a_pattern() -> None:
    """And a signal without that field does not match."""
    line = signal("sxid", 1001.0, None, fatal="Non-fatal")

    assert "seen" == ask(Seen(Select(signals=("sxid",), where={"fatal": "^Non"}), same="node"), XID, line).state
    assert "quiet" == ask(Seen(Select(signals=("sxid",), where={"link": "."}), same="node"), XID, line).state


def reading(value: float | str | bool | Missing) -> dict[tuple[str | None, str], Reading]:
    return {(GPU, "gpu.temperature"): Reading(Entity("gpu", pci=GPU), "gpu.temperature", value, "celsius", 1.0)}


@pytest.mark.parametrize(
    ("value", "state"),
    [(95, "seen"), (92, "seen"), (91.9, "quiet"), (Missing("lost"), "unknown"), ("hot", "unknown")],
)
def test_a_reading_is_held_against_its_limit(value: float | str | Missing, state: str) -> None:
    """What could not be read answers nothing."""
    assert state == ask(Metric("gpu.temperature", at_least=92), XID, readings=reading(value)).state


def test_a_missing_reading_can_itself_be_the_fact() -> None:
    """That a call timed out is something seen."""
    found = ask(Metric("gpu.temperature", is_="timed-out"), XID, readings=reading(Missing("timed-out")))

    assert "seen" == found.state


def test_flags_compare_as_words() -> None:
    """`is: true` in a rule means the flag that NVML returned."""
    assert "seen" == ask(Metric("gpu.temperature", is_="true"), XID, readings=reading(True)).state
    assert "quiet" == ask(Metric("gpu.temperature", is_="true"), XID, readings=reading(False)).state


def test_a_reading_that_was_never_taken_is_unknown() -> None:
    """A log holds no temperatures."""
    assert ("unknown", "not in a log") == ask(Metric("gpu.temperature", at_least=92), XID)[:2]


def test_bursts_count_as_one_event() -> None:
    """Three minutes of silence end a burst."""
    burst = [signal("xid", at, xid="79") for at in (0.0, 10.0, 20.0, 500.0)]

    assert 2 == events(burst, 180.0)


def test_how_often_counts_events_or_lines() -> None:
    """With fold 0 every line counts, with it every burst."""
    lines = [signal("aer-corrected", 900.0 + i, None, text=f"kind {chr(97 + i)}") for i in range(3)]
    select = Select(signals=("aer-corrected",))

    assert "seen" == ask(Count(select, 3600.0, 0.0, at_least=3, same="node"), *lines, XID).state
    assert "quiet" == ask(Count(select, 3600.0, 180.0, at_least=3, same="node"), *lines, XID).state
    assert "seen" == ask(Count(select, 3600.0, 180.0, at_most=1, same="node"), *lines, XID).state
    assert "unknown" == ask(Count(select, 3600.0, 180.0, at_most=1, same="node"), XID, whole=False).state


def test_order_is_seen_only_in_that_order() -> None:
    """Memory errors before the loss are not memory errors after it."""
    clause = Sequence(Select(xids=(48,)), Select(trigger=True), within=600.0)

    assert "seen" == ask(clause, signal("xid", 900.0, xid="48"), XID).state
    assert "quiet" == ask(clause, XID, signal("xid", 1100.0, xid="48")).state
    assert "quiet" == ask(clause, signal("xid", 100.0, xid="48"), XID).state


def test_absence_needs_a_log_that_would_have_told() -> None:
    """Absent in a whole log is seen; in an excerpt it is unknown; present it is quiet."""
    clause = Absent(Select(signals=("dpc",)), 600.0, same="node")

    assert "seen" == ask(clause, XID).state
    assert "unknown" == ask(clause, XID, whole=False).state
    assert "quiet" == ask(clause, signal("dpc", 900.0, None), XID).state


def test_spread_tells_one_gpu_from_many() -> None:
    """Over the GPUs of the node, within the time."""
    clause = Spread(Select(trigger=True), "gpu", 10.0, within="node", at_least=2)

    assert "seen" == ask(clause, XID, signal("xid", 1001.0, OTHER, xid="79")).state
    assert "quiet" == ask(clause, XID, signal("xid", 1100.0, OTHER, xid="79")).state


def test_spread_over_boots_is_recurrence() -> None:
    """The same GPU again after a reboot."""
    clause = Spread(Select(trigger=True), "boot", 30 * 86400.0, at_least=2)

    assert "seen" == ask(clause, XID, signal("xid", 90000.0, boot="#2", xid="79")).state


def test_what_only_the_fleet_knows_is_unknown_here() -> None:
    """One node cannot tell a board from a driver version."""
    clause = Spread(Select(trigger=True), "node", 3600.0, at_least=3, lift=3.0)

    assert ("unknown", "one node cannot answer this; ask the fleet (gpu-triage fleet report)") == ask(clause, XID)[:2]


def test_facts_are_compared_as_globs() -> None:
    """And a fact that is not known stays unknown."""
    clause = Fact("driver.version", ("525.85.*",))

    assert "seen" == ask(clause, XID, facts={"driver.version": "525.85.12"}).state
    assert "quiet" == ask(clause, XID, facts={"driver.version": "535.54.03"}).state
    assert "unknown" == ask(clause, XID).state


def test_a_delta_needs_history() -> None:
    """Which one reading is not."""
    assert "unknown" == ask(Delta("gpu.pcie.replays", 3600.0, at_least=100), XID).state
