"""What changed lately: drivers, kernels, firmware, rules, parts, restarts; of this machine or of a fleet's nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tui.fleet.picture import Picture
from tui.look import Look
from tui.screens.base import TriageScreen
from tui.text import Line, Span, age, wrap
from tui.widgets.banner import Banner
from tui.widgets.lines import Lines
from tui.widgets.page import PageRow
from tui.widgets.rows import Row
from tui.widgets.table import Column, Table
from tui.words import clock

WHOLE = 6
"""Lines in which the change under the cursor is shown."""
CHANGES = (
    Column("when", "SEEN (UTC)", 20),
    Column("age", "AGE", 5, True),
    Column("n", "N", 5, True, 100),
    Column("where", "WHERE", 18),
    Column("says", "WHAT", 0),
)


class Seen(NamedTuple):
    """A change as a person reads it: seen last `at` (UTC epoch seconds), on `wide` nodes named `where`."""

    at: float
    says: str
    where: str = ""
    wide: int = 1


class ChangesScreen(TriageScreen):
    """Lists the changes, the latest first."""

    crumb = "changes"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("slash", "filter", "filter", id="table.filter", priority=True)]

    def body(self) -> ComposeResult:
        """Make the list."""
        yield Table("changes", CHANGES, id="changes", empty="none is known")
        yield Banner(self._whole, id="detail")

    def show(self) -> None:
        """Put what is known."""
        app, table = self.triage, self.query_one("#changes", Table)
        fleet = app.fleet is not None
        table.empty = why_none(fleet, app.is_live)
        columns = (
            CHANGES if fleet and app.node is None else [each for each in CHANGES if each.name not in ("n", "where")]
        )
        table.put([_row(each, app.now(), columns) for each in app.changes], columns)
        self.query_one("#detail", Banner).renew()

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Show the whole of the change under the cursor."""
        self.query_one("#detail", Banner).renew()

    def _whole(self, width: int, height: int) -> list[Line]:
        key = self.query_one("#changes", Table).key if self.ready else None
        chosen = next((each for each in self.triage.changes if _key(each) == key), None)
        if chosen is None:
            return []
        words: list[Span] = [("", f" {chosen.says}"), ("", f" on {chosen.where[: 8 * width]}" if chosen.where else "")]
        return wrap(words, width, self.look, 1, most=WHOLE)

    def copied(self) -> str | None:
        """Return the change under the cursor."""
        rows = self.query_one("#changes", Table)
        return " ".join(text for _, text in rows.rows[rows.cursor].cells if text) if rows.rows else None

    def exported(self, form: str) -> str | None:
        """Return all of them, a line each."""
        if form != "text":
            return None
        return "".join(f"{clock(each.at, day=True)}Z {each.where} {each.says}\n" for each in self.triage.changes)


def why_none(fleet: bool, live: bool) -> str:
    """Say why no change is known, and what would make one known."""
    if fleet:
        return "none: no node has two captures that differ"
    if live:
        return "none known in two weeks; `gpu-triage check` keeps the history"
    return "none known: this was read once; open the node itself, or a fleet"


def of_picture(picture: Picture | None) -> tuple[Seen, ...]:
    """Return what changed in a fleet."""
    changes = () if picture is None else picture.changes
    return tuple(Seen(each.last, each.says, each.nodes, each.wide) for each in changes)


def _key(each: Seen) -> str:
    return f"{each.at} {each.where} {each.says}"


def _row(each: Seen, now: float, columns: Iterable[Column]) -> Row:
    cells: Mapping[str, Span] = {
        "when": ("", clock(each.at, day=True)),
        "age": ("faint", age(now - each.at)),
        "n": ("", str(each.wide)),
        "where": ("", each.where),
        "says": ("", each.says),
    }
    fields: dict[str, str | int | float | None] = {
        "when": clock(each.at, day=True), "age": now - each.at, "n": each.wide, "where": each.where, "says": each.says,
    }  # fmt: skip
    return Row(_key(each), tuple(cells[column.name] for column in columns), fields)


def changed_rows(
    changes: Sequence[Seen], now: float, width: int, look: Look, most: int, lines: int = 2
) -> list[PageRow]:
    """Return the latest changes as blocks of a page, at most `most`, each at most so many lines."""
    found: list[PageRow] = []
    for n, each in enumerate(changes[:most]):
        where = f" on {each.where[: width * lines]}" if each.where else ""  # thousands of nodes are a long text
        words: list[Span] = [("faint", f"  {age(now - each.at):>4} ago "), ("", f"{each.says}{where}")]
        found += [PageRow(line, f"changed {n}") for line in wrap(words, width, look, 11, most=lines)]
    if len(changes) > most:
        found.append(PageRow((("faint", f"           {len(changes) - most} more; c lists all"),), "changed more"))
    return found


def before(changes: Iterable[Seen], at: float | None, over: float) -> list[Seen]:
    """Return the changes in the `over` seconds before a moment, and in the minute after it, for clocks differ."""
    if at is None:
        return []
    return [each for each in changes if at - over <= each.at <= at + 60.0]
