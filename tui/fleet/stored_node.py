"""One node by the store of its fleet: its GPUs' readings in the last sweep, and how each went in the sweeps before."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from probes.model import Entity, Reading
from triage.cli.exits import UNREACHABLE, Refused
from triage.fleet.model import ANSWERED, Answer, Part
from tui.fleet.units import unit_of, value_of
from tui.sweep import pack
from tui.trend import PERIOD, Course, Lay, counts

NO_LOGS = "this is what the fleet's store knows; it keeps no logs, but the sweep's folder does, where it was kept"
Json = dict[str, Any]


def main(args: argparse.Namespace, now: float) -> Json:
    """Return the readings of `args.node` and their past, by GPU and name.

    Raises:
        Refused: if the store cannot be read, or knows no answer of that node.
    """
    from triage.fleet.store import address, look, read
    from triage.fleet.store.opened import Store
    from triage.fleet.store.trouble import Unusable

    window = read.Window(now - PERIOD, args.until)

    def work(connection: Any) -> list[Answer]:
        told = read.by_node(connection, window, only=[args.node], numbers=True)
        return [each.answer for _, said in told for each in said if each.answer.state == ANSWERED]

    try:
        with Store(address.given(args.kept_in) or "") as store:
            answers: list[Answer] = look.asked(store, work)
            shown = store.shown
    except Unusable as error:
        raise Refused(str(error), UNREACHABLE) from None
    if not answers:
        raise Refused(f"{shown}: {args.node} answered in no sweep of the last 30 days")
    last = answers[-1]
    return {
        "report": {"notices": [*last.notices, NO_LOGS]},
        "readings": [pack(reading) for reading in readings(last)],
        "past": {gpu: {name: list(course) for name, course in own.items()} for gpu, own in past(answers).items()},
    }


def readings(answer: Answer) -> Iterable[Reading]:
    """Yield what the GPUs told."""
    at = answer.at or 0.0
    for part in answer.gpus:
        entity = Entity("gpu", part.pci, part.uuid, part.serial, part.index, part.name)
        for name, fact in part.facts.items():
            yield Reading(entity, name, fact, "text", at)
        for name, number in part.numbers.items():
            unit = unit_of(name)
            yield Reading(entity, name, value_of(number, unit), unit, at)


def subject(part: Part) -> str:
    """Return what a GPU is known by, wherever it sits."""
    return part.uuid or (f"serial:{part.serial}" if part.serial else part.pci) or ""


def past(answers: Iterable[Answer]) -> Mapping[str, Mapping[str, Course]]:
    """Return how each reading of each GPU went, from answers in order of time; flags and texts have no course."""
    told: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for answer in answers:
        for part in answer.gpus:
            for name, number in part.numbers.items():
                if answer.at is not None and unit_of(name) != "flag":
                    told.setdefault((subject(part), name), []).append((answer.at, number))
    found: dict[str, dict[str, Course]] = {}
    for (gpu, name), points in told.items():
        if len(points) > 1:
            found.setdefault(gpu, {})[name] = _rises(points) if counts(name) else _levels(points)
    return found


def _levels(points: list[tuple[float, float]]) -> Course:
    """What a level was before it was what it is; what it was between two sweeps nobody saw."""
    return Course(tuple(Lay(at, at, value, value, value) for at, value in points[:-1]), False)


def _rises(points: list[tuple[float, float]]) -> Course:
    """Where a count is less than before it began anew from nothing."""
    first = points[0][0]
    rises = [(at, value - before if value >= before else value) for (_, before), (at, value) in pairwise(points)]
    return Course(tuple(Lay(at, at, rise, rise, rise) for at, rise in [(first, 0.0), *rises]), True)


def courses(told: Mapping[str, Any]) -> Mapping[str, Mapping[str, Course]]:
    """Return what `main` printed of the past."""
    return {
        gpu: {name: Course(tuple(Lay(*lay) for lay in lays), counted) for name, (lays, counted) in own.items()}
        for gpu, own in told.items()
    }
