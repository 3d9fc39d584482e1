"""All phrases of a rulebook in one Hyperscan database, kept in the user's cache.

The database is plain data for a C library that checks little of it, so a file
of the cache counts only if it is this user's own, nobody else can write it or
its folder, and its hash is right; else the database is made anew.  Writers
replace the file in one step, and nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from triage import __version__
from triage.patterns import Needle, Untranslatable, fewest, needles, spaced

FORMAT = "2"
"""Changed whenever the same phrases would make another file."""
LARGEST = 64 << 20
"""Bytes of a cached database; that of the built-in rulebook has less than one million."""

Find = Callable[[Any, Callable[..., Any]], None]


class NoHyperscan(Exception):
    """Blocks cannot be searched here.  The text says why, in a few words."""


def phrases(patterns: Iterable[str], always: Iterable[str] = ()) -> list[Needle]:
    """Return what to search for, so that every line that one of the patterns finds is found, and those of `always`.

    Raises:
        NoHyperscan: if a pattern names nothing to search for.
    """
    try:
        found = fewest([*(Needle(text) for text in always), *(n for pattern in patterns for n in needles(pattern))])
    except Untranslatable as error:
        raise NoHyperscan(f"a signal pattern cannot be searched for in blocks ({error})") from None
    return fewest([*found, *(longer for needle in found for longer in spaced(needle))])


def finder(patterns: Sequence[str], always: Sequence[str] = (), folder: Path | None = None) -> Find:
    """Return a function that calls back with `(id, start, end, flags, context)` for every phrase in a buffer.

    Args:
        patterns: the regular expressions of the rulebook.
        always: phrases to find besides.
        folder: where databases are kept; that of the user if None.

    Raises:
        NoHyperscan: if Hyperscan is not installed or does not work on this machine.
    """
    try:
        import hyperscan
    except ImportError:
        raise NoHyperscan("the Python package hyperscan is not installed") from None
    folder = cache_folder() if folder is None else folder
    file = folder / f"phrases-{_key(patterns, always, hyperscan)}.hsdb" if folder is not None else None
    try:
        database = None if file is None else _load(file, hyperscan)
        if database is None:
            wanted = phrases(patterns, always)
            database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
            database.compile(
                expressions=[needle.text.encode() for needle in wanted],
                ids=list(range(len(wanted))),
                flags=[hyperscan.HS_FLAG_CASELESS if needle.caseless else 0 for needle in wanted],
                literal=True,
            )
            if file is not None:
                with contextlib.suppress(OSError):
                    _save(file, hyperscan.dumpb(database))
        scan: Find = database.scan
        scan(b"-", lambda *_: None)
    except (hyperscan.HyperscanError, ValueError) as error:
        raise NoHyperscan(f"Hyperscan refused ({str(error)[:100] or type(error).__name__})") from None
    return scan


def cache_folder() -> Path | None:
    """Return the folder of the user's cache for this program, or None without a home."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, ".cache")
    return Path(base) / "gpu-triage"


def _key(patterns: Iterable[str], always: Iterable[str], hyperscan: Any) -> str:
    """Of the rulebook's patterns, and of the program and engine that make the database of them."""
    text = "\n".join((FORMAT, __version__, hyperscan.__version__, *always, "", *patterns))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _load(file: Path, hyperscan: Any) -> Any:
    """The database in a file, or None if there is none that can be trusted."""
    try:
        if not _own(os.stat(file.parent)):
            return None
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as opened:
            status = os.fstat(descriptor)
            if not _own(status) or not stat.S_ISREG(status.st_mode):
                return None
            held = opened.read(LARGEST)
        body = held[32:]
        if hashlib.sha256(body).digest() != held[:32]:
            return None
        database = hyperscan.loadb(body, hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch(database)
        return database
    except (OSError, ValueError, hyperscan.HyperscanError):
        return None


def _own(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _save(file: Path, body: bytes) -> None:
    os.makedirs(file.parent, mode=0o700, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".phrases-", dir=file.parent)
    try:
        with open(descriptor, "wb") as opened:
            opened.write(hashlib.sha256(body).digest() + body)
        os.replace(name, file)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
