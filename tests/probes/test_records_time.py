"""A time is what the line says, in UTC; what it does not say stays unknown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.model import LogRecord
from probes.records import Tally, parse_lines
from probes.records_time import MONTHS, day_number, month_of, year_of, zone_seconds

HINT = 1771977600.0  # 2026-02-25T00:00:00Z


def read(*lines: str | bytes, tz_offset: float = 0.0, tally: Tally | None = None) -> list[LogRecord]:
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return list(parse_lines(raw, origin="x.log", year_hint=HINT, tz_offset=tz_offset, tally=tally))


def only(*lines: str | bytes, tally: Tally | None = None) -> LogRecord:
    (record,) = read(*lines, tally=tally)
    return record


def test_a_stamp_without_a_year_gets_the_latest_year_that_is_not_later_than_the_log() -> None:
    lines = ["Dec 31 23:59:59 host kernel: a", "Jan  1 00:00:00 host kernel: b", "Feb 25 23:00:00 host kernel: c",
             "Feb 26 12:00:00 host kernel: d"]  # fmt: skip
    times = [record.at for record in read(*lines)]

    assert [1767225599.0, 1767225600.0, 1772060400.0, 1740571200.0] == times


def test_a_leap_day_without_a_year_falls_in_a_leap_year() -> None:
    assert 1709208000.0 == only("Feb 29 12:00:00 host kernel: a").at


@pytest.mark.parametrize("stamp", ["Feb 30 12:00:00", "Jun  0 12:00:00", "Jun 30 24:00:00", "Jun 30 12:61:00"])
def test_a_time_that_does_not_exist_is_unknown(stamp: str) -> None:
    assert only(f"{stamp} host kernel: a").at is None


def test_times_without_a_zone_are_moved_by_the_offset_and_counted() -> None:
    tally = Tally()
    records = read("[Mon Mar  6 21:34:31 2023] a", "2025-01-25T10:34:54,859532+00:00 b", tz_offset=7200.0, tally=tally)

    assert [1678131271.0, pytest.approx(1737801294.859532)] == [record.at for record in records]
    assert 1 == tally.zoneless


def test_relative_times_count_from_the_last_full_one() -> None:
    records = read("[  +0.000127] early", "[May19 19:57] a", "[  +0.000127] b", "[  +1.000013] c")

    assert records[0].at is None
    assert [1747684620.0, 1747684620.000127, 1747684621.00014] == pytest.approx([r.at for r in records[1:]])


def test_months_are_known_in_the_languages_logs_come_in() -> None:
    assert [3, 4, 10, 12, 5, 8, 1, 10] == [
        month_of(name) for name in ("mar", "kwi", "ott", "déc.", "Mai", "SIE", "1月", "10월")
    ]
    assert set(range(1, 13)) == set(MONTHS.values())
    assert [None, None] == [month_of("foo"), month_of("13月")]


@pytest.mark.parametrize(
    ("zone", "seconds"),
    [("Z", 0), ("+02:00", 7200), ("-0730", -27000), ("+03", 10800), ("CEST", 7200), ("CST", None), ("", None)],
)
def test_zones(zone: str, seconds: float | None) -> None:
    assert seconds == zone_seconds(zone)


@given(st.dates())
def test_days_are_counted_as_the_calendar_counts_them(day: Any) -> None:
    assert (day.toordinal() - 719163) == day_number(day.year, day.month, day.day)


@given(st.datetimes())
def test_the_year_of_an_epoch_time_is_the_calendars(moment: Any) -> None:
    seconds = (moment.toordinal() - 719163) * 86400 + moment.hour * 3600 + moment.minute * 60 + moment.second

    assert max(1, min(moment.year, 9999)) == year_of(seconds)
