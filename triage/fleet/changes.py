"""What changed between two answers of a node, and through a fleet: driver, kernel, firmware, setting, board, place.

A board that left one node and turned up in another has moved; that is one
change and not two.  The same change on many nodes is one line, and beside it
stands what happened on those nodes before and after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from probes.named import NamedTuple
from triage.fleet.census import identity
from triage.fleet.gather import epoch
from triage.fleet.model import ANSWERED, Answer, Json, Part

BESIDE = 7 * 86400.0
"""Seconds before and after a change in which incidents stand beside it."""
PART = "part"
_KINDS = (
    ("driver", ("driver.", "nvml.", "cuda.", "module.")),
    ("cmdline", ("kernel.parameter.",)),
    ("kernel", ("kernel.",)),
    ("firmware", ("gpu.vbios", "gpu.inforom", "gpu.gsp-firmware", "bios.", "firmware.")),
    ("cabling", ("leaf", "switch", "port", "cable")),
    ("place", ("rack", "chassis", "row", "room", "slot")),
    ("setting", ("gpu.ecc.mode", "gpu.mig.mode", "gpu.compute-mode", "gpu.virtualization")),
    ("service", ("service.",)),
)
"""What a fact's name begins with says what sort of change it is; the first that fits."""
_PASSING = ("job.", "host.name", "gpu.state", "gpu.recovery-action", "pci.driver", "pci.power-state", "gpu.name")
"""Facts that come and go by themselves, or are told as another."""


class Change(NamedTuple):
    """One thing that is different on one node: `after` and `by` are when the sweeps before and after it began.

    `what` is the fact, or `moved`, `swapped`, `added`, `gone` of a board (`part` is who it is).
    """

    node: str
    kind: str
    what: str
    was: str | None
    now: str | None
    after: float
    by: float
    part: str | None = None


class Group(NamedTuple):
    """The same change on many nodes, and the incidents by rule that stand beside it."""

    kind: str
    what: str
    was: str | None
    now: str | None
    changes: tuple[Change, ...]
    before: Mapping[str, int]
    since: Mapping[str, int]

    @property
    def nodes(self) -> list[str]:
        """Whose change it is."""
        return sorted({change.node for change in self.changes})


Dated = tuple[float, Answer]
"""When the sweep began, and what a node answered in it."""


def kind_of(fact: str) -> str | None:
    """Return what sort of change it is if this fact changes, None for what comes and goes by itself."""
    if fact.startswith(_PASSING):
        return None
    return next((kind for kind, names in _KINDS if fact.startswith(names)), "other")


def of_node(node: str, told: Iterable[Dated]) -> list[Change]:
    """Return what changed on a node from each of its answers to the next."""
    heard = [(began, answer) for began, answer in told if answer.state == ANSWERED]
    return [change for before, after in pairwise(heard) for change in between(node, before, after)]


def between(node: str, before: Dated, after: Dated) -> list[Change]:
    """Return what is different in the second of two answers; what only one of them knows is no change."""
    (then, one), (now, other) = before, after
    found: list[Change] = []
    if one.facts is not other.facts:
        for name, was in one.facts.items():
            is_now, kind = other.facts.get(name), kind_of(name)
            if kind is not None and is_now is not None and is_now != was:
                found.append(Change(node, kind, name, was, is_now, then, now))
    if one.gpus is not other.gpus:
        found += _parts(node, one.gpus, other.gpus, then, now)
    return sorted(found, key=lambda change: (change.kind, change.what, change.part or "", change.was or ""))


