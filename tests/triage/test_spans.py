"""What each boot of each log covered: whose silence counts, and from when to when."""

from __future__ import annotations

import pytest

from probes.model import LogRecord
from triage.model import Signal
from triage.timeline import FOLDED, Axis, Span, Spans, build

HERE, THERE = ("log", "#1"), ("other", "#1")


def record(at: float | None = None, up: float | None = None, boot: str = "#1", origin: str = "log") -> LogRecord:
    return LogRecord("ordinary", at, up, boot, origin=origin)


def xid(at: float | None = None, up: float | None = None, *, count: int = 1, origin: str = "log") -> Signal:
    line = int(at or up or 0)
    said = LogRecord("NVRM: Xid", at, up, "#1", origin=origin, line=line)
    return Signal("xid", None, {"xid": str(line)}, said, count=count, last_at=at, last_monotonic=up)


def watched(*records: LogRecord) -> Spans:
    spans = Spans()
    assert list(records) == list(spans.watch(records))
    return spans


def told(spans: Spans, *signals: Signal) -> dict[tuple[str, str | None], Span]:
    return spans.result(signals)


def test_a_span_is_from_the_earliest_to_the_latest_time_whatever_the_order() -> None:
    """Clocks step, and either clock may be missing in a line."""
    spans = watched(record(50.0), record(40.0, 7.0), record(60.0), record(None, 3.0), record(55.0, 5.0), record())

    assert {HERE: Span(40.0, 60.0, 3.0, 7.0, False, 6)} == told(spans)


def test_every_boot_of_every_log_has_its_own_span() -> None:
    spans = watched(
        record(1.0),
        record(2.0, boot="#2"),
        record(3.0),
        record(9.0, origin="other"),
        record(4.0),
        record(5.0, boot="#2"),
    )

    assert {
        HERE: Span(1.0, 4.0, None, None, False, 3),
        ("log", "#2"): Span(2.0, 5.0, None, None, False, 2),
        THERE: Span(9.0, 9.0, None, None, False, 1),
    } == told(spans)
    assert (True, False) == (spans.knows(HERE), spans.knows(("other", "#2")))


@pytest.mark.parametrize(
    ("first", "whole"),
    [
        (record(up=0.9), True),
        (record(up=1.0), False),
        (record(1.0), False),
        (LogRecord("Linux version 6.1", 1.0, 100.0, "#1", origin="log"), True),
        (LogRecord("about Linux version 6.1", 1.0, 100.0, "#1", origin="log"), False),
    ],
)
def test_a_log_begins_with_its_boot_if_its_first_line_does(first: LogRecord, whole: bool) -> None:
    """Whatever comes after."""
    later = LogRecord("Linux version 6.1", 200.0, 0.5, "#1", origin="log")

    assert whole == told(watched(first, record(2.0, 200.0)))[HERE].from_boot
    assert whole == told(watched(first, later))[HERE].from_boot


def test_lines_that_are_signals_are_no_other_lines_of_the_log() -> None:
    """Folded ones count as often as they came; those of another log or boot are not of this one."""
    spans = watched(*[record(float(n)) for n in range(9)])

    assert 5 == told(spans, xid(1.0, count=3), xid(2.0))[HERE].plain
    assert 0 == told(spans, xid(1.0, count=30))[HERE].plain
    assert 9 == told(spans, xid(1.0, count=3, origin="other"))[HERE].plain


def test_records_that_went_by_elsewhere_can_be_noted() -> None:
    spans = watched(record(50.0, 5.0))
    spans.skip(HERE, 10, (40.0, 60.0), (4.0, 6.0))
    assert Span(40.0, 60.0, 4.0, 6.0, False, 11) == told(spans)[HERE]
    spans.skip(HERE, 2, (45.0, 55.0), (4.5, 5.5))
    assert Span(40.0, 60.0, 4.0, 6.0, False, 13) == told(spans)[HERE]
    spans.skip(HERE, 1, None, None)
    assert Span(40.0, 60.0, 4.0, 6.0, False, 14) == told(spans)[HERE]

    timeless = watched(record())
    timeless.skip(HERE, 1, (40.0, 60.0), (4.0, 6.0))
    assert Span(40.0, 60.0, 4.0, 6.0, False, 2) == told(timeless)[HERE]


def test_a_gap_in_a_log_ends_what_was_heard_before_it() -> None:
    def after_gap(at: float | None, up: float | None, key: tuple[str, str | None] = HERE) -> Span:
        spans = watched(LogRecord("Linux version 6.1", 10.0, 0.0, "#1", origin="log"), record(90.0, 80.0))
        spans.missed(key, at, up)
        return told(spans)[HERE]

    assert Span(50.0, 90.0, 40.0, 80.0, False, 2) == after_gap(50.0, 40.0)
    assert Span(10.0, 90.0, 0.0, 80.0, False, 2) == after_gap(None, None)
    assert Span(10.0, 90.0, 0.0, 80.0, True, 2) == after_gap(50.0, 40.0, THERE)


def test_the_spans_of_several_readers_are_put_together() -> None:
    """Of other logs as they are; of a later part of the same log as one."""
    spans = watched(record(10.0, 1.5), record(20.0, 2.0))
    spans.adopt(watched(record(5.0, origin="other")))
    spans.go_on(watched(record(1.0, boot="#2"), record(30.0, 3.0), record(40.0, 4.0)))

    assert {
        HERE: Span(10.0, 40.0, 1.5, 4.0, False, 4),
        THERE: Span(5.0, 5.0, None, None, False, 1),
        ("log", "#2"): Span(1.0, 1.0, None, None, False, 1),
    } == told(spans)


