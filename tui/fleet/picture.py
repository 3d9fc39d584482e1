"""The picture of a fleet at one moment: a row for each node, each kind of incident and each pattern, ready to draw.

It stands in one SQLite file that a sweep replaces in one transaction and that
stays for the next time the screens are opened.  Only what a list shows is held
in memory; what a node says in full is fetched when somebody looks at it.  The
file is a cache: whatever is wrong with it, it is made anew.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, overload
from urllib.parse import quote

from triage import kept

Json = dict[str, Any]

VERSION = 3
"""Of the tables and rows below; a file of another one is made anew."""
STALE = 3 * 3600.0
"""Seconds that a node's answer may be older than the newest one of the fleet before it is called stale."""
STATES = ("critical", "warning", "unread", "unknown", "ok")
"""How a node can stand, worst first; `unread` is one whose answer could not be read."""
_STATE = re.compile(f',"({"|".join(STATES)})"')
"""The state of a node in its row, behind its name."""

_TABLES = """
CREATE TABLE IF NOT EXISTS about(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answer(path TEXT PRIMARY KEY, stamp TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS row(kind TEXT, place INTEGER, body TEXT NOT NULL, detail BLOB, PRIMARY KEY(kind, place))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS detail(node TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""
_MOST_ROWS = 1_000_000
_BODIES = "SELECT body FROM row WHERE kind = ? ORDER BY place LIMIT ?"


class NodeRow(NamedTuple):
    """One node.  `gpus` has a letter for each GPU: `C` critical, `w` warning, `.` well, `?` not known."""

    node: str
    state: str
    at: float | None
    incidents: int
    what: str
    rule: str
    verdict: str
    sure: float | None
    gpus: str
    driver: str | None
    rack: str | None

    @property
    def bad(self) -> int:
        """How many of its GPUs have an open incident or were lost."""
        return self.gpus.count("C") + self.gpus.count("w")


class NodeRows(Sequence[NodeRow]):
    """Nodes as they were written, each made when it is looked at.

    Text is nothing that the garbage collector looks through; ten thousand rows of values would hold up a key by
    tens of milliseconds, again and again.
    """

    def __init__(self, bodies: Sequence[str]) -> None:
        """Take rows as JSON lists that begin with the name of a node.

        Raises:
            ValueError: if one is none.
        """
        self._bodies = bodies
        decode = json.JSONDecoder().raw_decode
        begun = [decode(body, 1) for body in bodies]
        self.names = tuple(str(name) for name, _ in begun)
        said = (_STATE.match(body, end) for body, (_, end) in zip(bodies, begun, strict=True))
        self.ranks = bytes(STATES.index(found[1] if found else "unread") for found in said)

    def __len__(self) -> int:
        return len(self._bodies)

    @overload
    def __getitem__(self, place: int) -> NodeRow: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[NodeRow, ...]: ...
    def __getitem__(self, place: int | slice) -> NodeRow | tuple[NodeRow, ...]:
        if isinstance(place, slice):
            return tuple(self[number] for number in range(*place.indices(len(self))))
        try:
            return NodeRow(*json.loads(self._bodies[place]))
        except (ValueError, TypeError):
            why = "what is kept of it is damaged; R reads it again"
            return NodeRow(self.names[place], "unread", None, 0, why, "", "", None, "", None, None)


class GroupRow(NamedTuple):
    """Incidents that are one to whoever has to act: the same rule, verdict and state, on `nodes` (folded)."""

    key: str
    severity: str
    state: str
    title: str
    rule: str
    family: str
    leaf: str | None
    lead: str
    sure: float | None
    words: str
    nodes: str
    gpu: str | None
    count: int  # type: ignore[assignment]  # shadows tuple.count
    wide: int
    first: float | None
    last: float | None
    why: str
    do: str
    risk: str
    owner: str


class Said(NamedTuple):
    """What the nodes together say of one rule's fault; `doubt` names what it cannot be told from."""

    rule: str
    of: str
    value: str
    says: str
    lift: float | None
    chance: float | None
    affected: int
    doubt: str


class ChangeRow(NamedTuple):
    """What changed on `wide` nodes (folded): seen first and last at these times, in UTC epoch seconds."""

    says: str
    nodes: str
    wide: int
    first: float
    last: float


