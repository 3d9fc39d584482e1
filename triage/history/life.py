"""The life of an incident from sweep to sweep: open, seen again, acknowledged, resolved, and back.

An incident stays open until a sweep that could have seen it did not, for long
enough, or until the reboot or the part that cured it.  What comes back after
that is a recurrence.  A line that is still in the log is not seen again: only
what is new since the last sweep is.
"""

# No postponed annotations here: typing would compile each of them, which is half of what this module takes to load.

import json
import sqlite3
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from probes.model import BESIDE, Missing, Reading
from probes.moment import Moment, elapsed
from probes.named import NamedTuple
from triage.history.parts import Part, same
from triage.model import SEVERITIES, Incident
from triage.report import iso
from triage.timeline import FOLD
from triage.verdict import status

Json = dict[str, Any]

HYSTERESIS = 900.0
"""Seconds that a reading must be well again before its incident is over, where the rule does not say."""
JITTER = 1.0
"""Seconds by which the time of one line differs from reading to reading, for clocks are adjusted."""
RESET = "the GPU was reset and it did not come back"
MOST_INCIDENTS = 2000
MOST_SIGHTINGS = 200
OLDEST = 400 * 86400.0
"""Resolved incidents are forgotten after so many seconds, or when there are more than MOST_INCIDENTS."""


class Sight(NamedTuple):
    """An incident as one sweep saw it: what was concluded, how it is reported, and how long its rule lets it last."""

    incident: Incident
    body: Json
    lasts: float | None


class Eyes(NamedTuple):
    """What a sweep could see: the kernel log, whether back to the boot, and readings by (PCI address, name).

    `reset` are the addresses of the GPUs that were reset since the sweep before.
    """

    log: bool
    from_boot: bool
    readings: Mapping[tuple[str | None, str], Reading]
    parts: Mapping[str, Part]
    reset: Container[str | None] = ()


class Row(NamedTuple):
    """A stored incident; the columns of the table, in order."""

    fingerprint: str
    rule: str
    node: str | None
    pci: str | None
    uuid: str | None
    serial: str | None
    severity: str
    state: str
    first_at: float | None
    opened_at: float | None
    last_at: float | None
    last_monotonic: float | None
    last_boot: str
    seen_before: int
    seen_now: int
    reopened: int
    away_at: float | None
    away_monotonic: float | None
    away_boot: str | None
    resolved_at: float | None
    resolved_why: str | None
    lasts: float | None
    by_log: int
    witness: str | None
    ack_at: float | None
    ack_reason: str | None
    ack_until: float | None
    ack_severity: str | None
    body: str
    touched: int


_COLUMNS = ", ".join(Row._fields)
Tell = Callable[[str, str | None, str], None]


def rows(db: sqlite3.Connection, where: str = "1", *values: object) -> list[Row]:
    """Return stored incidents, the newest first."""
    found = db.execute(f"SELECT {_COLUMNS} FROM incident WHERE {where} ORDER BY touched DESC, fingerprint", values)
    return [Row(*row) for row in found]


def live(
    db: sqlite3.Connection, seq: int, now: Moment, sights: Sequence[Sight], eyes: Eyes, driver: str | None, tell: Tell
) -> list[Json]:
    """Write what this sweep saw of every incident; return all to report: those seen, those still open, those just over.

    `tell` writes an event: its kind, the fingerprint, what to say.
    """
    found: list[Json] = []
    seen: set[str] = set()
    for sight in sights:
        old = _match(db, sight.incident, seen)
        row, fresh = _see(old, sight, now, seq)
        if old is not None and row.state == "open" and not fresh and row.by_log and row.pci in eyes.reset:
            row = _resolved(row, now, RESET)
        seen.add(row.fingerprint)
        _save(db, row)
        if fresh:
            known = old.seen_now if old is not None and old.last_boot == row.last_boot else 0
            _sighted(db, row, now, driver, max(1, row.seen_now - known))
        _tell_of(tell, old, row)
        found.append(told(row, sight.body, now, True))
    explained = [(text, sight.incident.fingerprint) for sight in sights for text in sight.incident.explains]
    for old in rows(db, "state = 'open'"):
        if old.fingerprint in seen:
            continue
        cause = _cause(old, explained)
        row = _resolved(old, now, f"explained by {cause}") if cause else _not_seen(old, now, eyes)
        row = row._replace(touched=seq)
        _save(db, row)
        _tell_of(tell, old, row)
        found.append(told(row, json.loads(row.body), now, False))
    return sorted(found, key=worst_first)


