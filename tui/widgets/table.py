"""A table of any length: only the rows in view are drawn, and the cursor stays on its row whatever moves.

Rows come as a whole that replaces the one before.  The cursor belongs to a
row's key, not to its place, and keeps its line on the screen.  Many rows are
filtered and sorted in a thread, and shown once they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.worker import get_current_worker

from tui.filters import Wanted, parse
from tui.look import Look
from tui.text import Line, Span, heading, padded, strip
from tui.widgets.lines import Lines
from tui.widgets.rows import MANY, Made, Plan, Row, Rows, Shown, arranged


class Column(NamedTuple):
    """One column: `width` 0 takes what is left; shown only from `least` columns of the table on."""

    name: str
    title: str
    width: int
    right: bool = False
    least: int = 0


class Table(Lines):
    """Rows below a heading that says what they are, how many, and what is filtered or sorted."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort", "sort", id="table.sort"),
        Binding("S", "reverse", "reverse", id="table.reverse", show=False),
    ]

    class Arranged(Message):
        """A thread has put the rows in order."""

        def __init__(self, shown: Shown) -> None:
            super().__init__()
            self.shown = shown

    def __init__(self, title: str, columns: Sequence[Column], id: str | None = None, empty: str = "none") -> None:
        super().__init__(id=id)
        self.title = title
        self.note = ""
        self.empty = empty
        self.columns = tuple(columns)
        self.rows = Shown(Made(()), ())
        self._all: Rows = Made(())
        self.asked = ""
        self._wanted: Wanted | None = None
        self._sorted: str | None = None
        self._reversed = False

    @property
    def total(self) -> int:
        """How many rows pass the filter; one for the line that says that there are none."""
        return len(self.rows)

    @property
    def key(self) -> str | None:
        """The key of the row under the cursor."""
        return self.rows.key(self.cursor) if self.cursor < len(self.rows) else None

    @property
    def number(self) -> int | None:
        """The number of the row under the cursor among all that were put."""
        return self.rows.order[self.cursor] if self.cursor < len(self.rows) else None

    def put(self, rows: Sequence[Row] | Rows, columns: Sequence[Column] | None = None) -> None:
        """Replace all rows; the cursor stays on its key, and on its line of the screen."""
        if columns is not None:
            self.columns = tuple(columns)
        self._all = Made(rows) if isinstance(rows, Sequence) else rows
        self._arrange()

    def ask(self, text: str) -> None:
        """Show only the rows that a filter wants; empty shows all.

        Raises:
            FilterError: if the text cannot be understood.
        """
        self._wanted = parse(text, [column.name for column in self.columns]) if text.strip() else None
        self.asked = text.strip()
        self._arrange()

    def go_to(self, key: str) -> bool:
        """Put the cursor on the row with this key; false if there is none."""
        place = self.rows.place(key)
        if place is not None:
            self.go(place)
        return place is not None

    def action_sort(self) -> None:
        """Sort by the next column; after the last one in the order that the rows came in."""
        names: list[str | None] = [None, *(column.name for column in self._shown(self.size.width))]
        place = names.index(self._sorted) if self._sorted in names else 0
        self._sorted, self._reversed = names[(place + 1) % len(names)], False
        self._arrange()

    def action_reverse(self) -> None:
        """Turn the order round."""
        self._reversed = not self._reversed
        self._arrange()

    def _arrange(self) -> None:
        rows, plan = self._all, Plan(self._wanted, self._sorted, self._reversed)
        if len(rows) < MANY or not self.is_mounted:
            self._take(arranged(rows, plan))
            return

        def arrange() -> None:
            shown = arranged(rows, plan)
            if not get_current_worker().is_cancelled:
                self.post_message(self.Arranged(shown))

        self.run_worker(arrange, thread=True, exclusive=True, group="arrange")

    def on_table_arranged(self, message: Table.Arranged) -> None:
        """Show what a thread has put in order, unless something newer is on its way."""
        message.stop()
        if message.shown.rows is self._all:
            self._take(message.shown)

    def _take(self, shown: Shown) -> None:
        key, line = self.key, self.cursor - self.top
        self.rows = shown
        place = shown.place(key)
        self.cursor = max(0, min(self.cursor, len(shown) - 1)) if place is None else place
        if self.is_mounted:
            self.top = max(0, self.cursor - line)
            self.keep()
            self.refresh(layout=self.styles.height is not None and self.styles.height.is_auto)
            if self.key != key:
                self.post_message(self.Moved(self))

    def heading(self, width: int) -> list[Line]:
        """Return the line with the title and the line with the names of the columns."""
        shown, whole = len(self.rows), len(self._all)
        notes = [f"{whole:,}" if shown == whole else f"{shown:,} of {whole:,}", self.note]
        if self.asked:
            notes.append(f"filter: {self.asked}")
        if self._sorted is not None or self._reversed:
            notes.append(f"sort: {self._sorted or 'as found'}{' reversed' if self._reversed else ''}")
        room = self.room_below(2)
        if shown > room:
            notes.append(f"at {self.cursor + 1:,}")
            for where, first, last in (("above", 0, self.top), ("below", self.top + room, shown)):
                if worse := self.rows.worse(self.cursor, first, last):
                    notes.append(f"{worse:,} worse {where}")
        title = heading(self.title, "  ".join(filter(None, notes)), width, self.look, self.has_focus)
        if not shown:
            hidden = f"none of {whole:,} passes the filter; / and Enter shows all" if whole else self.empty
            return [title, (("faint", f"   {hidden}"),)]
        names = self._line([("faint", column.title) for column in self.columns], width, self.look, " ")
        return [title, names]

    def room_below(self, heads: int) -> int:
        """How many rows fit below a heading of so many lines."""
        return max(1, self.size.height - heads)

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """Return the lines that all rows and the heading take."""
        return max(1, len(self.rows)) + (2 if len(self.rows) else 1)

    def draw(self, index: int, width: int, mark: str) -> Strip:
        """Return one row."""
        sign = self.look.sign(mark) if mark else " "
        cells = self.rows[index].cells
        base = "cursor" if mark == "cursor" else ""
        return strip(self._line(cells, width, self.look, sign), width, self.look, base)

    def redraw(self, cursor: int, top: int) -> None:
        """Draw the two rows between which the cursor went, and the heading that says where it is."""
        if self.top != top:
            self.refresh()
            return
        places = (0, *(2 + row - top for row in (cursor, self.cursor)))
        self.refresh(*(Region(0, y, self.size.width, 1) for y in places if 0 <= y < self.size.height))

    def _shown(self, width: int) -> list[Column]:
        return [column for column in self.columns if width >= column.least]

    def _line(self, cells: Sequence[Span], width: int, look: Look, sign: str) -> Line:
        shown = [(column, cell) for column, cell in zip(self.columns, cells, strict=False) if width >= column.least]
        fixed = sum(column.width + 1 for column, _ in shown if column.width) + 2
        flexible = sum(not column.width for column, _ in shown)
        spans: list[Span] = [("mark", f" {sign}")]
        for column, (names, text) in shown:
            size = column.width or max(4, (width - fixed) // flexible - 1)
            spans += [("", " "), (names, padded(text, size, look, column.right))]
        return tuple(spans)
