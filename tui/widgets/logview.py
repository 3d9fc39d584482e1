"""A log of any size, line by line: filtered, folded, searched, with the lines that were evidence marked.

The file is read where it is looked at.  Filtering and folding make a list of
line numbers in a thread, and what is there of it can be looked at meanwhile.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.strip import Strip

from tui.logfile import LogFile, Stop
from tui.loglines import Search, Signals, decoded, parts, shape, when
from tui.text import Span, clean, clipped, padded, strip
from tui.widgets.lines import Lines

MOST_LISTED = 5_000_000
"""Line numbers that a filter or a fold keeps (40 MB); what lies beyond is not shown, and it is said."""
_BATCH = 2000
_LEFT = 8
_REMEMBERED = 4000
_SIDE = 20
_NEAR = 50
"""Lines among which one with a time is looked for."""


class LogView(Lines):
    """Shows `file`; `marks` names lines by row, such as `[1]` for the first piece of evidence."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "whole line", id="list.open", key_display="Enter"),
        Binding("right", "side(1)", "right", id="log.right", show=False),
        Binding("left", "side(-1)", "left", id="log.left", show=False),
    ]

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.file: LogFile | None = None
        self.marks: Mapping[int, Sequence[str]] = {}
        self.search: Search | None = None
        self.signals: Signals | None = None
        self.view: array[int] | None = None
        self.folds: array[int] | None = None
        self.raw = False
        self.to_end = False
        self.side = 0
        self._known: dict[int, bool] = {}

    @property
    def total(self) -> int:
        """How many lines are shown."""
        if self.view is not None:
            return len(self.view)
        return 0 if self.file is None else self.file.count

    @property
    def number(self) -> int:
        """The row in the file of the line under the cursor."""
        return self.number_at(self.cursor)

    def number_at(self, index: int) -> int:
        """Return the row in the file of a line that is shown."""
        if self.view is None:
            return index
        return self.view[index] if index < len(self.view) else 0

    def action_edge(self, last: bool) -> None:
        """Go to the first or the last line; while the end is not known yet, to it once it is."""
        self.to_end = last and self.file is not None and not self.file.done
        super().action_edge(last)

    def action_step(self, by: int) -> None:
        """Move, and no longer wait for the end."""
        self.to_end = False
        super().action_step(by)

    def index_of(self, number: int) -> int:
        """Return the shown line that is, or stands nearest after, a row of the file."""
        if self.view is None:
            return number
        place = bisect_left(self.view, number)
        if self.folds is not None and (place == len(self.view) or self.view[place] != number):
            place -= 1  # it is folded into the line before
        return max(0, min(place, len(self.view) - 1))

    def go_to(self, number: int) -> None:
        """Put the cursor on a row of the file, in the middle of the window if it was out of it."""
        index = self.index_of(number)
        if not self.top <= index < self.top + self.room:
            self.top = max(0, min(index - self.room // 3, self.total - self.room))
        self.go(index)

    def text(self, number: int) -> bytes:
        """Return a row of the file."""
        return b"" if self.file is None else self.file.line(number)

    def action_side(self, by: int) -> None:
        """Show what stands further right or left of long lines."""
        self.side = max(0, self.side + by * _SIDE)
        self.refresh()

    def is_signal(self, number: int, raw: bytes) -> bool:
        """Return whether the rulebook knows what a line means."""
        if self.signals is None:
            return False
        known = self._known.get(number)
        if known is None:
            if len(self._known) > _REMEMBERED:
                self._known.clear()
            known = self._known[number] = self.signals.line(raw)
        return known

    def reset(self) -> None:
        """Forget what was known of the lines; the file is another one."""
        self._known.clear()
        self.view = self.folds = None

    def go_in_time(self, seconds: float, year_hint: float) -> bool:
        """Go on or back in time by about so much (times in a log may step); false if no line near has a time."""
        here = self._time_near(self.cursor, 1 if seconds < 0 else -1, year_hint)
        if here is None:
            return False
        low, high = 0, self.total
        while low < high:
            middle = (low + high) // 2
            at = self._time_near(middle, 1, year_hint)
            if at is not None and at < here + seconds:
                low = middle + 1
            else:
                high = middle
        self.go(min(low, self.total - 1))
        return True

    def _time_near(self, index: int, by: int, year_hint: float) -> float | None:
        """The time of a line, or of the nearest with one."""
        for _ in range(_NEAR):
            if not 0 <= index < self.total:
                return None
            at = when(self.text(self.number_at(index)), year_hint)
            if at is not None:
                return at
            index += by
        return None

    def draw(self, index: int, width: int, mark: str) -> Strip:
        """Return one line: cursor, mark, time, message."""
        look = self.look
        number = self.number_at(index)
        raw = self.text(number)
        labels = " ".join(self.marks.get(number, ()))
        signal = "!" if self.is_signal(number, raw) else " "
        spans: list[Span] = [
            ("mark", look.sign(mark) if mark else " "),
            ("mark", padded(labels, _LEFT - 3, look)),
            ("warning", f"{signal} "),
        ]
        whole = decoded(raw)
        stamp, said = ("", whole) if self.raw else parts(whole)
        if not self.raw:
            spans.append(("faint", padded(stamp, 12, look) + " "))
        names = "strong" if labels else "" if signal == "!" else "plain"
        fold = self._folded(index)
        shown = clean(said, look)
        spans += self._hits(shown[self.side :], names)
        if fold > 1:
            tail: list[Span] = [("faint", f" x{fold:,} alike")]
            room = width - sum(len(text) for _, text in tail)
            line = [*_cut(spans, room, self), *tail]
            return strip(line, width, look, "cursor" if mark == "cursor" else "")
        return strip(spans, width, look, "cursor" if mark == "cursor" else "")

    def _folded(self, index: int) -> int:
        return 1 if self.folds is None or index >= len(self.folds) else self.folds[index]

    def _hits(self, text: str, names: str) -> list[Span]:
        """Split the text where the search finds something; it is searched as it is shown."""
        if self.search is None or not text:
            return [(names, text)]
        data = text.encode("utf-8")
        spans: list[Span] = []
        at = 0
        for match in self.search.pattern.finditer(data[:4000]):
            start, end = match.span()
            if end > start >= at:
                spans.append((names, data[at:start].decode("utf-8", "replace")))
                spans.append(("hit", data[start:end].decode("utf-8", "replace")))
                at = end
        return [*spans, (names, data[at:].decode("utf-8", "replace"))]


def _cut(spans: Sequence[Span], room: int, view: LogView) -> list[Span]:
    fitted: list[Span] = []
    for names, text in spans:
        if room <= 0:
            break
        shown = clipped(text, room, view.look)
        fitted.append((names, shown))
        room -= len(shown)
    return fitted


def listed(
    file: LogFile,
    search: Search | None,
    fold: bool,
    keep: frozenset[int],
    stop: Stop,
    tell: Callable[[array[int], array[int] | None], None],
) -> bool:
    """List the rows that pass a filter, runs of the same shape folded into their first; false if there are too many.

    `keep` are rows that always stand for themselves.  `tell` is called with the
    lists as they grow: rows, and how many each stands for (None without fold).
    """
    rows: array[int] = array("Q")
    counts: array[int] | None = array("Q") if fold else None
    tell(rows, counts)
    last: bytes | None = None
    told = 0
    everything: Search | None = search
    chunk = (lambda data: True) if everything is None else everything.chunk
    line = (lambda raw: True) if everything is None else everything.line
    for _, hits in file.each(chunk, line, stop):
        for number in hits:
            if counts is not None:
                shaped = shape(file.line(number))
                if shaped == last and number not in keep:
                    counts[-1] += 1
                    continue
                last = None if number in keep else shaped
                counts.append(1)
            rows.append(number)
            if len(rows) >= MOST_LISTED:
                return False
        if len(rows) - told > _BATCH:
            told = len(rows)
            tell(rows, counts)
    return True
