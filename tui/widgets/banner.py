"""Lines that are not moved through: the title, the keys, a note about what the cursor is on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tui.own import own
from tui.text import Line, strip, whole

if TYPE_CHECKING:
    from tui.app import TriageApp

Draw = Callable[[int, int], Sequence[Line]]
"""From columns and lines of the widget to its lines; made anew whenever it is drawn."""


class Banner(Widget):
    """Shows what a function says, as much of it as fits."""

    def __init__(self, draw: Draw, id: str | None = None, base: str = "") -> None:
        super().__init__(id=id)
        self._draw = draw
        self._base = base
        self._lines: Sequence[Line] = ()

    @property
    def triage(self) -> TriageApp:
        """The application, by its own type."""
        return own(self.app)

    def renew(self) -> None:
        """Say anew what there is to say; the screen is laid out anew only where that takes other lines than before."""
        if self.display:
            self.refresh(layout=len(self._draw(self.size.width, self.size.height)) != self.size.height)

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        """Return how many lines there are to say."""
        return len(self._draw(width, 0))

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return lines of the widget."""
        return whole(super().render_lines(crop))

    def render_line(self, y: int) -> Strip:
        """Return one line."""
        width, look = self.size.width, self.triage.look
        if y == 0:
            self._lines = self._draw(width, self.size.height)
        if y >= len(self._lines):
            return Strip.blank(width, Style.null())
        return strip(self._lines[y], width, look, self._base)
