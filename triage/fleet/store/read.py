"""Reading from a store: sweeps, and what each node said in them, node by node so that no more than a few are held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, case, func, select

from triage.fleet.model import ANSWERED, Answer, Part
from triage.fleet.store import contents
from triage.fleet.store.opened import progress
from triage.fleet.store.schema import content, incident, node, result, sweep

CHUNK = 250
"""Nodes that are read at once."""
SHORTEST = 4
"""Characters of a sweep's key by which it may be called."""


class Sweep(NamedTuple):
    """A sweep as it is kept, and how many of its nodes answered and did not."""

    key: str
    began_at: float
    ended_at: float | None
    complete: bool
    via: str
    asked: int
    nodes: str
    answered: int
    silent: int


class Told(NamedTuple):
    """One answer and the sweep in which it was given."""

    sweep: str
    began_at: float
    answer: Answer


class Window(NamedTuple):
    """Sweeps that began from `since` to `until`, UTC epoch seconds; None is open."""

    since: float | None = None
    until: float | None = None


ALL = Window()
"""Every sweep there is."""


def sweeps(connection: Connection, window: Window = ALL) -> list[Sweep]:
    """Return the sweeps of a window, oldest first."""
    counts = (
        select(
            result.c.sweep,
            func.sum(case((result.c.state == ANSWERED, 1), else_=0)).label("answered"),
            func.count().label("everyone"),
        )
        .group_by(result.c.sweep)
        .subquery()
    )
    asked = (
        select(sweep, counts.c.answered, counts.c.everyone)
        .join(counts, counts.c.sweep == sweep.c.id, isouter=True)
        .where(*_within(sweep.c.began_at, window))
        .order_by(sweep.c.began_at, sweep.c.key)
    )
    return [
        Sweep(
            row.key,
            row.began_at,
            row.ended_at,
            row.complete,
            row.via,
            row.asked,
            row.nodes,
            int(row.answered or 0),
            int(row.everyone or 0) - int(row.answered or 0),
        )
        for row in connection.execute(asked)
    ]


def named(found: Sequence[Sweep], word: str) -> Sweep:
    """Return the sweep that is meant: `last`, `last-1`, or the beginning of its key.

    Raises:
        LookupError: if it is none of these; the text says what there is.
    """
    if not found:
        raise LookupError("there is no sweep in it")
    if word.startswith("last"):
        back = word[4:].lstrip("-~") or "0"
        if back.isdecimal() and int(back) < len(found):
            return found[-1 - int(back)]
        raise LookupError(f"'{word}': there are {len(found)} sweeps")
    fits = [each for each in found if each.key.startswith(word)] if len(word) >= SHORTEST else []
    if len(fits) == 1:
        return fits[0]
    what = "more than one begins so" if fits else "no such sweep; `fleet sweeps` lists them"
    raise LookupError(f"'{word}': {what}")


def by_node(
    connection: Connection, window: Window = ALL, *, only: Sequence[str] | None = None, numbers: bool = False
) -> Iterator[tuple[str, list[Told]]]:
    """Yield each node and what it said in the sweeps of a window, in order of time.

    An incident is told by the last answer that speaks of it, as that answer told it.

    Args:
        connection: of the store.
        window: which sweeps.
        only: these nodes; None for all.
        numbers: whether the GPUs come with their numbers, which takes longer.
    """
    keys = {row.id: row.key for row in connection.execute(select(sweep.c.id, sweep.c.key))}
    names = [(row.id, row.name) for row in connection.execute(select(node.c.id, node.c.name).order_by(node.c.id))]
    if only is not None:
        wanted = set(only)
        names = [(own, name) for own, name in names if name in wanted]
    columns = [column for column in result.c if numbers or column.name not in ("names", "numbers")]
    for start in range(0, len(names), CHUNK):
        progress(connection)
        some = dict(names[start : start + CHUNK])
        rows: dict[int, list[Any]] = {}
        asked = (
            select(*columns)
            .where(result.c.node.in_(some), *_within(result.c.began_at, window))
            .order_by(result.c.node, result.c.began_at, result.c.sweep)
        )
        for row in connection.execute(asked):
            rows.setdefault(row.node, []).append(row)
        if not rows:
            continue
        bodies = _contents(connection, rows, numbers)
        incidents = _incidents(connection, list(rows), window)
        for own, of_node in rows.items():
            yield some[own], _told(some[own], of_node, bodies.get(own, {}), incidents.get(own, []), keys, numbers)


