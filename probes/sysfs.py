"""Small files of /proc and /sys, read so that what cannot be read is `Missing` and never a number."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Optional, Union

from probes.model import NO_PERMISSION, NOT_SUPPORTED, Entity, Missing, Value
from probes.named import NamedTuple

Read = Union[str, Missing]
Place = Union[str, Path]
_MOST = 4096
_ALL_PROCESSES = "pid:[4026531836]"
"""The namespace of processes that the kernel itself made (PROC_PID_INIT_INO of include/linux/proc_ns.h)."""


class Found(NamedTuple):
    """A reading that has no time yet."""

    entity: Entity
    name: str
    value: Value
    unit: str


def data(path: Place, most: int = _MOST) -> Union[bytes, Missing]:
    """Return what a small file holds."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(opened, most)
        finally:
            os.close(opened)
    except PermissionError:
        return Missing(NO_PERMISSION)
    except FileNotFoundError:
        return Missing(NOT_SUPPORTED)
    except OSError as failure:
        return Missing(f"error:{failure.strerror}")


def text(path: Place) -> Read:
    """Return the first line of a small file."""
    found = data(path)
    if isinstance(found, Missing):
        return found
    line = found.partition(b"\n")[0].decode("utf-8", "replace").strip()
    return line if line.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in line)


def number(path: Place) -> Value:
    """Return the whole number in a small file."""
    found = text(path)
    if isinstance(found, Missing):
        return found
    try:
        return whole(found)
    except ValueError:
        return Missing("error:not-a-number")


def whole(told: Union[str, bytes]) -> int:
    """Return a whole number, of a size that a counter of the kernel can have.

    Raises:
        ValueError: if it is none.
    """
    value = int(told)
    if abs(value) >> 64:
        raise ValueError("larger than any counter")
    return value


def names(path: Place) -> list[str]:
    """Return the names in a folder in order; none if it cannot be read."""
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def empty(folder: Place) -> bool:
    """Return whether a folder holds nothing, or cannot be looked into."""
    try:
        with os.scandir(folder) as found:
            return next(found, None) is None
    except OSError:
        return True


def unseen(proc: Path) -> Optional[Missing]:
    """Return why a process that runs on this node may not be seen here; None where all are."""
    if empty(proc):
        return Missing(NOT_SUPPORTED)
    try:
        seen = os.readlink(proc / "self/ns/pid")
    except OSError:
        seen = _ALL_PROCESSES  # a kernel without such namespaces
    if seen != _ALL_PROCESSES:
        return Missing("error:only the processes of this container are seen")
    if (proc / "self").exists() and not (proc / "1").exists():
        return Missing(NO_PERMISSION)  # hidepid
    return None


def first_number(told: Read) -> Value:
    """Return the number that a text begins with."""
    if isinstance(told, Missing):
        return told
    try:
        return float(told.split()[0])
    except (ValueError, IndexError):
        return Missing("error:not-a-number")