def state(row: Row, now: float) -> str:
    """Return open, acknowledged or resolved, at this time."""
    if row.state == "open" and row.ack_at is not None and (row.ack_until is None or now < row.ack_until):
        worse = SEVERITIES.index(row.severity) > SEVERITIES.index(row.ack_severity or row.severity)
        return "open" if worse else "acknowledged"
    return row.state


def status_of(report: Json) -> str:
    """Return the status that a report has with these incidents: its worst open one, else whether all could be read."""
    still = [i["severity"] for i in report["incidents"] if i["state"] == "open"]
    return status(still, [source["readable"] for source in report["sources"] if source["kind"] not in BESIDE])


def life_of(row: Row, present: bool | None) -> Json:
    """Return what the report says of the life of an incident."""
    return {
        "present": present,
        "first_opened_at": iso(row.first_at),
        "reopened": row.reopened,
        "resolved_at": iso(row.resolved_at) if row.state == "resolved" else None,
        "resolved_why": row.resolved_why if row.state == "resolved" else None,
        "acknowledged": None
        if row.ack_at is None
        else {"at": iso(row.ack_at), "reason": row.ack_reason, "until": iso(row.ack_until)},
    }


def _match(db: sqlite3.Connection, incident: Incident, taken: set[str]) -> Row | None:
    """Return the stored incident that this is; a GPU that cannot tell its serial any more, or yet, is the same."""
    exact = rows(db, "fingerprint = ?", incident.fingerprint)
    if exact:
        return exact[0]
    device = incident.device
    if device is None or device.pci is None:
        return None
    me = Part(device.pci, device.uuid, device.serial, None)
    node = incident.fingerprint.partition("/")[0]
    alike = rows(db, "rule = ? AND pci = ? AND node IS ?", incident.rule, device.pci, node)
    return next(
        (
            row
            for row in alike
            if row.fingerprint not in taken and same(Part(device.pci, row.uuid, row.serial, None), me) is not False
        ),
        None,
    )


def _see(old: Row | None, sight: Sight, now: Moment, seq: int) -> tuple[Row, bool]:
    """Return the incident after this sight of it, and whether there was something new to see."""
    incident = sight.incident
    device = incident.device
    witness = incident.evidence[0].reading if incident.evidence else None
    boot = incident.boot or now.boot
    at = incident.last_seen_at if incident.last_seen_at is not None else now.at
    row = Row(
        fingerprint=incident.fingerprint,
        rule=incident.rule,
        node=incident.fingerprint.partition("/")[0],
        pci=device.pci if device else None,
        uuid=device.uuid if device else None,
        serial=device.serial if device else None,
        severity=incident.severity,
        state=incident.state,
        first_at=incident.opened_at if incident.opened_at is not None else now.at,
        opened_at=incident.opened_at if incident.opened_at is not None else now.at,
        last_at=at,
        last_monotonic=incident.last_monotonic if incident.opened_order >= 0 else now.monotonic,
        last_boot=boot,
        seen_before=0,
        seen_now=incident.seen,
        reopened=0,
        away_at=None,
        away_monotonic=None,
        away_boot=None,
        resolved_at=now.at if incident.state == "resolved" else None,
        resolved_why=_over(incident, now) if incident.state == "resolved" else None,
        lasts=sight.lasts,
        by_log=int(incident.opened_order >= 0),
        witness=witness.name if witness is not None else None,
        ack_at=None,
        ack_reason=None,
        ack_until=None,
        ack_severity=None,
        body=json.dumps(sight.body, allow_nan=False, separators=(",", ":")),
        touched=seq,
    )
    if old is None:
        return row, True
    if old.state == "open" and incident.state == "resolved" and (old.witness or not old.by_log):
        row = row._replace(state="open", resolved_at=None, resolved_why=None)
    fresh = witness is not None or _newer(old, row)
    if old.state == "resolved" and not (fresh and row.state == "open"):
        # The line of a fault that is over still stands in the log.
        return old._replace(body=row.body, touched=seq), False
    back = old.state == "resolved"
    rebooted = old.last_boot != row.last_boot
    grows = fresh and not rebooted and row.seen_now <= old.seen_now and (row.last_at or 0) > (old.last_at or 0) + FOLD
    row = row._replace(
        fingerprint=old.fingerprint,
        uuid=row.uuid or old.uuid,
        serial=row.serial or old.serial,
        first_at=old.first_at,
        opened_at=(_reopened_at(old, row)) if back else old.opened_at,
        seen_before=old.seen_before + old.seen_now if rebooted else old.seen_before,
        seen_now=row.seen_now
        if rebooted
        else max(
            row.seen_now, old.seen_now + int(grows and row.by_log == 1), old.seen_now + int(back and not row.by_log)
        ),
        reopened=old.reopened + int(back),
    )
    if not back:
        row = row._replace(
            ack_at=old.ack_at, ack_reason=old.ack_reason, ack_until=old.ack_until, ack_severity=old.ack_severity
        )
    if not fresh:
        row = row._replace(last_at=old.last_at, last_monotonic=old.last_monotonic, last_boot=old.last_boot)
    return row, back or (fresh and (rebooted or bool(row.by_log and row.seen_now > old.seen_now)))


