"""One axis for many logs, and storms that cost nothing."""

from __future__ import annotations

from collections.abc import Iterator

from probes.model import LogRecord
from triage.model import Signal
from triage.timeline import MOST_SIGNALS, Spans, build, seconds_between


def signal(name: str = "xid", *, at: float | None = None, origin: str = "a", **fields: str) -> Signal:
    return Signal(name, "0000:01:00.0", fields, LogRecord("x", at=at, origin=origin))


def test_a_storm_is_one_signal_with_a_count() -> None:
    """First and last are kept, what differs only in numbers is the same."""
    storm: Iterator[Signal] = (
        signal(at=1000.0 + i / 100, xid="31", text=f"Ch {i:08x}, MMU Fault at 0x{i:x}") for i in range(5000)
    )

    timeline = build(storm, Spans())

    (one,) = timeline.signals
    assert (5000, 1000.0, 1049.99) == (one.count, one.record.at, one.last_at)


def test_a_burst_ends_after_three_minutes_of_silence() -> None:
    """What comes later is a recurrence, which is evidence."""
    timeline = build([signal(at=0.0, xid="31"), signal(at=100.0, xid="31"), signal(at=400.0, xid="31")], Spans())

    assert [2, 1] == [s.count for s in timeline.signals]


def test_different_codes_devices_and_texts_are_not_folded() -> None:
    """Only equal signals are repeats."""
    signals = [
        signal(at=0.0, xid="31", text="MMU Fault"),
        signal(at=1.0, xid="13", text="MMU Fault"),
        signal(at=2.0, xid="31", text="Graphics Exception"),
        signal(at=3.0, xid="31", text="MMU Fault")._replace(pci="0000:02:00.0"),
    ]

    assert [1, 1, 1, 1] == [s.count for s in build(signals, Spans()).signals]


def test_memory_is_bounded_whatever_a_log_holds() -> None:
    """Beyond a limit further kinds are counted in a notice, not kept."""
    flood = (signal(f"kind-{i}", at=float(i)) for i in range(MOST_SIGNALS + 5))

    timeline = build(flood, Spans())

    assert MOST_SIGNALS == len(timeline.signals)
    assert "5 further" in timeline.notices[0]


def test_logs_are_merged_by_wall_time() -> None:
    """Two files of one node tell one story."""
    signals = [
        signal("late", at=20.0, origin="a"),
        signal("early", at=10.0, origin="b"),
        signal("last", at=30.0, origin="b"),
    ]

    assert ["early", "late", "last"] == [s.name for s in build(signals, Spans()).signals]


def test_a_log_without_wall_time_stands_last_and_says_so() -> None:
    """An order that is not known is a notice, not a guess."""
    timeline = build([signal("no-clock", origin="dmesg"), signal("clock", at=5.0, origin="syslog")], Spans())

    assert ["clock", "no-clock"] == [s.name for s in timeline.signals]
    assert "dmesg" in timeline.notices[0]


def test_within_one_log_the_order_of_lines_is_kept() -> None:
    """Clocks step; lines do not."""
    timeline = build([signal("first", at=100.0), signal("second", at=99.0)], Spans())

    assert ["first", "second"] == [s.name for s in timeline.signals]


def test_the_time_between_signals_needs_one_clock() -> None:
    """Monotonic times of different boots cannot be compared."""
    early = Signal("a", None, {}, LogRecord("x", monotonic=10.0, boot="#1"))
    later = Signal("b", None, {}, LogRecord("x", monotonic=15.0, boot="#1"))
    other = Signal("c", None, {}, LogRecord("x", monotonic=15.0, boot="#2"))

    assert 5.0 == seconds_between(early, later)
    assert seconds_between(early, other) is None


def test_spans_say_what_each_boot_of_a_log_covered() -> None:
    """So that silence can be told from not having looked."""
    spans = Spans()
    records = [
        LogRecord("Linux version 6.1.0", monotonic=0.0, boot="#1", origin="d"),
        LogRecord("usb 1-1: new device", monotonic=4.0, boot="#1", origin="d"),
        LogRecord("usb 1-1: gone", monotonic=9.0, boot="#2", origin="d"),
    ]

    list(spans.watch(records))
    result = spans.result([])

    assert (True, 2, 4.0) == (result["d", "#1"].from_boot, result["d", "#1"].plain, result["d", "#1"].last_monotonic)
    assert not result["d", "#2"].from_boot


