"""A fleet's captures as a source: the picture of last time at once, then a new one whenever a capture changed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from triage import kept
from triage.cli.exits import Refused
from tui.facts import Facts, Json, epoch, facts
from tui.fleet import picture
from tui.fleet.paths import nodes_of, stamp, stamp_of_itself
from tui.fleet.picture import Picture
from tui.source import Failed, LogText, Snapshot
from tui.sources import Child, log_texts, logs_snapshot, pause

PERIOD = 5.0
"""Seconds between looks whether a capture came or changed."""
FORGOTTEN = 30 * 86400.0
"""Seconds after which a picture that was not made anew is removed."""
MOST_STAMPED = 2000
"""Captures whose own change is looked for; of more only that of the folder, which new files change."""


class FleetSource:
    """Captures, one or more for each node; `rules` are `rule_words`, `timezone` seconds east of UTC."""

    logs: tuple[LogText, ...] = ()
    period: float | None = None

    def __init__(
        self,
        given: Sequence[str],
        folder: Path,
        *,
        rules: Sequence[str] = (),
        inventory: Path | None = None,
        now: float | None = None,
        timezone: float = 0.0,
        every: float = PERIOD,
        until: float | None = None,
    ) -> None:
        self.title = os.path.basename(os.path.normpath(given[0])) if len(given) == 1 else f"{len(given)} captures"
        self.reading = ""
        self.given = tuple(given)
        self._folder = folder
        self._every = every
        self._progress = folder / "progress.json"
        zone = [f"--timezone={timezone}"] if timezone else []
        self._common = [*rules, *zone, *([] if now is None else [f"--now={now}"])]
        self._more = [] if inventory is None else [f"--inventory={inventory}"]
        self.zone = timezone
        self.until = until
        """Captures taken later than this (UTC epoch seconds) are left out, as if it were then; None is now."""

    @property
    def store(self) -> Path:
        """Where the picture is kept from one time to the next; without a cache only as long as this runs."""
        named = [*map(os.path.abspath, self.given), *self._common, *self._more, str(self.until)]
        name = f"fleet-{hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]}.db"
        folder = kept.folder()
        try:
            if folder is not None:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if kept.own(os.stat(folder)):
                    return folder / name
        except OSError:
            pass
        return self._folder / name

    def snapshots(self, stop: threading.Event, again: threading.Event) -> Iterator[Picture | Failed]:
        """Yield the picture that was kept, read what changed since, and again whenever something changes."""
        forget(self.store.parent, time.time())
        before = picture.load(self.store)
        if before is not None:
            yield before
        child = Child()
        while not stop.is_set():
            state = self._state()
            yield from self.sweep(child, stop)
            while not stop.is_set() and not again.wait(self._every) and self._state() == state:
                pass
            pause(again, 0.0)

    def sweep(self, child: Child, stop: threading.Event) -> Iterator[Picture | Failed]:
        """Read what changed and yield the new picture, or why there is none."""
        words = ["fleet", *self._common, *self._more, f"--store={self.store}", f"--progress={self._progress}",
                 *([] if self.until is None else [f"--until={self.until}"]), *self.asked_with()]  # fmt: skip
        self.reading = "reading"
        told = child.run(words, None, stop, self._look)
        self.reading = ""
        if stop.is_set():
            return
        if isinstance(told, str):
            yield Failed(told, time.time())
            return
        found = picture.load(self.store)
        yield found or Failed(f"{self.store} is not as it was written; is another user writing there?", time.time())

    def asked_with(self) -> list[str]:
        """Return the words that say what a sweep reads."""
        return [f"--file={path}" for path in self.given]

    def _look(self) -> None:
        """See how far the reading is."""
        with contextlib.suppress(OSError, ValueError):
            self.reading = str(json.loads(self._progress.read_text(encoding="utf-8")))

    def _state(self) -> tuple[str, ...]:
        try:
            paths = nodes_of(self.given)
        except Refused as refused:
            return (refused.message,)
        if len(paths) > MOST_STAMPED:
            return (str(len(paths)), *map(stamp_of_itself, self.given))
        return tuple(f"{path} {stamp(path)}" for path in paths)

    def read(self, node: str, paths: Sequence[str], stop: threading.Event) -> Snapshot | Failed:
        """Read what one node was read from, with its counters and logs."""
        began = time.monotonic()
        words = ["logs", *self._common, f"--spool={self._folder}", *(f"--file={path}" for path in paths)]
        told = Child().run(words, None, stop)
        if isinstance(told, str):
            return Failed(told, time.time())
        return logs_snapshot(told, time.monotonic() - began, log_texts(paths))


def forget(folder: Path, now: float) -> None:
    """Remove pictures that nobody opened for a month, so that the cache does not grow for ever."""
    for path in folder.glob("fleet-*.db*"):
        with contextlib.suppress(OSError):
            if now - path.stat().st_mtime > FORGOTTEN:
                path.unlink()


def node_snapshot(detail: Json, read: Snapshot | None) -> tuple[Snapshot, Facts]:
    """Return a node as the fleet sees it: the fleet's verdicts, and what reading the node anew says of the rest."""
    report = detail["report"]
    if read is not None:
        kept_of_it = {name: report[name] for name in ("node", "status", "incidents")}
        report = {**report, **read.report, **kept_of_it}
    at = detail.get("at") or epoch(report.get("generated_at")) or 0.0
    value = Snapshot(report, at)
    if read is not None:
        value = value._replace(readings=read.readings, logs=read.logs, past=read.past)
    return value, facts(report)
