"""The base of every list: a cursor, a window onto any number of lines, and the keys that move them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tui.look import Look
from tui.own import own
from tui.text import Line, strip, whole

if TYPE_CHECKING:
    from tui.app import TriageApp


class Lines(Widget, can_focus=True):
    """Draws `total` lines below its heading, as many as fit; says where the cursor is and what was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j,down", "step(1)", "down", id="list.down", show=False),
        Binding("k,up", "step(-1)", "up", id="list.up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "page down", id="list.page-down", show=False),
        Binding("pageup", "page(-1)", "page up", id="list.page-up", show=False),
        Binding("g,home", "edge(False)", "first", id="list.first", show=False),
        Binding("G,end", "edge(True)", "last", id="list.last", show=False),
        Binding("enter", "choose", "open", id="list.open", key_display="Enter"),
    ]

    class Chosen(Message):
        """Enter was pressed, or a line clicked twice."""

        def __init__(self, lines: Lines) -> None:
            super().__init__()
            self.lines = lines

        @property
        def control(self) -> Lines:
            """The list in which it was."""
            return self.lines

    class Moved(Message):
        """The cursor stands on another line."""

        def __init__(self, lines: Lines) -> None:
            super().__init__()
            self.lines = lines

        @property
        def control(self) -> Lines:
            """The list in which it did."""
            return self.lines

        def can_replace(self, message: Message) -> bool:
            """Only where it stands in the end matters."""
            return isinstance(message, Lines.Moved) and message.lines is self.lines

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.cursor = 0
        self.top = 0
        self._above: list[Line] = []

    @property
    def triage(self) -> TriageApp:
        """The application, by its own type."""
        return own(self.app)

    @property
    def look(self) -> Look:
        """How the application draws."""
        return self.triage.look

    # What a list must say -----------------------------------------------------------------------------------------

    @property
    def total(self) -> int:
        """How many lines there are."""
        return 0

    def heading(self, width: int) -> list[Line]:
        """Return the lines that stand above and do not move."""
        return []

    def draw(self, index: int, width: int, mark: str) -> Strip:
        """Return one line; `mark` is `cursor`, `rest` (cursor of a list without focus) or empty."""
        raise NotImplementedError

    # The window -----------------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many lines fit below the heading."""
        return max(1, self.size.height - len(self.heading(self.size.width)))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return lines of the widget; what stands above them is made once for all."""
        self._above = self.heading(self.size.width)
        return whole(super().render_lines(crop))

    def render_line(self, y: int) -> Strip:
        """Return one line of the widget."""
        width, heading = self.size.width, self._above
        if y < len(heading):
            return strip(heading[y], width, self.look)
        index = self.top + y - len(heading)
        if index >= self.total:
            return Strip.blank(width, Style.null())
        mark = ("cursor" if self.has_focus else "rest") if self.is_marked(index) else ""
        return self.draw(index, width, mark)

    def is_marked(self, index: int) -> bool:
        """Return whether the line is under the cursor."""
        return index == self.cursor

    def go(self, index: int) -> None:
        """Put the cursor on a line and bring it into view."""
        before, top = self.cursor, self.top
        self.cursor = max(0, min(index, self.total - 1))
        self.keep()
        self.redraw(before, top)
        if self.cursor != before:
            self.post_message(self.Moved(self))

    def redraw(self, cursor: int, top: int) -> None:
        """Draw what has changed since the cursor and the window stood there."""
        self.refresh()

    def keep(self) -> None:
        """Bring the cursor into view, moving the window as little as possible."""
        room = self.room
        if self.cursor < self.top:
            self.top = self.cursor
        elif self.cursor >= self.top + room:
            self.top = self.cursor - room + 1
        self.top = max(0, min(self.top, self.total - room))

    def action_step(self, by: int) -> None:
        """Move the cursor by lines."""
        self.go(self.cursor + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by a screen less one line."""
        move = by * max(1, self.room - 1)
        self.top = max(0, min(self.top + move, self.total - self.room))
        self.go(self.cursor + move)

    def action_edge(self, last: bool) -> None:
        """Move the cursor to the first or the last line."""
        self.go(self.total - 1 if last else 0)

    def action_choose(self) -> None:
        """Say that the line under the cursor was chosen."""
        if self.total:
            self.post_message(self.Chosen(self))

    def on_resize(self) -> None:
        """Keep the cursor in view, and fill the window."""
        self.keep()
        self.refresh()

    def on_focus(self) -> None:
        """Draw the cursor as the active one."""
        self.refresh()

    def on_blur(self) -> None:
        """Draw the cursor as a resting one."""
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse is; a second click chooses."""
        index = self.top + event.y - len(self.heading(self.size.width))
        if 0 <= index < self.total and event.y >= len(self.heading(self.size.width)):
            self.go(index)
            if event.chain == 2:
                self.action_choose()

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Scroll by three lines."""
        event.stop()
        self._scroll(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Scroll by three lines."""
        event.stop()
        self._scroll(-3)

    def _scroll(self, by: int) -> None:
        self.top = max(0, min(self.top + by, self.total - self.room))
        self.go(max(self.top, min(self.cursor, self.top + self.room - 1)))
