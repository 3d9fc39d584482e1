"""Small files whose reading may hang, read by another program so that only that hangs.

A sysfs file of a network card asks the card's firmware, and a process's
environment waits for that process's memory; either can sleep uninterruptibly in
the kernel for as long as the other side pleases.  `grep` reads them, one of it
for each group of files that would hang together, all at once; it is stopped or
left behind when time is up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Union

from probes import bounded
from probes.model import NO_PERMISSION, NOT_INSTALLED, NOT_SUPPORTED, TIMED_OUT, Missing

LARGEST = 4 << 20
"""Bytes that are taken of one group."""
LONGEST = 4096
"""Characters of a line."""

Lines = Union[tuple[str, ...], Missing]
_WAIT = 0.02  # seconds for which one group is listened to before the next


def first_lines(groups: Sequence[Sequence[str]], until: float, pattern: str = "") -> dict[str, Lines]:
    """Return the lines of each file that hold `pattern` (basic regex, all lines by default).

    Args:
        groups: paths; those of one group are read in turn, groups beside each other.
        until: monotonic seconds.
        pattern: what a line, or a NUL-ended variable of an environment, must begin like.

    What is not read is `Missing`: timed-out, not-installed (no grep), no-permission, not-supported (no such file).
    """
    program = bounded.find_program("grep")
    paths = [path for group in groups for path in group]
    if program is None:
        return dict.fromkeys(paths, Missing(NOT_INSTALLED))
    words = [program, "-a", "-H", "-Z", "-s", "--line-buffered", *(["-z"] if pattern else []), "-e", pattern, "--"]
    running = [_Reader(words, group) for group in groups if group]
    try:
        while any(reader.open for reader in running) and time.monotonic() < until:
            for reader in running:
                reader.listen(min(until, time.monotonic() + _WAIT))
    finally:
        for reader in running:
            reader.end()
    found: dict[str, Lines] = {}
    for reader in running:
        found.update(reader.told())
    return found


def single(lines: Mapping[str, Lines], path: str) -> Union[str, Missing]:
    """Return the first line of a file that was read so, or why it is not known."""
    told = lines.get(path, Missing(NOT_SUPPORTED))
    return told if isinstance(told, Missing) else told[0] if told else ""


class _Reader:
    """One grep and what it has said so far."""

    def __init__(self, words: Sequence[str], paths: Sequence[str]) -> None:
        self._paths = paths
        self._end = b"\0" if "-z" in words else b"\n"
        self._process = bounded.start([*words, *paths], {"LC_ALL": "C"})
        self._listener = bounded.Listener(self._process)
        self._said = bytearray()
        self.open = True

    def listen(self, until: float) -> None:
        while self.open:
            chunk = self._listener.wait(until)
            self._said += chunk.output
            if chunk.ended or len(self._said) > LARGEST:
                self.open = False
            elif chunk.timed_out:
                return

    def end(self) -> None:
        bounded.end(self._process, 0.05)

    def told(self) -> dict[str, Lines]:
        found: dict[str, list[str]] = {}
        rest = bytes(self._said[:LARGEST])
        while rest:
            name, zero, rest = rest.partition(b"\0")
            line, ended, rest = rest.partition(self._end)
            if not zero or not ended:
                break  # cut off within it
            text = line[:LONGEST].decode("utf-8", "replace").strip()
            clean = "".join(sign if sign.isprintable() else "?" for sign in text)
            found.setdefault(os.fsdecode(name), []).append(clean)
        told: dict[str, Lines] = {path: tuple(found[path]) for path in self._paths if path in found}
        last = max((place for place, path in enumerate(self._paths) if path in found), default=-1)
        for place, path in enumerate(self._paths):
            if path not in told:
                told[path] = _why(path) if place < last or not self.open else Missing(TIMED_OUT)
        return told


def _why(path: str) -> Lines:
    """Why grep passed a file over: it may hold no such line."""
    if not os.path.lexists(path):
        return Missing(NOT_SUPPORTED)
    return () if os.access(path, os.R_OK) else Missing(NO_PERMISSION)
