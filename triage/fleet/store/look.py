"""What a store is asked for: the report of a fleet, its nodes, what changed, two sweeps beside each other."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, and_, select

from triage import __version__
from triage.fleet import changes as changed
from triage.fleet.condense import condense_for
from triage.fleet.early import judge, observations
from triage.fleet.early_past import pasts
from triage.fleet.early_values import Early, Signs
from triage.fleet.gather import Places, gather_nodes
from triage.fleet.hypotheses import Hypotheses
from triage.fleet.model import ANSWERED, Answer, Json
from triage.fleet.report import to_fleet_report
from triage.fleet.store import contents, read
from triage.fleet.store.opened import Store
from triage.fleet.store.read import Sweep, Told, Window
from triage.fleet.store.schema import incident, node, result
from triage.fleet.store.trouble import Unusable
from triage.fleet.testify import find
from triage.report import TOOL, iso
from triage.rulebook.model import Rulebook

SCHEMA_VERSION = 1
NOTHING = "no sweep in that time is in it; `gpu-triage fleet sweeps` lists what there is"


def asked(store: Store, work: Callable[[Connection], Any]) -> Any:
    """Read, and say what is damaged.

    Raises:
        Unusable: if the store cannot be read, or what stands in it is none of ours.
    """
    try:
        return store.read(work)
    except contents.Damaged as error:
        raise Unusable(f"{store.shown}: damaged: {error}") from None


def report(
    store: Store,
    window: Window,
    rulebook: Rulebook,
    hypotheses: Hypotheses,
    *,
    now: float,
    places: Places | None = None,
    only: Sequence[str] | None = None,
) -> Json:
    """Return the report of all sweeps of a window, as the captures of the same sweeps would give it.

    A node that answered in none of them is silent, for the reason that the last one gave.
    """
    latest: list[Answer] = []

    def work(connection: Connection) -> Any:
        latest.clear()

        def said() -> Iterator[tuple[str, list[Answer]]]:
            for name, told in read.by_node(connection, window, only=only):
                answers = [each.answer for each in told]
                latest.extend(_latest(told))
                yield name, answers

        return gather_nodes(said(), places, condense_for(hypotheses))

    # Hundreds of thousands of values that stay until the end: looking through them for garbage finds none.
    collecting = gc.isenabled()
    gc.disable()
    try:
        census = asked(store, work)
        if not latest:
            raise Unusable(f"{store.shown}: {NOTHING}")
        latest.sort(key=lambda answer: answer.node)
        return to_fleet_report(find(census, hypotheses), latest, rulebook, generated_at=now)
    finally:
        if collecting:
            gc.enable()


def early(
    store: Store, window: Window, signs: Signs, *, only: Sequence[str] | None = None
) -> tuple[Early, list[Answer]]:
    """Return the early signs in all sweeps of a window, and the last answer of each node without what it told.

    Raises:
        Unusable: if the store cannot be read, or holds nothing of that time.
    """
    latest: list[Answer] = []

    def work(connection: Connection) -> Any:
        latest.clear()

        def said() -> Iterator[Answer]:
            for _, told in read.by_node(connection, window, only=only, numbers=True):
                answers = [each.answer for each in told]
                latest.extend(_latest(told))
                yield from answers

        return pasts(observations(said()), signs.all)

    by_gpu, nodes = asked(store, work)
    if not latest:
        raise Unusable(f"{store.shown}: {NOTHING}")
    return judge(by_gpu, nodes, signs), latest


def _latest(told: Sequence[Told]) -> Iterator[Answer]:
    """Yield the last answer of a node, and after it that it was silent since, if it was."""
    answers = [each.answer for each in told]
    said = next((answer for answer in reversed(answers) if answer.state == ANSWERED), None)
    if said is not None:
        yield _bare(said)
    if answers[-1].state != ANSWERED:
        yield _bare(answers[-1]._replace(at=told[-1].began_at))


def _bare(answer: Answer) -> Answer:
    """An answer without what only its incidents and rates needed."""
    return answer._replace(facts={}, gpus=(), incidents=())


def nodes(store: Store, window: Window, *, now: float, only: Sequence[str] | None = None) -> Json:
    """Return what became of the last question to each node, what it last said, and what is open on it."""
    found: list[Json] = []

    def work(connection: Connection) -> None:
        found.clear()
        for name, told in read.by_node(connection, window, only=only):
            found.append(_node(name, told))

    asked(store, work)
    found.sort(key=lambda each: str(each["node"]))
    return {**_head("fleet-nodes", now), "nodes": found}


def _node(name: str, told: Sequence[Told]) -> Json:
    answers = [each for each in told if each.answer.state == ANSWERED]
    said = answers[-1].answer if answers else told[-1].answer
    open_ = [each for each in said.incidents if each.get("state") == "open"]
    return {
        "node": name,
        "state": told[-1].answer.state,
        "reason": told[-1].answer.reason,
        "asked_at": iso(told[-1].began_at),
        "answered_at": iso(answers[-1].began_at) if answers else None,
        "sweeps": len(told),
        "answered": len(answers),
        "status": said.status if answers else "unknown",
        "driver": said.facts.get("driver.version"),
        "kernel": said.facts.get("kernel.release"),
        "gpus": len(said.gpus),
        "incidents": sorted({str((each.get("rule") or {}).get("id")) for each in open_}),
    }


def changes(store: Store, window: Window, *, now: float, only: Sequence[str] | None = None) -> Json:
    """Return what changed from sweep to sweep, the most widespread first, and the incidents beside it."""
    found: list[changed.Change] = []
    opened: dict[str, list[tuple[float, str]]] = {}
    asked_nodes = 0

    def work(connection: Connection) -> None:
        nonlocal asked_nodes
        found.clear()
        asked_nodes = 0
        for name, told in read.by_node(connection, window, only=only):
            asked_nodes += 1
            found.extend(changed.of_node(name, ((each.began_at, each.answer) for each in told)))
            opened[name] = changed.opened_in(each.answer for each in told)

    asked(store, work)
    if not asked_nodes:
        raise Unusable(f"{store.shown}: {NOTHING}")
    return {
        **_head("fleet-changes", now),
        "nodes": asked_nodes,
        "changes": [_group(group) for group in changed.gathered(changed.across(found), opened)],
    }


def diff(store: Store, one: str, other: str, *, now: float, only: Sequence[str] | None = None) -> Json:
    """Return what is different in the second of two sweeps.

    Raises:
        LookupError: if one of them is not there; the text says what there is.
        Unusable: if the store cannot be read.
    """

    def work(connection: Connection) -> Json:
        known = read.sweeps(connection)
        first, second = sorted(
            (read.named(known, one), read.named(known, other)), key=lambda each: (each.began_at, each.key)
        )
        then, after = (_of_sweep(connection, sweep, only) for sweep in (first, second))
        found: list[changed.Change] = []
        states: list[Json] = []
        for name in sorted(then.keys() | after.keys()):
            was, is_now = then.get(name), after.get(name)
            if (was and was.state) != (is_now and is_now.state):
                states.append(
                    {
                        "node": name,
                        "was": was.state if was else None,
                        "now": is_now.state if is_now else None,
                        "reason": is_now.reason if is_now else None,
                    }
                )
            if was and is_now and was.state == is_now.state == ANSWERED:
                found += changed.between(name, (first.began_at, was), (second.began_at, is_now))
        before, since = (_standing(connection, sweep.began_at) for sweep in (first, second))
        heard = {name for name, answer in after.items() if answer.state == ANSWERED}
        heard_before = {name for name, answer in then.items() if answer.state == ANSWERED}
        return {
            **_head("fleet-diff", now),
            "from": sweep_of(first),
            "to": sweep_of(second),
            "states": states,
            "changes": [_group(group) for group in changed.gathered(changed.across(found), {})],
            "incidents": {
                "opened": [told for key, told in since.items() if key not in before and told["node"] in heard_before],
                "over": [told for key, told in before.items() if key not in since and told["node"] in heard],
                "still": sum(1 for key in since if key in before),
            },
        }

    found: Json = asked(store, work)
    return found


def sweeps(store: Store, window: Window, *, now: float) -> Json:
    """Return the sweeps that are there, oldest first."""
    return {
        **_head("fleet-sweeps", now),
        "store": store.shown,
        "sweeps": [sweep_of(each) for each in asked(store, lambda connection: read.sweeps(connection, window))],
    }


def sweep_of(sweep: Sweep) -> Json:
    """Return a sweep as it is told."""
    return {
        "sweep": sweep.key,
        "began_at": iso(sweep.began_at),
        "ended_at": None if sweep.ended_at is None else iso(sweep.ended_at),
        "complete": sweep.complete,
        "via": sweep.via,
        "nodes": sweep.nodes,
        "asked": sweep.asked,
        "answered": sweep.answered,
        "silent": sweep.silent,
    }


def _of_sweep(connection: Connection, sweep: Sweep, only: Sequence[str] | None) -> dict[str, Answer]:
    window = Window(sweep.began_at, sweep.began_at)
    return {
        name: each.answer
        for name, told in read.by_node(connection, window, only=only)
        for each in told
        if each.sweep == sweep.key
    }


def _standing(connection: Connection, at: float) -> dict[tuple[int, int], Json]:
    """Return the incidents that the sweep begun at that moment told."""
    columns = incident.c
    told = (
        select(columns.node, columns.id, columns.rule, columns.severity, columns.state, columns.family, columns.leaf,
               columns.confidence, columns.opened_at, columns.serial, columns.pci, node.c.name)
        .join(node, node.c.id == columns.node)
        .join(result, and_(result.c.node == columns.node, result.c.began_at == at))
        .where(columns.first_at <= at, columns.last_at >= at)
        .order_by(node.c.name, columns.rule, columns.opened_at)
    )  # fmt: skip
    return {
        (row.node, row.id): {
            "node": row.name,
            "rule": row.rule,
            "severity": row.severity,
            "opened_at": None if row.opened_at is None else iso(row.opened_at),
            "serial": row.serial,
            "pci": row.pci,
            "verdict": {"family": row.family, "leaf": row.leaf, "confidence": row.confidence},
        }
        for row in connection.execute(told)
    }


def _group(group: changed.Group) -> Json:
    return {
        "kind": group.kind,
        "what": group.what,
        "was": group.was,
        "now": group.now,
        "nodes": group.nodes,
        "parts": sorted({change.part for change in group.changes if change.part is not None}),
        "after": iso(min(change.after for change in group.changes)),
        "by": iso(max(change.by for change in group.changes)),
        "incidents": {
            "days": round(changed.BESIDE / 86400.0),
            "before": sum(group.before.values()),
            "since": sum(group.since.values()),
            "rules": dict(sorted(group.since.items(), key=lambda item: (-item[1], item[0]))),
        },
    }


def _head(kind: str, now: float) -> Json:
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "tool": {"name": TOOL, "version": __version__},
        "generated_at": iso(now),
    }