class Spread(NamedTuple):
    """How one reading of the GPUs of one model lies in the fleet: the middle, and what 5 % lie below and above."""

    model: str
    name: str
    low: float
    middle: float
    high: float
    count: int  # type: ignore[assignment]  # shadows tuple.count


class Counts(NamedTuple):
    """How many nodes stand how (`stale` among them too), how many GPUs there are and are bad, if racks are known."""

    states: Mapping[str, int]
    gpus: int
    bad: int
    placed: bool


class Picture(NamedTuple):
    """A fleet at one moment; `nodes` worst first.  `path` is the file with the rest."""

    path: Path
    made_at: float
    newest: float | None
    complete: bool
    nodes: Sequence[NodeRow]
    groups: tuple[GroupRow, ...]
    said: tuple[Said, ...]
    map: str
    notices: tuple[str, ...]
    counts: Counts
    changes: tuple[ChangeRow, ...] = ()

    def spreads(self, model: str) -> dict[str, Spread]:
        """Return by name how the readings of the GPUs of one model lie."""
        with _opened(self.path) as db:
            return {each.name: each for each in (Spread(*row) for row in _rows(db, "spread")) if each.model == model}

    def stale(self, row: NodeRow) -> bool:
        """Return whether a node's answer is much older than the newest one."""
        return is_stale(row, self.newest)

    def detail(self, node: str) -> Json | None:
        """Return all that is known of a node: `report`, `at` and the `paths` it was read from; None if it is gone."""
        with _opened(self.path) as db:
            found = db.execute("SELECT body FROM detail WHERE node = ?", (node,)).fetchone()
        return None if found is None else _unpacked(found[0])

    def example(self, group: GroupRow) -> Json | None:
        """Return one incident of a group as a report has it."""
        place = next((place for place, each in enumerate(self.groups) if each.key == group.key), None)
        with _opened(self.path) as db:
            found = db.execute("SELECT detail FROM row WHERE kind = 'group' AND place = ?", (place,)).fetchone()
        return None if found is None or found[0] is None else _unpacked(found[0])


def named(family: str, leaf: str | None, lead: str) -> str:
    """Return a verdict in one word, in brackets what is only ahead."""
    if family != "undetermined":
        return leaf or family
    return "UNDETERMINED" if lead == family else f"({lead}?)"


def load(path: Path) -> Picture | None:
    """Return the picture in a file, None if it holds none that can be trusted; for a thread, as it takes a moment."""
    try:
        if not _trusted(path):
            return None
        with _opened(path) as db:
            db.execute("BEGIN")  # one moment of the file, whoever writes meanwhile
            about = dict(db.execute("SELECT name, value FROM about"))
            if about.get("version") != str(VERSION):
                return None
            nodes = NodeRows([body for (body,) in db.execute(_BODIES, ("node", _MOST_ROWS))])
            groups = tuple(GroupRow(*each) for each in _rows(db, "group"))
            said = tuple(Said(*each) for each in _rows(db, "said"))
            changes = tuple(ChangeRow(*each) for each in _rows(db, "change"))
        told = json.loads(about["told"])
        return Picture(path, told["made_at"], told["newest"], told["complete"], nodes, groups, said, told["map"],
                       tuple(told["notices"]), Counts(*json.loads(about["counts"])), changes)  # fmt: skip
    except (sqlite3.Error, OSError, ValueError, TypeError, KeyError, zlib.error):
        return None


def counted(rows: Iterable[NodeRow], newest: float | None) -> Counts:
    """Count nodes, of which the newest answer is from `newest`."""
    states = dict.fromkeys((*STATES, "stale"), 0)
    gpus = bad = 0
    placed = False
    for row in rows:
        states[row.state] += 1
        states["stale"] += is_stale(row, newest)
        gpus, bad, placed = gpus + len(row.gpus), bad + row.bad, placed or bool(row.rack)
    return Counts(states, gpus, bad, placed)


def is_stale(row: NodeRow, newest: float | None) -> bool:
    """Return whether a node's answer is much older than the newest one."""
    return row.at is not None and newest is not None and newest - row.at > STALE


