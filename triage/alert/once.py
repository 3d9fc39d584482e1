"""What one sweep found, put into the queue and sent at once, as far as the time allows; the rest stays for the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from probes.moment import moment
from triage.alert.config import Target
from triage.alert.feed import changes, whole
from triage.alert.queue import open_queue
from triage.alert.sender import Sender, digest_of
from triage.alert.turn import Turn
from triage.alert.waiting import waiting
from triage.history.place import Unavailable
from triage.history.store import open_store
from triage.report import iso

Json = dict[str, Any]
Tell = Callable[[str], None]

PATIENCE = 2.0
_PAUSE = 0.1


def send(report: Json, directory: Path, path: Path, targets: Sequence[Target], seconds: float, tell: Tell) -> None:
    """Put down what is to be told of a report, and send for so long; `tell` is told what did not go well."""
    until = time.monotonic() + seconds
    try:
        if report["complete"]:
            _put(report, directory)
        _send(directory, path, targets, until, tell)
        with open_queue(directory, patience=PATIENCE) as queue:
            left = [line for line in waiting(queue, targets, time.time()) if line.messages]
    except Unavailable as error:
        tell(f"alerts: {error}")
        return
    for line in left:
        count = len(line.messages)
        why = line.why or "there was no time"
        tell(f"alerts: {count} message{'' if count == 1 else 's'} for {line.target.name} wait: {why}")


def _put(report: Json, directory: Path) -> None:
    now = moment()
    with (
        open_store(directory, now=now.at, patience=PATIENCE, create=False) as store,
        open_queue(directory, patience=PATIENCE) as queue,
    ):
        changed = changes(report, store.db, queue.stands(), now)
        bodies = {change.fingerprint: queue.body(change.fingerprint) for change in changed if not change.body}
        if changed:
            queue.put(whole(changed, bodies, iso(now.at)), now.at)


def _send(directory: Path, path: Path, targets: Sequence[Target], until: float, tell: Tell) -> None:
    turn = Turn(directory)
    if not turn.take():
        turn.close()
        _wait(directory, targets, until)
        return
    sender = Sender(directory, targets, lambda what, says: tell(f"{what}: {says}"))
    sender.begin(digest_of(path))
    if sender.finish(max(0.0, until - time.monotonic())):
        sender.settle()
        turn.close()  # else what is under way goes on for as long as this process, and nobody else may send


def _wait(directory: Path, targets: Sequence[Target], until: float) -> None:
    """Wait for the watch that sends what is in the queue."""
    with open_queue(directory, patience=PATIENCE) as queue:
        while time.monotonic() < until and any(line.messages for line in waiting(queue, targets, time.time())):
            time.sleep(_PAUSE)
