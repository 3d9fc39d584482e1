"""How often, how fast and from how many places the same thing came, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from triage.model import Repeats, Signal

EACH = 1000
"""Distinct processes, or addresses, that are told apart within one signal."""
ALL = 50_000
"""Those of all signals together; some 5 MB."""

_ADDRESS = r"(?:@|[Aa]ddr(?:ess)?:?|physAddr) ?(0x[0-9a-fA-F_]{1,34})"
_NOBODY = ("'<unknown>'", "<unknown>", "")


class Burst:
    """A signal while others that are equal to it come."""

    __slots__ = ("addresses", "count", "first", "last_at", "last_monotonic", "many", "processes")

    def __init__(self, first: Signal, last_at: float | None, last_monotonic: float | None) -> None:
        self.first = first
        self.count = 0
        self.last_at = last_at
        self.last_monotonic = last_monotonic
        self.processes: dict[str, None] = {}
        self.addresses: dict[str, None] = {}
        self.many = False

    def signal(self) -> Signal:
        """Return what it all is folded into."""
        return self.first._replace(
            count=self.count,
            last_at=self.last_at,
            last_monotonic=self.last_monotonic,
            processes=tuple(self.processes),
            addresses=tuple(self.addresses),
            many=self.many,
        )


class Crowds:
    """Counts signals, and tells apart their processes and addresses while they are folded."""

    def __init__(self) -> None:
        self._held = 0

    def add(self, burst: Burst, signal: Signal) -> None:
        """Take notice of a signal that is folded into the first of a burst, or is the first."""
        burst.count += signal.count
        if signal.many:
            burst.many = True
        fields = signal.fields
        for known, values in (
            (burst.processes, signal.processes or _process(fields)),
            (burst.addresses, signal.addresses or _address(fields)),
        ):
            for value in values:
                if value in known:
                    continue
                if len(known) >= EACH or self._held >= ALL:
                    burst.many = True
                    break
                known[value] = None
                self._held += 1

    def forget(self, burst: Burst) -> None:
        """Take notice that a burst is held no more."""
        self._held -= len(burst.processes) + len(burst.addresses)


def _process(fields: Mapping[str, str]) -> tuple[str, ...]:
    pid, name = fields.get("pid", ""), fields.get("name", "")
    if pid in _NOBODY:
        return ()
    return (pid if name in _NOBODY else f"{pid} {name}",)


def names(signal: Signal) -> tuple[str, ...]:
    """Return the names, or else the numbers, of the processes of a signal that others were folded into."""
    first = signal.fields.get("name") or signal.fields.get("pid")
    rest = (process.partition(" ") for process in signal.processes)
    found = dict.fromkeys((first, *(name or number for number, _, name in rest)))
    return tuple(name for name in found if name)


def _address(fields: Mapping[str, str]) -> tuple[str, ...]:
    text = fields.get("text", "")
    found = re.search(_ADDRESS, text) if "0x" in text else None
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
