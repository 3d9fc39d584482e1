"""What is said of a source, and the node on which sources are looked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Optional

from probes import bounded
from probes.named import NamedTuple

READABLE, PARTLY, UNREADABLE, ABSENT = "readable", "partly", "unreadable", "absent"
_LISTED = 6  # names told of a list
_COMM = 15  # the kernel keeps so much of a program's name

Attempt = Callable[[str, int], int]


class Access(NamedTuple):
    """One source: its state, what there is, why it is not (fully) readable, and the command or permission that helps.

    `needed` says that a verdict suffers without it; the others are used where they are.
    """

    source: str
    state: str
    needed: bool
    what: str
    why: Optional[str] = None
    remedy: Optional[str] = None


class Node(NamedTuple):
    """Where the node's file system stands, how its files are opened, and when time is up."""

    root: Path
    attempt: Attempt
    until: float
    running: frozenset[str]
    library_env: Optional[Mapping[str, str]]
    state_dir: Optional[Path]

    def program(self, name: str) -> Optional[str]:
        """Return the path of a program of this node."""
        if self.root == Path("/"):
            return bounded.find_program(name)
        places = (self.root / folder / name for folder in ("usr/sbin", "usr/bin", "sbin", "bin"))
        return next((str(path) for path in places if os.access(path, os.X_OK)), None)

    def refused(self, path: str) -> Optional[OSError]:
        """Return why a file cannot be opened for reading, or None."""
        try:
            os.close(self.attempt(str(self.root / path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as failure:
            return failure
        return None

    def runs(self, program: str) -> bool:
        """Return whether a process of this name is there."""
        return program[:_COMM] in self.running


def processes(root: Path) -> Iterator[str]:
    """Yield the name of each process, as the kernel keeps it."""
    for name in names(root / "proc") or ():
        if name.isdigit():
            yield text(root / "proc" / name / "comm")


def is_device(device: Path, vendor: str, kinds: tuple[str, ...]) -> bool:
    """Return whether a PCI device is of this vendor and of one of these classes."""
    return text(device / "vendor") == vendor and text(device / "class").startswith(kinds)


def text(path: Path) -> str:
    """The first line of a small file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(256).partition(b"\n")[0].decode("utf-8", "replace")
    except OSError:
        return ""


def names(path: Path) -> Optional[list[str]]:
    """Return what a folder holds in order, None if it cannot be read."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return None


def says(failure: OSError) -> str:
    """Return why a file was refused."""
    return (failure.strerror or str(failure)).lower()


def count(number: int, noun: str, many: str = "s") -> str:
    """Return a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else many}"


def few(names: Iterable[str]) -> str:
    """Return the first of some names."""
    listed = list(names)
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more
