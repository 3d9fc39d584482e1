"""One sweep with history: opened before the probe, asked while deciding, written once all is known.

    with begin(directory, now=now) as memory:
        readings = memory.named(readings)
        found = assess(..., history=memory.past(readings))
        report = memory.remember(report, ...)

Where there is no history the same calls do nothing, and `notices` say why.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from probes.model import Missing, Reading, Source
from probes.moment import Moment, moment
from triage.history import levels, life, parts, readings
from triage.history.past import Past
from triage.history.place import Unavailable
from triage.history.store import FILE, Store, copied, damaged, in_memory, open_store, set_aside
from triage.model import Incident

Json = dict[str, Any]

MOST_EVENTS = 5000

Also = Callable[[sqlite3.Connection, Json], None]


class Memory:
    """The history of one sweep, or why there is none; `written` is the sweep's number once it is on the disk."""

    def __init__(self, directory: Path | None, began: Moment, patience: float, borrowed: Store | None = None) -> None:
        self.notices: list[str] = []
        self.began = began
        self.written: int | None = None
        self._directory = directory
        self._patience = patience
        self._store: Store | None = borrowed
        self._borrowed = borrowed is not None
        if borrowed is not None:
            self.notices += borrowed.notices
            borrowed.notices.clear()
        elif directory is not None:
            self._open()

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        if self._store is not None and not self._borrowed:
            self._store.close()

    @property
    def store(self) -> Store | None:
        """The open file, for what else a watch keeps there."""
        return self._store

    @property
    def directory(self) -> Path | None:
        """The state directory if it can be used, for what else is noted there."""
        return self._directory if self._store is not None else None

    def named(self, read: Sequence[Reading]) -> Sequence[Reading]:
        """Return the readings with the names of GPUs that cannot tell them any more."""
        try:
            return read if self._store is None else parts.named(self._store.db, read, self.began)
        except sqlite3.Error as error:
            self._lost(error)
            return read

    def past(self, read: Sequence[Reading], now: Moment) -> tuple[Past | None, Sequence[Reading]]:
        """Return what the decision may ask, and the readings with those that the history adds."""
        if self._store is None:
            return None, read
        try:
            past = Past(self._store.db, now, read)
            return past, [*read, *past.readings()]
        except sqlite3.Error as error:
            self._lost(error)
            return None, read

    def remember(
        self,
        report: Json,
        *,
        incidents: Sequence[Incident],
        lasts: Mapping[str, float | None],
        read: Sequence[Reading],
        sources: Sequence[Source],
        now: Moment,
        fresh: bool = True,
        also: Also | None = None,
    ) -> Json:
        """Write this sweep and return the report with the life of its incidents; unchanged if it cannot be written.

        When this returns, what is reported is on the disk.  `fresh` is false if the readings were written
        before; `also` is told the report within the same transaction.
        """
        if self._store is not None:
            told = self._write(report, incidents, lasts, read, sources, now, fresh, also)
            if told is None and self._store is not None:  # set aside and made anew: once more
                told = self._write(report, incidents, lasts, read, sources, now, fresh, also)
            report = told or report
        return {**report, "notices": [*report["notices"], *self.notices]}

    def _write(
        self,
        report: Json,
        incidents: Sequence[Incident],
        lasts: Mapping[str, float | None],
        read: Sequence[Reading],
        sources: Sequence[Source],
        now: Moment,
        fresh: bool,
        also: Also | None,
    ) -> Json | None:
        store = self._store
        assert store is not None
        try:
            with store.transaction() as db:
                told, notices, seq = record(
                    db,
                    report,
                    incidents=incidents,
                    lasts=lasts,
                    read=read,
                    sources=sources,
                    now=now,
                    began=self.began,
                    fresh=fresh,
                )
                if also is not None:
                    also(db, told)
        except Unavailable as error:
            self._lost(error)
            return None
        self.notices += notices
        self.written = seq
        return told

    def _open(self) -> None:
        assert self._directory is not None
        try:
            self._store = open_store(self._directory, now=self.began.at, patience=self._patience)
            self.notices += self._store.notices
        except Unavailable as error:
            self._store = None
            self.notices.append(f"no history: {error}")

    def _lost(self, error: Exception) -> None:
        """Go on without the file; if it is damaged, begin a new one."""
        assert self._store is not None
        if self._borrowed or self._directory is None:
            self._store = None
            self.notices.append(f"this sweep was not written to the history: {error}")
            return
        inode = self._store.inode
        self._store.close()
        self._store = None
        if not damaged(error):
            self.notices.append(f"this sweep was not written to the history: {error}")
            return
        try:
            self.notices += set_aside(self._directory, inode, str(error), now=self.began.at, patience=self._patience)
        except Unavailable as refused:
            self.notices.append(f"no history: {refused}")
            return
        self._open()


def begin(
    directory: Path | None, *, now: float | None = None, patience: float = 1.0, borrowed: Store | None = None
) -> Memory:
    """Open the history of this directory; None is for no history, unless there is a store to be `borrowed`."""
    return Memory(directory, moment(at=now), patience, borrowed)


