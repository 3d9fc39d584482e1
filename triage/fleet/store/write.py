"""Writing into a store: a sweep's answers, its end, what is over.

All of it may be done twice, in any order and by many at once.  Answers of one
node are written one after the other, under a lock of that node; nodes are locked
in the order of their numbers, so that no two writers wait for each other.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, and_, case, delete, exists, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from probes.named import NamedTuple
from triage import __version__
from triage.fleet.gather import epoch
from triage.fleet.model import ANSWERED, Answer, Json
from triage.fleet.store.contents import pack, take_apart
from triage.fleet.store.opened import Store
from triage.fleet.store.schema import content, incident, node, number, result, sweep
from triage.fleet.store.trouble import Unusable

BATCH = 64
"""Answers in one transaction."""
PRUNED = 256
"""Nodes of which old answers are deleted in one transaction."""
SAME = 5.0
"""Seconds between two openings of one incident: what a node's clock makes of the same line moves."""
MOST_TEXT = 1000


class Swept(NamedTuple):
    """A sweep: `key` is its own and no other's, `asked` nodes were asked, `nodes` is their set."""

    key: str
    began_at: float
    via: str = "captures"
    asked: int = 0
    nodes: str = ""
    tool: str = __version__


def put(store: Store, swept: Swept, answers: Sequence[Answer], *, until: float | None = None) -> None:
    """Write answers of a sweep; when this returns they are on the server's disk.

    An answer takes the place of one of the same sweep and node only if that was none.

    Raises:
        Unusable: if they could not be written; `Unreachable` if that may pass.
    """
    told = list({answer.node: answer for answer in answers}.values())
    for start in range(0, len(told), BATCH):
        some = told[start : start + BATCH]
        store.write(lambda connection, some=some: _put(connection, swept, some), until=until)  # type: ignore[misc]
    if not told:
        store.write(lambda connection: _begin(connection, swept), until=until)


def end(store: Store, swept: Swept, ended_at: float, *, complete: bool, until: float | None = None) -> None:
    """Say when a sweep ended, and whether every node's answer was heard and is here."""
    number_of = number(swept.key)

    def work(connection: Connection) -> None:
        _begin(connection, swept)
        own = sweep.c.id == number_of
        connection.execute(update(sweep).where(own, sweep.c.ended_at.is_(None)).values(ended_at=ended_at))
        if complete:
            connection.execute(update(sweep).where(own).values(complete=True))

    store.write(work, until=until)


def prune(store: Store, before: float, *, until: float | None = None) -> tuple[int, bool]:
    """Delete what sweeps said that began earlier, in small transactions.

    Returns:
        How many answers were deleted, and whether that is all there were; what is left goes the next time.
    """
    deleted = 0
    while until is None or time.monotonic() < until:
        count = store.write(lambda connection: _prune(connection, before))
        if count is None:
            return deleted, True
        deleted += count
    return deleted, False


def _begin(connection: Connection, swept: Swept) -> float:
    """Write the sweep if it is new, and return when it began."""
    row = {
        "id": number(swept.key),
        "key": _text(swept.key),
        "began_at": swept.began_at,
        "ended_at": None,
        "complete": False,
        "via": _text(swept.via),
        "asked": swept.asked,
        "nodes": _text(swept.nodes, 1 << 20),
        "tool": _text(swept.tool),
    }
    connection.execute(_insert(connection, sweep).on_conflict_do_nothing(), row)
    found = connection.execute(select(sweep.c.key, sweep.c.began_at).where(sweep.c.id == row["id"])).one_or_none()
    if found is None or found.key != row["key"]:
        raise Unusable(f"the sweep {row['key']} cannot be told from another")  # 1 in 2^63
    return float(found.began_at)


def _put(connection: Connection, swept: Swept, answers: Sequence[Answer]) -> None:
    began = _begin(connection, swept)
    ids = {_text(answer.node): number(_text(answer.node)) for answer in answers}
    _lock(connection, ids)
    contents: dict[tuple[int, int], bytes] = {}
    rows: list[Json] = []
    incidents: list[Json] = []
    for answer in sorted(answers, key=lambda answer: ids[_text(answer.node)]):
        own = ids[_text(answer.node)]
        row: Json = {
            "sweep": number(swept.key),
            "node": own,
            "began_at": began,
            "at": answer.at,
            "state": _text(answer.state),
            "reason": None if answer.reason is None else _text(answer.reason),
            "took": answer.took,
            "status": _text(answer.status),
            "heard_from": answer.heard[0] if answer.heard else None,
            "heard_to": answer.heard[1] if answer.heard else None,
            **dict.fromkeys(("facts", "parts", "moment", "names", "numbers")),
        }
        if answer.state == ANSWERED:
            taken = take_apart(answer)
            contents |= {(own, key): body for key, body in taken.contents.items()}
            row |= {**taken.columns, "numbers": taken.numbers}
            incidents += [_incident(own, began, told) for told in answer.incidents]
        rows.append(row)
    _put_contents(connection, contents)
    upsert = _insert(connection, result)
    connection.execute(
        upsert.on_conflict_do_update(
            index_elements=["node", "began_at", "sweep"],
            set_={c.name: upsert.excluded[c.name] for c in result.c if not c.primary_key},
            where=and_(result.c.state != ANSWERED, upsert.excluded.state == ANSWERED),
        ),
        rows,
    )
    _put_incidents(connection, incidents)


