"""Which lines are near an incident, which are of its GPU, and how far back its log tells anything."""

from __future__ import annotations

import pytest

from probes.model import LogRecord
from tests.triage.asked import GPU, OTHER, XID, case, reading, signal
from triage.case import WHOLE_LOG, Case, belongs, matches, meant, nearby, readable, selected
from triage.model import Signal
from triage.rulebook.model import Select
from triage.timeline import Spans, build

EXCERPT = "the log looks like an excerpt, so its silence proves nothing"
TIMELESS = "the log has no times, so what it covers is not known"


def clocked(
    name: str, at: float | None = None, up: float | None = None, boot: str | None = "#1", **more: str
) -> Signal:
    """A signal by wall clock, by the clock since boot, by both or by neither."""
    line = int(more.pop("line", "1"))
    return Signal(name, GPU, more, LogRecord(name, at, up, boot, origin=more.pop("origin", "log"), line=line))


def of(*signals: Signal, opened_by: str = "xid", log: tuple[LogRecord, ...] = ()) -> Case:
    """The incident that the signals of this name open, in a log that begins with these lines."""
    spans = Spans()
    list(spans.watch([*log, *(s.record for s in signals)]))
    timeline = build(signals, spans)
    return case()._replace(timeline=timeline, triggers=[s for s in timeline.signals if s.name == opened_by])


# How far back a log tells anything


def test_without_a_line_of_its_own_an_incident_has_the_log_of_a_live_node_or_none() -> None:
    none = "no kernel log was read"

    assert readable(case(readings=[reading(1)]), 3600.0) is None
    assert none == readable(case(), 3600.0)
    assert none == readable(of()._replace(live=True), 3600.0)


def test_a_line_of_a_log_that_was_not_watched_has_no_silence_around_it() -> None:
    about = case(XID)
    elsewhere = XID._replace(record=XID.record._replace(origin="another log"))

    assert "no kernel log was read" == readable(about._replace(triggers=[elsewhere]), 1.0)


def ordinary(number: int, at: float | None = None, up: float | None = None) -> tuple[LogRecord, ...]:
    return (LogRecord("ordinary", at, up, "#1", origin="log"),) * number


def test_a_log_of_few_other_lines_is_an_excerpt() -> None:
    line = clocked("xid", 1000.0)

    assert readable(of(line, log=ordinary(WHOLE_LOG, 0.0)), 1000.0) is None
    assert EXCERPT == readable(of(line, log=ordinary(WHOLE_LOG - 1, 0.0)), 1000.0)


@pytest.mark.parametrize(
    ("start", "line"),
    [
        ({"at": 400.0}, {"at": 1000.0}),
        ({"up": 400.0}, {"up": 1000.0}),
        ({"at": 5000.0, "up": 400.0}, {"at": 1000.0, "up": 1000.0}),  # the wall clock was set back meanwhile
        ({"at": 400.0}, {"at": 1000.0, "up": 3.0}),
    ],
)
def test_a_log_reaches_back_to_its_first_line(start: dict[str, float], line: dict[str, float]) -> None:
    """By the clock since boot where both have it, else by wall clock."""
    about = of(clocked("xid", **line), log=ordinary(30, **start))  # type: ignore[arg-type]
    if "up" in line and "up" not in start:
        spans = {key: span._replace(first_monotonic=None) for key, span in about.timeline.spans.items()}
        about = about._replace(timeline=about.timeline._replace(spans=spans))

    assert readable(about, 600.0) is None
    assert "the log begins only 600 s before the event" == readable(about, 601.0)


def test_a_log_that_begins_with_its_boot_reaches_back_for_ever_and_one_without_times_nowhere() -> None:
    timeless = of(clocked("xid"), log=ordinary(30))
    boot = LogRecord("Linux version 6.1", None, None, "#1", origin="log")

    assert readable(of(clocked("xid"), log=(boot, *ordinary(30))), 1e9) is None
    assert TIMELESS == readable(timeless, 1.0)
    assert TIMELESS == readable(
        of(clocked("xid", 1000.0, line="2"), clocked("xid"), log=ordinary(30))._replace(triggers=[clocked("xid")]), 1.0
    )


# Which lines are of this GPU


@pytest.mark.parametrize(
    ("pci", "gpu", "path", "node"),
    [
        (GPU, True, True, True),
        ("0000:4e:00.1", True, True, True),  # its audio function
        (None, True, True, True),  # a line that names none
        ("0000:4d:01.0", False, True, True),  # a port, which may be the one above
        (OTHER, False, False, True),
        ("0000:9d:00.1", False, False, True),
    ],
)
def test_a_line_is_of_the_gpu_of_the_way_to_it_or_of_the_node(
    pci: str | None, gpu: bool, path: bool, node: bool
) -> None:
    about = case(XID)
    line = signal("aer", 1.0, pci)

    assert (gpu, path, node) == tuple(belongs(about, line, same) for same in ("gpu", "pci-path", "node"))
    assert belongs(about._replace(pci=None), line, "gpu"), "what is of no GPU is of the node"


def test_names_and_codes_are_selected_together_in_the_order_of_the_log() -> None:
    lines = [signal("xid", 1.0, xid="48"), signal("dpc", 2.0, pid="7"), signal("xid", 3.0, xid="31"), signal("x", 4.0)]
    about = case(*lines)
    found = selected(Select(("dpc",), (48, 31)), about.timeline)

    assert [1.0, 2.0, 3.0] == [s.record.at for s in found]
    assert [3.0] == [s.record.at for s in selected(Select((), (31,)), about.timeline)]
    assert [2.0] == [s.record.at for s in selected(Select(("dpc",), (48, 31), where={"pid": "7"}), about.timeline)]
    assert [] == selected(Select(("dpc",), where={"pid": "7", "text": "."}), about.timeline)
    assert [] == selected(Select(trigger=True), about.timeline)


