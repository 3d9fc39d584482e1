"""Reads one YAML file as plain data in which every value knows its place.

What comes out is what a person reading the file sees, and what a YAML 1.2
editor sees: only `true` and `false` are booleans (`no` and `on` are words),
`12:30` and `2024-01-01` are text, a repeated key is an error.  Tags, anchors,
aliases, further documents, huge files and deep nesting are refused: a rule
file needs none of them.  Mistakes are collected with their places.

The parser's events are read directly: that is three times faster than a PyYAML
loader, and nesting costs no stack.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from probes.named import NamedTuple
from triage.rulebook.model import Place
from triage.rulebook.problems import Problem, shown

_Parser: Any
try:
    from yaml._yaml import CParser as _Parser
except ImportError:  # PyYAML built without libyaml: same events, slower
    from yaml import SafeLoader as _Parser

MAX_BYTES = 1 << 20
"""Largest file that is read.  The SXid catalogue, the largest one shipped, has a tenth of it."""
MAX_DEPTH = 16
"""Deepest nesting.  A rule needs six levels."""

Value = Any
"""str, int, float, bool, None, `Map` or `Seq`."""

_NUMBER_START = frozenset("0123456789-+.")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_UNCLEAR = re.compile(r"[-+]?(?:0[0-9_]+|0[xob][0-9a-fA-F_]+|[0-9][0-9_]*_[0-9_]*|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))")
_DECORATED = "tags and anchors are not allowed; write the plain value"
_WORDS: dict[str, Value] = {"true": True, "false": False, "null": None, "~": None, "": None}


class Mark(Protocol):
    """Where the parser stood, counted from 0."""

    line: int
    column: int


class Map(dict[str, Value]):
    """A mapping; `key_marks` and `value_marks` say where each key and value starts."""

    __slots__ = ("key_marks", "value_marks")

    def __init__(self) -> None:
        """Start empty."""
        self.key_marks: dict[str, Mark] = {}
        self.value_marks: dict[str, Mark] = {}


class Seq(list[Value]):
    """A list; `marks` says where each member starts."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        """Start empty."""
        self.marks: list[Mark] = []


class Document(NamedTuple):
    """A file that could be parsed.  `mark` is where its content starts."""

    path: str
    root: Value
    mark: Mark

    def place(self, *steps: str | int) -> Place:
        """Where the value at this path of keys and indexes starts, or as much of the path as exists."""
        value, mark = self.root, self.mark
        for step in steps:
            if isinstance(value, Map) and step in value:
                value, mark = value[str(step)], value.value_marks[str(step)]
            elif isinstance(value, Seq) and isinstance(step, int) and step < len(value):
                value, mark = value[step], value.marks[step]
            else:
                break
        return at(self.path, mark)


class _Refused(Exception):
    """The rest of the file cannot be understood."""

    def __init__(self, mark: Mark, message: str) -> None:
        self.mark, self.message = mark, message


def at(path: str, mark: Mark) -> Place:
    """A parser's mark as a place, counted from 1."""
    return Place(path, mark.line + 1, mark.column + 1)


def read(file: Path, path: str, problems: list[Problem]) -> tuple[bytes, Document | None]:
    """The bytes of a file and what they say; `path` is what messages call it.

    Anything wrong is added to `problems`; if nothing could be made of the file,
    the document is None.
    """
    start = Place(path, 1, 1)
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        problems.append(Problem(start, f"cannot be read: {error.strerror or error}"))
        return b"", None
    if len(data) > MAX_BYTES:
        problems.append(Problem(start, f"is larger than {MAX_BYTES >> 20} MiB; split it"))
        return data, None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        place = Place(path, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        problems.append(Problem(place, "is not UTF-8; save it as UTF-8"))
        return data, None
    return data, parse(text, path, problems)


def parse(text: str, path: str, problems: list[Problem]) -> Document | None:
    """What a YAML text says.  Anything wrong is added to `problems`; None if it cannot be understood."""
    try:
        return _build(text, path, problems)
    except _Refused as refused:
        problems.append(Problem(at(path, refused.mark), refused.message))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        place = at(path, mark) if mark else Place(path, 1, 1)
        problems.append(Problem(place, f"is not valid YAML: {what}"))
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = Place(path, before.count("\n") + 1, len(before) - before.rfind("\n"))
        problems.append(Problem(place, f"is not valid YAML: {error.reason}"))
    return None


def _build(text: str, path: str, problems: list[Problem]) -> Document | None:
    event_of = _Parser(text).get_event
    outer: list[Map | Seq] = []  # the containers around `holder`
    holder: Any = None
    key: str | None = None  # of `holder`, if it is a mapping whose next value is awaited
    root: Document | None = None
    value: Value

    def report(mark: Mark, message: str) -> None:
        problems.append(Problem(at(path, mark), message))

    while True:
        event: Any = event_of()
        kind = event.__class__
        if kind is ScalarEvent:
            if key is None and holder.__class__ is Map:
                key = event.value
                if key in holder.key_marks:
                    first = at(path, holder.key_marks[key])
                    report(event.start_mark, f"key {shown(key)} stands twice; first at {first}")
                else:
                    holder.key_marks[key] = event.start_mark
                if event.anchor is not None or event.tag is not None:
                    report(event.start_mark, _DECORATED)
                continue
            value = _scalar(event, report)
        elif kind is MappingStartEvent:
            value = Map()
        elif kind is SequenceStartEvent:
            value = Seq()
        elif kind is MappingEndEvent or kind is SequenceEndEvent:
            holder, key = outer.pop() if outer else None, None
            continue
        elif kind is AliasEvent:
            report(event.start_mark, f"alias {shown('*' + event.anchor)} is not allowed; write the value out")
            value = None
        elif kind is DocumentStartEvent:
            if root is not None:
                raise _Refused(event.start_mark, "a second document is not allowed; one file holds one document")
            continue
        elif kind is StreamEndEvent:
            break
        else:
            continue
        mark = event.start_mark
        if kind is not AliasEvent and (event.anchor is not None or event.tag is not None):
            report(mark, _DECORATED)
        if holder is None:
            root = Document(path, value, mark)
        elif holder.__class__ is Seq:
            holder.append(value)
            holder.marks.append(mark)
        elif key is None:
            raise _Refused(mark, "a key must be a word, not a list, mapping or alias")
        else:
            if key not in holder:
                holder[key] = value
                holder.value_marks[key] = mark
            key = None
        if kind is MappingStartEvent or kind is SequenceStartEvent:
            if len(outer) >= MAX_DEPTH:
                raise _Refused(mark, f"is nested deeper than {MAX_DEPTH} levels")
            if holder is not None:
                outer.append(holder)
            holder, key = value, None
    if root is None:
        problems.append(Problem(Place(path, 1, 1), "is empty"))
    return root


def _scalar(event: Any, report: Callable[[Mark, str], None]) -> Value:
    text: str = event.value
    if not event.implicit[0]:  # quoted or a block: text, whatever it looks like
        return text
    if text[:1] in _NUMBER_START:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _UNCLEAR.fullmatch(text):
            report(event.start_mark, f"number {shown(text)} is not plain decimal; quote it if it is text")
        return text
    return _WORDS.get(text, text)
