"""Reading from a store: sweeps, and what each node said in them, node by node so that no more than a few are held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, and_, case, func, select

from probes.named import NamedTuple
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


_COLUMNS = (
    "node", "began_at", "sweep", "at", "state", "reason", "took", "status", "heard_from", "heard_to",
    "facts", "parts", "moment",
)  # fmt: skip
"""What is read of an answer, in this order; its numbers only where they are asked for."""
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
    columns = [result.c[name] for name in (*_COLUMNS, *(("names", "numbers") if numbers else ()))]
    for start in range(0, len(names), CHUNK):
        progress(connection)
        some = dict(names[start : start + CHUNK])
        asked = (
            select(*columns)
            .where(result.c.node.in_(some), *_within(result.c.began_at, window))
            .order_by(result.c.node, result.c.began_at, result.c.sweep)
        )
        rows = connection.execute(asked).all()  # at once: a row fetched by itself costs as much as all else of it
        if not rows:
            continue
        found = {own: list(of_node) for own, of_node in groupby(rows, key=itemgetter(0))}
        bodies = _contents(connection, found, numbers)
        incidents = _incidents(connection, list(found), window)
        for own, of_node in found.items():
            yield some[own], _told(some[own], of_node, bodies.get(own, {}), incidents.get(own, ()), keys)


def nodes(connection: Connection) -> list[str]:
    """Return the names of all nodes, in the order in which they are kept."""
    return list(connection.execute(select(node.c.name).order_by(node.c.id)).scalars())


def _told(
    name: str, rows: Sequence[Any], bodies: Mapping[int, bytes], incidents: Sequence[Any], keys: Mapping[int, str]
) -> list[Told]:
    known: dict[int, Any] = {}

    def content_of(key: int) -> Any:
        if key not in known:
            known[key] = contents.unpack(_body(bodies, key))
        return known[key]

    said: dict[tuple[int, int, int], tuple[Mapping[str, str], tuple[Part, ...], tuple[str, ...]]] = {}
    facts_of: dict[tuple[int, int], Mapping[str, str]] = {}
    parts: dict[int, tuple[Part, ...]] = {}
    told: list[Told] = []
    for _, began, swept, at, state, reason, took, status, start, end, of_facts, of_parts, of_moment, *more in rows:
        heard = None if start is None or end is None else (start, end)
        if state != ANSWERED:
            told.append(Told(keys.get(swept, ""), began, Answer(name, state, reason, at, took, status, heard=heard)))
            continue
        # The same object wherever the same is said: whoever compares answers finds that at once.
        of = (of_facts, of_parts, of_moment)
        if of not in said:
            moment = content_of(of_moment)
            if of_parts not in parts:
                parts[of_parts] = contents.parts_of(content_of(of_parts))
            if (of_facts, of_moment) not in facts_of:
                facts_of[of_facts, of_moment] = contents.facts_of(content_of(of_facts), moment)
            said[of] = (facts_of[of_facts, of_moment], parts[of_parts], contents.notices_of(moment))
        facts, gpus, notices = said[of]
        if more and more[0] is not None:
            values = contents.numbers_of(content_of(more[0]), more[1])
            gpus = tuple(gpu._replace(numbers=own) for gpu, own in zip(gpus, values, strict=True))
        answer = Answer(name, state, reason, at, took, status, facts, gpus, (), heard, notices)
        told.append(Told(keys.get(swept, ""), began, answer))
    for row in incidents:
        place = next(
            (i for i in range(len(told) - 1, -1, -1)
             if row.first_at <= told[i].began_at <= row.last_at and told[i].answer.state == ANSWERED), None,
        )  # fmt: skip
        if place is not None:
            answer = told[place].answer
            told[place] = told[place]._replace(
                answer=answer._replace(incidents=(*answer.incidents, contents.unpack(row.body)))
            )
    return told


def _body(bodies: Mapping[int, bytes], key: int | None) -> bytes:
    if key is None or key not in bodies:
        raise contents.Damaged("something that a node said is missing")
    return bodies[key]


def _contents(connection: Connection, rows: Mapping[int, Sequence[Any]], numbers: bool) -> dict[int, dict[int, bytes]]:
    """Return the contents that these rows name, by node and number."""
    places = [len(_COLUMNS) - 3, len(_COLUMNS) - 2, len(_COLUMNS) - 1, *([len(_COLUMNS)] if numbers else [])]
    wanted = {row[place] for of_node in rows.values() for row in of_node for place in places}
    found: dict[int, dict[int, bytes]] = {}
    columns = (content.c.node, content.c.id, content.c.body)
    for own, key, body in connection.execute(select(*columns).where(content.c.node.in_(list(rows)))).all():
        if key in wanted:
            found.setdefault(own, {})[key] = body
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
