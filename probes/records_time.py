"""Wall clocks of log lines as UTC epoch seconds.

A stamp that names no date, or one that is none, is None and never a guess; a
stamp without a year gets the latest one in which it was already written.
"""

from __future__ import annotations

from typing import Optional

from probes.records_text import Tally

DAY = 86400

# The months as glibc's locales abbreviate them, dots and case ignored (journalctl prints them so).
_MONTHS = (
    "jan janv january ene gen sty led ian tammi янв січ oca ιαν",
    "feb févr fev fevr february fév lut úno febr helmi фев лют şub φεβ",
    "mar mars march mär mrt bře márc maalis мар бер μάρ",
    "apr avril april abr avr kwi dub ápr huhti апр кві nis απρ",
    "may mai mag maj mei kvě máj touko май мая тра μάι",
    "jun juin june giu cze čen jún iun kesä июн чер haz ιούν",
    "jul juil july lug lip čec júl iul heinä июл лип tem ιούλ",
    "aug août august ago sie srp elo авг сер ağu αύγ",
    "sep sept september set wrz zář szept syys сен вер eyl σεπ",
    "oct okt october ott out paź říj loka окт жов eki οκτ",
    "nov november lis marras ноя лис kas νοέ",
    "dec déc dez dic december des gru pro joulu дек гру ara δεκ",
)
MONTHS: dict[str, int] = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}

# Zone names that mean one offset only (CST is both Chicago and Shanghai, IST three countries: left out).
_ZONES = {
    "Z": 0, "UTC": 0, "GMT": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "JST": 9, "KST": 9,
    "EST": -5, "EDT": -4, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
}  # fmt: skip

_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def leap(year: int) -> bool:
    """Whether `year` has a 29 February."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def day_number(year: int, month: int, day: int) -> Optional[int]:
    """Days from 1970-01-01, or None if there is no such day."""
    if not (1 <= month <= 12 and 1 <= day <= _LENGTHS[month - 1] and 1 <= year <= 9999):
        return None
    if month == 2 and day == 29 and not leap(year):
        return None
    y = year - (month < 3)
    in_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return y * 365 + y // 4 - y // 100 + y // 400 + in_year - 719468


def year_of(at: float) -> int:
    """The year (UTC) of an epoch time, clamped to the years this module knows."""
    year = min(9998, max(2, 1970 + int(at // (365.2425 * DAY))))
    start = day_number(year, 1, 1) or 0
    if at < start * DAY:
        return year - 1
    return year + 1 if at >= (start + 365 + leap(year)) * DAY else year


def month_of(name: str) -> Optional[int]:
    """The month that `name` abbreviates in one of the languages logs come in (`mar`, `kwi`, `ott`, `4月`)."""
    if name[-1:] in "月월":
        number = name[:-1].strip()
        return int(number) if number.isdigit() and 1 <= int(number) <= 12 else None
    return MONTHS.get(name.rstrip(".").lower())


def zone_seconds(zone: Optional[str]) -> Optional[float]:
    """Seconds east of UTC of `Z`, `+02:00`, `-0700`, `+03` or a name that means one offset only."""
    if not zone:
        return None
    if zone[0] in "+-":
        digits = zone[1:].replace(":", "")
        seconds = int(digits[:2]) * 3600 + int(digits[2:4] or 0) * 60
        return float(-seconds if zone[0] == "-" else seconds)
    hours = _ZONES.get(zone)
    return None if hours is None else hours * 3600.0


def fraction(digits: Optional[str]) -> float:
    """`.123456` of a second from its digits."""
    return int(digits) / 10 ** len(digits) if digits else 0.0


class Clock:
    """The wall clock of one source.

    Args:
        year_hint: epoch seconds; the log is not younger.
        tz_offset: seconds east of UTC of stamps that name no zone.
        tally: where stamps without a zone are counted.
    """

    __slots__ = ("_days", "_limit", "last", "tally", "tz_offset")

    def __init__(self, year_hint: float, tz_offset: float, tally: Tally) -> None:
        self._limit = year_hint + DAY
        self.tz_offset = tz_offset
        self.tally = tally
        self.last: Optional[float] = None
        """Time of the record before, which `[ +0.000127]` counts from."""
        self._days: dict[str, Optional[int]] = {}

    def at(self, day: Optional[int], clock: str, digits: Optional[str], zone: Optional[str]) -> Optional[float]:
        """The epoch time of `clock` (`HH:MM[:SS]`) on a day, or None if there is no such time."""
        hour, minute, second = int(clock[:2]), int(clock[3:5]), int(clock[6:8] or 0)
        if day is None or hour > 23 or minute > 59 or second > 60:
            return None
        offset = zone_seconds(zone)
        if offset is None:
            self.tally.zoneless += 1
            offset = self.tz_offset
        return day * DAY + hour * 3600 + minute * 60 + second + fraction(digits) - offset

    def on_date(self, date: str, clock: str, digits: Optional[str], zone: Optional[str]) -> Optional[float]:
        """The epoch time of an ISO date (`YYYY-MM-DD`) and a clock."""
        day = self._days.get(date, -1)
        if day == -1:
            day = self._remember(date, day_number(int(date[:4]), int(date[5:7]), int(date[8:10])))
        return self.at(day, clock, digits, zone)

    def in_year(self, year: int, month: str, day: str, clock: str, zone: Optional[str] = None) -> Optional[float]:
        """The epoch time of a stamp that names month and year."""
        number = month_of(month)
        return self.at(day_number(year, number, int(day)) if number else None, clock, None, zone)

    def yearless(self, month: str, day: str, clock: str, digits: Optional[str] = None) -> Optional[float]:
        """The epoch time of `Jun 30 11:07:05`, in the latest year that is not later than the hint and a day."""
        key = f"{month} {day}"
        known = self._days.get(key, -1)
        if known == -1:
            known = self._remember(key, self._latest(month, int(day), None))
        at = self.at(known, clock, digits, None)
        if at is not None and known is not None and at > self._limit:
            at -= (known - (self._latest(month, int(day), known) or known)) * DAY
        return at

    def _latest(self, month: str, day: int, before: Optional[int]) -> Optional[int]:
        number = month_of(month)
        last = self._limit + self.tz_offset if before is None else (before - 1) * DAY
        newest = year_of(last)
        for year in range(newest, max(newest - 9, 0), -1):  # 29 February comes again after eight years at most
            found = day_number(year, number, day) if number else None
            if found is not None and found * DAY <= last:
                return found
        return None

    def _remember(self, key: str, day: Optional[int]) -> Optional[int]:
        if len(self._days) > 4096:
            self._days.clear()
        self._days[key] = day
        return day
