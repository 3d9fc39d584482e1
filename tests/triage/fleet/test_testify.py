"""The fleet's word changes verdicts, and says why."""

from __future__ import annotations

from typing import Any

from tests.triage.fleet.places import Fleet, incident, part, rulebook
from triage.fleet import testify as witnesses
from triage.fleet.census import Event
from triage.fleet.hypotheses import load

OLD, NEW = "550.54.15", "570.86.15"


def told(fleet: Fleet, event: Event) -> dict[str, Any]:
    (after,) = witnesses.testify(witnesses.find(fleet.census(), load(rulebook())), [event], rulebook())
    return after


def evidence(after: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (item for item in after["evidence"] if item["id"] == name)
    return dict(found)


def rollout(ill: int, rolled: int = 20, nodes: int = 200) -> Fleet:
    fleet = Fleet()
    for n in range(nodes):
        fleet.node(f"gpu-{n:04}", part(n), driver_version=NEW if n < rolled else OLD)
        if n < ill:
            fleet.fails(f"gpu-{n:04}", "gsp-fault", 1 + n % 7)
    return fleet


def test_a_fault_that_one_node_cannot_place_is_the_drivers_where_the_fleet_says_so() -> None:
    """With the counts in the sentence, and what was said before kept beside it."""
    fleet = rollout(8)
    after = told(fleet, fleet.events[0])

    assert "undetermined" == incident("gsp-fault")["verdict"]["family"]
    assert "driver" == after["verdict"]["family"]
    assert "undetermined" == after["fleet"]["before"]["family"]
    assert (
        "8 of 20 nodes with driver version 570.86.15 show it, 0 of 180 others"
        in evidence(after, "follows-driver")["why"]
    )
    assert "seen" == evidence(after, "one-version-only")["state"]
    assert "for" == evidence(after, "one-version-only")["bearing"]


def test_the_steps_follow_the_new_verdict() -> None:
    """Nobody swaps a board for a driver's fault."""
    fleet = rollout(8)
    after = told(fleet, fleet.events[0])

    assert after["next"] != incident("gsp-fault")["next"]
    assert any("driver version" in step["do"] for step in after["next"])


def test_what_ends_a_known_bug_is_still_said_where_the_verdict_stands() -> None:
    fleet = rollout(8)
    event = fleet.events[0]
    remedy = {"do": "Update the driver to 999.1, which fixes it.", "risk": "reboots-node", "owner": "driver"}
    before = {**event.incident, "next": [remedy, *event.incident["next"]]}
    decided = told(fleet, event)
    agreed = {**before, "verdict": decided["verdict"]}
    assert remedy == told(fleet, event._replace(incident=agreed))["next"][0]
    assert remedy not in told(fleet, event._replace(incident=before))["next"]


def test_what_would_settle_it_is_asked_anew_once_the_fleet_has_answered() -> None:
    fleet = rollout(8)
    after = told(fleet, fleet.events[0])
    answered = {item["id"] for item in after["evidence"] if item["state"] != "unknown"}
    rule = next(rule for rule in rulebook().rules if rule.id == "gsp-fault")
    assert not {item.settle for item in rule.evidence if item.id in answered and item.settle} & set(after["settle"])


def test_a_fault_that_others_with_the_same_driver_do_not_have_is_less_the_drivers() -> None:
    """Nineteen nodes run it well."""
    fleet = rollout(1, rolled=100)
    before, after = incident("gsp-fault")["verdict"]["by_family"], told(fleet, fleet.events[0])["verdict"]["by_family"]

    assert after["driver"] < before["driver"]


def test_a_small_fleet_says_that_it_is_too_small() -> None:
    """The question stays open, with the reason."""
    fleet = rollout(2, rolled=2, nodes=4)
    asked = evidence(told(fleet, fleet.events[0]), "one-version-only")

    assert ("unknown", "2 nodes with driver.version 570.86.15 and 2 others") == (asked["state"], asked["reason"])


def test_a_node_that_nobody_swept_leaves_the_verdict_as_it_was() -> None:
    """Its facts are not known, so nothing is said."""
    fleet = rollout(8)
    stranger = fleet.fails("gpu-9999", "gsp-fault", 3)
    after = told(fleet, stranger)

    assert incident("gsp-fault")["verdict"] == after["verdict"]
    assert "driver.version of this node is not known" == evidence(after, "one-version-only")["reason"]


def test_two_explanations_that_cannot_be_told_apart_are_not_counted() -> None:
    """All nodes with the driver stand in one rack."""
    fleet = Fleet()
    for n in range(320):
        fleet.node(f"gpu-{n:04}", part(n), rack=f"r{n // 32}", driver_version=NEW if n < 32 else OLD)
        if n < 32 and n % 3 == 0:
            fleet.fails(f"gpu-{n:04}", "gsp-fault", 9 + n)
    after = told(fleet, fleet.events[0])

    for name in ("follows-driver", "follows-rack"):
        assert "unknown" == evidence(after, name)["state"]
        assert "cannot be told from" in evidence(after, name)["reason"]
    assert "undetermined" == after["verdict"]["family"]


def test_a_board_that_took_its_fault_along_is_the_fault() -> None:
    """No other evidence comes near."""
    fleet = rollout(0)
    fleet.node("gpu-0300", part(300), end=15)
    fleet.node("gpu-0301", part(301), end=15)
    fleet.node("gpu-0300", part(301), start=15)
    fleet.node("gpu-0301", part(300), start=15)
    fleet.fails("gpu-0300", "gsp-fault", 9)
    after = told(fleet, fleet.fails("gpu-0301", "gsp-fault", 21))

    assert ("hardware", "hardware.gpu") == (after["verdict"]["family"], after["verdict"]["leaf"])


def test_an_incident_from_elsewhere_with_odd_evidence_is_still_weighed() -> None:
    """Reports come from other versions and other hands."""
    fleet = rollout(8)
    event = fleet.events[0]
    odd = {
        **event.incident,
        "evidence": [*event.incident["evidence"], None, {"state": "maybe"}, {"state": "seen", "points": 7}],
    }
    after = told(fleet, event._replace(incident=odd))

    assert "driver" == after["verdict"]["family"]
