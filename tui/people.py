"""What people say of incidents, kept in the history of this machine; without a history that can be written, nothing is.

Nothing of the node is changed by it: an acknowledgement takes an incident out
of the status of `check`, a dispute is counted against its rule.
"""

from __future__ import annotations

import getpass
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probes.moment import moment
from triage.history.changes import Change, lately
from triage.history.people import MOST_REASON, NotOne, Told, acknowledge, counted, dispute, disputes, find, story
from triage.history.place import Unavailable, fault
from triage.history.store import FILE, open_store, said

PATIENCE = 0.5
"""Seconds for which another that is writing is waited for: a person looks at the screen meanwhile."""


class People:
    """The history in one directory, as far as people write in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def refusal(self) -> str | None:
        """Return why nothing can be written, None if it can."""
        if os.path.lexists(self.directory):
            problem = fault(self.directory)
            if problem is None and not os.access(self.directory, os.W_OK | os.X_OK):
                problem = f"the state directory {self.directory} cannot be written"
            return problem
        above = next((folder for folder in self.directory.parents if folder.exists()), Path("/"))
        return None if os.access(above, os.W_OK | os.X_OK) else f"the state directory {self.directory} cannot be made"

    def told(self, fingerprint: str) -> list[Told]:
        """Return what happened to an incident and what was said of it, oldest first; nothing if it is not known."""
        if not os.path.lexists(self.directory / FILE) or self.refusal() is not None:
            return []
        try:
            with open_store(self.directory, now=moment().at, patience=PATIENCE, create=False) as store:
                with said():
                    found = store.db.execute(
                        "SELECT at, kind, subject, says FROM event WHERE subject = ? ORDER BY id", (fingerprint,)
                    ).fetchall()
                    known = store.db.execute("SELECT 1 FROM incident WHERE fingerprint = ?", (fingerprint,)).fetchone()
                if known is None:
                    return [Told(*each) for each in found]
                return story(store, find(store.db, fingerprint))
        except (Unavailable, NotOne):
            return []

    def lately(self, now: float) -> list[Change]:
        """Return what changed of this machine in two weeks, the latest first; nothing where no history tells."""
        if not os.path.lexists(self.directory / FILE):
            return []
        try:
            with open_store(self.directory, now=moment().at, patience=PATIENCE, create=False) as store, said():
                return lately(store.db, now)
        except Unavailable:
            return []

    def record(self) -> dict[str, tuple[int, int]]:
        """Return by rule how many incidents the history has, and how many of their verdicts were disputed."""
        if not os.path.lexists(self.directory / FILE) or self.refusal() is not None:
            return {}
        try:
            with open_store(self.directory, now=moment().at, patience=PATIENCE, create=False) as store:
                wrong = Counter(each.rule for each in disputes(store))
                known = counted(store)
        except Unavailable:
            return {}
        return {rule: (max(known.get(rule, 0), wrong[rule]), wrong[rule]) for rule in {*known, *wrong}}

    def acknowledge(self, incident: Mapping[str, Any], reason: str) -> str:
        """Acknowledge an incident and return what to tell."""
        return self._write(
            lambda store, now: acknowledge(store, str(incident.get("fingerprint")), now, signed(reason), None),
            "acknowledged: it no longer counts for `gpu-triage check`, until it gets worse or is over",
        )

    def dispute(self, incident: Mapping[str, Any], reason: str, was: str | None) -> str:
        """Dispute the verdict of an incident and return what to tell."""
        return self._write(
            lambda store, now: dispute(store, dict(incident), now, signed(reason), was),
            "disputed; counted by: gpu-triage rules evaluate --history " + str(self.directory),
        )

    def _write(self, do: Any, done: str) -> str:
        refusal = self.refusal()
        if refusal is not None:
            return f"READ-ONLY: {refusal}"
        now = moment()
        try:
            with open_store(self.directory, now=now.at, patience=PATIENCE) as store:
                do(store, now)
        except NotOne:
            return "the history does not know it: run `gpu-triage check` once, which remembers it, then acknowledge"
        except Unavailable as error:
            return f"not written: {error}"
        return done


def signed(reason: str) -> str:
    """Return a reason with the name of who gives it."""
    try:
        who = os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):
        who = f"user {os.getuid()}"
    return f"{' '.join(reason.split())} ({who})"[-MOST_REASON:]
