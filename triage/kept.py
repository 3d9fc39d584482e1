"""Files of the user's cache: believed only if they are ours, whole, and nobody else could have written them.

A cache may vanish at any time and must never be believed more than what it was
made of.  So a file counts only if it and its folder belong to this user, no one
else may write either, it is no link, and the hash it begins with is that of the
rest.  Writers replace a file in one step; of two the last one stays.  Nothing
here raises: without a cache everything is made anew.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

try:
    from _blake2 import blake2b  # the same as that of hashlib, which takes 2 ms to load for what is not needed here
except ImportError:
    from hashlib import blake2b

LARGEST = 64 << 20
"""Bytes of a file that is read; those written are some hundred KiB."""

_HASH = 32


def folder() -> Path | None:
    """Return the folder of the user's cache for this program, or None without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, ".cache")
    return Path(base) / "gpu-triage"


def read(directory: Path, name: str) -> bytes | None:
    """Return what was kept under this name, or None if there is nothing that can be trusted."""
    try:
        opened = _open_own(directory)
    except OSError:
        return None
    try:
        # not blocking, because somebody may have put a pipe there
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=opened)
    except OSError:
        return None
    finally:
        os.close(opened)
    with open(file, "rb") as stream:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or not own(status) or not _HASH < status.st_size <= LARGEST:
            return None
        try:
            held = stream.read(LARGEST + 1)
        except OSError:
            return None
    body = held[_HASH:]
    return body if _hash(body) == held[:_HASH] else None


def write(directory: Path, name: str, body: bytes) -> bool:
    """Keep this under a name, replacing what is there in one step; False if it could not be kept."""
    scratch = f".{name}-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        opened = _open_own(directory)
    except OSError:
        return False
    try:
        file = os.open(
            scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=opened
        )
        try:
            with open(file, "wb") as stream:
                stream.write(_hash(body) + body)
            os.replace(scratch, name, src_dir_fd=opened, dst_dir_fd=opened)
        except OSError:
            os.unlink(scratch, dir_fd=opened)
            raise
    except OSError:
        return False
    finally:
        os.close(opened)
    return True


def own(status: os.stat_result) -> bool:
    """Whether a file or folder is this user's and nobody else may write it."""
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _open_own(directory: Path) -> int:
    """Open a folder that is ours, so that what is done next is done in it and no other."""
    opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    if own(os.fstat(opened)):
        return opened
    os.close(opened)
    raise PermissionError(f"{directory} is not this user's alone")


def _hash(body: bytes) -> bytes:
    made: bytes = digest(body).digest()
    return made


def digest(data: bytes = b"") -> Any:
    """Return a hash of 32 bytes that can be updated."""
    return blake2b(data, digest_size=_HASH)
