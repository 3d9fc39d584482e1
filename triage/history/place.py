"""Where the state stands, and whether it is safe to write there.

root writes below a directory that only root can change; nobody follows a
symbolic link that another user may have put there.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

SYSTEM = Path("/var/lib/gpu-triage")
VARIABLE = "GPU_TRIAGE_STATE_DIR"


class Unavailable(Exception):
    """There is no history this time; the text says why and what would help, in one line."""


def default_directory() -> Path:
    """Return the state directory of this user.

    GPU_TRIAGE_STATE_DIR where set; root's is /var/lib/gpu-triage; others' is
    `gpu-triage/NODE` below XDG_STATE_HOME (~/.local/state), one per node because
    homes are shared over networks and SQLite files must not be.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return SYSTEM
    base = os.environ.get("XDG_STATE_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state"
    node = os.uname().nodename.replace("/", "_").strip(".") or "node"
    return home / "gpu-triage" / node


def prepare(directory: Path) -> None:
    """Make the directory, mode 0700, if it is not there, and see that it is safe.

    Raises:
        Unavailable: if it cannot be made, is no directory of ours or can be changed by others.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"the state directory {directory} cannot be made: {_reason(error)}") from error
    problem = fault(directory)
    if problem is not None:
        raise Unavailable(problem)


def fault(directory: Path) -> str | None:
    """Return why a directory that exists must not be used, or None."""
    try:
        found = os.lstat(directory)
    except OSError as error:
        return f"the state directory {directory} cannot be read: {_reason(error)}"
    if stat.S_ISLNK(found.st_mode):
        return f"the state directory {directory} is a symbolic link, which is not followed; name its target instead"
    if not stat.S_ISDIR(found.st_mode):
        return f"the state directory {directory} is not a directory"
    me = os.geteuid()
    if found.st_uid != me:
        return f"the state directory {directory} belongs to user {found.st_uid}; run as that one, or name another"
    open_to = stat.S_IWGRP | stat.S_IWOTH if me == 0 else stat.S_IWOTH
    if found.st_mode & open_to:
        return f"others can write the state directory {directory}; chmod it to 0700"
    return _above(directory) if me == 0 else None


def _above(directory: Path) -> str | None:
    """Return why a directory above lets others put something else in its place; in a sticky one they cannot."""
    for folder in Path(os.path.realpath(directory)).parents:
        mode = os.stat(folder).st_mode
        if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
            return f"others can write {folder}, above the state directory; chmod it or name another --state-dir"
    return None


def private_file(path: Path) -> None:
    """Make a file of mode 0600 if it is not there, and see that it is a plain file of ours.

    Raises:
        OSError: if it cannot be made; a symbolic link is refused with ELOOP.
        Unavailable: if it is something else, or another user's.
    """
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
            raise Unavailable(f"{path} is not a plain file of this user; move it away")
        if found.st_mode & 0o077:
            os.fchmod(opened, 0o600)
    finally:
        os.close(opened)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
