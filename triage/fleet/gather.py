"""From the answers of nodes to a census: who stood how for how long, and each incident once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from triage.fleet.census import Census, Event, Stay
from triage.fleet.model import ANSWERED, Answer, Json

Places = Mapping[str, Mapping[str, str]]
"""What an inventory knows of each node: rack, chassis, leaf and whatever else."""

Condense = Callable[[Sequence[Stay]], Sequence[Stay]]

DAY = 86400.0


def gather(answers: Iterable[Answer], places: Places | None = None) -> Census:
    """Return the census of all answers; a node's later answers carry on from its earlier ones.

    A fact that differs between two answers is taken to have been as the later one
    says since the earlier one.  An answer without a time, or that heard no log, is in no rate.
    """
    by_node: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer.state == ANSWERED:
            by_node.setdefault(answer.node, []).append(answer)
    return gather_nodes(by_node.items(), places)


def gather_nodes(
    nodes: Iterable[tuple[str, Sequence[Answer]]], places: Places | None = None, condense: Condense | None = None
) -> Census:
    """Return the census of nodes that come one by one, each with all its answers.

    `condense` may put stays of a node together that say the same.
    """
    places = places or {}
    stays: list[Stay] = []
    events: dict[tuple[str, str], Event] = {}
    for node, said in nodes:
        own: list[Stay] = []
        place = places.get(node, {})
        before: Mapping[str, str] | None = None
        facts: Mapping[str, str] = {}
        last = None
        for answer in sorted((each for each in said if each.state == ANSWERED), key=lambda each: each.at or 0.0):
            for event in _events(node, answer):
                events[node, event.fingerprint] = event  # the later answer knows more of the same incident
            if answer.at is None:
                continue
            start, heard = _span(answer, last)
            if before is not answer.facts:  # as a store's mostly are, and a report of many sweeps is small by that
                before, facts = answer.facts, {**answer.facts, **place}
            own.append(Stay(node, start, answer.at, heard, facts, answer.gpus))
            last = answer.at
        stays += own if condense is None else condense(own)
    begin = min((stay.start for stay in stays), default=0.0)
    end = max((stay.end for stay in stays), default=0.0)
    return Census(stays, events.values(), begin, end)


def silent_of(answers: Sequence[Answer]) -> tuple[list[Answer], list[str]]:
    """Return what could not be read, and the nodes that were heard before but not when they were asked last.

    A node that was silent in one sweep (which has a time) and answered in another was heard.
    """
    told = {answer.node for answer in answers if answer.state == ANSWERED}
    last: dict[str, Answer] = {}
    for answer in answers:
        if answer.at is not None and (answer.node not in last or answer.at >= (last[answer.node].at or 0.0)):
            last[answer.node] = answer
    silent = [
        answer
        for answer in answers
        if answer.state != ANSWERED and (answer.at is None or (answer.node not in told and answer is last[answer.node]))
    ]
    return silent, sorted(node for node, answer in last.items() if node in told and answer.state != ANSWERED)


def unheard(fallen: Sequence[str]) -> list[str]:
    """Return what is to be said of nodes that did not answer when they were asked last."""
    if not fallen:
        return []
    nodes = "1 node" if len(fallen) == 1 else f"{len(fallen)} nodes"
    named = ", ".join(fallen[:5]) + (", ..." if len(fallen) > 5 else "")
    return [f"{nodes} did not answer when asked last ({named}); what was said before is counted"]


def _span(answer: Answer, last: float | None) -> tuple[float, float]:
    """Return since when the answer speaks, and for how many seconds of that the log was heard."""
    assert answer.at is not None
    if answer.heard is None:
        return (answer.at if last is None else last), 0.0
    start = answer.heard[0] if last is None else max(last, min(answer.heard[0], answer.at))
    return min(start, answer.at), max(0.0, min(answer.heard[1], answer.at) - max(start, answer.heard[0]))


def _events(node: str, answer: Answer) -> Iterable[Event]:
    for incident in answer.incidents:
        opened = epoch(incident.get("opened_at"))
        if opened is None:
            opened = answer.at
        if opened is None:
            continue
        last = epoch(incident.get("last_seen_at"))
        gpu: Json = (incident.get("where") or {}).get("gpu") or {}
        yield Event(
            node=node,
            rule=str((incident.get("rule") or {}).get("id")),
            at=opened,
            last=opened if last is None else last,
            fingerprint=f"{incident.get('fingerprint')}@{incident.get('opened_at')}",
            incident=incident,
            pci=gpu.get("pci"),
            board=gpu.get("serial") or gpu.get("uuid"),
        )


def epoch(iso: object) -> float | None:
    """Return an ISO 8601 time of a report in UTC epoch seconds, None if it is none."""
    if not isinstance(iso, str):
        return None
    try:
        return datetime.fromisoformat(iso.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
