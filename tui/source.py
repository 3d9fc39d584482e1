"""Where the screens get what they show: a source yields snapshots, each a whole that replaces the one before.

A source is iterated in a thread of its own and may take its time; the screens
only ever see finished snapshots.  A new kind of source is another object with
these four names; one of many nodes yields pictures (`tui.fleet.picture`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from probes.model import Reading

if TYPE_CHECKING:
    from tui.fleet.picture import Picture
    from tui.trend import Course


class LogText(NamedTuple):
    """Text that the log screen can open for an origin of the report.

    `rows` maps line numbers of the report to rows of the file where they
    differ (a live source counts by sequence number); without it a line's row
    is its number less one.  Text made of several logs has in `parts` the rows of
    each by its origin.
    """

    origin: str
    path: str
    rows: Mapping[int, int] | None = None
    parts: Mapping[str, Mapping[int, int]] = {}

    def row(self, line: int) -> int | None:
        """Return the row in the file, from zero, of a line of the report."""
        return line - 1 if self.rows is None else self.rows.get(line)

    def row_of(self, origin: str | None, line: int) -> int | None:
        """Return the row of a line of the report, None if it is of another log."""
        if self.parts:
            return self.parts.get(origin or "", {}).get(line)
        return self.row(line) if origin == self.origin else None


class Snapshot(NamedTuple):
    """What one sweep found.

    `at` is when, in UTC epoch seconds, and `took` how long in seconds, if
    known.  `readings` are the probes' values, empty where the source has none,
    `past` how they went before, by GPU (UUID, serial or address) and name.
    """

    report: Mapping[str, Any]
    at: float
    took: float | None = None
    readings: tuple[Reading, ...] = ()
    logs: tuple[LogText, ...] = ()
    past: Mapping[str, Mapping[str, Course]] = {}


class Failed(NamedTuple):
    """A sweep that gave no snapshot, and why, with the remedy, in one line."""

    reason: str
    at: float


class Source(Protocol):
    """What the screens are opened on."""

    title: str
    """What it is, in a few words: `this node`, `kern.log`."""
    period: float | None
    """Seconds from sweep to sweep; None if what it tells was recorded and does not age."""
    logs: tuple[LogText, ...]
    """What the log screen can open before the first snapshot is there."""

    def snapshots(self, stop: threading.Event, again: threading.Event) -> Iterator[Snapshot | Picture | Failed]:
        """Yield snapshots until `stop` is set; `again` asks for the next one now."""
        ...
