"""What goes when the queue is full: the oldest updates, then the details of the oldest incidents; never one of them."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

Json = dict[str, Any]

MOST_BYTES = 16 << 20
"""Of all incidents together; of more the oldest updates go first, then the details of the oldest."""
BRIEF = 4096
"""Characters up to which an incident counts as brief already."""


def make_room(db: sqlite3.Connection, most: int) -> int:
    """Keep within the bound; return how many incidents had to give something up."""
    dropped = 0
    for only_updates in (True, False):
        size = db.execute("SELECT coalesce(sum(length(body)), 0) FROM incident").fetchone()[0]
        if size <= most:
            break
        # Whoever has been told everything up to `settled` waits for no more than an update.
        which = "state != 'resolved' AND settled IS NOT NULL AND settled < version" if only_updates else "1"
        asked = f"SELECT fingerprint, settled, body FROM incident WHERE {which} AND length(body) > ? ORDER BY version"
        for fingerprint, settled, body in db.execute(asked, (BRIEF,)).fetchall():
            if size <= most:
                break
            short = json.dumps(brief(json.loads(body)), separators=(",", ":"))
            db.execute("UPDATE incident SET body = ? WHERE fingerprint = ?", (short, fingerprint))
            size -= len(body) - len(short)
            if only_updates:
                db.execute("UPDATE incident SET version = ? WHERE fingerprint = ?", (settled, fingerprint))
            dropped += 1
    return dropped


def brief(body: Json) -> Json:
    """Return of an incident what every message needs, without its evidence."""
    short = {name: value for name, value in body.items() if name not in ("evidence", "around", "processes", "explains")}
    return {**short, "evidence": [], "explains": [], "abridged": True}
