"""What each GPU told over time, kept as rows of doubles: 80,000 GPUs and thirty sweeps have to fit into memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from math import isnan, nan

from triage.fleet.early_values import MODEL, Observation, Sign

SHORTEST = 600.0
"""Seconds between two readings below which a rate says nothing."""
SPANS, FIRM, FASTEST = 32, 50.0, 0.01
"""Spans of time for which a fleet's pace is told, errors that make it firm, share of boards that do not tell it."""


class Past:
    """One GPU: when it told something, each number at each of these times (nan: not told), and its last facts."""

    __slots__ = ("at", "columns", "latest")

    def __init__(self) -> None:
        self.at = array("d")
        self.columns: dict[str, array[float]] = {}
        self.latest: list[tuple[float, str, Mapping[str, str]]] = []

    def add(self, each: Observation, names: Iterable[str], facts: Iterable[str], times: int) -> None:
        """Keep what is asked for of an observation: these numbers, and these facts of the last so many."""
        for name in names:
            value = each.numbers.get(name)
            column = self.columns.get(name)
            if column is None:
                if value is None:
                    continue
                column = self.columns[name] = array("d", [nan] * len(self.at))
            column.append(nan if value is None else value)
        self.at.append(each.at)
        if len(self.latest) < times or each.at >= self.latest[0][0]:
            kept = {name: each.facts[name] for name in facts if name in each.facts}
            self.latest.append((each.at, each.node, kept))
            self.latest.sort(key=lambda pair: pair[0])
            del self.latest[:-times]

    @property
    def node(self) -> str:
        """Where it was last."""
        return self.latest[-1][1]

    @property
    def model(self) -> str:
        """What it is."""
        return self.latest[-1][2].get(MODEL, "")

    def told(self, name: str) -> list[tuple[float, float]]:
        """Return (time, value) of a number, in order of time."""
        column = self.columns.get(name)
        if column is None:
            return []
        return sorted((at, value) for at, value in zip(self.at, column, strict=True) if not isnan(value))

    def last(self, times: int) -> list[tuple[Mapping[str, float], Mapping[str, str]]]:
        """Return numbers and facts of the last so many times, the latest first."""
        found: list[tuple[Mapping[str, float], Mapping[str, str]]] = []
        for at, _, facts in self.latest[: -times - 1 : -1]:
            place = len(self.at) - 1 - self.at[::-1].index(at)
            found.append(
                ({name: column[place] for name, column in self.columns.items() if not isnan(column[place])}, facts)
            )
        return found


def pasts(told: Iterable[Observation], signs: Iterable[Sign]) -> tuple[dict[str, Past], int]:
    """Return what each GPU told of what the signs ask for, whatever the order, and how many nodes spoke."""
    asked = tuple(signs)
    names = {name for sign in asked for name in sign.of} | {"gpu.utilization"}
    facts = {MODEL, *(sign.beside for sign in asked if sign.beside)}
    times = max((sign.times for sign in asked), default=1)
    found: dict[str, Past] = {}
    nodes: set[str] = set()
    shared: dict[Mapping[str, str] | tuple[tuple[str, str], ...], Mapping[str, str]] = {}
    for each in told:
        nodes.add(each.node)
        own = found.get(each.gpu)
        if own is None:
            own = found[each.gpu] = Past()
        own.add(each, names, facts, times)
        at, node, kept = own.latest[-1]
        own.latest[-1] = at, node, shared.setdefault(tuple(sorted(kept.items())), kept)
    return found, len(nodes)


def steps(past: Past, sign: Sign) -> tuple[str, list[tuple[float, float, float]]] | None:
    """Return which counter it is and what it grew by: (count, from, to) between two readings each, in order.

    Where it went back it was set to zero, and nothing is known of that time.
    """
    for name in sign.of:
        told = past.told(name)
        if len(told) < 2:
            continue
        grown = [
            (after - before, at, then)
            for (at, before), (then, after) in pairwise(told)
            if then - at >= SHORTEST and after >= before
        ]
        return (name, grown) if grown else None
    return None


class Pace:
    """How fast a whole fleet counts at which time: what all boards count more is nothing that one of them does."""

    def __init__(self, told: Sequence[Sequence[tuple[float, float, float]]]) -> None:
        """Learn it from the steps of all boards but the fastest."""
        self.begin = min(own[0][1] for own in told)
        self.width = max(SHORTEST, (max(own[-1][2] for own in told) - self.begin) / SPANS)
        counts, seconds = [0.0] * SPANS, [0.0] * SPANS
        by_speed = sorted(told, key=lambda own: sum(step[0] for step in own) / sum(end - at for _, at, end in own))
        for own in by_speed[: len(told) - max(1, round(len(told) * FASTEST))]:
            for count, start, end in own:
                for span, part in self._spans(start, end):
                    counts[span] += count * part / (end - start)
                    seconds[span] += part
        usual = sum(counts) / (sum(seconds) or 1.0)
        self.fast = [
            (count + FIRM) / (usual * time + FIRM) if usual * time + FIRM else 1.0
            for count, time in zip(counts, seconds, strict=True)
        ]

    def seconds(self, start: float, end: float) -> float:
        """Return how long that would be at the usual pace."""
        return sum(part * self.fast[span] for span, part in self._spans(start, end))

    def _spans(self, start: float, end: float) -> Iterator[tuple[int, float]]:
        first, last = (min(SPANS - 1, int((at - self.begin) / self.width)) for at in (start, end))
        if first == last:
            yield first, end - start
            return
        for span in range(first, last + 1):
            low = start if span == first else self.begin + span * self.width
            high = end if span == last else self.begin + (span + 1) * self.width
            yield span, max(0.0, high - low)
