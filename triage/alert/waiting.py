"""What waits in the queue, for whom, since when and why: what people are shown of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from probes.named import NamedTuple
from triage.alert import courier
from triage.alert.config import Target
from triage.alert.queue import Queue, open_queue
from triage.alert.queue_file import FILE, NoQueue
from triage.alert.steps import refilled
from triage.report import iso

Json = dict[str, Any]

_SAID = {"open": "open", "update": "update", "acknowledge": "acknowledged", "resolve": "resolved"}


class Waiting(NamedTuple):
    """What a target has still to be told, and why not yet; `messages`: fingerprint, event, since when, tries, why."""

    target: Target
    messages: tuple[tuple[str, str, float, int, str], ...]
    why: str
    again: float | None

    @property
    def oldest(self) -> float | None:
        """Since when the oldest waits."""
        return min((at for _, _, at, _, _ in self.messages), default=None)


def waiting(queue: Queue, targets: Sequence[Target], now: float) -> list[Waiting]:
    """Return what each target has still to be told."""
    found = []
    incidents = queue.incidents()
    for target in targets:
        standing = queue.standing(target.name)
        plan = courier.plan(target, incidents, queue.deliveries(target.name), refilled(target, standing, now), now)
        errands = [errand for errand in (*plan.due, *plan.held, *plan.later) if errand.step.event != "renew"]
        messages = [
            (e.incident.fingerprint, _SAID[e.step.event], e.incident.at, e.knows.tries, e.knows.why)
            for e in sorted(errands, key=lambda errand: errand.incident.version)
        ]
        limited = f"more than {target.limit} messages in ten minutes" if plan.held else ""
        later = standing.due if standing.due > now else None
        found.append(Waiting(target, tuple(messages), standing.why or limited, later))
    return found


def report(directory: Path, targets: Sequence[Target], node: str, now: float) -> Json:
    """Return what waits and what was refused, as one JSON object.

    Raises:
        Unavailable: if there is a queue and it cannot be read.
    """
    lines: list[Waiting] = []
    refused: list[tuple[float, str, str, str, str]] = []
    file = None
    with suppress(NoQueue), open_queue(directory, create=False) as queue:
        file = str(directory / FILE)
        lines, refused = waiting(queue, targets, now), queue.refusals()
    known = {line.target.name: line for line in lines}
    return {
        "schema_version": 1,
        "kind": "alert-queue",
        "generated_at": iso(now),
        "node": node,
        "queue": file,
        "targets": [_target(target, known.get(target.name)) for target in targets],
        "refused": [
            {"at": iso(at), "target": target, "fingerprint": fingerprint, "event": event, "why": why}
            for at, target, fingerprint, event, why in refused
        ],
    }


def _target(target: Target, line: Waiting | None) -> Json:
    messages = () if line is None else line.messages
    return {
        "target": target.name,
        "kind": target.kind,
        "where": target.where,
        "waiting": len(messages),
        "oldest": iso(None if line is None else line.oldest),
        "why": None if line is None or not messages else line.why or None,
        "again_at": iso(None if line is None else line.again),
        "messages": [
            {"fingerprint": fingerprint, "event": event, "since": iso(at), "tries": tries, "why": why or None}
            for fingerprint, event, at, tries, why in messages
        ],
    }
