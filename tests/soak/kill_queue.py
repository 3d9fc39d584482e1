"""Kills writers of the queue of alerts at random moments and sees that what was put down, or told, is still known.

    python -m tests.soak.kill_queue [KILLS] [SEED]        (default: 1000 kills)

One process puts incidents down and acknowledges each on a pipe; another notes
what a target was told, and acknowledges that.  Both are killed with SIGKILL.
Then the file must be sound and know every acknowledged incident as it stood or
as it stood later, and every acknowledged delivery, and nothing set aside.
"""

from __future__ import annotations

import os
import random
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.soak.command import soak
from tests.soak.writers import ACK, killed
from tests.triage.alert.bodies import START, body, change
from triage.alert.queue import open_queue
from triage.alert.states import Delivery
from triage.history.place import Unavailable

LONGEST = 0.06
"""Seconds until the kill; to open the queue and put one incident down takes some 5 ms."""
INCIDENTS = 50
"""How many different ones there are; each is put down again and again."""


class Outcome(NamedTuple):
    """What came of it: incidents put down, deliveries noted, kills before the first of a round."""

    put: int
    noted: int
    empty: int

    def __str__(self) -> str:
        return (
            f"{self.put} incidents put down and {self.noted} deliveries noted, all there; "
            f"{self.empty} kills before the first of a round; nothing corrupt, nothing set aside"
        )


def torment(folder: Path, kills: int, seed: int) -> Outcome:
    """Kill so many times; raises AssertionError at the first loss."""
    chance, state = random.Random(seed), folder / "state"
    with open_queue(state) as queue:
        queue.targets(["hook"], 1, START)
    put: dict[int, int] = {}
    noted: dict[int, int] = {}
    counts = [0, 0, 0]
    for number in range(kills):
        first = (number + 1) * 100_000
        acks = killed([partial(work, state, first=first) for work in (_put, _note)], chance.uniform(0.0, LONGEST))
        for known, told in zip((put, noted), acks, strict=True):
            known.update(told)
        counts = [counts[0] + len(acks[0]), counts[1] + len(acks[1]), counts[2] + (not any(acks))]
        _check(state, put, noted, number)
    return Outcome(*counts)


def _put(state: Path, ack: int, first: int) -> None:
    """Put incidents down; what each is worth grows, so that a lost change is seen."""
    with open_queue(state) as queue:
        for value in range(first, first + 90_000):
            name = value % INCIDENTS
            try:
                queue.put([change(body(str(name)))._replace(stand=str(value))], START + value)
            except Unavailable:  # the other one writes
                continue
            os.write(ack, ACK.pack(name, value))


def _note(state: Path, ack: int, first: int) -> None:
    """Note deliveries to the target."""
    with open_queue(state) as queue:
        for value in range(first, first + 90_000):
            name = value % INCIDENTS
            told = Delivery(said="open", sent=float(value), nth=value)
            try:
                queue.note("hook", None, [(body(str(name))["fingerprint"], told)])
            except Unavailable:
                continue
            if body(str(name))["fingerprint"] in queue.deliveries("hook"):  # it is none's before the incident is there
                os.write(ack, ACK.pack(name, value))


def _check(state: Path, put: dict[int, int], noted: dict[int, int], number: int) -> None:
    with open_queue(state) as queue:
        assert [] == queue.notices, f"round {number}: {queue.notices}"
        (sound,) = queue.db.execute("PRAGMA integrity_check").fetchone()
        assert "ok" == sound, f"round {number}: {sound}"
        stands, told = queue.stands(), queue.deliveries("hook")
    for name, value in put.items():
        stood = int(stands[body(str(name))["fingerprint"]])
        assert value <= stood, f"round {number}: incident {name} was put down as {value} and stands as {stood}"
    for name, value in noted.items():
        nth = told[body(str(name))["fingerprint"]].nth
        assert value <= nth, f"round {number}: delivery {value} of {name} was noted, the last known is {nth}"
    left = [path.name for path in state.iterdir() if ".corrupt-" in path.name or ".foreign-" in path.name]
    assert [] == left, f"round {number}: {left}"


if __name__ == "__main__":
    soak("kills of the alert queue's writers", lambda *told: str(torment(*told)))
