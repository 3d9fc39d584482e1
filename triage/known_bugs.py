"""Weighs the driver's version: does what happened look like a fixed bug of the version that was loaded then?

A version alone blames nothing.  The lines that opened the incident must be those
that the bug is known to show, and the version must be that of the same boot: one
that was loaded after the next reboot says nothing of this one.
"""

from __future__ import annotations

from collections.abc import Iterator

from probes.model import LogRecord, Reading
from probes.named import NamedTuple
from triage.case import Answer, Case, holds, matches, meant, nearby, readable
from triage.model import Signal
from triage.rulebook.model import DriverBug, KnownBug, Select
from triage.rulebook.versions import NEVER, affected, branch, fixes, numbers

VERSION = "fact_driver_version"
"""The field of every signal that tells the version of the module, as it does wherever a rule names the fact."""


class _Loaded(NamedTuple):
    """The driver that was loaded, and what tells so.  `flavour` is open, proprietary or None."""

    version: str
    flavour: str | None
    record: LogRecord | None = None
    reading: Reading | None = None


def known_bug(clause: KnownBug, case: Case) -> Answer:
    """Answer whether a fixed bug of the loaded driver version shows as this incident does.

    Seen names the bug, the fix and the source.  It is unknown if a bug looks like this and the
    version, what else it shows, or a GPU that alone has the bug, is not known; quiet if the version
    is free of it; and moot if no bug in the table looks like this, or none of this branch.
    """
    spared: Answer | None = None
    unread: Answer | None = None
    kinds = {(signal.name, signal.fields.get("xid")) for signal in case.triggers}
    for bug in case.bugs:
        if bug.leaf != clause.leaf and not bug.leaf.startswith(f"{clause.leaf}."):
            continue
        if not any(_names(select, *kind) for select in bug.shows for kind in kinds):
            continue
        for symptom, whole in _symptoms(bug, case):
            loaded = _loaded(case, symptom)
            if loaded is None:
                unread = unread or _unread(bug, "which driver version was loaded is not known")
                continue
            has = affected(bug, loaded.version)
            if has is None or (bug.flavour and loaded.flavour not in (None, bug.flavour)):
                continue
            if not has:
                spared = spared or _spared(bug, loaded)
            elif not whole:
                unread = unread or _unread(bug, "the log does not tell all that the bug shows")
            elif bug.gpu is not None and case.product is None:
                unread = unread or _unread(bug, "which GPU this is is not known")
            elif bug.gpu is None or matches(bug.gpu, case.product or ""):
                return _seen(bug, loaded)
    return unread or spared or Answer("quiet", why="No bug in the table of driver versions looks like this.", moot=True)


def _symptoms(bug: DriverBug, case: Case) -> Iterator[tuple[Signal, bool]]:
    """Yield the triggers that look like a bug, and whether what must stand beside them does.

    False is said of that only where the log may not hold it; where it is known to be missing, it is not this bug.
    """
    found = [signal for signal in case.triggers if any(_is(select, signal) for select in bug.shows)]
    if bug.beside is None or not found:
        yield from ((signal, True) for signal in found)
        return
    seen = bug.beside
    reach = (case.rule.look_before, case.rule.look_after) if seen.within is None else (seen.within, seen.within)
    before, after = (0.0 if seen.when == "after" else reach[0]), (0.0 if seen.when == "before" else reach[1])
    others = meant(seen.select, case, seen.same)
    for one in found:
        alone = case._replace(triggers=[one])
        if nearby(alone, others, before, after, seen.when):
            yield one, True
        elif readable(alone, before) is not None:
            yield one, False


def _is(select: Select, signal: Signal) -> bool:
    """Whether a selection means a signal."""
    named = _names(select, signal.name, signal.fields.get("xid"))
    return named and (not select.where or holds(select.where, signal.fields))


def _names(select: Select, name: str, xid: str | None) -> bool:
    """Whether a selection means signals of this name, or with this Xid."""
    return name in select.signals or (name == "xid" and any(xid == str(code) for code in select.xids))


def _loaded(case: Case, symptom: Signal) -> _Loaded | None:
    """Return the driver that was loaded when a signal came, as its own boot tells; None if that is not known."""
    record = symptom.record
    later = False
    last: Signal | None = None
    flavours: dict[str, str] = {}
    for signal in case.timeline.signals:
        if VERSION not in signal.fields or not _same_boot(signal.record, record):
            continue
        if signal.order > symptom.order:
            later = True
            break
        last = signal
        if "banner" in signal.fields:  # which alone tells the flavour
            flavours[signal.fields[VERSION]] = "open" if "Open" in signal.fields["banner"] else "proprietary"
    if last is not None:
        version = last.fields[VERSION]
        return _Loaded(version, flavours.get(version), last.record)
    reading = case.readings.get((None, "driver.version"))
    if later or reading is None or not isinstance(reading.value, str) or not _in_last_boot(case, record):
        return None
    flavour = case.readings.get((None, "driver.flavour"))
    return _Loaded(
        reading.value, flavour.value if flavour and isinstance(flavour.value, str) else None, reading=reading
    )


def _same_boot(one: LogRecord, other: LogRecord) -> bool:
    """Whether two records are known to be of one boot; boots that were only counted are those of their own log."""
    if one.boot != other.boot:
        return False
    return one.origin == other.origin or (one.boot is not None and not one.boot.startswith("#"))


def _in_last_boot(case: Case, record: LogRecord) -> bool:
    """Whether a record is of the boot that a reading is of: the last one of its log."""
    boots = [boot for origin, boot in case.timeline.spans if origin == record.origin]
    return not boots or boots[-1] == record.boot


def _seen(bug: DriverBug, loaded: _Loaded) -> Answer:
    version = bug.fixed[branch(loaded.version)]
    fix = fixes(bug) if version == NEVER else version
    why = f"Driver {loaded.version} has a known bug, fixed in {fix}: {bug.fault[:-1]} ({bug.sources[0]})."
    return _told("seen", loaded, why, bug.do)


def _spared(bug: DriverBug, loaded: _Loaded) -> Answer:
    fix = bug.fixed[branch(loaded.version)]
    free = f"has the fix of ({fix})" if fix != NEVER and not _older(bug, loaded) else "is older than"
    why = f"Driver {loaded.version} {free} the known bug that looks like this: {bug.fault[:-1]}."
    return _told("quiet", loaded, why)


def _older(bug: DriverBug, loaded: _Loaded) -> bool:
    since = bug.since.get(branch(loaded.version))
    return since is not None and numbers(loaded.version) < numbers(since)


def _told(state: str, loaded: _Loaded, why: str, do: str | None = None) -> Answer:
    witness = loaded.record or loaded.reading
    at = None if witness is None else witness.at
    return Answer(state, None, loaded.record, at, loaded.reading, why=why, do=do)


def _unread(bug: DriverBug, reason: str) -> Answer:
    what = "the driver version" if bug.gpu is None else "the driver version and the GPU's name"
    looks = f"a bug fixed in {fixes(bug)} looks like this"
    settle = f"Look up {what}; {looks}: {bug.fault[:-1]} ({bug.sources[0]})."
    return Answer("unknown", f"{reason}; {looks}", settle=settle)
