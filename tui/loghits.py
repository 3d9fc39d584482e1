"""All the lines of a log that pass a search, found once by a thread: from then on the next one is there at once.

In a log of 2 GB the next hit may be 2 GB away; what was found so far is asked
first, and the file only beyond it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

from tui.logfile import LogFile, Stop
from tui.loglines import Search

MOST = 1_000_000
"""Lines that are remembered (8 MB)."""


class Hits:
    """The rows that pass, as far as they are known."""

    def __init__(self, file: LogFile, search: Search) -> None:
        self.search = search
        self.done = False
        self._file = file
        self._rows = array("Q")
        self._reach = 0

    def __len__(self) -> int:
        return len(self._rows)

    def collect(self, stop: Stop) -> None:
        """Look through the whole file; for a thread."""
        for reach, found in self._file.each(self.search.chunk, self.search.line, stop):
            self._rows.extend(found)
            self._reach = reach
            if len(self._rows) > MOST:
                return
        self.done = not stop()

    def place(self, row: int) -> int | None:
        """Return which hit a row is, from 1, None if it is none or not known yet."""
        place = bisect_left(self._rows, row)
        return place + 1 if place < len(self._rows) and self._rows[place] == row else None

    def next(self, start: int, forward: bool, stop: Stop) -> int | None:
        """Return the nearest hit at or after (or at or before) a row; None if there is none, or if stopped."""
        rows, reach = self._rows, self._file.count if self.done else self._reach
        if forward:
            place = bisect_left(rows, start)
            if place < len(rows):
                return rows[place]
            start = max(start, reach)
            return None if self.done else self._file.find(start, True, self.search.chunk, self.search.line, stop)
        if start < reach:
            place = bisect_right(rows, start)
            return rows[place - 1] if place else None
        return self._file.find(start, False, self.search.chunk, self.search.line, stop)
