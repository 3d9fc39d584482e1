"""What a decision may ask of the history: read-only, and as it was before this sweep.

Whatever cannot be answered is unknown with its reason; a history that breaks
while it is read answers nothing, and never ends a sweep.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from probes.model import NODE, Reading
from probes.moment import Moment, elapsed
from probes.named import NamedTuple
from triage.history import parts
from triage.history.life import JITTER, Row, rows
from triage.history.parts import Part, same
from triage.history.readings import NODE as NODE_SUBJECT
from triage.history.readings import Last, Moved, Sample, distance, grown, latest, number, samples, subject

GAP = 7200.0
"""Seconds between two sweeps (or a tenth of the time asked about) after which something may have passed unseen."""


_FOLLOWS = {
    "slot": "another board had it in this slot",
    "part": "this board had it in another slot",
    "both": "this slot had it with another board, and this board in another slot",
}


class Sighting(NamedTuple):
    """Something new of an incident, as an earlier sweep saw it."""

    fingerprint: str
    at: float | None
    events: int
    boot: str
    load: str
    pci: str | None
    uuid: str | None
    serial: str | None
    driver: str | None


class Past:
    """The history as one sweep finds it; the readings are those of the sweep, with their GPUs named."""

    def __init__(self, db: sqlite3.Connection, now: Moment, readings: Sequence[Reading]) -> None:
        self.now = now
        self._db = db
        self._readings = {(reading.entity.pci, reading.name): reading for reading in readings}
        self._here = parts.here(readings)
        self._slots = parts.slots(db)
        self._latest: dict[tuple[str, str], Last] | None = None
        self._sightings: dict[str, list[Sighting]] = {}
        self._sweeps: list[float] | None = None

    def distance(self, pci: str | None, name: str, over: float, at: float | None) -> Moved:
        """Return how far a counter moved in the `over` seconds up to the first look at it after `at` (None: now)."""
        reading = self._readings.get((pci, name)) or self._readings.get((None, name))
        value = number(reading) if reading is not None else None
        if reading is None or value is None:
            return Moved(0.0, None, "it is no number now")
        try:
            if self._latest is None:  # which a node on which nothing is wrong need not look up
                self._latest = latest(self._db)
            last = self._latest.get((subject(reading.entity) or NODE_SUBJECT, name))
            counted = grown(name, last, value, self.now)
            if last is None or counted is None:
                return Moved(0.0, None, "no earlier reading of this counter")
            known = samples(self._db, last, self.now)
        except sqlite3.Error as error:
            return Moved(0.0, None, f"the history could not be read ({error})")
        end = 0.0 if at is None else max(0.0, self.now.at - at)
        return distance([Sample(0.0, counted.total, counted.blind), *known], over, end)

    def earlier(self, rule: str, pci: str | None, since: float, until: float) -> int:
        """Return how many events of a rule on this GPU are known between two times (UTC epoch seconds)."""
        return sum(s.events for s in self._of(rule, pci) if s.at is not None and since <= s.at < until)

    def lives(self, rule: str, pci: str | None, across: str, over: float) -> frozenset[str]:
        """Return the `boot`s or `driver-load`s before this one in which a rule's incident was seen on this GPU."""
        recent = [s for s in self._of(rule, pci) if s.at is None or s.at >= self.now.at - over]
        if across == "boot":
            return frozenset(s.boot for s in recent if s.boot and s.boot != self.now.boot)
        if across == "driver-load":
            mine = (self.now.boot, self.now.load)
            return frozenset(f"{s.boot}/{s.load}" for s in recent if s.load and (s.boot, s.load) != mine)
        return frozenset()

    def covers(self, over: float) -> bool:
        """Return whether sweeps were taken all the time for so many seconds back."""
        if self._sweeps is None:
            try:
                found = self._db.execute("SELECT at, monotonic, boot, load FROM sweep ORDER BY seq DESC")
                self._sweeps = _gaps([Moment(*row) for row in found], self.now)
            except sqlite3.Error:
                self._sweeps = []
        back = 0.0
        for gap in self._sweeps:
            if gap > max(GAP, over / 10):
                return False
            back += gap
            if back >= over * 0.9:
                return True
        return False

    def facts(self, rule: str, pci: str | None) -> dict[str, str]:
        """Return what the history says of one rule on one GPU.

        `history.follows` is `slot` if another board had this in the same slot, `part` if this board had it
        in another slot, `both`; it is not there while neither was ever exchanged.
        """
        me = self._part(pci)
        if pci is None or me is None:
            return {}
        had = self._rule(rule)
        slot = any(s.pci == pci and same(_part(s), me) is False for s in had)
        part = any(s.pci not in (pci, None) and same(_part(s), me) for s in had)
        word = "both" if slot and part else "slot" if slot else "part" if part else None
        return {} if word is None else {"history.follows": word}

    def recurrence(self, rule: str, pci: str | None, last_at: float | None) -> str | None:
        """Return one sentence if this came back after a reboot, a load of the driver, another part or its end."""
        mine = self._of(rule, pci)
        boots = self.lives(rule, pci, "boot", float("inf"))
        loads = {s.load for s in mine if s.boot == self.now.boot and s.load and s.load != self.now.load}
        ends = 0
        for row in self._rows(rule, pci):
            back = row.state == "resolved" and last_at is not None and last_at > (row.last_at or 0.0) + JITTER
            ends = max(ends, row.reopened + int(back))
        told = [
            f"{count} {noun}{'' if count == 1 else 's'}"
            for count, noun in ((len(boots), "earlier boot"), (len(loads), "earlier load of the driver"))
            if count
        ]
        said = [f"seen in {' and '.join(told)}"] * bool(told)
        said += [f"over {ends} time{'' if ends == 1 else 's'} before"] * bool(ends)
        follows = self.facts(rule, pci).get("history.follows")
        said += [_FOLLOWS[follows]] if follows is not None else []
        return f"It came back: {'; '.join(said)}." if said else None

    def readings(self) -> list[Reading]:
        """Return what the history knows of each GPU as readings.

        `gpu.part` is new, same, moved (from another slot) or replaced, each for 30 days after the change, and
        `gpu.part.age` since when it is so.
        """
        found: list[Reading] = []
        if not self._slots:
            return found
        entities = {r.entity.pci: r.entity for r in self._readings.values() if r.entity.kind == "gpu"}
        now = {c.pci: c.kind for c in parts.changes(self._slots, self._here, None)}
        for pci in sorted(self._here):
            word, age = self._word(pci, now.get(pci))
            found.append(Reading(entities[pci], "gpu.part", word, "text", self.now.at))
            if age is not None:
                found.append(Reading(entities[pci], "gpu.part.age", age, "seconds", self.now.at))
        previous, age = self._driver()
        if previous is not None:
            found.append(Reading(NODE, "driver.previous-version", previous, "text", self.now.at))
        if age is not None:
            found.append(Reading(NODE, "driver.age", age, "seconds", self.now.at))
        return found

    def _word(self, pci: str, change: str | None) -> tuple[str, float | None]:
        words = {"part-moved": "moved", "part-changed": "replaced", "part-added": "new"}
        if change is not None:
            return words.get(change, "same"), 0.0
        # What the sweep in which the part came said of it.
        first = self._slots[pci][0].first if pci in self._slots else 0
        row = self._db.execute(
            "SELECT e.kind, e.at, w.at, w.monotonic, w.boot, w.load FROM event e JOIN sweep w ON w.seq = e.sweep"
            " WHERE e.sweep = ? AND e.subject = ? AND e.kind LIKE 'part-%'",
            (first, pci),
        ).fetchone()
        age = None if row is None else elapsed(Moment(*row[2:6]), self.now)
        if row is None or age is None or age > parts.RECENT:
            return "same", age
        return words.get(row[0], "same"), age

    def _driver(self) -> tuple[str | None, float | None]:
        """Return the driver's version before this one and for how long this one is known to be there."""
        reading = self._readings.get((None, "driver.version"))
        version = reading.value if reading is not None else None
        if not isinstance(version, str):
            return None, None
        found = self._db.execute(
            "SELECT f.value, w.at, w.monotonic, w.boot, w.load FROM fact f JOIN sweep w ON w.seq = f.first"
            " WHERE f.subject = ? AND f.name = 'driver.version' ORDER BY f.first DESC LIMIT 2",
            (NODE_SUBJECT,),
        ).fetchall()
        if not found:
            return None, None
        if found[0][0] != version:
            return found[0][0], 0.0
        return (found[1][0] if len(found) > 1 else None), elapsed(Moment(*found[0][1:5]), self.now)

    def _part(self, pci: str | None) -> Part | None:
        return None if pci is None else self._here.get(pci)

    def _rule(self, rule: str) -> list[Sighting]:
        if rule not in self._sightings:
            try:
                found = self._db.execute(
                    "SELECT fingerprint, at, events, boot, load, pci, uuid, serial, driver FROM sighting"
                    " WHERE rule = ? ORDER BY id",
                    (rule,),
                ).fetchall()
            except sqlite3.Error:
                found = []
            self._sightings[rule] = [Sighting(*row) for row in found]
        return self._sightings[rule]

    def _of(self, rule: str, pci: str | None) -> list[Sighting]:
        """Return the sightings on the board that is in this slot or, where boards cannot be told, in the slot."""
        if pci is None:
            return [s for s in self._rule(rule) if s.pci is None]
        me = self._part(pci) or Part(pci, None, None, None)
        return [s for s in self._rule(rule) if _is_mine(same(_part(s), me), s.pci, pci)]

    def _rows(self, rule: str, pci: str | None) -> list[Row]:
        me = self._part(pci) or Part(pci or "", None, None, None)
        try:
            found = rows(self._db, "rule = ?", rule)
        except sqlite3.Error:
            return []
        if pci is None:
            return [row for row in found if row.pci is None]
        return [r for r in found if _is_mine(same(Part(r.pci or "", r.uuid, r.serial, None), me), r.pci, pci)]


def _is_mine(alike: bool | None, slot: str | None, pci: str) -> bool:
    return slot == pci if alike is None else alike


def _part(sighting: Sighting) -> Part:
    return Part(sighting.pci or "", sighting.uuid, sighting.serial, None)


def _gaps(sweeps: Sequence[Moment], now: Moment) -> list[float]:
    gaps = []
    for sweep in sweeps:
        gaps.append(elapsed(sweep, now))
        now = sweep
    return gaps
