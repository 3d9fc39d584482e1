"""A fleet's nodes and kinds of incidents as rows of tables, each made when it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from triage.render.words import number
from tui.filters import Fields
from tui.fleet.picture import STATES, NodeRows, Picture, named
from tui.text import Span, age
from tui.widgets.rows import Row
from tui.widgets.table import Column
from tui.words import badness, severity

STATE_WORDS = {"critical": "CRIT", "warning": "WARN", "unread": "UNREAD", "unknown": "UNKN", "ok": "ok"}
"""How a node stands, as a person reads it."""
_STYLES = {"unread": "unknown"}

GROUPS = (
    Column("age", "AGE", 4, True),
    Column("sev", "SEV", 4),
    Column("state", "STATE", 8, least=130),
    Column("nodes", "N", 5, True),
    Column("where", "WHERE", 18),
    Column("what", "WHAT", 0),
    Column("rule", "RULE", 18, least=130),
    Column("verdict", "VERDICT", 17),
    Column("sure", "SURE", 4),
)
NODES = (
    Column("node", "NODE", 14),
    Column("state", "STATE", 6),
    Column("age", "AGE", 9),
    Column("gpus", "GPUS", 8),
    Column("inc", "INC", 3, True),
    Column("what", "WHAT", 0),
    Column("verdict", "VERDICT", 17),
    Column("sure", "SURE", 4, least=100),
    Column("driver", "DRIVER", 13, least=110),
    Column("rack", "RACK", 8, least=110),
)


class _Listed:
    """What both lists share: the picture they show, and the hour."""

    def __init__(self, picture: Picture, now: Callable[[], float]) -> None:
        self._picture = picture
        self._now = now

    def _age(self, at: float | None) -> str:
        return age(None if at is None else self._now() - at)

    def _since(self, at: float | None) -> float | None:
        return None if at is None else self._now() - at


class Groups(_Listed):
    """The kinds of incidents."""

    def __len__(self) -> int:
        return len(self._picture.groups)

    def key(self, number: int) -> str:
        """Return what makes it this kind."""
        return self._picture.groups[number].key

    def rank(self, number: int) -> int:
        """Return how bad it is; what is over is worse than nothing."""
        group = self._picture.groups[number]
        return badness(group.severity, group.state)

    def fields(self, number: int) -> Fields:
        """Return what a filter may ask."""
        group = self._picture.groups[number]
        return {
            "age": self._since(group.last),
            "sev": f"{severity(group.severity)[1]} {group.severity}",
            "state": group.state,
            "nodes": group.wide,
            "where": group.nodes,
            "what": group.title,
            "rule": group.rule,
            "verdict": f"{group.family} {group.leaf or ''} {named(group.family, group.leaf, group.lead)}",
            "sure": group.sure,
        }

    def row(self, number: int) -> Row:
        """Return a row to draw."""
        group = self._picture.groups[number]
        sev = severity(group.severity)
        over = group.state != "open"
        where = group.nodes if group.gpu is None else f"{group.nodes} {group.gpu.removeprefix('0000:')}"
        cells: tuple[Span, ...] = (
            ("", self._age(group.last)),
            ("faint" if over else sev[0], sev[1]),
            ("", group.state),
            ("strong" if group.wide > 1 else "", f"{group.wide:,}"),
            ("", where),
            ("faint" if over else "", group.title),
            ("faint", group.rule),
            ("unknown" if group.family == "undetermined" else "strong", named(group.family, group.leaf, group.lead)),
            _sure(group.sure),
        )
        return Row(group.key, cells, {})


class Nodes(_Listed):
    """The nodes."""

    def __init__(self, picture: Picture, now: Callable[[], float]) -> None:
        super().__init__(picture, now)
        rows = picture.nodes
        if isinstance(rows, NodeRows):
            self._names, self._ranks = rows.names, rows.ranks
        else:
            self._names = tuple(row.node for row in rows)
            self._ranks = bytes(STATES.index(row.state) for row in rows)

    def __len__(self) -> int:
        return len(self._picture.nodes)

    def key(self, number: int) -> str:
        """Return the node's name."""
        return self._names[number]

    def rank(self, number: int) -> int:
        """Return how bad its state is."""
        return self._ranks[number]

    def fields(self, number: int) -> Fields:
        """Return what a filter may ask."""
        row = self._picture.nodes[number]
        return {
            "node": row.node,
            "state": f"{STATE_WORDS[row.state]} {row.state}{' stale' if self._picture.stale(row) else ''}",
            "age": self._since(row.at),
            "gpus": row.bad,
            "inc": row.incidents,
            "what": f"{row.what} {row.rule}",
            "verdict": row.verdict or None,
            "sure": row.sure,
            "driver": row.driver,
            "rack": row.rack,
        }

    def row(self, number: int) -> Row:
        """Return a row to draw."""
        row = self._picture.nodes[number]
        stale = self._picture.stale(row)
        known = row.state in ("critical", "warning", "ok")
        cells: tuple[Span, ...] = (
            ("strong" if row.incidents else "", row.node),
            (_STYLES.get(row.state, row.state), STATE_WORDS[row.state]),
            ("unknown" if stale else "", f"{self._age(row.at)} STALE" if stale else self._age(row.at)),
            ("critical" if "C" in row.gpus else "warning" if "w" in row.gpus else "", row.gpus or "?"),
            ("", str(row.incidents) if known else "?"),
            ("" if row.incidents else "faint", row.what or ("-" if known else "?")),
            ("strong" if row.verdict else "", row.verdict or "-"),
            _sure(row.sure) if row.verdict else ("", "-"),
            ("" if row.driver else "unknown", row.driver or "?"),
            ("", row.rack or "?"),
        )
        return Row(row.node, cells, {})


def _sure(share: float | None) -> Span:
    if share is None:
        return "unknown", "?"
    return "", number(share)


def map_lines(letters: str, width: int, most: int) -> tuple[int, list[str]]:
    """Return how many nodes one sign stands for, and the signs in at most `most` lines: the worst of each block."""
    each = max(1, -(-len(letters) // max(1, width * most)))
    signs = [_worst(letters[place : place + each]) for place in range(0, len(letters), each)]
    return each, ["".join(signs[place : place + width]) for place in range(0, len(signs), width)]


def _worst(letters: Sequence[str]) -> str:
    return next(sign for sign in "Cw?." if sign in letters)
