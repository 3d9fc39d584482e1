"""A report of many sweeps is the same whether or not sweeps that said the same are put together."""

from __future__ import annotations

import random

import pytest

from tests.triage.fleet.places import DAY, incident, rulebook
from triage.fleet.census import Stay
from triage.fleet.condense import condense, condense_for
from triage.fleet.gather import gather_nodes
from triage.fleet.hypotheses import load
from triage.fleet.model import ANSWERED, Answer, Part
from triage.fleet.report import to_fleet_report
from triage.fleet.testify import find
from triage.report import iso


def fleet(seed: int, nodes: int = 120, days: int = 30) -> dict[str, list[Answer]]:
    """Nodes swept every day or so, some not always heard, of which a third gets a driver that fails."""
    rnd = random.Random(seed)
    told: dict[str, list[Answer]] = {}
    for n in range(nodes):
        name, rolled, at = f"g{n:03}", rnd.randrange(8, 20) if n % 3 == 0 else 99, 0.0
        while at < days * DAY:
            before, at = at, at + rnd.choice([0.5, 1.0, 1.3]) * DAY
            driver = "570" if at > rolled * DAY else "550"
            board = n if at < 15 * DAY or n % 10 else n + 1000
            parts = (Part("0000:10:00.0", f"U{board}", f"S{board}", 0, "H100", {"gpu.vbios": f"v{n % 2}"}),)
            failed = []
            if (driver == "570" and rnd.random() < 0.15) or rnd.random() < 0.005:
                opened = iso(rnd.uniform(before, at))
                where = {"node": name, "gpu": {"pci": "0000:10:00.0", "serial": f"S{board}"}}
                failed.append({**incident("gsp-fault"), "fingerprint": name, "opened_at": opened, "where": where})
            heard = None if rnd.random() < 0.05 else (before + rnd.uniform(0, 999), at - rnd.uniform(0, 99))
            facts = {"driver.version": driver, "rack": f"r{n // 16}"}
            told.setdefault(name, []).append(
                Answer(name, ANSWERED, at=at, facts=facts, gpus=parts, incidents=tuple(failed), heard=heard)
            )
    return told


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_count_of_a_report_moves(seed: int) -> None:
    """Patterns, chances, verdicts: all of it, over rollouts, swapped boards and logs that were not heard."""
    told, hypotheses = fleet(seed), load(rulebook())
    answers = [answer for said in told.values() for answer in said]
    plain = gather_nodes(told.items())
    less = gather_nodes(told.items(), condense=condense_for(hypotheses))
    reports = [
        to_fleet_report(find(census, hypotheses), answers, rulebook(), generated_at=31 * DAY)
        for census in (plain, less)
    ]

    assert len(less.stays) < len(plain.stays) / 2
    assert reports[0]["patterns"]
    assert reports[0] == reports[1]


def stay(start: float, end: float, driver: str = "a", heard: float = 1.0) -> Stay:
    return Stay("n", start, end, heard, {"driver.version": driver})


def test_stays_that_say_the_same_are_one() -> None:
    """With the time of both."""
    assert [stay(0, 2, heard=2.0)] == condense([stay(0, 1), stay(1, 2)], [3.0])


def test_what_is_not_alike_or_was_not_heard_stays_apart() -> None:
    """Who was not heard is counted for nothing, and must not be counted through a neighbour."""
    assert 2 == len(condense([stay(0, 1), stay(1, 2, "b")], [3.0]))
    assert 2 == len(condense([stay(0, 1, heard=0.0), stay(1, 2)], [3.0]))


def test_no_stay_reaches_over_the_end_of_soon_after() -> None:
    """Changed at 1, soon after until 4: the stay in which that ends is one of its own."""
    told = condense([stay(0, 1), *(stay(t, t + 1, "b") for t in (1, 2, 3.5, 4.5, 5.5))], [3.0])

    assert [(0, 1), (1, 3), (3.5, 4.5), (4.5, 6.5)] == [(each.start, each.end) for each in told]
