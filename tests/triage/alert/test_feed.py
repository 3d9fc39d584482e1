"""What is put into the queue of what a sweep or a watch found, and when a line counts as told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from probes.moment import Moment
from tests.triage.alert.bodies import START, body, change
from triage.alert.feed import FORGOTTEN, changes, whole
from triage.alert.queue import open_queue
from triage.history.store import Store, in_memory
from triage.report import iso
from triage.watch import telling
from triage.watch.out import Delivery, Out

NOW = Moment(START + 100, 100.0, "a" * 32, "")


@pytest.fixture
def store() -> Any:
    with in_memory() as made:
        yield made


def report(*bodies: dict[str, Any]) -> dict[str, Any]:
    return {"incidents": list(bodies)}


def known(*bodies: dict[str, Any]) -> dict[str, str]:
    return {told["fingerprint"]: json.dumps(telling.stand(told), separators=(",", ":")) for told in bodies}


def test_only_what_stands_otherwise_is_put_down(store: Store) -> None:
    """What was over before anybody heard of it is not news."""
    same, more, new = body("same"), body("more"), body("new")
    found = changes(
        report(same, {**more, "seen": 2}, new, body("never-told", "resolved")), store.db, known(same, more), NOW
    )

    assert ["more", "new"] == [each.fingerprint.rpartition("/")[2] for each in found]


def test_what_the_history_has_forgotten_ends_and_says_why(store: Store, tmp_path: Path) -> None:
    """Else it would stay open for ever; but a history in memory knows little, and its silence says nothing."""
    gone = body("gone")
    assert [] == changes(report(), store.db, known(gone), NOW, lasting=False)
    with open_queue(tmp_path) as queue:
        queue.put([change(gone)], START)
        found = changes(report(), store.db, queue.stands(), NOW)
        bodies = {each.fingerprint: queue.body(each.fingerprint) for each in found}
        queue.put(whole(found, bodies, iso(NOW.at)), NOW.at)
        told = queue.body(gone["fingerprint"])

        assert told is not None
        assert ("resolved", FORGOTTEN, iso(NOW.at)) == (
            told["state"],
            told["history"]["resolved_why"],
            told["history"]["resolved_at"],
        )
        assert {} == queue.stands()


def test_a_line_is_taken_for_told_only_once_what_is_to_be_alerted_is_put_down(store: Store) -> None:
    """It leaves for standard output before, which is not held up; and whoever reads no line holds no alert up."""
    read, write = os.pipe()
    out = Out(write)
    delivery = Delivery(out)
    with store.transaction() as db:
        telling.put(db, START, {"kind": "incident"})

    def waiting() -> int:
        return int(store.db.execute("SELECT count(*) FROM outbox").fetchone()[0])

    seen: list[bytes] = []

    def keep_not() -> bool:
        seen.append(os.read(read, 4096))
        return False

    assert delivery.send(store, keep_not)
    assert (1, 1) == (waiting(), len(seen))
    assert b'"kind":"incident"' in seen[0]
    assert delivery.send(store, lambda: True)
    assert 0 == waiting()
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):  # it did not leave twice
        os.read(read, 1)
    out.close()
    os.close(read)
    os.close(write)