def answers(path: Path, rules: str) -> dict[str, tuple[str, bytes]]:
    """Return by path the stamp and the packed answer of each capture that was read by these rules."""
    try:
        if not _trusted(path):
            return {}
        with _opened(path) as db:
            about = dict(db.execute("SELECT name, value FROM about"))
            if about.get("version") != str(VERSION) or about.get("rules") != rules:
                return {}
            return {name: (stamp, body) for name, stamp, body in db.execute("SELECT path, stamp, body FROM answer")}
    except (sqlite3.Error, OSError):
        return {}


def write(
    path: Path,
    *,
    rules: str,
    told: Mapping[str, Any],
    read: Iterable[tuple[str, str, bytes]],
    nodes: Sequence[NodeRow],
    groups: Iterable[tuple[GroupRow, Json]],
    said: Iterable[Said],
    details: Iterable[tuple[str, Json]],
    changes: Iterable[ChangeRow] = (),
    spreads: Iterable[Spread] = (),
) -> None:
    """Replace the picture in a file; a file that cannot be used is removed first.

    Raises:
        OSError: if it cannot be written.
    """
    try:
        if os.path.lexists(path) and not _trusted(path):
            _remove(path)
        _write(path, rules, told, read, nodes, groups, said, details, changes, spreads)
    except sqlite3.DatabaseError:
        _remove(path)
        try:
            _write(path, rules, told, read, nodes, groups, said, details, changes, spreads)
        except sqlite3.Error as error:
            raise OSError(f"{path}: {error}") from error


def _remove(path: Path) -> None:
    for ending in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{ending}").unlink(missing_ok=True)


def _write(path: Path, rules: str, told: Mapping[str, Any], read: Iterable[tuple[str, str, bytes]],
           nodes: Sequence[NodeRow], groups: Iterable[tuple[GroupRow, Json]], said: Iterable[Said],
           details: Iterable[tuple[str, Json]], changes: Iterable[ChangeRow],
           spreads: Iterable[Spread]) -> None:  # fmt: skip
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    with _opened(path, writing=True) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.executescript(_TABLES)
        db.execute("BEGIN IMMEDIATE")
        for table in ("about", "row", "detail", "answer"):
            db.execute(f"DELETE FROM {table}")
        db.executemany("INSERT INTO answer VALUES(?, ?, ?)", read)
        row = "INSERT INTO row VALUES(?, ?, ?, ?)"
        db.executemany(row, (("node", place, _json(each), None) for place, each in enumerate(nodes)))
        db.executemany(row, (("group", place, _json(each), packed(of)) for place, (each, of) in enumerate(groups)))
        for kind, rows in (("said", said), ("change", changes), ("spread", spreads)):
            db.executemany(row, ((kind, place, _json(each), None) for place, each in enumerate(rows)))
        db.executemany("INSERT INTO detail VALUES(?, ?)", ((node, packed(body)) for node, body in details))
        counts = counted(nodes, told["newest"])
        about = (("version", str(VERSION)), ("rules", rules), ("told", _json(told)), ("counts", _json(counts)))
        db.executemany("INSERT INTO about VALUES(?, ?)", about)
        db.execute("COMMIT")


def packed(value: Any) -> bytes:
    """Return a JSON value in few bytes."""
    return zlib.compress(_json(value).encode("utf-8", "replace"), 1)


def _unpacked(body: bytes) -> Any:
    return json.loads(zlib.decompress(body))


def unpacked(body: bytes) -> Any:
    """Return the value that `packed` packed.

    Raises:
        ValueError: if it is none.
    """
    try:
        return _unpacked(body)
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _rows(db: sqlite3.Connection, kind: str) -> Iterator[Sequence[Any]]:
    found = db.execute(_BODIES, (kind, _MOST_ROWS))
    return (json.loads(body) for (body,) in found)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@contextmanager
def _opened(path: Path, writing: bool = False) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=rw", uri=True, timeout=5.0, isolation_level=None)
    try:
        if not writing:
            db.execute("PRAGMA query_only = ON")
        yield db
    finally:
        db.close()


def _trusted(path: Path) -> bool:
    """Whether the file and its folder are this user's, and nobody else may write either."""
    status = os.lstat(path)
    return stat.S_ISREG(status.st_mode) and kept.own(status) and kept.own(os.stat(path.parent))