def nodes(connection: Connection) -> list[str]:
    """Return the names of all nodes, in the order in which they are kept."""
    return list(connection.execute(select(node.c.name).order_by(node.c.id)).scalars())


def _told(
    name: str, rows: Sequence[Any], bodies: Mapping[int, bytes], incidents: Sequence[Any], keys: Any, numbers: bool
) -> list[Told]:
    facts: dict[Any, Mapping[str, str]] = {}
    parts: dict[Any, tuple[Part, ...]] = {}
    names: dict[Any, Any] = {}
    moments: dict[Any, Any] = {}
    told: list[Told] = []
    for row in rows:
        gpus: tuple[Part, ...] = ()
        own: Mapping[str, str] = {}
        if row.state == ANSWERED:
            if row.moment not in moments:
                moments[row.moment] = contents.unpack(_body(bodies, row.moment))
            if (row.facts, row.moment) not in facts:
                standing = contents.unpack(_body(bodies, row.facts))
                facts[row.facts, row.moment] = contents.facts_of(standing, moments[row.moment])
            if row.parts not in parts:
                parts[row.parts] = contents.parts_of(contents.unpack(_body(bodies, row.parts)))
            own, gpus = facts[row.facts, row.moment], parts[row.parts]
            if numbers and row.names is not None:
                if row.names not in names:
                    names[row.names] = contents.unpack(_body(bodies, row.names))
                values = contents.numbers_of(names[row.names], row.numbers)
                gpus = tuple(gpu._replace(numbers=own) for gpu, own in zip(gpus, values, strict=True))
        heard = None if row.heard_from is None or row.heard_to is None else (row.heard_from, row.heard_to)
        notices = contents.notices_of(moments[row.moment]) if row.state == ANSWERED else ()
        answer = Answer(
            name, row.state, row.reason, row.at, row.took, row.status, own, gpus, (), heard, notices
        )  # fmt: skip
        told.append(Told(keys.get(row.sweep, ""), row.began_at, answer))
    for row in incidents:
        place = next(
            (i for i in range(len(told) - 1, -1, -1)
             if row.first_at <= told[i].began_at <= row.last_at and told[i].answer.state == ANSWERED), None,
        )  # fmt: skip
        if place is not None:
            answer = told[place].answer
            said = (*answer.incidents, contents.unpack(row.body))
            told[place] = told[place]._replace(answer=answer._replace(incidents=said))
    return told


def _body(bodies: Mapping[int, bytes], key: int | None) -> bytes:
    if key is None or key not in bodies:
        raise contents.Damaged("something that a node said is missing")
    return bodies[key]


def _contents(connection: Connection, rows: Mapping[int, Sequence[Any]], numbers: bool) -> dict[int, dict[int, bytes]]:
    """Return the contents that these rows name, by node and number."""
    wanted = {
        key
        for of_node in rows.values()
        for row in of_node
        for key in (row.facts, row.parts, row.moment, row.names if numbers else None)
        if key is not None
    }
    found: dict[int, dict[int, bytes]] = {}
    for row in connection.execute(select(content).where(content.c.node.in_(list(rows)))):
        if row.id in wanted:
            found.setdefault(row.node, {})[row.id] = row.body
    return found


def _incidents(connection: Connection, nodes: Sequence[int], window: Window) -> dict[int, list[Any]]:
    reach = and_(
        incident.c.node.in_(nodes),
        *([incident.c.last_at >= window.since] if window.since is not None else []),
        *([incident.c.first_at <= window.until] if window.until is not None else []),
    )
    found: dict[int, list[Any]] = {}
    order = (incident.c.node, incident.c.opened_at, incident.c.fingerprint)
    for row in connection.execute(select(incident).where(reach).order_by(*order)):
        found.setdefault(row.node, []).append(row)
    return found


def _within(column: Any, window: Window) -> list[Any]:
    return [
        *([column >= window.since] if window.since is not None else []),
        *([column <= window.until] if window.until is not None else []),
    ]