def _lock(connection: Connection, ids: dict[str, int]) -> None:
    """Make sure that the nodes are there, and nobody else's for the rest of the transaction."""
    rows = [{"id": own, "name": name} for name, own in sorted(ids.items(), key=lambda item: item[1])]
    asked = select(node.c.id, node.c.name).where(node.c.id.in_(ids.values())).order_by(node.c.id).with_for_update()
    for _ in range(5):
        found = {row.id: row.name for row in connection.execute(asked)}
        missing = [row for row in rows if row["id"] not in found]
        if not missing:
            break
        connection.execute(_insert(connection, node).on_conflict_do_nothing(), missing)
    for name, own in ids.items():
        if found.get(own) != name:
            raise Unusable(f"the node {name} cannot be told from another")  # 1 in 2^63 for each pair


def _put_contents(connection: Connection, contents: dict[tuple[int, int], bytes]) -> None:
    if not contents:
        return
    asked = select(content.c.node, content.c.id).where(
        content.c.node.in_({own for own, _ in contents}), content.c.id.in_({key for _, key in contents})
    )
    known = {(row.node, row.id) for row in connection.execute(asked)}
    new = [{"node": own, "id": key, "body": body} for (own, key), body in contents.items() if (own, key) not in known]
    if new:
        connection.execute(_insert(connection, content).on_conflict_do_nothing(), new)


def _incident(own: int, began: float, told: Json) -> Json:
    gpu: Json = (told.get("where") or {}).get("gpu") or {}
    verdict: Json = told.get("verdict") or {}
    confidence = verdict.get("confidence")
    fingerprint = _text(told.get("fingerprint"))
    return {
        "node": own,
        "id": number(fingerprint, str(told.get("opened_at"))),
        "fingerprint": fingerprint,
        "opened_at": epoch(told.get("opened_at")),
        "first_at": began,
        "last_at": began,
        "rule": _text((told.get("rule") or {}).get("id")),
        "severity": _text(told.get("severity")),
        "state": _text(told.get("state")),
        "family": _text(verdict.get("family")),
        "leaf": None if verdict.get("leaf") is None else _text(verdict["leaf"]),
        "confidence": float(confidence) if isinstance(confidence, (int, float)) else 0.0,
        **{key: None if gpu.get(key) is None else _text(gpu[key]) for key in ("serial", "uuid", "pci")},
        "body": pack(told),
    }


def _put_incidents(connection: Connection, rows: list[Json]) -> None:
    if not rows:
        return
    asked = select(incident.c.node, incident.c.id, incident.c.fingerprint, incident.c.opened_at).where(
        incident.c.node.in_({row["node"] for row in rows}),
        incident.c.fingerprint.in_({row["fingerprint"] for row in rows}),
    )
    known: dict[tuple[int, str], list[tuple[float | None, int]]] = {}
    for found in connection.execute(asked):
        known.setdefault((found.node, found.fingerprint), []).append((found.opened_at, found.id))
    for row in rows:
        near = known.setdefault((row["node"], row["fingerprint"]), [])
        row["id"] = next((key for at, key in near if _same(at, row["opened_at"])), row["id"])
        near.append((row["opened_at"], row["id"]))
    upsert = _insert(connection, incident)
    new, old = upsert.excluded, incident.c
    later: Any = {
        c.name: case((new.last_at >= old.last_at, new[c.name]), else_=c)
        for c in old
        if c.name not in ("node", "id", "fingerprint", "opened_at", "first_at")
    }
    later["first_at"] = case((new.first_at < old.first_at, new.first_at), else_=old.first_at)
    connection.execute(upsert.on_conflict_do_update(index_elements=["node", "id"], set_=later), rows)


def _same(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else abs(one - other) <= SAME


def _prune(connection: Connection, before: float) -> int | None:
    """Delete some of what is older; None if nothing was."""
    oldest = connection.execute(
        select(sweep.c.id).where(sweep.c.began_at < before).order_by(sweep.c.began_at).limit(1)
    ).scalar()
    if oldest is None:
        return None
    asked = select(result.c.node).where(result.c.sweep == oldest).order_by(result.c.node).limit(PRUNED)
    nodes = sorted(connection.execute(asked).scalars())
    if not nodes:
        connection.execute(delete(sweep).where(sweep.c.id == oldest))
        return 0
    connection.execute(select(node.c.id).where(node.c.id.in_(nodes)).order_by(node.c.id).with_for_update())
    done = connection.execute(delete(result).where(result.c.node.in_(nodes), result.c.began_at < before))
    connection.execute(delete(incident).where(incident.c.node.in_(nodes), incident.c.last_at < before))
    used = exists().where(
        result.c.node == content.c.node,
        or_(*(result.c[name] == content.c.id for name in ("facts", "parts", "moment", "names"))),
    )
    connection.execute(delete(content).where(content.c.node.in_(nodes), ~used))
    told = or_(
        exists().where(result.c.node == node.c.id),
        exists().where(incident.c.node == node.c.id),
    )
    connection.execute(delete(node).where(node.c.id.in_(nodes), ~told))
    return int(done.rowcount)


def _insert(connection: Connection, table: Table) -> Any:
    """An INSERT that can say what to do where the row is there already."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def _text(value: object, most: int = MOST_TEXT) -> str:
    """What a node says as text that every database takes."""
    return str(value)[:most].replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def names(answers: Iterable[Answer]) -> list[str]:
    """Return whose answers these are."""
    return sorted({answer.node for answer in answers})
