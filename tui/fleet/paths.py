"""The captures of a fleet as paths: one for each node, and what tells that one has changed."""

from __future__ import annotations

import os
from collections.abc import Sequence

from triage.cli.exits import Refused


def nodes_of(given: Sequence[str]) -> list[str]:
    """Return one path for each node: what a folder holds, or what was named.

    Raises:
        Refused: if a folder cannot be listed.
    """
    paths: list[str] = []
    for path in given:
        if not os.path.isdir(path):
            paths.append(path)
            continue
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            raise Refused(f"{path}: {error.strerror or error}") from error
        paths += [os.path.join(path, name) for name in names if not name.startswith(".")]
    return paths


def stamp(path: str) -> str:
    """Return what changes when a capture does; a folder changes with what it holds."""
    try:
        status = os.stat(path)
        if not os.path.isdir(path):
            return f"{status.st_mtime_ns} {status.st_size} {status.st_ino}"
        held = sorted(f"{entry.name} {(own := entry.stat()).st_mtime_ns} {own.st_size}" for entry in os.scandir(path))
        return f"{status.st_mtime_ns} {' '.join(held)}"
    except OSError as error:
        return f"error {error.errno}"


def stamp_of_itself(path: str) -> str:
    """Return what changes when a file does, or when a folder gets or loses an entry."""
    try:
        status = os.stat(path)
        return f"{path} {status.st_mtime_ns} {status.st_size}"
    except OSError as error:
        return f"{path} {error.errno}"
