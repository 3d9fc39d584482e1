"""A fleet that is made up, seeded, with the truth beside it: what each node answers in three sweeps of thirty days.

Injected causes: a driver rollout with a bug, boards that fail and are swapped to
another node, a rack that loses power twice, a user whose program is wrong, a
firmware image with a fault.  Beneath lies a background of single incidents at
some 4 per 1000 node-days, between the two clusters of arXiv 2410.21680 (6.50 and
2.34), whose cause nobody knows.  Causes go together with what is innocent: the
driver is rolled out rack by rack, boards of one batch stand in one rack, a busy
user runs on bad nodes, nodes vanish and answers are missing.  The incidents are what real lines open.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from tests.triage.fleet.places import DAY, incident
from triage.fleet.model import ANSWERED, Answer, Json, Part
from triage.report import iso

SWEEPS = (10.0, 20.0, 30.0)
RACK, LEAF, GPUS = 32, 16, 8
OLD, NEW = "550.54.15", "570.99.99"
BACKGROUND = (("gpu-off-bus", 0.30), ("gsp-fault", 0.15), ("compute-exception", 0.45), ("controller-halt", 0.10))
GONE, MISSED = 0.02, 0.03
"""Shares of the nodes that vanish before the last sweep, and of the answers that are missing."""
RATE = 0.004
"""Background incidents per node and day."""


class Made(NamedTuple):
    """Answers, where nodes stand, and by `fingerprint@opened_at` the injected cause (None: background)."""

    answers: list[Answer]
    places: dict[str, dict[str, str]]
    truth: dict[str, str | None]


class _Maker:
    def __init__(self, nodes: int, seed: int) -> None:
        self.rnd = random.Random(seed)
        self.names = [f"gpu{n:05}" for n in range(nodes)]
        # Boards of one batch, with one firmware, stand in some racks more than in others.
        batch = {rack for rack in range(nodes // RACK + 1) if self.rnd.random() < 0.1}
        self.boards = [
            [
                Part(
                    f"0000:{16 * (i + 1):02x}:00.0",
                    f"GPU-{n * GPUS + i:08}",
                    f"{n * GPUS + i:08}",
                    i,
                    "NVIDIA H100 80GB HBM3",
                    {
                        "gpu.vbios": "96.00.89"
                        if self.rnd.random() < (0.5 if n // RACK in batch else 0.05)
                        else "96.00.74"
                    },
                )
                for i in range(GPUS)
            ]
            for n in range(nodes)
        ]
        self.seats = {sweep: [list(boards) for boards in self.boards] for sweep in SWEEPS}
        self.incidents: dict[tuple[float, int], list[Json]] = {}
        self.truth: dict[str, str | None] = {}

    def fails(self, node: int, gpu: int, rule: str, day: float, cause: str | None) -> None:
        """Put an incident in the first sweep after it."""
        sweep = next((sweep for sweep in SWEEPS if day < sweep), SWEEPS[-1])
        board, name = self.seats[sweep][node][gpu], self.names[node]
        fingerprint, opened = f"{name}/{board.serial}/{rule}", iso(day * DAY)
        told = {
            **incident(rule),
            "fingerprint": fingerprint,
            "opened_at": opened,
            "last_seen_at": opened,
            "where": {
                "node": name,
                "gpu": {"pci": board.pci, "serial": board.serial, "uuid": board.uuid, "index": gpu},
            },
        }
        self.incidents.setdefault((sweep, node), []).append(told)
        self.truth[f"{fingerprint}@{opened}"] = cause

    def gpu(self) -> int:
        return self.rnd.randrange(GPUS)


def fleet(nodes: int, seed: int = 1) -> Made:
    """Make a fleet of so many nodes."""
    made = _Maker(nodes, seed)
    rnd = made.rnd
    bad_rack = rnd.randrange(max(1, nodes // RACK))
    rolled = _rolled(rnd, nodes, bad_rack)
    # A busy user runs where the driver is bad more often than elsewhere, and nothing is wrong with what he runs.
    users = {
        node: "mallory" if rnd.random() < 0.03
        else "busy" if rnd.random() < (0.3 if node in rolled else 0.1)
        else f"user{rnd.randrange(40)}"
        for node in range(nodes)
    }  # fmt: skip
    gone = {node for node in range(nodes) if rnd.random() < GONE}
    for node in range(nodes):
        if rnd.random() < RATE * SWEEPS[-1]:
            rule = rnd.choices([rule for rule, _ in BACKGROUND], [weight for _, weight in BACKGROUND])[0]
            made.fails(node, made.gpu(), rule, rnd.uniform(0, SWEEPS[-1]), None)
        if node in rolled and rnd.random() < 0.12:
            for _ in range(rnd.randrange(1, 4)):
                made.fails(node, made.gpu(), "gsp-fault", rnd.uniform(10, SWEEPS[-1]), "rollout")
        if users[node] == "mallory" and rnd.random() < 0.4:
            made.fails(node, made.gpu(), "compute-exception", rnd.uniform(0, SWEEPS[-1]), "job")
        if node // RACK == bad_rack:
            for outage in (12.0, 23.0):
                if rnd.random() < 0.6:
                    made.fails(node, made.gpu(), "gpu-off-bus", outage + rnd.uniform(0, 60) / DAY, "rack")
        for gpu, board in enumerate(made.boards[node]):
            if board.facts["gpu.vbios"] == "96.00.89" and rnd.random() < 0.05:
                made.fails(node, gpu, "controller-halt", rnd.uniform(0, SWEEPS[-1]), "vbios")
    pairs = max(1, nodes // 250)
    apart = rnd.sample([node for node in range(nodes) if node // RACK != bad_rack], 2 * pairs)
    for here, there in zip(apart[:pairs], apart[pairs:], strict=True):
        _swap(made, here, there)
    answers = [
        _answer(made, sweep, node, node in rolled, users[node])
        for sweep in SWEEPS
        for node in range(nodes)
        if not (node in gone and sweep == SWEEPS[-1]) and rnd.random() >= MISSED
    ]
    places = {
        name: {"rack": f"r{node // RACK}", "leaf": f"l{node // LEAF}"} for node, name in enumerate(made.names)
    }  # fmt: skip
    return Made(answers, places, made.truth)


def _rolled(rnd: random.Random, nodes: int, bad_rack: int) -> set[int]:
    """Nodes with the new driver: most of them whole racks, one after the other, the rest single ones of other racks."""
    racks = [rack for rack in range(max(1, nodes // RACK)) if rack != bad_rack]
    whole = set(rnd.sample(racks, round(len(racks) * 0.15)))
    return {
        node for node in range(nodes)
        if node // RACK != bad_rack and (node // RACK in whole or rnd.random() < 0.05)
    }  # fmt: skip


def _swap(made: _Maker, here: int, there: int) -> None:
    """A board fails twice, is put into another node on day 20, and fails there."""
    gpu, other = made.gpu(), made.gpu()
    for day in (4.0, 15.0):
        made.fails(here, gpu, "gpu-off-bus", day + made.rnd.random(), "board")
    moved, came = made.seats[30.0][here][gpu], made.seats[30.0][there][other]
    made.seats[30.0][there][other] = moved._replace(pci=came.pci, index=other)
    made.seats[30.0][here][gpu] = came._replace(pci=moved.pci, index=gpu)
    for day in (22.0, 27.0):
        made.fails(there, other, "gpu-off-bus", day + made.rnd.random(), "board")


def _answer(made: _Maker, sweep: float, node: int, rolled: bool, user: str) -> Answer:
    incidents = made.incidents.get((sweep, node), ())
    return Answer(
        made.names[node],
        ANSWERED,
        at=sweep * DAY,
        status="critical" if incidents else "ok",
        facts={
            "driver.version": NEW if rolled and sweep > SWEEPS[0] else OLD,
            "kernel.release": "6.8.0-45-generic" if node % 3 else "5.15.0-119-generic",
            "job.user": user,
        },
        gpus=tuple(made.seats[sweep][node]),
        incidents=tuple(incidents),
        heard=((sweep - 10) * DAY, sweep * DAY),
    )