def test_a_record_that_is_there_twice_is_one() -> None:
    """A console log repeats what syslog wrote, and two files of one node hold the same lines."""

    def at(monotonic: float, line: int, origin: str = "a", wall: float | None = None) -> Signal:
        record = LogRecord("NVRM: Xid", at=wall, monotonic=monotonic, boot="#1", origin=origin, line=line)
        return Signal("xid", "0000:01:00.0", {"xid": "31"}, record)

    twice = build([at(5.000001, 1), at(5.000001, 2)], Spans())
    again = build([at(5.000001, 1), at(5.000002, 2)], Spans())
    files = build([at(5.0, 1, "dmesg", 100.2), at(5.0, 9, "syslog", 100.0)], Spans())

    assert ([1], [2], [1]) == tuple([s.count for s in t.signals] for t in (twice, again, files))


def test_echoes_do_not_make_an_excerpt_look_whole() -> None:
    """They are no other lines of the log."""
    spans = Spans()
    records = [LogRecord("NVRM: Xid", monotonic=1.0, boot="#1", origin="a", line=n) for n in range(30)]
    signals = (Signal("xid", None, {"xid": "31"}, record) for record in spans.watch(records))

    assert 0 == build(signals, spans).spans["a", "#1"].plain


def test_a_burst_is_near_what_follows_its_last_line() -> None:
    """Not only what follows its first."""
    burst = Signal("a", None, {}, LogRecord("x", at=0.0), last_at=1800.0)
    after = Signal("b", None, {}, LogRecord("x", at=1801.0))
    during = Signal("c", None, {}, LogRecord("x", at=900.0))

    assert (1.0, -1.0) == (seconds_between(burst, after), seconds_between(after, burst))
    assert (0.0, 0.0) == (seconds_between(burst, during), seconds_between(during, burst))


def test_a_clock_since_boot_parts_bursts_as_wall_time_does() -> None:
    """The same events say the same on either clock."""
    times = (100.0, 110.0, 90000.0, 180000.0)
    wall = build([signal(at=t, xid="31") for t in times], Spans())
    raw = [
        Signal("xid", "0000:01:00.0", {"xid": "31"}, LogRecord("x", monotonic=t, boot="#1", line=int(t))) for t in times
    ]

    assert [2, 1, 1] == [s.count for s in wall.signals] == [s.count for s in build(raw, Spans()).signals]


def test_signals_are_numbered_in_their_order_and_found_by_their_names() -> None:
    timeline = build(
        [signal("b", at=2.0, origin="x"), signal("a", at=1.0, origin="y"), signal("b", at=3.0, origin="y")], Spans()
    )

    assert [("a", 0, 0), ("b", 1, 1), ("b", 2, 2)] == [(s.name, s.order, s.last_order) for s in timeline.signals]
    assert [2.0, 3.0, 1.0] == [s.record.at for s in timeline.named(("b", "none", "a"))]


def test_the_latest_value_of_a_field_is_that_at_a_place_or_before_it() -> None:
    lines = [
        signal("v", at=0.0, is_="1"),
        signal("x", at=1.0),
        signal("v", at=2.0, is_="2"),
        signal("v", at=3.0, no=""),
    ]
    timeline = build(lines, Spans())

    assert [None, "1", "1", "2", "2"] == [timeline.last("v", "is_", place) for place in range(-1, 4)]
    assert timeline.last("unheard", "is_", 9) is None


def test_silence_of_just_three_minutes_is_still_the_burst_on_either_clock() -> None:
    def counts(*times: tuple[float | None, float | None]) -> list[int]:
        lines = [LogRecord("x", at, up, "#1", line=n) for n, (at, up) in enumerate(times)]
        return [s.count for s in build((Signal("xid", None, {}, line) for line in lines), Spans()).signals]

    assert ([2], [1, 1]) == (counts((0.5, None), (180.5, None)), counts((0.5, None), (181.0, None)))
    assert ([2], [1, 1]) == (counts((None, 5.0), (None, 185.0)), counts((None, 5.0), (None, 186.0)))
    assert [1, 1] == counts((1.0, 5.0), (500.0, 6.0)), "the wall clock tells where both lines have it"
    assert [2] == counts((1.0, 5.0), (None, 6.0)), "else the clock since boot"
    assert [1, 1] == counts((1.0, 5.0), (None, 500.0))
    assert [2] == counts((None, 5.0), (1.0, None)) == counts((1.0, None), (None, 5.0))
    assert [3] == counts((None, None), (1.0, None), (None, None)), "and without any clock they are one burst"


