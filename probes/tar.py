"""The members of a tar archive, written the same way every time: plain files with short names."""

from __future__ import annotations

import re
from typing import Optional

BLOCK = 512
END = b"\0" * (2 * BLOCK)

_NAME = re.compile(r"[A-Za-z0-9_.:+@,=-]+(?:/[A-Za-z0-9_.:+@,=-]+)*\Z")


def safe_name(name: str) -> Optional[str]:
    """Return the name of a member as it may be looked up, or None if it leads anywhere else."""
    while name.startswith("./"):
        name = name[2:]
    if not _NAME.match(name) or any(set(part) <= {"."} for part in name.split("/")):
        return None
    return name


def packed(name: str, content: bytes, mtime: int) -> bytes:
    """Return one member, padded: a file of mode 0600 that belongs to nobody in particular.

    Raises:
        ValueError: if the name is longer than 100 bytes or not a plain path.
    """
    raw = name.encode("ascii")
    if safe_name(name) != name or len(raw) > 100:
        raise ValueError(f"not a member's name: {name!r}")
    head = bytearray(BLOCK)
    fields = (
        (0, raw), (100, b"0000600\0"), (108, b"0000000\0"), (116, b"0000000\0"), (124, b"%011o\0" % len(content)),
        (136, b"%011o\0" % max(0, mtime)), (148, b" " * 8), (156, b"0"), (257, b"ustar\x0000"),
    )  # fmt: skip
    for place, value in fields:
        head[place : place + len(value)] = value
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + content + b"\0" * (-len(content) % BLOCK)
