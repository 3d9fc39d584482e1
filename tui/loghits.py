"""All the lines of a log that pass a search, found once by a thread: from then on the next one is there at once.

In a log of 2 GB the next hit may be 2 GB away; what was found so far is asked
first, and the file only beyond it.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left, bisect_right

from tui.logfile import LogFile, Stop
from tui.loglines import Search

_PAUSE = 0.005
MOST = 1_000_000
"""Lines that are remembered (8 MB)."""
FAR = 100_000
"""Lines that the look through the whole file is given to come to where a search starts: some hundredths of a second."""


class Hits:
    """The rows that pass, as far as they are known."""

    def __init__(self, file: LogFile, search: Search) -> None:
        self.search = search
        self.done = False
        self._file = file
        self._rows = array("Q")
        self._reach = 0
        self._collecting = False

    def __len__(self) -> int:
        return len(self._rows)

    def collect(self, stop: Stop) -> None:
        """Look through the whole file, behind its index while that is being made; for a thread."""
        piece, whole = 0, False
        self._collecting = True
        try:
            while not whole and not stop():
                whole = self._file.done
                for reach, found in self._file.each(self.search.chunk, self.search.line, stop, piece):
                    piece += 1
                    self._rows.extend(found)
                    self._reach = reach
                    if len(self._rows) > MOST:
                        return
                if not whole:
                    time.sleep(_PAUSE)
            self.done = not stop()
        finally:
            self._collecting = False

    def place(self, row: int) -> int | None:
        """Return which hit a row is, from 1, None if it is none or not known yet."""
        place = bisect_left(self._rows, row)
        return place + 1 if place < len(self._rows) and self._rows[place] == row else None

    def next(self, start: int, forward: bool, stop: Stop) -> int | None:
        """Return the nearest hit at or after (or at or before) a row; None if there is none, or if stopped."""
        rows, chunk, line = self._rows, self.search.chunk, self.search.line
        looked = False
        while not stop():
            collecting, reach = self._collecting, self._reach
            place = bisect_left(rows, start) if forward else bisect_right(rows, start) - 1
            if forward and place < len(rows):
                return rows[place]
            if not forward and start < reach:
                return rows[place] if place >= 0 else None
            if not collecting:
                # Nobody looks further: the file has grown since, or there were too many to remember.
                found = self._file.find(max(start, reach) if forward else start, forward, chunk, line, stop)
                return rows[place] if found is None and not forward and place >= 0 else found
            if not looked and start > reach + FAR:
                # The look through the whole file is far from here; often the next one is near.
                looked = True
                found = self._file.find(start, forward, chunk, line, lambda: stop() or self._reach > start)
                if found is not None:
                    return found
            time.sleep(_PAUSE)
        return None
