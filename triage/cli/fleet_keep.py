"""What a sweep does for its store: say that it began, hand over what comes, and tell what is not in it at the end."""

from __future__ import annotations

import time
from typing import Any

from triage.cli import output
from triage.cli.exits import Refused
from triage.cli.options import overlays
from triage.fleet import names
from triage.fleet.gather import Places
from triage.fleet.model import ANSWERED, Answer, Json
from triage.fleet.store import write
from triage.fleet.store.opened import Store
from triage.fleet.store.stream import Stream
from triage.fleet.store.trouble import Unreachable, Unusable
from triage.fleet.sweep import SUFFIX, Folder
from triage.render.safe import safe

AT_FIRST = 10.0
"""Seconds for which a sweep waits for its store before it begins without."""
PRUNING = 30.0


class Keeping:
    """A sweep's store while the sweep goes on."""

    def __init__(self, args: Any, store: Store, said: Json, asked: int, now: float, places: Places) -> None:
        """Say in the store that the sweep begins.

        Raises:
            Refused: if the store can never be written to.
        """
        self._args, self._store, self._now = args, store, now
        self._swept = write.Swept(said["id"], now, args.via, asked, said["set"])
        self._added: set[str] = set()
        try:
            write.put(store, self._swept, [], until=time.monotonic() + AT_FIRST)
        except Unreachable as error:
            output.tell(f"{error}; the sweep begins without it, and tries again")
        except Unusable as error:
            raise Refused(str(error)) from None
        self._stream = Stream(
            store,
            self._swept,
            root=args.rules,
            overlays=overlays(args),
            now=now,
            tz_offset=args.timezone,
            jobs=args.jobs,
            places=places,
        )

    def add(self, folder: Folder, node: str) -> None:
        """Hand over what became of a node."""
        outcome = folder.outcomes[node]
        self._added.add(node)
        if outcome.state == ANSWERED:
            self._stream.add(node, outcome.took, str(folder.path / f"{node}{SUFFIX}"))
        else:
            self._stream.silent(Answer(node, outcome.state, outcome.reason, took=outcome.took))

    def end(self, folder: Folder, *, complete: bool) -> tuple[list[Answer], bool]:
        """Return all answers, and whether the store has them all; what it has not is told."""
        for node, outcome in folder.outcomes.items():
            if node not in self._added:
                self._stream.silent(Answer(node, outcome.state, outcome.reason, took=outcome.took))
        ended = self._stream.end()
        reason = ended.reason
        if reason is None:
            try:
                write.end(
                    self._store, self._swept, time.time() if self._args.now is None else self._now, complete=complete
                )
                if self._args.keep is not None:
                    self._prune()
            except Unusable as error:
                reason = str(error)
        if reason is not None:
            which = f" (of {names.fold(ended.unsaved)})" if ended.unsaved else ""
            output.tell(f"not all is in the store{which}: {reason}")
            again = f"gpu-triage fleet store add {safe(str(folder.path))}"
            output.tell(f"{folder.path} has it; bring it in later: {again}")
        else:
            output.tell(f"kept in {self._store.shown} as sweep {self._swept.key[:12]}")
        if reason is None:
            self._store.close()
        return ended.answers, reason is None

    def _prune(self) -> None:
        deleted, everything = write.prune(self._store, self._now - self._args.keep, until=time.monotonic() + PRUNING)
        if deleted:
            rest = "" if everything else "; the rest goes the next time"
            output.tell(f"deleted {deleted} answers of sweeps older than {self._args.keep / 86400.0:g} days{rest}")