def test_bursts_of_other_boots_logs_and_fields_are_others() -> None:
    def line(boot: str = "#1", origin: str = "a", text: str = "Ch 1", **fields: str) -> Signal:
        return Signal(
            "xid", None, {"text": text, **fields}, LogRecord(f"{boot}{origin}{fields}", boot=boot, origin=origin)
        )

    def kinds(*lines: Signal) -> int:
        return len(build(lines, Spans()).signals)

    assert 2 == kinds(line(), line(boot="#2"))
    assert 2 == kinds(line(), line(origin="b"))
    assert 2 == kinds(line(xid="31"), line(xid="13"))
    assert 1 == kinds(line(pid="1"), line(pid="2"), line(name="a"), line(comm="b"))
    assert 1 == kinds(line(text="Ch 00000001 at 0x7f_10 deadbeef1"), line(text="Ch 00000002 at 0x8f_20 deadbeef2"))
    assert 2 == kinds(line(text="Ch one"), line(text="Ch two"))
    assert (1, 2) == (
        kinds(line(text="z" * 120 + "x"), line(text="z" * 120)),
        kinds(line(text="z" * 119), line(text="z" * 120)),
    )


def test_logs_that_have_no_clock_are_named_together_and_keep_their_lines_in_order() -> None:
    lines = [signal("b", origin="z"), signal("a", origin="z"), signal("c", origin="y"), signal("t", at=1.0, origin="x")]
    timeline = build(lines, Spans())

    assert ["t", "b", "a", "c"] == [s.name for s in timeline.signals]
    assert (
        "no wall-clock times in y, z: its records stand after those of the other logs; order between them is unknown",
    ) == timeline.notices
    assert () == build(lines[:2], Spans()).notices, "one log alone needs no clock"


def test_a_line_without_a_time_stands_with_the_one_before_it_and_a_clock_that_goes_back_moves_no_line() -> None:
    a = [signal("none", origin="a"), signal("ten", at=10.0, origin="a"), signal("back", at=3.0, origin="a")]
    b = [signal("nine", at=9.0, origin="b"), signal("five", at=5.0, origin="b"), signal("eleven", at=11.0, origin="b")]

    assert ["nine", "five", "none", "ten", "back", "eleven"] == [s.name for s in build([*a, *b], Spans()).signals]


def test_the_clock_since_boot_tells_the_time_between_lines_of_one_log_and_boot() -> None:
    """The wall clock may have been set meanwhile; between logs it is all there is."""

    def line(at: float | None, up: float | None, boot: str = "#1", origin: str = "a") -> Signal:
        return Signal("x", None, {}, LogRecord("x", at, up, boot, origin=origin))

    start = line(100.0, 10.0)
    assert 5.0 == seconds_between(start, line(900.0, 15.0))
    assert -5.0 == seconds_between(start, line(900.0, 5.0))
    assert 800.0 == seconds_between(start, line(900.0, 15.0, boot="#2"))
    assert 800.0 == seconds_between(start, line(900.0, 15.0, origin="b"))
    assert 800.0 == seconds_between(start, line(900.0, None))
    assert 800.0 == seconds_between(line(100.0, None), line(900.0, 15.0))
    assert seconds_between(line(None, 10.0), line(900.0, None)) is None
    assert seconds_between(line(100.0, None), line(None, 15.0)) is None


def test_bursts_that_touch_are_no_time_apart() -> None:
    def burst(first: float, last: float) -> Signal:
        return Signal("x", None, {}, LogRecord("x", first, first, "#1"), last_at=last, last_monotonic=last)

    one = burst(10.0, 20.0)
    assert [0.0, 0.0, 5.0] == [seconds_between(one, burst(at, 30.0)) for at in (15.0, 20.0, 25.0)]
    assert [-5.0, 0.0, 0.0] == [seconds_between(one, burst(1.0, at)) for at in (5.0, 10.0, 15.0)]
    assert 5.0 == seconds_between(burst(10.0, 1.0), burst(15.0, 15.0)), (
        "a clock that went back ends no burst before it began"
    )
