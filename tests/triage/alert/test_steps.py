"""What a target is told next, decided from how an incident stands and what the target knows."""

from __future__ import annotations

import pytest

from triage.alert.config import Target
from triage.alert.states import Delivery, Incident, Standing
from triage.alert.steps import KINDS, LINGER, backoff, refilled, step

NOW = 1_795_000_000.0
TARGETS = {kind: Target("t", kind, "https://x") for kind in KINDS}
NEW = Delivery()


def incident(state: str = "open", severity: str = "critical", family: str = "hardware", version: int = 2) -> Incident:
    return Incident("fp", state, severity, family, NOW - 10, version)


def knows(
    said: str, *, severity: str = "critical", sent: float = NOW - 1, version: int = 1, unsure: bool = False
) -> Delivery:
    return Delivery(said=said, severity=severity, family="hardware", sent=sent, version=version, unsure=unsure)


@pytest.mark.parametrize(
    ("kind", "what", "known", "event"),
    [
        # What opens is told, but not who asked for worse only.
        ("pagerduty", incident(), NEW, "open"),
        ("webhook", incident("open", "info"), NEW, ""),
        # Somebody has taken it on already: no page; but who only shows it is told.
        ("pagerduty", incident("acknowledged"), NEW, ""),
        ("alertmanager", incident("acknowledged"), NEW, "open"),
        # What is told once is told over, whatever became of its severity.
        ("pagerduty", incident("resolved", "info"), knows("open"), "resolve"),
        ("webhook", incident("resolved", "info"), knows("acknowledged"), "resolve"),
        # It may have arrived: it is told over where it would stand for ever.
        ("pagerduty", incident("resolved"), knows("", unsure=True), "resolve"),
        ("alertmanager", incident("resolved"), knows("", unsure=True), "resolve"),
        # It came and went: nobody is woken, others are told once.
        ("pagerduty", incident("resolved"), NEW, ""),
        ("webhook", incident("resolved"), NEW, "resolve"),
        ("apprise", incident("resolved"), NEW, "resolve"),
        ("apprise", incident("resolved", "info"), NEW, ""),
        # It was told over, and is back.
        ("pagerduty", incident(), knows("resolved"), "open"),
        ("pagerduty", incident("acknowledged"), knows("open"), "acknowledge"),
        ("pagerduty", incident(), knows("acknowledged"), "open"),
        ("apprise", incident("acknowledged"), knows("open"), ""),
        # Updates: what matters to a person, or everything to a program.
        ("pagerduty", incident(), knows("open"), ""),
        ("pagerduty", incident(), knows("open", severity="warning"), "update"),
        ("apprise", incident(family="driver"), knows("open"), "update"),
        ("webhook", incident(), knows("open"), "update"),
        ("webhook", incident(version=1), knows("open"), ""),
        ("alertmanager", incident(version=1), knows("open"), "renew"),
        ("alertmanager", incident("resolved", version=1), knows("resolved"), "renew"),
    ],
)
def test_what_comes_next(kind: str, what: Incident, known: Delivery, event: str) -> None:
    assert event == step(TARGETS[kind], what, known, NOW).event


def test_updates_wait_for_each_other_unless_it_got_worse() -> None:
    """A storm is one message in half a minute."""
    calm = step(TARGETS["webhook"], incident(), knows("open"), NOW)
    worse = step(TARGETS["webhook"], incident(), knows("open", severity="warning"), NOW)

    assert NOW + 29 == calm.due
    assert 0.0 == worse.due


def test_alertmanager_hears_of_an_end_for_some_minutes_and_then_no_more() -> None:
    over = incident("resolved", version=1)

    assert "" == step(TARGETS["alertmanager"], over._replace(at=NOW - LINGER), knows("resolved"), NOW).event


def test_a_family_that_is_asked_for_is_waited_for() -> None:
    """Undetermined at first; told once it is blamed on what the target cares for."""
    hands = TARGETS["webhook"]._replace(family=("hardware",))

    assert "" == step(hands, incident(family="undetermined"), NEW, NOW).event
    assert "open" == step(hands, incident(family="hardware", version=3), NEW._replace(version=2), NOW).event


def test_pauses_grow_to_a_minute_and_no_two_are_alike() -> None:
    pauses = [[backoff(tries) for _ in range(50)] for tries in (0, 3, 40)]

    assert all(0.5 <= pause <= 1.0 for pause in pauses[0])
    assert all(4.0 <= pause <= 8.0 for pause in pauses[1])
    assert all(30.0 <= pause <= 60.0 for pause in pauses[2])
    assert 1 < len(set(pauses[1]))


def test_a_limit_fills_up_again_with_time_and_never_beyond() -> None:
    target = TARGETS["webhook"]._replace(limit=10)
    fresh = refilled(target, Standing(), NOW)
    empty = fresh._replace(tokens=0.0)

    assert 10.0 == fresh.tokens
    assert 1.0 == pytest.approx(refilled(target, empty, NOW + 60).tokens)
    assert 10.0 == refilled(target, empty, NOW + 86400).tokens
    assert 0.0 == refilled(target, empty, NOW - 86400).tokens
