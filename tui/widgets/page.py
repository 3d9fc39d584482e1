"""A page of text in blocks: the cursor goes from block to block, and the page is made anew for every width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from textual.strip import Strip

from tui.text import Line, strip
from tui.widgets.lines import Lines


class PageRow(NamedTuple):
    """One line; lines with the same key are one block, lines without are not stopped at."""

    line: Line
    key: str | None = None


Build = Callable[[int, int], Sequence[PageRow]]
"""From the columns that a line may take and the lines of the widget to the rows of the page."""


class Page(Lines):
    """Shows what a function builds for its size."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.rows: Sequence[PageRow] = ()
        self._build: Build | None = None

    @property
    def total(self) -> int:
        """How many lines the page has."""
        return len(self.rows)

    @property
    def key(self) -> str | None:
        """The key of the block under the cursor."""
        return self.rows[self.cursor].key if self.cursor < len(self.rows) else None

    def put(self, build: Build) -> None:
        """Show another page; the cursor stays on the block of the same key."""
        self._build = build
        self._make()

    def on_resize(self) -> None:
        """Build the page for the new width."""
        self._make()

    def go_to(self, key: str) -> bool:
        """Put the cursor on the block with this key; false if there is none."""
        place = next((place for place, row in enumerate(self.rows) if row.key == key), None)
        if place is None:
            return False
        self.go(place)
        return True

    def _make(self) -> None:
        if self._build is None or not self.size.width:
            return
        key, line = self.key, self.cursor - self.top
        self.rows = self._build(self.size.width - 1, self.size.height)
        places = [place for place, row in enumerate(self.rows) if row.key is not None]
        same = next((place for place in places if self.rows[place].key == key), None)
        self.cursor = (
            same if same is not None else next((p for p in places if p >= self.cursor), min(places, default=0))
        )
        self.top = max(0, self.cursor - line) if same is not None else self.top
        self.keep()
        self.refresh()
        self.post_message(self.Moved(self))

    def is_marked(self, index: int) -> bool:
        """Return whether the line belongs to the block under the cursor."""
        return self.key is not None and self.rows[index].key == self.key

    def draw(self, index: int, width: int, mark: str) -> Strip:
        """Return one line, with the cursor's sign before the first of its block."""
        first = index == self.cursor
        sign = self.look.sign(mark) if mark and first else " "
        return strip((("mark", sign), *self.rows[index].line), width, self.look, "cursor" if mark == "cursor" else "")

    def keep(self) -> None:
        """Bring the whole block into view, with the heading before it if that fits."""
        if not self.rows:
            return
        first = last = min(self.cursor, len(self.rows) - 1)
        while last + 1 < len(self.rows) and self.rows[last + 1].key == self.rows[first].key is not None:
            last += 1
        while first > 0 and self.rows[first - 1].key is None:
            first -= 1
        room = self.room
        if last >= self.top + room:
            self.top = last - room + 1
        self.top = min(self.top, first if last - first < room else self.cursor)
        self.top = max(0, min(self.top, self.total - room))

    def go(self, index: int) -> None:
        """Put the cursor on the block at or nearest after a line, else before it."""
        places = [place for place, row in enumerate(self.rows) if self._starts(place)]
        if not places:
            self.top = max(0, min(index, self.total - self.room))
            self.refresh()
            return
        after = [place for place in places if place >= index]
        super().go(after[0] if after else places[-1])

    def action_step(self, by: int) -> None:
        """Move the cursor by blocks; where there is none further, scroll."""
        places = [place for place in range(self.total) if self._starts(place)]
        if by > 0:
            further = [place for place in places if place > self.cursor]
        else:
            further = [place for place in reversed(places) if place < self.cursor]
        if further:
            super().go(further[0])
        else:
            self.top = max(0, min(self.top + by, self.total - self.room))
            self.refresh()

    def action_page(self, by: int) -> None:
        """Move by a screen."""
        self.top = max(0, min(self.top + by * max(1, self.room - 1), self.total - self.room))
        inside = [p for p in range(self.top, min(self.total, self.top + self.room)) if self._starts(p)]
        top = self.top
        if inside:
            super().go(inside[0] if by > 0 else inside[-1])
            self.top = top
        self.refresh()

    def action_edge(self, last: bool) -> None:
        """Move to the first or the last block."""
        super().action_edge(last)
        self.top = max(0, self.total - self.room) if last else 0
        self.refresh()

    def _starts(self, place: int) -> bool:
        key = self.rows[place].key
        return key is not None and (place == 0 or self.rows[place - 1].key != key)