def test_the_trigger_is_what_opened_the_incident_as_far_as_its_fields_hold() -> None:
    about = case(XID, signal("xid", 1001.0, xid="79", text="lost"), signal("xid", 1002.0, xid="48"))

    assert [1000.0, 1001.0] == [s.record.at for s in meant(Select(trigger=True), about, "gpu")]
    assert [1001.0] == [s.record.at for s in meant(Select(trigger=True, where={"text": "^lost$"}), about, "gpu")]


def test_a_pattern_is_found_anywhere_in_a_text() -> None:
    assert (True, False) == (matches("o+", "foo"), matches("^o", "foo"))


# What is near


def near(about: Case, before: float, after: float, when: str) -> list[str]:
    return [s.fields.get("kind", s.name) for s in nearby(about, about.timeline.signals, before, after, when)]


def test_near_is_a_little_before_and_after_with_the_trigger_itself() -> None:
    """The trigger is not its own past or future."""
    about = case(signal("a", 890.0), signal("b", 950.0), XID, signal("c", 1010.0), signal("d", 1030.0))

    assert ["b", "xid", "c"] == near(about, 100.0, 20.0, "near")
    assert ["b"] == near(about, 100.0, 0.0, "before")
    assert ["c"] == near(about, 0.0, 20.0, "after")
    assert ["a", "b", "xid", "c", "d"] == near(case(*about.timeline.signals, triggers=()), 1.0, 1.0, "near")


def test_what_stands_in_the_same_line_is_neither_before_nor_after() -> None:
    """One line can hold two signals.  The same line of another log is another line."""
    xid, twin = clocked("xid", 1000.0, line="7"), clocked("twin", 1000.0, line="7")
    other = clocked("other", 1000.0, line="7", origin="syslog")

    assert ["xid", "twin", "other"] == sorted(near(of(xid, twin, other), 10.0, 10.0, "near"), key=len)
    assert ["other"] == near(of(xid, twin, other), 10.0, 10.0, "after")
    assert [] == near(of(twin, xid), 10.0, 10.0, "before")
    later = clocked("xid", 1001.0, line="8", text="b")
    assert ["xid", "twin"] == near(of(xid, twin, later), 10.0, 0.0, "before"), "of the later line they are the past"


@pytest.mark.parametrize("at", [None, 1000.0])
def test_without_a_time_between_them_the_order_of_the_lines_tells(at: float | None) -> None:
    about = of(clocked("a", at, line="1"), clocked("xid", at, line="2"), clocked("b", at, line="3"))

    assert ["a", "xid", "b"] == near(about, 0.0, 0.0, "near")
    assert (["a"], ["b"]) == (near(about, 0.0, 0.0, "before"), near(about, 0.0, 0.0, "after"))


def test_lines_of_another_boot_are_near_only_by_the_wall_clock() -> None:
    """Where one has none, nothing tells how long the reboot took."""
    told = of(clocked("a", 990.0, boot="#0", line="1"), clocked("xid", 1000.0, line="2"))
    untold = of(clocked("a", None, 990.0, boot="#0", line="1"), clocked("xid", 1000.0, 1.0, line="2"))
    neither = of(clocked("a", 990.0, 990.0, boot="#0", line="1"), clocked("xid", None, 1.0, line="2"))

    assert ["a"] == near(told, 10.0, 10.0, "before")
    assert [] == near(untold, 10.0, 10.0, "before")
    assert [] == near(neither, 10.0, 10.0, "before")
    both = of(
        clocked("xid", None, 5.0, boot="#0", line="1"), clocked("a", 990.0, line="2"), clocked("xid", 1000.0, line="3")
    )
    assert ["a"] == near(both, 10.0, 10.0, "before")


def test_a_line_is_near_a_burst_that_began_long_before_it() -> None:
    """Even if other triggers came since, as long as they are few."""
    lines = [signal("xid", float(n), xid="79", text=chr(97 + n)) for n in range(9)]
    about = case(*lines, signal("late", 5009.0))

    def among(others: int) -> list[str]:
        first, *rest = about.triggers
        long = about._replace(triggers=[first._replace(last_at=5000.0), *rest[:others]])
        return [s.name for s in nearby(long, about.timeline.named(("late",)), 0.0, 9.0, "near")]

    assert (["late"], ["late"], []) == (among(0), among(7), among(8))


def test_a_line_is_near_a_trigger_that_stands_later_in_the_log_with_an_earlier_time() -> None:
    lines = [signal("early", 1.0), *(signal("xid", 500.0 + n, xid="79", text=chr(97 + n)) for n in range(10))]
    about = case(*lines)

    def among(others: int) -> list[str]:
        *rest, last = about.triggers
        back = about._replace(triggers=[*rest[:others], last._replace(record=last.record._replace(at=2.0))])
        return [s.name for s in nearby(back, about.timeline.named(("early",)), 9.0, 0.0, "near")]

    assert [] == [s.name for s in nearby(about, about.timeline.named(("early",)), 9.0, 0.0, "near")]
    assert (["early"], ["early"], []) == (among(0), among(8), among(9))
