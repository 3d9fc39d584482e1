"""Lines that are there twice: of one event that two logs, or one log twice, have written down."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from probes.named import NamedTuple
from triage.model import Signal

_Words = tuple[str, str | None, str]


class _When(NamedTuple):
    """Which line said it, and when."""

    origin: str
    line: int
    boot: str | None
    at: float | None
    monotonic: float | None


class Heard:
    """Tells a line that is there twice from an event that came twice.

    A console log and syslog write the same record both; so do two files of one
    node.  The clock of the kernel tells: the same words at the same microsecond,
    or, in another log, within the second that its stamps are exact to.
    """

    MOST = 4096
    """Messages remembered of one log, and of all before it."""

    def __init__(self) -> None:
        self._origin: str | None = None
        self._own: OrderedDict[_Words, _When] = OrderedDict()  # when each of the latest messages last came in this log
        self._first: dict[_Words, _When] = {}  # when the first so many messages of this log came first
        self._final: dict[_Words, _When] = {}  # and last
        self._others: dict[_Words, _When] = {}  # and what the logs before this one ended with
        self.echoes: dict[tuple[str, str | None], int] = {}
        """How many signals of each source and boot had gone by before."""

    def before(self, signal: Signal) -> bool:
        """Whether this very record has gone by already."""
        record = signal.record
        key = (signal.name, signal.pci, record.message)
        now = _When(record.origin, record.line, record.boot, record.at, record.monotonic)
        if now.origin != self._origin:
            self._turn(now.origin)
        last = self._own.get(key)
        self._remember(key, now)
        if key in self._first:
            self._final[key] = now
        elif len(self._first) < self.MOST:
            self._first[key] = self._final[key] = now
            last = last or self._others.get(key)
        return last is not None and _same_event(last, now)

    def apart(self, other: Heard) -> bool:
        """Whether the other, which has heard one log on its own, would have found the same after what this heard."""
        heard = {**self._others, **self._final}
        return not any(key in heard and _same_event(heard[key], now) for key, now in other._first.items())

    def adopt(self, other: Heard) -> None:
        """Go on as if this had heard the log that the other did."""
        self._turn(other._origin)
        self._own, self._first, self._final = OrderedDict(other._own), dict(other._first), dict(other._final)
        self.echoes.update(other.echoes)

    def went_on(self, other: Heard) -> bool:
        """Whether the other, which has heard a later part of this log on its own, would have found the same here."""
        own = self._own
        return self.apart(other) and not any(
            key in own and _same_event(own[key], now) for key, now in other._first.items()
        )

    def go_on(self, other: Heard) -> None:
        """Go on as if this had heard the part of its log that the other did."""
        if other._origin is None:
            return
        if other._origin != self._origin:
            self._turn(other._origin)
        for key, when in other._own.items():
            self._remember(key, when)
            if key in self._first:
                self._final[key] = when
        for key, when in other._first.items():
            if key in self._first or len(self._first) < self.MOST:
                self._first.setdefault(key, when)
                self._final[key] = other._final[key]
        for here, number in other.echoes.items():
            self.echoes[here] = self.echoes.get(here, 0) + number

    def moved(self, moved: Callable[[str | None], str | None], lines: int) -> Heard:
        """The same with other names of the boots, of a log that stands so many lines further down."""
        new = Heard()
        new._origin = self._origin
        for mine, its in ((self._own, new._own), (self._first, new._first), (self._final, new._final)):
            its.update(
                (key, when._replace(line=when.line + lines, boot=moved(when.boot))) for key, when in mine.items()
            )
        new.echoes = {(origin, moved(boot)): number for (origin, boot), number in self.echoes.items()}
        return new

    def _remember(self, key: _Words, when: _When) -> None:
        own = self._own
        own[key] = when
        own.move_to_end(key)
        if len(own) > self.MOST:
            own.popitem(last=False)

    def _turn(self, origin: str | None) -> None:
        """Another log begins."""
        for key, when in self._final.items():
            if key in self._others or len(self._others) < self.MOST:
                self._others[key] = when
        self._origin = origin
        self._own, self._first, self._final = OrderedDict(), {}, {}


def _same_event(last: _When, now: _When) -> bool:
    """Whether two records of the same words are one."""
    if (last.origin, last.line) == (now.origin, now.line):
        return False
    if last.monotonic is not None and now.monotonic is not None and last.origin == now.origin:
        return last.boot == now.boot and last.monotonic == now.monotonic
    return last.origin != now.origin and None not in (last.at, now.at) and abs((last.at or 0) - (now.at or 0)) < 1.0
