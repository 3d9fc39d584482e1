"""What a fleet's sweeps amount to: who was there, for how long, with which parts and facts, and what happened to whom.

A rate needs both: the events, and the time in which an event would have been
heard.  A node that was never heard is in no rate.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

from probes.named import NamedTuple
from triage.fleet.model import Json, Part


class Stay(NamedTuple):
    """A node with the same facts and the same parts, from `start` to `end` (UTC epoch seconds).

    `heard` is for how many of these seconds its kernel log could be read.
    """

    node: str
    start: float
    end: float
    heard: float
    facts: Mapping[str, str] = {}
    gpus: tuple[Part, ...] = ()


class Event(NamedTuple):
    """One incident on one node.  `at` is its first line, `last` its last; `times` are those in between if known.

    `board` is the serial number (or UUID) of the GPU, None if the incident is the node's.
    `facts` are what the incident itself says of its moment (the job, its user and program),
    before what the node's stay says.
    """

    node: str
    rule: str
    at: float
    last: float
    fingerprint: str
    incident: Json
    pci: str | None = None
    board: str | None = None
    facts: Mapping[str, str] = {}
    times: tuple[float, ...] = ()


class Census:
    """Stays and events of one period, and the two joined."""

    def __init__(self, stays: Iterable[Stay], events: Iterable[Event], since: float, until: float) -> None:
        self.since = since
        self.until = until
        self.stays = sorted(stays, key=lambda stay: (stay.node, stay.start))
        self.events = sorted(events, key=lambda event: (event.at, event.node, event.fingerprint))
        self._of_node: dict[str, list[Stay]] = {}
        for stay in self.stays:
            self._of_node.setdefault(stay.node, []).append(stay)
        self.nodes = len(self._of_node)

    def stays_of(self, node: str) -> Sequence[Stay]:
        """Return the stays of a node in order of time."""
        return self._of_node.get(node, ())

    def stay(self, event: Event) -> Stay | None:
        """Return how the node stood when it happened, or the nearest that is known."""
        stays = self.stays_of(event.node)
        place = bisect_right(stays, event.at, key=lambda stay: stay.start)
        return stays[max(0, place - 1)] if stays else None

    def fact(self, event: Event, name: str) -> str | None:
        """Return a fact of the moment: the incident's own, then its GPU's, then the node's."""
        own = event.facts.get(name)
        if own is not None:
            return own
        stay = self.stay(event)
        if stay is None:
            return None
        part = part_of(stay, event)
        told = part.facts.get(name) if part is not None else None
        return told if told is not None else stay.facts.get(name)


def identity(part: Part) -> str | None:
    """Return who a board is, wherever it sits: its serial number, else its UUID."""
    return part.serial or part.uuid


def part_of(stay: Stay, event: Event) -> Part | None:
    """Return the GPU that an event is about, by who it is, else by where it sits."""
    for part in stay.gpus:
        if event.board is not None and event.board in (part.serial, part.uuid):
            return part
    return next((part for part in stay.gpus if event.pci is not None and part.pci == event.pci), None)


def board_of(census: Census, event: Event) -> str | None:
    """Return the serial number or UUID of the GPU that an event is about."""
    stay = census.stay(event)
    part = part_of(stay, event) if stay is not None else None
    return (identity(part) if part is not None else None) or event.board
