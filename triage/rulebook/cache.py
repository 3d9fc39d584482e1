"""The rulebook as it was loaded before, for whoever judges and has no time to read YAML.

What is kept is plain data (`marshal` of tuples, texts and numbers) in a file that
`triage.kept` vouches for.  It counts only for exactly these rule files, by their
hash, this version of the program and of Python; otherwise, and whenever anything
is wrong with it, the rules are loaded as ever.  A rulebook that has a problem is
never kept, so its problems are told every time.

What only an author needs is left out: the tests of rules and the examples of
signals.  What is worked out once is added: the phrases by which the scanner passes
over lines that mean nothing.  What a rule asks and advises stays packed until its
rule has been triggered.
"""

from __future__ import annotations

import marshal
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from triage import __version__, kept
from triage.rulebook import model
from triage.rulebook.folders import RULES
from triage.rulebook.model import Rulebook

if TYPE_CHECKING:
    from triage.patterns import Needle

FORMAT = "4"
"""Changed whenever the same rules would make another file though no module of the rulebook changed."""
KEPT = 4
"""Rulebooks that are kept; older ones make room."""


class Later(Sequence[Any]):
    """Values that stay packed until somebody asks for one: on a node that is well nobody does."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    @classmethod
    def of(cls, values: Sequence[Any]) -> Later:
        """Pack values."""
        return cls(_packed(tuple(values)))

    @cached_property
    def _values(self) -> tuple[Any, ...]:
        values: tuple[Any, ...] = _unpacked(self._body)
        return values

    def __getitem__(self, place: Any) -> Any:
        return self._values[place]

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return self._values == (other._values if isinstance(other, Later) else other)

    def __hash__(self) -> int:
        return hash(self._values)

    def __reduce__(self) -> tuple[type[Later], tuple[bytes]]:
        return Later, (self._body,)


_Run: TypeAlias = tuple[int, int, int]
"""Values of one kind and size: how deep others stand in them, of which of `_TYPES`, and how many parts each has."""
_Members: TypeAlias = tuple[tuple[bool, Any], ...]
_PLAINLY: _Run = (0, 0, 1)
"""What needs no making, but stands in a column of values."""
_PLAIN = (str, bytes, int, float, bool, type(None))
_TYPES: tuple[tuple[Callable[[Sequence[Any]], Any], int | None], ...]
"""What makes a value of what it holds, and of how much."""
_NAMED: tuple[type, ...] = tuple(
    sorted(
        (kind for kind in vars(model).values() if isinstance(kind, type) and hasattr(kind, "_fields")),
        key=lambda kind: kind.__name__,
    )
)


def load(
    root: Path | None = None, overlays: Sequence[Path] = (), now: float | None = None, folder: Path | None = None
) -> Rulebook:
    """Load a rulebook as `triage.rulebook.load.load` does, but for what only authors need; see there.

    Args:
        root: a directory laid out like `rules/`.
        overlays: folders of site rules.
        now: epoch seconds by which a change of a site has expired.
        folder: where rulebooks are kept; the user's cache if None.

    Raises:
        RulebookError: if anything is wrong with the rules.
    """
    folder = kept.folder() if folder is None else folder
    now = time.time() if now is None else now
    name = None if folder is None else f"rules-{_key(RULES if root is None else root, overlays, now)}"
    if folder is not None and name is not None:
        body = kept.read(folder, name)
        book = None if body is None else unpacked(body)
        if book is not None:
            return book
    from triage.rulebook import load as loading

    book = _for_judging(loading.load(root, overlays, now))
    if folder is not None and name is not None and kept.write(folder, name, packed(book)):
        _make_room(folder, name)
    return book


def _for_judging(book: Rulebook) -> Rulebook:
    from triage.patterns import Untranslatable

    try:
        sieves = tuple(_sieve(pattern.match) for pattern in book.signals)
    except Untranslatable:
        sieves = ()
    return book._replace(
        # where each part stands in its file is for authors, and a sixth of all there is to unpack
        rules=tuple(
            rule._replace(
                tests=(), references=(), evidence=tuple(item._replace(place=rule.place) for item in rule.evidence)
            )
            for rule in book.rules
        ),
        signals=tuple(
            pattern._replace(examples=(), counterexamples=(), place=book.signals[0].place) for pattern in book.signals
        ),
        sieves=sieves,
    )


def _sieve(pattern: str) -> model.Sieve:
    from triage.patterns import further, needles, openings

    phrases, begins = needles(pattern, families=()), openings(pattern)
    besides = further(pattern, (*begins, *(needle.text for needle in phrases)))
    return model.Sieve(_told(phrases), begins, () if phrases <= besides else _told(besides))


def _told(phrases: Iterable[Needle]) -> tuple[tuple[str, bool], ...]:
    return tuple(sorted((text.casefold() if caseless else text, caseless) for text, caseless in phrases))


def packed(book: Rulebook) -> bytes:
    """Return a rulebook as bytes, what its rules ask once they were triggered apart."""
    rules = tuple(
        rule._replace(evidence=Later.of(rule.evidence), actions=Later.of(rule.actions)) for rule in book.rules
    )
    return _packed(book._replace(rules=rules))


def _packed(whole: Any) -> bytes:
    """Return values as bytes.

    A list of runs, parts before wholes, equal values once: a type, and of all its values of one size the columns.  A
    column holds what it says, or the numbers of values before it.  So most is put together without a step of ours.
    """
    runs: dict[_Run, list[_Members]] = {}
    places: dict[bytes, tuple[_Run, int]] = {}
    texts: dict[str, str] = {}

    def put(run: _Run, members: _Members) -> tuple[_Run, int]:
        key = marshal.dumps((run, members), 2)  # by which 1, 1.0 and True are not the same, and equal values are
        if key not in places:
            rows = runs.setdefault(run, [])
            places[key] = (run, len(rows))
            rows.append(members)
        return places[key]

    def part(value: Any) -> tuple[bool, Any]:
        """Whether something is a value of a run, and which; else it is what it is."""
        if _is_plain(value):
            return False, _once(value, texts)
        if isinstance(value, Later):
            kind, held = 3, [value._body]
        elif isinstance(value, Mapping):
            kind, held = 1, [member for item in value.items() for member in item]
        else:
            kind, held = 2 if type(value) is tuple else 4 + _NAMED.index(type(value)), list(value)
        members = tuple(map(part, held))
        depth = 1 + max((at[0][0] for refers, at in members if refers), default=0)
        return True, put((depth, kind, len(members)), members)

    part(whole)
    columns: dict[_Run, list[tuple[bool, tuple[Any, ...]]]] = {}
    for run in (*runs, _PLAINLY):  # the last grows by what stands beside values of runs
        for column in zip(*runs.get(run, ()), strict=True):
            refers = any(refers for refers, _ in column)
            told = tuple(held if whole or not refers else put(_PLAINLY, ((False, held),)) for whole, held in column)
            columns.setdefault(run, []).append((refers, told))
    begins = dict(zip(sorted(runs), accumulate((len(runs[run]) for run in sorted(runs)), initial=0), strict=False))
    return marshal.dumps(
        tuple(
            (
                run[1],
                tuple((refers, tuple(begins[r] + row for r, row in told) if refers else told) for refers, told in of),
            )
            for run, of in sorted(columns.items())
        )
    )


def _is_plain(value: Any) -> bool:
    """Whether marshal knows how to write a value, and all that it holds."""
    if type(value) is dict:
        return all(map(_is_plain, value)) and all(map(_is_plain, value.values()))
    return isinstance(value, _PLAIN) or (type(value) is tuple and all(map(_is_plain, value)))


def _once(value: Any, texts: dict[str, str]) -> Any:
    """Return an equal value whose texts marshal writes once: the first of all equal ones stands for them.

    Interned ones would be interned again when they are read, which takes as long as reading them.
    """
    if isinstance(value, tuple):
        return tuple(_once(held, texts) for held in value)
    if isinstance(value, dict):
        return {_once(name, texts): _once(held, texts) for name, held in value.items()}
    return texts.setdefault(value, value) if isinstance(value, str) else value


def unpacked(body: bytes) -> Rulebook | None:
    """Return the rulebook that these bytes say, or None if they say none."""
    try:
        book = _unpacked(body)
    except (ValueError, TypeError, EOFError, IndexError, KeyError):
        return None
    return book if isinstance(book, Rulebook) else None


def _unpacked(body: bytes) -> Any:
    found: list[Any] = []
    for kind, columns in marshal.loads(body):
        make, many = _TYPES[kind]
        if many is not None and many != len(columns):
            raise ValueError(f"a value of type {kind} has {many} parts, not {len(columns)}")
        told = [map(found.__getitem__, column) if refers else column for refers, column in columns]
        found += list(map(make, zip(*told, strict=True)))
    return found[-1]


def _mapping(members: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(members[::2], members[1::2], strict=True))


_TYPES = (
    (itemgetter(0), 1),
    (_mapping, None),
    (tuple, None),
    (lambda members: Later(*members), 1),
    # as `_make` does it, but for a call less
    *((partial(tuple.__new__, kind), len(kind._fields)) for kind in _NAMED),  # type: ignore[attr-defined]
)


def _key(root: Path, overlays: Sequence[Path], now: float) -> str:
    """Of all that decides what a rulebook is: every file, its name, the code that reads it, and the day."""
    digest = kept.digest(f"{FORMAT}\0{__version__}\0{sys.version}\0{root}\0".encode("utf-8", "surrogateescape"))
    for folder in dict.fromkeys((root, RULES, *overlays)):
        for path in _files(os.fspath(folder)):
            try:
                data = _content(path)
            except OSError as error:
                data = f"unreadable {error.errno}".encode()
            digest.update(b"%s\0%d\0" % (os.fsencode(path), len(data)))
            digest.update(data)
    for entry in sorted(os.scandir(os.path.dirname(__file__)), key=lambda entry: entry.name):
        if entry.name.endswith(".py"):
            status = entry.stat()
            digest.update(f"{entry.name}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    if overlays:  # their changes end on a day, and whether root may believe them depends on who may write them
        modes = [
            (path, _mode(path))
            for folder in map(os.fspath, overlays)
            for path in (folder, os.path.join(folder, "signals"), *_files(folder))
        ]
        digest.update(f"{int(now // 86400)}\0{os.geteuid() == 0}\0{modes}".encode("utf-8", "surrogateescape"))
    return str(digest.hexdigest()[:40])


def _content(path: str) -> bytes:
    """Return what a file holds; by system calls alone, which for so many small files is several times as fast."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(opened, os.fstat(opened).st_size + 1)]
        while parts[-1]:
            parts.append(os.read(opened, 1 << 16))
    finally:
        os.close(opened)
    return b"".join(parts)


def _files(folder: str) -> Iterator[str]:
    """The files of a directory and of those in it, in the order of their names."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_dir():
            yield from _files(entry.path)
        elif entry.name.endswith((".yaml", ".json")):
            yield entry.path


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0


def _make_room(folder: Path, name: str) -> None:
    """Remove the rulebooks that were written longest ago, and what a killed writer left."""
    try:
        entries = [entry for entry in os.scandir(folder) if entry.name.startswith(("rules-", ".rules-"))]
        aged = sorted((entry for entry in entries if entry.name != name), key=lambda entry: -entry.stat().st_mtime)
        now = time.time()
        for place, entry in enumerate(aged, 1):
            scratch = entry.name.startswith(".")
            if place >= KEPT if not scratch else now - entry.stat().st_mtime > 3600:
                os.unlink(entry.path)
    except OSError:
        return