def _newer(old: Row, row: Row) -> bool:
    """Whether the last line of this sight is a later one than the last that was known."""
    if old.last_boot != row.last_boot:
        return True
    if old.last_monotonic is not None and row.last_monotonic is not None:
        return row.last_monotonic > old.last_monotonic + JITTER
    return (row.last_at or 0.0) > (old.last_at or 0.0) + JITTER


def _reopened_at(old: Row, row: Row) -> float | None:
    if row.opened_at is not None and (old.last_at is None or row.opened_at > old.last_at + JITTER):
        return row.opened_at
    return row.last_at


def _over(incident: Incident, now: Moment) -> str:
    if incident.boot and now.boot and incident.boot != now.boot:
        return "the node was rebooted and it did not come back"
    return "nothing new of it for as long as its rule lets it last"


def _not_seen(old: Row, now: Moment, eyes: Eyes) -> Row:
    """Return an open incident after a sweep that did not see it: still open, away for a while, or over."""
    fitted = eyes.parts.get(old.pci or "")
    mine = Part(old.pci or "", old.uuid, old.serial, None)
    if fitted is not None and same(fitted, mine) is False and not any(same(p, mine) for p in eyes.parts.values()):
        return _resolved(old, now, f"the part was replaced: {mine} became {fitted}")
    by_log = bool(old.by_log)
    if by_log and not old.witness and old.pci in eyes.reset:
        return _resolved(old, now, RESET)
    rebooted = bool(now.boot) and old.last_boot != now.boot
    if not _could_see(old, eyes, rebooted):
        return old._replace(away_at=None, away_monotonic=None, away_boot=None)
    if rebooted and (not by_log or eyes.from_boot):
        return _resolved(old, now, "the node was rebooted and it did not come back")
    last = Moment(old.last_at or now.at, old.last_monotonic or 0.0, old.last_boot, "")
    if by_log and old.last_monotonic is None:
        last = last._replace(boot="")
    if by_log and not old.witness:
        if old.lasts is not None and elapsed(last, now) > old.lasts:
            return _resolved(old, now, "nothing new of it for as long as its rule lets it last")
        if not rebooted:
            return old  # its line was pushed out of the log; only a reboot, a part or a person ends it
    if old.away_at is None or old.away_monotonic is None:
        return old._replace(away_at=now.at, away_monotonic=now.monotonic, away_boot=now.boot)
    away = elapsed(Moment(old.away_at, old.away_monotonic, old.away_boot or "", ""), now)
    enough = HYSTERESIS if old.lasts is None else old.lasts
    return _resolved(old, now, "it stayed away") if away >= enough else old


