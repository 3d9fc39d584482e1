"""The last sweeps: when they were, how they went, who did not answer and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container

from tui.look import Look
from tui.passes import Pass, passes
from tui.screens.base import TriageScreen
from tui.text import age, heading, wrap
from tui.widgets.lines import Lines
from tui.widgets.page import Page, PageRow
from tui.widgets.rows import Row
from tui.widgets.table import Column, Table
from tui.words import clock

SWEEPS = (
    Column("when", "WHEN (UTC)", 20),
    Column("age", "AGE", 5, True, 70),
    Column("status", "STATUS", 11),
    Column("took", "TOOK", 7, True),
    Column("asked", "ASKED", 6, True),
    Column("silent", "SILENT", 6, True),
    Column("says", "WHAT", 0),
)
WIDE = 150
_STYLES: Mapping[str, str] = {"ok": "", "critical": "critical", "warning": "warning", "partial": "warning"}


class SweepsScreen(TriageScreen):
    """Shows the sweeps, and of the one under the cursor what it told."""

    crumb = "sweeps"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("slash", "filter", "filter", id="table.filter", priority=True)]

    def __init__(self) -> None:
        super().__init__()
        self._passes: dict[str, Pass] = {}

    def body(self) -> ComposeResult:
        """Make the list and the text."""
        with Container(id="sweeps-body"):
            yield Table("sweeps", SWEEPS, id="sweeps", empty="no sweep is known")
            yield Page(id="sweep")

    def on_resize(self) -> None:
        """Beside each other where there is room."""
        self.query_one("#sweeps-body").set_class(self.size.width >= WIDE, "-wide")

    def show(self) -> None:
        """Read the sweeps; those that were there keep their place under the cursor."""
        app = self.triage
        given = app.fleet.given if app.fleet is not None else ()
        found, none = passes(None if app.people is None else app.people.directory, given)
        self._passes = {each.key: each for each in found}
        table = self.query_one("#sweeps", Table)
        table.note = "" if found else none
        table.put([_row(each, app.now()) for each in found])
        self._text()

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Show what the sweep under the cursor told."""
        if event.lines.id == "sweeps":
            self._text()

    def _text(self) -> None:
        chosen = self._passes.get(self.query_one("#sweeps", Table).key or "")
        if chosen is not None:
            self.query_one("#sweep", Page).put(lambda width, height: sweep_rows(chosen, width, self.look))

    def copied(self) -> str | None:
        """Return what the sweep under the cursor told."""
        chosen = self._passes.get(self.query_one("#sweeps", Table).key or "")
        if chosen is None:
            return None
        head = f"{chosen.key} {clock(chosen.at, day=True)} {chosen.status}"
        return "\n".join((head, *chosen.lines))

    def exported(self, form: str) -> str | None:
        """Return all sweeps, a line each."""
        if form != "text":
            return None
        return "".join(f"{clock(each.at, day=True)} {each.status} {each.says}\n" for each in self._passes.values())


def _row(each: Pass, now: float) -> Row:
    cells = (
        ("", clock(each.at, day=True)),
        ("faint", age(None if each.at is None else now - each.at)),
        (_STYLES.get(each.status, "unknown"), each.status),
        ("", "?" if each.took is None else f"{each.took:.1f}s"),
        ("", "-" if each.asked is None else str(each.asked)),
        ("warning" if each.silent else "", "-" if each.silent is None else str(each.silent)),
        ("", each.says),
    )
    fields: dict[str, str | int | float | None] = {
        "when": clock(each.at, day=True),
        "age": None if each.at is None else now - each.at,
        "status": each.status,
        "took": each.took,
        "asked": each.asked,
        "silent": each.silent,
        "says": " ".join((each.says, *each.lines)),
    }
    return Row(each.key, cells, fields)


def sweep_rows(each: Pass, width: int, look: Look) -> list[PageRow]:
    """Return what a sweep told, as blocks."""
    rows = [PageRow(heading(each.key, clock(each.at, day=True), width, look))]
    for number, line in enumerate(each.lines):
        rows += [PageRow(part, f"text {number}") for part in wrap([("", f" {line}")], width, look, 3)]
    return rows
