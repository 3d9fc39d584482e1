"""All phrases of a rulebook in one Hyperscan database, kept in the user's cache.

The database is plain data for a C library that checks little of it, so only what
`triage.kept` vouches for is loaded; else the database is made anew.  Nothing is
ever unpickled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triage import __version__, kept

if TYPE_CHECKING:
    from triage.patterns import Needle

FORMAT = "4"
"""Changed whenever the same phrases would make another file."""

MANY = 250
"""Phrases from which on Hyperscan looks at every second byte only, and so at more that is none; see `_EVERY_BYTE`."""
_EVERY_BYTE = b"\x01\x02"
"""What stands in no log.  With a phrase of two bytes among many it looks at every byte, a tenth faster in all."""

Find = Callable[[Any, Callable[..., Any]], None]


class NoHyperscan(Exception):
    """Blocks cannot be searched here.  The text says why, in a few words."""


def phrases(patterns: Iterable[str], always: Iterable[str] = ()) -> list[Needle]:
    """Return what to search for, so that every line that one of the patterns finds is found, and those of `always`.

    Raises:
        NoHyperscan: if a pattern names nothing to search for.
    """
    from triage.patterns import Needle, Untranslatable, brief, fewest, needles, spaced  # only where none is kept

    try:
        of_patterns = {brief(needle) for pattern in patterns for needle in needles(pattern)}
        found = fewest([*(Needle(text) for text in always), *of_patterns])
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
    folder = kept.folder() if folder is None else folder
    name = f"phrases-{_key(patterns, always, hyperscan)}.hsdb"
    try:
        database = None if folder is None else _load(folder, name, hyperscan)
        if database is None:
            wanted = phrases(patterns, always)
            texts = [needle.text.encode() for needle in wanted]
            flags = [hyperscan.HS_FLAG_CASELESS if needle.caseless else 0 for needle in wanted]
            if len(texts) >= MANY:
                texts, flags = [*texts, _EVERY_BYTE], [*flags, 0]
            database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
            database.compile(expressions=texts, ids=list(range(len(texts))), flags=flags, literal=True)
            if folder is not None:
                kept.write(folder, name, hyperscan.dumpb(database))
        scan: Find = database.scan
        scan(b"-", lambda *_: None)
    except (hyperscan.HyperscanError, ValueError) as error:
        raise NoHyperscan(f"Hyperscan refused ({str(error)[:100] or type(error).__name__})") from None
    return scan


def _key(patterns: Iterable[str], always: Iterable[str], hyperscan: Any) -> str:
    """Of the rulebook's patterns, and of the program and engine that make the database of them."""
    text = "\n".join((FORMAT, __version__, hyperscan.__version__, *always, "", *patterns))
    name: str = kept.digest(text.encode()).hexdigest()[:32]
    return name


def _load(folder: Path, name: str, hyperscan: Any) -> Any:
    """The database that is kept under a name, or None if there is none that can be trusted."""
    body = kept.read(folder, name)
    if body is None:
        return None
    try:
        database = hyperscan.loadb(body, hyperscan.HS_MODE_BLOCK)
        database.scratch = hyperscan.Scratch(database)
    except (ValueError, hyperscan.HyperscanError):
        return None
    return database
