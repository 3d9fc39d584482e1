"""A tar archive read as a bounded stream, without trusting a byte; `probes.tar` writes it.

Only what this program writes is read back: plain files with short names.  A
link, a device or a name that leads out of the archive ends the reading, and
nothing is ever extracted to a disk.  What another tar adds when somebody packs
the archive anew (folders, extended headers) is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from probes.named import NamedTuple
from probes.tar import BLOCK, END, packed, safe_name

__all__ = [
    "BLOCK",
    "END",
    "MOST_MEMBERS",
    "MOST_RATIO",
    "MOST_TOTAL",
    "Member",
    "Reader",
    "Unsound",
    "packed",
    "safe_name",
]

MOST_MEMBERS = 10_000
MOST_TOTAL = 1 << 30
"""Bytes of all members together, unpacked."""
MOST_RATIO = 400
"""How many times larger than packed it may be: a kernel log packs 10 to 40 times smaller, a bomb 1000 times."""
RATIO_FROM = 16 << 20
"""Bytes unpacked below which the ratio does not matter."""

_PASSED_OVER = b"5xgLK"
"""Folders, and the extended headers of POSIX and GNU tar."""


class Unsound(Exception):
    """The archive is not one that may be read.  The text says why, in a few words."""


class Member(NamedTuple):
    """The head of a file in the archive."""

    name: str
    size: int


class Reader:
    """The members of an archive, one after the other.

    `packed_size` is asked how many bytes were read to get what is there so far.
    """

    def __init__(self, parts: Iterator[bytes], packed_size: Callable[[], int] | None = None) -> None:
        self._parts = parts
        self._packed = packed_size
        self._part = b""
        self._at = 0
        self._left = 0  # of the open member, with its padding
        self._open = 0  # of the open member, without
        self._members = 0
        self._total = 0

    def __iter__(self) -> Iterator[Member]:
        """Yield the head of each file; what was not read of one is passed over.

        Raises:
            Unsound: at the first thing that must not be there.
        """
        while True:
            for _ in self._take(self._left):
                pass
            self._left = 0
            head = b"".join(self._take(BLOCK))
            if len(head) < BLOCK:
                raise Unsound("the archive ends early" if head or not self._members else "the archive has no end mark")
            if not head.strip(b"\0"):
                return
            self._members += 1
            if self._members > MOST_MEMBERS:
                raise Unsound(f"more than {MOST_MEMBERS} files in it")
            size, kind = _checked(head)
            self._open, self._left = size, size + -size % BLOCK
            if kind in _PASSED_OVER:
                continue
            if kind not in b"0\0":
                raise Unsound("there is a link or a device in it")
            name = safe_name(_name(head))
            if name is None:
                raise Unsound("a name in it leads out of the archive")
            yield Member(name, size)

    def content(self) -> Iterator[bytes]:
        """Yield the bytes of the open member.

        Raises:
            Unsound: if the archive ends within it.
        """
        wanted, self._open = self._open, 0
        got = 0
        self._left -= wanted
        for part in self._take(wanted):
            got += len(part)
            yield part
        if got < wanted:
            raise Unsound("the archive ends early")

    def _take(self, size: int) -> Iterator[bytes]:
        while size:
            if self._at >= len(self._part):
                self._part, self._at = next(self._parts, b""), 0
                if not self._part:
                    return
                self._total += len(self._part)
                self._bounded()
            part = self._part[self._at : self._at + size]
            self._at += len(part)
            size -= len(part)
            yield part

    def _bounded(self) -> None:
        if self._total > MOST_TOTAL:
            raise Unsound(f"more than {MOST_TOTAL >> 20} MiB unpacked")
        read = self._packed() if self._packed is not None else None
        if read and self._total > RATIO_FROM and self._total > MOST_RATIO * read:
            raise Unsound(f"it unpacks to more than {MOST_RATIO} times its size")


def _name(head: bytes) -> str:
    """The name as it stands in a header; a byte beyond ASCII makes it no name."""
    parts = (head[345:500], head[:100]) if head[345:346].strip(b"\0") else (head[:100],)
    return b"/".join(part.partition(b"\0")[0] for part in parts).decode("ascii", "replace")


def _checked(head: bytes) -> tuple[int, bytes]:
    """Size and kind of a member whose header is whole."""
    try:
        claimed = int(head[148:156].strip(b"\0 ") or b"x", 8)
        size = int(head[124:136].strip(b"\0 ") or b"0", 8)
    except ValueError:
        raise Unsound("a header in it is damaged") from None
    if claimed != sum(head[:148]) + 8 * 32 + sum(head[156:]):
        raise Unsound("a header in it is damaged")
    if not 0 <= size <= MOST_TOTAL:
        raise Unsound("a file in it is too large")
    return size, head[156:157]
