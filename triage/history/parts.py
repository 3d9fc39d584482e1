"""Which board sits in which slot, and what changed since the sweep before.

A GPU is known by its UUID, else by its serial number; its index says nothing.
Boards that carry several GPUs share one serial, so equal serials with other
UUIDs are no swap.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from probes.model import Entity, Reading
from probes.moment import Moment
from probes.named import NamedTuple

RECENT = 30 * 86400.0
"""Seconds for which a changed part is still news to the rules."""


class Part(NamedTuple):
    """A board that stood in a slot from sweep `first` to sweep `last`."""

    pci: str
    uuid: str | None
    serial: str | None
    name: str | None
    first: int = 0
    last: int = 0

    def __str__(self) -> str:
        return f"serial {self.serial}" if self.serial else self.uuid or "an unknown part"


class Change(NamedTuple):
    """What became of a slot: `kind` is part-changed, part-moved, part-added, part-gone or renumbered."""

    kind: str
    pci: str
    says: str
    part: Part | None = None
    was: Part | None = None


def same(one: Part | Entity, other: Part | Entity) -> bool | None:
    """Return whether two are one part; None if too little is known of either."""
    if one.uuid and other.uuid:
        return one.uuid == other.uuid or bool(one.serial and other.serial and one.serial == other.serial)
    if one.serial and other.serial:
        return one.serial == other.serial
    return None


def here(readings: Iterable[Reading]) -> dict[str, Part]:
    """Return the parts that this sweep could identify, by slot."""
    found: dict[str, Part] = {}
    before: Entity | None = None
    for reading in readings:
        entity = reading.entity
        if entity is before:  # as nearly all are: a GPU has two hundred readings in a row
            continue
        before = entity
        if entity.kind == "gpu" and entity.pci and (entity.uuid or entity.serial):
            old = found.get(entity.pci, Part(entity.pci, None, None, None))
            found[entity.pci] = Part(
                entity.pci, entity.uuid or old.uuid, entity.serial or old.serial, entity.name or old.name
            )
    return found


def slots(db: sqlite3.Connection) -> dict[str, list[Part]]:
    """Return all parts that stood in each slot, newest first."""
    found: dict[str, list[Part]] = {}
    for row in db.execute("SELECT pci, uuid, serial, name, first, last FROM part ORDER BY first DESC"):
        found.setdefault(row[0], []).append(Part(*row))
    return found


def named(db: sqlite3.Connection, readings: Sequence[Reading], now: Moment) -> list[Reading]:
    """Return the readings with the UUID and serial of GPUs that cannot tell them any more.

    What sat in a slot earlier in this boot is believed to be there still.
    """
    known: dict[str, Part] = {}
    for pci, parts in slots(db).items():
        row = db.execute("SELECT boot FROM sweep WHERE seq = ?", (parts[0].last,)).fetchone()
        if row is not None and now.boot and row[0] == now.boot:
            known[pci] = parts[0]
    told = here(readings)
    result = []
    for reading in readings:
        entity = reading.entity
        if entity.kind == "gpu" and entity.pci in known and entity.pci not in told and entity.pci:
            part = known[entity.pci]
            entity = entity._replace(uuid=part.uuid, serial=part.serial, name=entity.name or part.name)
            reading = reading._replace(entity=entity)
        result.append(reading)
    return result


def changes(
    before: Mapping[str, Sequence[Part]], now: Mapping[str, Part], present: Iterable[str] | None
) -> list[Change]:
    """Return what is different from the parts known before.

    Args:
        before: all parts that stood in each slot, newest first.
        now: the parts of this sweep.
        present: the slots in which it saw a GPU, known or not; None if it could not look.
    """
    if not before:
        return []
    moved = {pci: home for pci, part in now.items() if (home := _elsewhere(pci, part, before)) is not None}
    if len(now) > 1 and len(moved) == len(now):
        pairs = ", ".join(f"{home.pci} is now {pci}" for pci, home in sorted(moved.items())[:4])
        return [Change("renumbered", pci, f"the PCI bus was numbered anew: {pairs}") for pci in sorted(moved)[:1]]
    found: list[Change] = []
    for pci, part in sorted(now.items()):
        was = before[pci][0] if before.get(pci) else None
        if was is not None and same(was, part) is not False:
            continue
        home = moved.get(pci)
        if home is not None:
            replaced = f", in place of {was}" if was is not None else ""
            found.append(Change("part-moved", pci, f"{part} moved from {home.pci} to {pci}{replaced}", part, was))
        elif was is not None:
            found.append(Change("part-changed", pci, f"the GPU at {pci} is another: {was} became {part}", part, was))
        else:
            found.append(Change("part-added", pci, f"{part} is new at {pci}", part))
    newest = max((parts[0].last for parts in before.values()), default=0)
    for pci, parts in sorted(before.items()):
        part = parts[0]
        gone = present is not None and pci not in now and pci not in present
        if gone and part.last == newest and not any(same(part, other) for other in now.values()):
            found.append(Change("part-gone", pci, f"the GPU at {pci} ({part}) is not there any more", None, part))
    return found


def keep(db: sqlite3.Connection, seq: int, before: Mapping[str, Sequence[Part]], now: Mapping[str, Part]) -> None:
    """Write where the parts are."""
    for pci, part in now.items():
        was = before[pci][0] if before.get(pci) else None
        if was is not None and same(was, part) is not False:
            db.execute(
                "UPDATE part SET last = ?, uuid = coalesce(?, uuid), serial = coalesce(?, serial),"
                " name = coalesce(?, name) WHERE pci = ? AND first = ?",
                (seq, part.uuid, part.serial, part.name, pci, was.first),
            )
        else:
            db.execute(
                "INSERT INTO part(pci, uuid, serial, name, first, last) VALUES(?, ?, ?, ?, ?, ?)",
                (pci, part.uuid, part.serial, part.name, seq, seq),
            )
    db.execute(
        "DELETE FROM part WHERE (pci, first) IN (SELECT pci, first FROM part ORDER BY last DESC LIMIT -1 OFFSET 1000)"
    )


def _elsewhere(pci: str, part: Part, before: Mapping[str, Sequence[Part]]) -> Part | None:
    """Return where this part was last, if that was another slot."""
    homes = [old for parts in before.values() for old in parts if same(old, part)]
    last = max(homes, key=lambda old: (old.last, old.pci == pci), default=None)
    return last if last is not None and last.pci != pci else None
