"""How often, how fast and from how many places the same thing came, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from triage.model import Repeats, Signal

EACH = 1000
"""Distinct processes, or addresses, that are told apart within one signal."""
ALL = 50_000
"""Those of all signals together; some 5 MB."""

_ADDRESS = re.compile(r"(?:@|[Aa]ddr(?:ess)?:?|physAddr) ?(0x[0-9a-fA-F_]{1,34})")
_NOBODY = ("'<unknown>'", "<unknown>", "")


class Crowds:
    """Tells apart the processes and addresses of signals while they are folded."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, int], tuple[set[str], set[str]]] = {}
        self._full: set[tuple[str, int]] = set()
        self._held = 0

    def add(self, place: tuple[str, int], signal: Signal) -> None:
        """Take notice of a signal that is folded into the one at this place, or is the first there."""
        own = self._of.get(place)
        if own is None:
            own = self._of[place] = (set(), set())
        if signal.many:
            self._full.add(place)
        fields = signal.fields
        found = ((signal.processes or _process(fields)), (signal.addresses or _address(fields)))
        for known, values in zip(own, found, strict=True):
            for value in values:
                if value in known:
                    continue
                if len(known) >= EACH or self._held >= ALL:
                    self._full.add(place)
                    break
                known.add(value)
                self._held += 1

    def move(self, origin: str, moved: Mapping[int, int]) -> None:
        """Take notice that signals of a log were forgotten, and where the others stand now."""
        for place in [place for place in self._of if place[0] == origin]:
            own = self._of.pop(place)
            full = place in self._full
            self._full.discard(place)
            if place[1] in moved:
                here = (origin, moved[place[1]])
                self._of[here] = own
                if full:
                    self._full.add(here)
            else:
                self._held -= len(own[0]) + len(own[1])

    def told(self, place: tuple[str, int], signal: Signal) -> Signal:
        """Return the folded signal with what was told apart."""
        own = self._of.get(place)
        if own is None:
            return signal
        return signal._replace(
            processes=frozenset(own[0]), addresses=frozenset(own[1]), many=signal.many or place in self._full
        )


def _process(fields: Mapping[str, str]) -> tuple[str, ...]:
    pid = fields.get("pid", "")
    return (pid,) if pid not in _NOBODY else ()


def _address(fields: Mapping[str, str]) -> tuple[str, ...]:
    text = fields.get("text", "")
    found = _ADDRESS.search(text) if "0x" in text else None
    return (found[1],) if found else ()


def repeats(signals: Iterable[Signal]) -> Repeats | None:
    """Return how the lines of these signals repeat; None if there is only one line, or none."""
    signals = list(signals)
    lines = sum(signal.count for signal in signals)
    if lines < 2:
        return None
    processes = frozenset[str]().union(*(signal.processes for signal in signals))
    addresses = frozenset[str]().union(*(signal.addresses for signal in signals))
    return Repeats(lines, _seconds(signals), len(processes), len(addresses), not any(signal.many for signal in signals))


def _seconds(signals: list[Signal]) -> float | None:
    dated = [(s.record.at, s.last_at or s.record.at) for s in signals if s.record.at is not None]
    if dated:
        return max(last for _, last in dated) - min(first for first, _ in dated)
    boots = {(s.record.origin, s.record.boot) for s in signals}
    up = [
        (s.record.monotonic, s.last_monotonic or s.record.monotonic) for s in signals if s.record.monotonic is not None
    ]
    if not up or len(boots) > 1:
        return None
    return max(last for _, last in up) - min(first for first, _ in up)
