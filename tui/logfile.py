"""A text file of any size as numbered lines, without ever holding it.

Only every 64 KiB the offset of a line is kept, so the index of a log of 2 GB
takes half a megabyte and the first screen is there before the index is.
`index` and the searches are meant for threads; everything may be called while
they run.  Lines are counted as the report counts them: by newlines alone.
"""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import BinaryIO

from triage.streams import KINDS, Damaged, as_utf8, blocks

STEP = 1 << 16
"""Bytes between two kept offsets, at least."""
LINE_MOST = 16 * 1024
"""Bytes of a line that are shown, found and copied; the rest of a longer one is passed over."""
PIECE = 4 << 20
"""Bytes of one line in which is searched."""
MOST_SPOOL = 8 << 30
"""Bytes that a compressed log may take when unpacked; more would fill somebody's disk."""
_KEPT = 64

Test = Callable[[bytes], bool]
Stop = Callable[[], bool]


class LogFile:
    """One open file.  `count` lines are known so far; `done` once that is all there are."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.note = ""
        self.done = False
        self.count = 0
        self._file = _plain(path)
        self._read = 0
        self._starts = array("Q", [0])
        self._numbers = array("Q", [0])
        self._open_line = False
        self._cache: OrderedDict[int, list[bytes]] = OrderedDict()
        self._lock = threading.Lock()
        self.size = self._size()

    @property
    def share(self) -> float:
        """How much of the file has been indexed, from 0 to 1."""
        return 1.0 if self.done else self._read / self.size if self.size else 0.0

    def close(self) -> None:
        """Close the file; the copy of a compressed one is gone with it.  Threads that still read find its end."""
        with self._lock:
            self._file.close()

    def _size(self) -> int:
        with self._lock:
            return 0 if self._file.closed else os.fstat(self._file.fileno()).st_size

    def _pread(self, size: int, offset: int) -> bytes:
        with self._lock:  # a closed descriptor may already be another file's
            return b"" if self._file.closed else os.pread(self._file.fileno(), size, offset)

    def index(self, stop: Stop) -> None:
        """Count the lines to the end of the file as it is now; called again it goes on where it stopped."""
        self.done = False
        self._cache.pop(len(self._starts) - 1, None)  # the last piece may have grown
        self.size = self._size()
        while not stop():
            try:
                block = self._pread(STEP * 4, self._read)
            except OSError as error:
                self.note = f"reading failed at byte {self._read}: {error.strerror}"
                block = b""
            if not block:
                break
            self._take(block)
        else:
            return
        self.done = True

    def _take(self, block: bytes) -> None:
        for place in range(0, len(block), STEP):
            part = block[place : place + STEP]
            newlines = part.count(b"\n")
            if newlines:
                first = part.find(b"\n") + 1
                offset, number = self._read + first, self._whole() + 1
                if offset > self._starts[-1]:
                    self._numbers.append(number)
                    self._starts.append(offset)
            ends_open = not part.endswith(b"\n")
            self.count = self._whole() + newlines + ends_open
            self._open_line = ends_open
            self._read += len(part)

    def _whole(self) -> int:
        """Lines that have ended so far."""
        return self.count - self._open_line

    def lines(self, first: int, most: int) -> list[bytes]:
        """Return up to `most` lines from `first` on, each cut at LINE_MOST, without line ends."""
        found: list[bytes] = []
        piece = self._piece_of(first)
        while len(found) < most and piece < len(self._starts):
            lines = self._lines_of(piece)
            skip = max(0, first - self._numbers[piece]) if not found else 0
            found += lines[skip : skip + most - len(found)]
            piece += 1
        return found

    def line(self, number: int) -> bytes:
        """Return one line, empty if there is none."""
        return next(iter(self.lines(number, 1)), b"")

    def find(self, start: int, forward: bool, chunk: Test, test: Test, stop: Stop) -> int | None:
        """Return the nearest line at or after (or at or before) `start` that passes `test`.

        `chunk` is asked first about many lines at once and must be true where
        any of them would pass.  None if there is no such line, or if stopped.
        """
        piece = self._piece_of(start)
        while 0 <= piece < len(self._starts) and not stop():
            if chunk(self._raw(piece)):
                numbered = list(enumerate(self._split(piece), self._numbers[piece]))
                for number, line in numbered if forward else reversed(numbered):
                    if (number >= start if forward else number <= start) and test(line):
                        return number
            piece += 1 if forward else -1
        return None

    def each(self, chunk: Test, test: Test, stop: Stop, piece: int = 0) -> Iterator[tuple[int, list[int]]]:
        """Yield, piece by piece from one on, how many lines were looked at and the numbers of those that pass.

        The last piece of a file that is still being indexed may grow, and is left out.
        """
        while piece < len(self._starts) - (not self.done) and not stop():
            number = self._numbers[piece]
            hits: list[int] = []
            lines = 0
            if chunk(self._raw(piece)):
                split = self._split(piece)
                lines = len(split)
                hits = [number + place for place, line in enumerate(split) if test(line)]
            following = self._numbers[piece + 1] if piece + 1 < len(self._numbers) else number + lines
            yield following, hits
            piece += 1

    def _piece_of(self, number: int) -> int:
        return max(0, bisect_right(self._numbers, number) - 1)

    def _raw(self, piece: int) -> bytes:
        start = self._starts[piece]
        end = self._starts[piece + 1] if piece + 1 < len(self._starts) else self._read
        try:
            return self._pread(min(end - start, PIECE), start)
        except OSError:
            return b""

    def _split(self, piece: int) -> list[bytes]:
        lines = self._raw(piece).split(b"\n")
        if not lines[-1]:
            lines.pop()
        return [line[:LINE_MOST] if len(line) > LINE_MOST else line for line in lines]

    def _lines_of(self, piece: int) -> list[bytes]:
        if piece == len(self._starts) - 1 and not self.done:
            return self._split(piece)  # it still grows
        kept = self._cache.get(piece)
        if kept is None:
            kept = self._cache[piece] = self._split(piece)
            while len(self._cache) > _KEPT:
                self._cache.popitem(last=False)
        return kept


def _plain(path: str) -> BinaryIO:
    """Open the file, or an unpacked copy without a name if it is compressed, UTF-16 or a pipe.

    Raises:
        OSError: if it cannot be opened or unpacked.
    """
    file = open(path, "rb")  # noqa: SIM115  # closed by the caller
    head = b""
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        head = os.pread(file.fileno(), 8, 0)
        if not any(head.startswith(kind.magic) for kind in KINDS) and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
            return file
    elif stat.S_ISDIR(os.fstat(file.fileno()).st_mode):
        raise OSError(f"{path} is a folder")
    with file:
        spool = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the caller
        try:
            for block in as_utf8(blocks(file)):
                spool.write(block)
                if spool.tell() > MOST_SPOOL:
                    break
        except Damaged:
            pass  # what came before the damage is shown; the report says that it is damaged
        spool.flush()
    return spool
