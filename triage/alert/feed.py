"""What a sweep or a watch found, put into the queue before it is taken for told.

Compared is how things stand, not what happened: whatever was missed in between,
by a kill or because nobody wanted alerts then, is made up for.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from probes.moment import Moment
from triage.alert.states import Change
from triage.history import life
from triage.watch.telling import stand

Json = dict[str, Any]

FORGOTTEN = "the history of this node does not know it any more"


def changes(
    report: Json, db: sqlite3.Connection, known: dict[str, str], now: Moment, *, lasting: bool = True
) -> list[Change]:
    """Return what stands otherwise than it is known (fingerprint: stand), by a report and the history behind it.

    What a `lasting` history has forgotten has no body; one in memory knows little, and says nothing by silence.
    """
    found = []
    here = set()
    for incident in report["incidents"]:
        fingerprint = incident["fingerprint"]
        here.add(fingerprint)
        stands = json.dumps(stand(incident), separators=(",", ":"))
        if known.get(fingerprint) == stands or (incident["state"] == "resolved" and fingerprint not in known):
            continue
        found.append(Change(fingerprint, stands, incident))
    for fingerprint in sorted(known.keys() - here):  # ended by a person, or by a sweep beside this one
        row = next(iter(life.rows(db, "fingerprint = ?", fingerprint)), None)
        if row is None and lasting:
            found.append(Change(fingerprint, "", {}))
        elif row is None:
            continue
        elif row.state == "resolved":
            found.append(Change(fingerprint, "resolved", life.told(row, json.loads(row.body), now, None)))
    return found


def whole(changed: list[Change], bodies: dict[str, Json | None], at: str | None) -> list[Change]:
    """Return the changes with the body of those that the history has forgotten: the last one known, as over."""
    made = []
    for change in changed:
        body = change.body or bodies.get(change.fingerprint)
        if not change.body and body is not None:
            history = {**(body.get("history") or {}), "resolved_at": at, "resolved_why": FORGOTTEN}
            body = {**body, "state": "resolved", "history": history}
        if body is not None:
            made.append(change._replace(body=body))
    return made