def _cause(old: Row, explained: Sequence[tuple[str, str]]) -> str | None:
    """Return the fingerprint of the incident into which this one was folded since it was opened."""
    title = json.loads(old.body)["title"] if explained else ""
    return next((by for text, by in explained if text.startswith(title) and (old.pci is None or old.pci in text)), None)


def _could_see(old: Row, eyes: Eyes, rebooted: bool) -> bool:
    if old.by_log and not eyes.log:
        return False
    if old.witness is None:
        return True
    reading = eyes.readings.get((old.pci, old.witness), eyes.readings.get((None, old.witness)))
    return reading is not None and not isinstance(reading.value, Missing)


def _resolved(row: Row, now: Moment, why: str) -> Row:
    return row._replace(state="resolved", resolved_at=now.at, resolved_why=why)


def _tell_of(tell: Tell, old: Row | None, row: Row) -> None:
    if old is None:
        tell("opened" if row.state == "open" else "found-resolved", row.fingerprint, json.loads(row.body)["summary"])
    elif old.state != row.state:
        if row.state == "resolved":
            tell("resolved", row.fingerprint, row.resolved_why or "")
        else:
            often = "once" if row.reopened == 1 else f"{row.reopened} times by now"
            tell("reopened", row.fingerprint, f"it came back after it was over, {often}")


def told(row: Row, body: Json, now: Moment, present: bool | None) -> Json:
    """Return the incident as it is reported: what the sweep said of it, with the state and times of its life."""
    body = dict(body)
    body["fingerprint"] = row.fingerprint
    body["state"] = state(row, now.at)
    body["opened_at"] = iso(row.opened_at)
    body["last_seen_at"] = iso(row.last_at)
    body["seen"] = row.seen_before + row.seen_now
    body["history"] = life_of(row, present)
    return body


def worst_first(body: Json) -> tuple[int, int]:
    """Return the key that sorts incidents: open, acknowledged, over; the worst of each first."""
    # Stable: what the sweep said comes in its order, and before what it did not see.
    return ("open", "acknowledged", "resolved").index(body["state"]), -SEVERITIES.index(body["severity"])


def _save(db: sqlite3.Connection, row: Row) -> None:
    marks = ", ".join("?" * len(Row._fields))
    db.execute(f"INSERT OR REPLACE INTO incident({_COLUMNS}) VALUES({marks})", row)


def save(db: sqlite3.Connection, row: Row) -> None:
    """Write an incident back, as a person changed it."""
    _save(db, row)


def _sighted(db: sqlite3.Connection, row: Row, now: Moment, driver: str | None, events: int) -> None:
    load = now.load if row.last_boot == now.boot else ""
    db.execute(
        "INSERT INTO sighting(fingerprint, rule, at, events, boot, load, pci, uuid, serial, driver)"
        " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (row.fingerprint, row.rule, row.last_at, events, row.last_boot, load, row.pci, row.uuid, row.serial, driver),
    )
    db.execute(
        "DELETE FROM sighting WHERE fingerprint = ? AND id NOT IN"
        " (SELECT id FROM sighting WHERE fingerprint = ? ORDER BY id DESC LIMIT ?)",
        (row.fingerprint, row.fingerprint, MOST_SIGHTINGS),
    )


def forget(db: sqlite3.Connection, now: Moment) -> None:
    """Drop resolved incidents that are too old or too many."""
    gone: Iterable[tuple[str]] = db.execute(
        "SELECT fingerprint FROM incident WHERE state = 'resolved' AND resolved_at < ?"
        " UNION SELECT fingerprint FROM (SELECT fingerprint FROM incident WHERE state = 'resolved'"
        " ORDER BY touched DESC LIMIT -1 OFFSET ?)",
        (now.at - OLDEST, MOST_INCIDENTS),
    ).fetchall()
    db.executemany("DELETE FROM incident WHERE fingerprint = ?", gone)
    db.executemany("DELETE FROM sighting WHERE fingerprint = ?", gone)
