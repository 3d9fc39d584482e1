"""The line reader, which can be told of lines that it need not read.

Nothing here reads a line in another way than `probes.records` does; it knows
what state a stretch of like lines leaves the reader in.
"""

from __future__ import annotations

from typing import Any

from probes.named import NamedTuple
from probes.records import _Reader
from probes.records_text import Tally
from probes.records_time import Clock


class State(NamedTuple):
    """What a reader knows between two records.  Boots are by host: their names, and the highest time since each."""

    number: int
    shape: int | None  # its place in the table
    tagged: bool
    prefixed: bool
    indent: int | None
    exporting: bool
    last: float | None
    boot: str | None
    host: str | None
    boots: int
    names: dict[str | None, str]
    highest: dict[str | None, float]

    def like(self, other: State) -> bool:
        """Whether whoever goes on from either reads the same, but for how lines are counted and boots are called."""
        named = self.names.keys() == other.names.keys() and self.boot is None is other.boot
        return named and self[1:9] == other[1:9] and self.highest == other.highest and not self.exporting


class SteadyReader(_Reader):
    """A reader of one input whose state can be asked for and moved on."""

    def __init__(self, origin: str, year_hint: float, tz_offset: float, tally: Tally) -> None:
        super().__init__(origin, Clock(year_hint, tz_offset, tally), tally)

    @property
    def shape(self) -> Any:
        """The shape that the next line is tried by first; the second item makes the head of it."""
        return self._shapes._last

    @property
    def open(self) -> bool:
        """Whether a record has begun and may go on."""
        return self._head is not None or self._ready is not None or self._export is not None

    def boot(self, shape: Any, host: str | None) -> str | None:
        """The boot that a further line of this shape and host would belong to, or None if that is not certain."""
        boots = self._boots
        if self._export is not None or not self._prefixed or self._indent != 0 or self._shapes._last is not shape:
            return None
        if host is not None and boots._host != host:
            return None
        name = boots._names.get(boots._host)
        return None if name is None else boots._id or name

    @property
    def state(self) -> State:
        """What it knows; no record may be open."""
        boots, shapes = self._boots, self._shapes
        place = None if shapes._last is None else shapes._table.index(shapes._last)
        return State(
            self._number,
            place,
            shapes.tagged,
            self._prefixed,
            self._indent,
            self._export is not None,
            self._clock.last,
            boots._id,
            boots._host,
            boots._count,
            dict(boots._names),
            dict(boots._highest),
        )

    @state.setter
    def state(self, state: State) -> None:
        boots, shapes = self._boots, self._shapes
        self._number, self._prefixed, self._indent = state.number, state.prefixed, state.indent
        shapes._last = None if state.shape is None else shapes._table[state.shape]
        shapes.tagged, self._clock.last = state.tagged, state.last
        boots._id, boots._host, boots._count = state.boot, state.host, state.boots
        boots._names, boots._highest = dict(state.names), dict(state.highest)

    @property
    def highest(self) -> float | None:
        """The highest time since boot so far of the host that spoke last, in seconds."""
        return self._boots._highest.get(self._boots._host)

    @property
    def year_ends(self) -> float:
        """The time after which a stamp without a year would be taken for one of the year before, in epoch seconds."""
        return self._clock._limit

    def at(self, text: str) -> float | None:
        """The time of a line of the shape that is tried first, in epoch seconds."""
        head = self._shapes.match(text)
        return None if head is None else head.at

    def skip(self, number: int, at: float | None, highest: float | None) -> None:
        """Go on as if so many lines had been read, the last of them at this time; no record may be open."""
        self._number += number
        if at is not None:
            self._clock.last = at
        known = self.highest
        if highest is not None and known is not None:
            self._boots._highest[self._boots._host] = max(highest, known)