def _parts(node: str, one: Sequence[Part], other: Sequence[Part], then: float, now: float) -> Iterable[Change]:
    seats: dict[str | None, Part] = {part.pci: part for part in one if part.pci is not None}
    known = {identity(part): part for part in one if identity(part) is not None}
    present = {identity(part): part for part in other if identity(part) is not None}
    for who, part in present.items():
        before = known.get(who)
        if before is None:
            sat = seats.get(part.pci)
            old = identity(sat) if sat is not None else None
            if old is not None and old not in present:
                yield Change(node, PART, "swapped", old, who, then, now, part.pci)
            elif known or not one:
                yield Change(node, PART, "added", None, part.pci, then, now, who)
            continue
        if before.pci is not None and part.pci is not None and before.pci != part.pci:
            yield Change(node, PART, "moved", before.pci, part.pci, then, now, who)
        for name, was in before.facts.items():
            is_now, kind = part.facts.get(name), kind_of(name)
            if kind is not None and is_now is not None and is_now != was:
                yield Change(node, kind, name, was, is_now, then, now, who)
    if other:  # a node that tells no GPU at all has lost its driver, not its boards
        taken = {part.pci for part in other}
        for who, part in known.items():
            if who not in present and part.pci not in taken:
                yield Change(node, PART, "gone", part.pci, None, then, now, who)


def across(changes: Iterable[Change]) -> list[Change]:
    """Return the changes with each board that left one node and came to another as one that moved."""
    changes = list(changes)
    left: dict[str, Change] = {}
    for change in changes:
        if change.kind == PART and change.what in ("gone", "swapped"):
            who = change.part if change.what == "gone" else change.was
            if who is not None:
                left[who] = change
    told: list[Change] = []
    moved: set[int] = set()
    for change in changes:
        who = _came(change)
        home = left.get(who) if who is not None else None
        if home is not None and who is not None and home.node != change.node:
            seat = change.now if change.what == "added" else change.part
            from_seat = home.was if home.what == "gone" else home.part
            told.append(
                Change(
                    change.node,
                    PART,
                    "moved",
                    f"{home.node} {from_seat}",
                    f"{change.node} {seat}",
                    min(home.after, change.after),
                    max(home.by, change.by),
                    who,
                )
            )
            moved |= {id(change)} if change.what == "added" else set()
            moved |= {id(home)} if home.what == "gone" else set()
    whose = {change.part for change in told}
    return [
        change
        for change in changes
        if id(change) not in moved and not (change.what == "swapped" and {change.was, change.now} <= whose)
    ] + told


def _came(change: Change) -> str | None:
    if change.kind != PART:
        return None
    return change.part if change.what == "added" else change.now if change.what == "swapped" else None


def gathered(changes: Iterable[Change], opened: Mapping[str, Sequence[tuple[float, str]]]) -> list[Group]:
    """Return the same changes together, the most widespread first; `opened` is when which rule fired, by node."""
    groups: dict[tuple[str, str, str | None, str | None], list[Change]] = {}
    for change in changes:
        if change.kind == PART and change.what != "gone":
            key = (change.kind, change.what, change.was, change.now)  # each board is its own
        elif change.kind == PART:
            key = (change.kind, change.what, change.part, None)
        else:
            key = (change.kind, change.what, change.was, change.now)
        groups.setdefault(key, []).append(change)
    told = []
    for (kind, what, was, now), members in groups.items():
        before: dict[str, int] = {}
        since: dict[str, int] = {}
        first: dict[str, Change] = {}
        for change in members:
            first.setdefault(change.node, change)
        for node, change in first.items():
            for at, rule in opened.get(node, ()):
                if change.after - BESIDE <= at < change.after:
                    before[rule] = before.get(rule, 0) + 1
                elif change.after <= at < change.by + BESIDE:
                    since[rule] = since.get(rule, 0) + 1
        told.append(Group(kind, what, was, now, tuple(members), before, since))
    return sorted(told, key=lambda group: (-len(group.nodes), group.kind, group.what, group.was or "", group.now or ""))


def opened_in(answers: Iterable[Answer]) -> list[tuple[float, str]]:
    """Return when which rule opened an incident, each once."""
    found = {
        (str(told.get("fingerprint")), epoch(told.get("opened_at"))): (epoch(told.get("opened_at")), _rule(told))
        for answer in answers
        for told in answer.incidents
    }
    return sorted((at, rule) for at, rule in found.values() if at is not None)


def _rule(incident: Json) -> str:
    return str((incident.get("rule") or {}).get("id"))