def rehearse(directory: Path | None, *, now: float | None = None, patience: float = 1.0) -> Memory:
    """Open a copy of the history: the sweep is told what it would be told, and nothing of it is remembered."""
    if directory is None:
        return begin(None, now=now)
    notices: list[str] = []
    try:
        known = (directory / FILE).exists()
        store = copied(directory, now=moment(at=now).at, patience=patience) if known else in_memory(patience)
        notices += store.notices
    except (Unavailable, OSError) as error:
        store = in_memory(patience)
        notices.append(f"no history: {error}")
    memory = begin(None, now=now, borrowed=store)
    memory.notices += notices
    return memory


def record(
    db: sqlite3.Connection,
    report: Json,
    *,
    incidents: Sequence[Incident],
    lasts: Mapping[str, float | None],
    read: Sequence[Reading],
    sources: Sequence[Source],
    now: Moment,
    began: Moment,
    fresh: bool = True,
) -> tuple[Json, list[str], int]:
    """Write one sweep within a transaction; return its report with its incidents' life, what to tell, its number."""
    before = db.execute("SELECT at, monotonic, boot, load FROM sweep ORDER BY seq DESC LIMIT 1").fetchone()
    last = None if before is None else Moment(*before)
    overlaps = last is not None and bool(now.boot) and last.boot == now.boot and last.monotonic >= began.monotonic
    seq = _number(
        db.execute(
            "INSERT INTO sweep(at, monotonic, boot, load, node, status) VALUES(?, ?, ?, ?, ?, ?)",
            (*now, report["node"], report["status"]),
        ).lastrowid
    )
    notices: list[str] = []

    def tell(kind: str, about: str | None, says: str) -> None:
        db.execute(
            "INSERT INTO event(at, sweep, kind, subject, says) VALUES(?, ?, ?, ?, ?)",
            (now.at, seq, kind, about, says[:500]),
        )

    _lives(last, now, tell)
    here = parts.here(read)
    reset: frozenset[str | None] = frozenset()
    if fresh:
        slots = parts.slots(db)
        for change in parts.changes(slots, here, _present(read)):
            if change.kind == "part-gone" and not here and _told_before(db, change):
                continue
            tell(change.kind, change.pci, change.says)
            notices.append(change.says)
        if not overlaps or not slots:
            parts.keep(db, seq, slots, here)
        reset = readings.keep(db, seq, now, read, overlaps)
        levels.keep(db, now.at, read)
        readings.keep_facts(db, seq, _judged_by(report))
        for pci in sorted(address for address in reset if address):
            says = f"the GPU at {pci} was reset, or brought up anew, since the sweep before: its counters began anew"
            tell("gpu-reset", pci, says)
            notices.append(says)
    by_name = {(r.entity.pci if r.entity.kind == "gpu" else None, r.name): r for r in read}
    logs = [source for source in sources if source.kind == "kernel-log"]
    eyes = life.Eyes(any(s.readable for s in logs), any(s.from_boot for s in logs), by_name, here, reset)
    version = by_name.get((None, "driver.version"))
    driver = version.value if version is not None and isinstance(version.value, str) else None
    reported = zip(incidents, report["incidents"], strict=True)
    sights = [life.Sight(incident, body, lasts.get(incident.rule)) for incident, body in reported]
    told = {**report, "incidents": life.live(db, seq, now, sights, eyes, driver, tell)}
    told["status"] = life.status_of(told)
    if seq % readings.EVERY == 0:
        levels.thin(db, now.at)
        readings.thin(db, now)
        life.forget(db, now)
        db.execute("DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?", (MOST_EVENTS,))
    return told, notices, seq


def _lives(last: Moment | None, now: Moment, tell: life.Tell) -> None:
    """Tell of a reboot or a new load of the driver since the sweep before."""
    if last is None:
        return
    if now.boot and last.boot and now.boot != last.boot:
        tell("rebooted", None, "the node was rebooted")
    elif now.load != last.load:
        tell(
            "driver-loaded" if now.load else "driver-unloaded",
            None,
            "the nvidia module was " + ("loaded" if now.load else "unloaded"),
        )
    if now.boot == last.boot and abs((now.at - last.at) - (now.monotonic - last.monotonic)) > 60.0:
        jump = (now.at - last.at) - (now.monotonic - last.monotonic)
        tell("clock-jumped", None, f"the wall clock jumped by {jump:+.0f} s")


def _judged_by(report: Json) -> list[tuple[str, str, str]]:
    """Name the rules and the program: where either changed, a verdict may have changed with nothing else."""
    tool = report.get("tool") or {}
    named = (("rules", str(tool.get("rules") or "")[:12]), ("gpu-triage", str(tool.get("version") or "")))
    return [(readings.NODE, name, value) for name, value in named if value]


def _present(read: Sequence[Reading]) -> set[str] | None:
    """Return the slots in which the bus shows a GPU, None if it could not be looked at."""
    count = next((r.value for r in read if r.name == "pci.gpus" and r.entity.kind == "node"), None)
    if count is None or isinstance(count, Missing):
        return None
    return {r.entity.pci for r in read if r.entity.kind == "gpu" and r.entity.pci}


def _told_before(db: sqlite3.Connection, change: parts.Change) -> bool:
    row = db.execute(
        "SELECT says FROM event WHERE subject = ? AND kind LIKE 'part-%' ORDER BY id DESC LIMIT 1", (change.pci,)
    ).fetchone()
    return row is not None and row[0] == change.says


def _number(value: int | None) -> int:
    assert value is not None
    return value