def test_a_later_part_without_times_adds_its_lines_only() -> None:
    spans = watched(LogRecord("Linux version 6.1", 10.0, 0.0, "#1", origin="log"))
    spans.go_on(watched(record()))

    assert {HERE: Span(10.0, 10.0, 0.0, 0.0, True, 2)} == told(spans)


def test_boots_can_be_given_their_names_later() -> None:
    spans = watched(record(1.0), record(2.0, boot="#2"))
    moved = spans.moved(lambda boot: f"{boot} of many", 100)

    assert {
        ("log", "#1 of many"): Span(1.0, 1.0, None, None, False, 1),
        ("log", "#2 of many"): Span(2.0, 2.0, None, None, False, 1),
    } == told(moved)


def test_a_line_that_is_there_twice_is_known_again_under_its_new_names() -> None:
    """The very line is itself; another that says the same at the same microsecond is its echo."""

    def line(number: int, boot: str) -> Signal:
        return Signal("xid", None, {}, LogRecord("NVRM: Xid", None, 5.000001, boot, origin="log", line=number))

    spans = Spans()
    axis(spans, line(1, "#1"))

    def kept(number: int, boot: str) -> int:
        return axis(spans.moved(lambda boot: f"{boot} of many", 100), line(number, boot)).kept

    assert (1, 0, 1) == (kept(101, "#1 of many"), kept(102, "#1 of many"), kept(102, "#1"))


def test_echoes_are_taken_off_the_lines_of_their_own_log() -> None:
    spans = watched(*[record(float(n)) for n in range(5)])
    twice = [LogRecord("NVRM: Xid", None, 1.0, "#1", origin="log", line=n) for n in range(30)]
    made = build((Signal("xid", None, {}, line) for line in spans.watch(twice)), spans)

    assert (1, 5) == (made.signals[0].count, made.spans[HERE].plain)


def axis(spans: Spans, *signals: Signal, most: int = 100) -> Axis:
    made = Axis(spans, most)
    for signal in signals:
        made.take(signal)
    return made


def test_what_is_forgotten_was_not_heard() -> None:
    """Only the latest are kept; the log then tells nothing of the time until the last that went."""
    lines = [
        LogRecord("Linux version 6.1", 0.0, 0.0, "#1", origin="log"),
        *(record(float(n), float(n)) for n in range(19)),
    ]
    made = axis(watched(*lines), *(xid(float(n), float(n)) for n in range(1, 9)))

    assert (8, 5) == (made.kept, made.forget(3))
    assert 3 == made.kept
    kept = made.timeline()
    assert ["6", "7", "8"] == [s.fields["xid"] for s in kept.signals]
    assert Span(5.0, 18.0, 5.0, 18.0, False, 12) == kept.spans[HERE]
    assert (0, 3) == (made.forget(3), made.kept)


def test_a_burst_that_goes_on_is_not_forgotten_and_one_that_was_begins_anew() -> None:
    def line(code: str, at: float) -> Signal:
        return Signal("xid", None, {"xid": code}, LogRecord(f"Xid {code}", at, boot="#1", origin="log", line=int(at)))

    made = axis(watched(record(0.0)), line("31", 1.0), line("13", 2.0), line("31", 100.0))
    assert 1 == made.forget(1)
    made.take(line("31", 120.0))
    made.take(line("13", 121.0))

    assert [("31", 3), ("13", 1)] == [(s.fields["xid"], s.count) for s in made.timeline().signals]


def test_the_latest_is_so_by_the_clock_since_boot_where_there_is_one() -> None:
    """The wall clock was set back meanwhile."""
    made = axis(watched(record(0.0, 0.0)), xid(9000.0, 5.0), xid(100.0, 6.0))

    assert 1 == made.forget(1)
    assert [6.0] == [s.record.monotonic for s in made.timeline().signals]


def test_each_log_keeps_its_own_latest() -> None:
    spans = watched(record(0.0), record(0.0, origin="other"))
    made = axis(spans, xid(3.0, origin="other"), xid(1.0), xid(2.0))

    assert 1 == made.forget(1)
    assert [2.0, 3.0] == [s.record.at for s in made.timeline().signals]
    assert (1.0, 0.0) == (made.timeline().spans[HERE].first_at, made.timeline().spans[THERE].first_at)


def test_a_burst_that_was_folded_elsewhere_is_taken_whole() -> None:
    """Its count and its end are those it came with; it goes on where it ended."""
    first = xid(1.0, 1.0, count=5)._replace(last_at=100.0, last_monotonic=99.0, last_order=FOLDED)
    again = first._replace(count=2, record=first.record._replace(at=250.0, line=9), last_at=260.0, last_monotonic=259.0)
    late = again._replace(record=first.record._replace(at=500.0, line=10), last_at=500.0, last_monotonic=499.0)

    found = build([first, again, late], watched(record(0.0)))

    assert [(7, 260.0, 259.0), (2, 500.0, 499.0)] == [(s.count, s.last_at, s.last_monotonic) for s in found.signals]


def test_what_is_too_much_is_counted_with_all_its_lines() -> None:
    made = axis(Spans(), xid(1.0), xid(2.0), xid(3.0, count=4)._replace(last_order=FOLDED), xid(9.0), most=2)

    assert 2 == made.kept
    assert ("5 further distinct signals were counted but not kept",) == made.timeline().notices
