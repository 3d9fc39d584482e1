"""Holds a parsed file against its JSON Schema and says in plain words what does not fit.

The schemas under `rules/schema/` are the one description of the files: editors
read them, and so does this.  It knows only the keywords they use (`KEYWORDS`),
which keeps it small and its messages pointed; a test holds it against a full
implementation of JSON Schema.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from triage.rulebook.problems import Problem, RulebookError, did_you_mean, shown
from triage.rulebook.yamlload import Document, Map, Mark, Seq, Value, at, read

SCHEMAS = Path(__file__).resolve().parents[2] / "rules" / "schema"

KEYWORDS = frozenset(
    {"$ref", "type", "enum", "const", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum"}
    | {"properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"}
    | {"oneOf", "anyOf", "dependencies", "items", "minItems", "uniqueItems"}
)
"""The keywords that are checked.  `oneOf` and `anyOf` hold only `required` lists."""
ANNOTATIONS = frozenset(
    {"$schema", "$id", "title", "description", "examples", "definitions"}
    | {"markdownEnumDescriptions", "patternErrorMessage", "defaultSnippets"}
)
"""Keywords that are for editors, or for the messages here: `title` names an object, `patternErrorMessage` a form."""

_TYPES: Mapping[type, tuple[str, ...]] = {
    str: ("string",),
    bool: ("boolean",),
    int: ("integer", "number"),
    float: ("number",),
    Map: ("object",),
    Seq: ("array",),
    type(None): ("null",),
}
_NAMES = {
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "object": "a mapping",
    "array": "a list",
    "null": "nothing",
}
_BOUNDS: tuple[tuple[str, Callable[[float, float], bool], str], ...] = (
    ("minimum", operator.ge, "less than"),
    ("maximum", operator.le, "more than"),
    ("exclusiveMinimum", operator.gt, "not more than"),
)
_Owner = tuple[str, Value]
Schema = Mapping[str, Any]


@cache
def schema(name: str) -> Schema:
    """The shipped schema of this name, such as `rule.v1`."""
    loaded: Schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def checked(path: Path, called: str, name: str) -> Document:
    """Read a file that one schema describes; `called` is how messages name it.

    Raises:
        RulebookError: with everything that is wrong and where.
    """
    problems: list[Problem] = []
    _, document = read(path, called, problems)
    if document is not None:
        problems += check(document, schema(name))
    if problems or document is None:
        raise RulebookError(problems)
    return document


def check(document: Document, against: Schema) -> list[Problem]:
    """Everything in a document that its schema does not allow."""
    checker = _Checker(document.path, against)
    checker.value(document.root, against, document.mark, None, "")
    return checker.problems


class _Checker:
    def __init__(self, path: str, against: Schema) -> None:
        self.problems: list[Problem] = []
        self._path = path
        self._definitions: Schema = against.get("definitions", {})

    def _report(self, mark: Mark, message: str) -> None:
        self.problems.append(Problem(at(self._path, mark), message))

    def value(self, value: Value, rule: Schema, mark: Mark, owner: _Owner | None, key: str) -> None:
        """Check one value; `owner` is the nearest object with a title and `key` the value's key, for messages."""
        while "$ref" in rule:
            rule = self._definitions[rule["$ref"].removeprefix("#/definitions/")]
        kind = value.__class__
        wanted = rule.get("type")
        if wanted is not None:
            allowed = (wanted,) if wanted.__class__ is str else wanted
            is_ = _TYPES[kind]
            if is_[0] not in allowed and is_[-1] not in allowed and not _whole(value, allowed):
                self._wrong_type(value, allowed, mark, owner, key)
                return
        if "enum" in rule and value not in rule["enum"]:
            words = rule["enum"]
            close = did_you_mean(value, map(str, words)) if kind is str else ""
            what = _printed(value)
            self._report(mark, f"{_named(owner, key)} is {what}, not one of {', '.join(map(str, words))}{close}")
        elif "const" in rule and value != rule["const"]:
            self._report(mark, f"{_named(owner, key)} is {_printed(value)}, not {rule['const']}")
        elif kind is Map:
            self._map(value, rule, mark, (rule["title"], value) if "title" in rule else owner, key)
        elif kind is Seq:
            self._seq(value, rule, mark, owner, key)
        elif kind is str:
            self._text(value, rule, mark, owner, key)
        elif kind is int or kind is float:
            self._number(value, rule, mark, owner, key)

    def _map(self, value: Map, rule: Schema, mark: Mark, owner: _Owner | None, key: str) -> None:
        known: Schema = rule.get("properties", {})
        other = rule.get("additionalProperties", {})
        names = rule.get("propertyNames")
        for name, member in value.items():
            below = known.get(name)
            if below is None:
                if other is False:
                    close = did_you_mean(name, known.keys() - value.keys()) or did_you_mean(name, known)
                    self._report(value.key_marks[name], f"unknown key {shown(name)}{_inside(owner)}{close}")
                    continue
                below = other
                if names is not None:
                    self._text(name, names, value.key_marks[name], owner, f"key of {key}" if key else "key")
            self.value(member, below, value.value_marks[name], owner, name)
        for name in rule.get("required", ()):
            if name not in value:
                self._report(mark, f"missing key '{name}'{_inside(owner)}")
        if len(value) < rule.get("minProperties", 0):
            self._report(mark, f"{_named(owner, key)} is empty")
        if len(value) > rule.get("maxProperties", len(value)):
            self._report(mark, f"{_named(owner, key)} has {len(value)} keys, not {rule['maxProperties']}")
        for name, needed in rule.get("dependencies", {}).items():
            if name in value and not all(other in value for other in needed):
                beside = _words(needed, "and")
                self._report(value.key_marks[name], f"'{name}' needs {beside} beside it{_inside(owner)}")
        self._choice(value, rule, mark, owner)

    def _choice(self, value: Map, rule: Schema, mark: Mark, owner: _Owner | None) -> None:
        for keyword, wanted in (("oneOf", "exactly one"), ("anyOf", "at least one")):
            if keyword not in rule:
                continue
            options = [option["required"] for option in rule[keyword]]
            met = [option for option in options if all(name in value for name in option)]
            if len(met) == 1 or (met and keyword == "anyOf"):
                continue
            found = _words([name for option in met for name in option], "and") or "none"
            names = _words([" with ".join(option) for option in options], "or")
            who = _inside(owner).removeprefix(" in ") or "the file"
            self._report(mark, f"{who} needs {wanted} of {names}, not {found}")

    def _seq(self, value: Seq, rule: Schema, mark: Mark, owner: _Owner | None, key: str) -> None:
        if len(value) < rule.get("minItems", 0):
            self._report(mark, f"{_named(owner, key)} is an empty list")
        if rule.get("uniqueItems"):
            seen: set[Value] = set()
            for member, place in zip(value, value.marks, strict=True):
                if member.__class__ in (Map, Seq):
                    continue  # no schema has lists of distinct containers
                if member in seen:
                    self._report(place, f"{_printed(member)} stands twice in {_named(owner, key)}")
                seen.add(member)
        below = rule.get("items")
        if below is not None:
            for member, place in zip(value, value.marks, strict=True):
                self.value(member, below, place, owner, key)

    def _text(self, value: str, rule: Schema, mark: Mark, owner: _Owner | None, key: str) -> None:
        if "pattern" in rule and not _compiled(rule["pattern"]).search(value):
            form = rule.get("patternErrorMessage", f"does not match {rule['pattern']}")
            self._report(mark, f"{_named(owner, key)} {shown(value)} {form}")
        if len(value) < rule.get("minLength", 0):
            self._report(mark, f"{_named(owner, key)} is empty")
        if len(value) > rule.get("maxLength", len(value)):
            self._report(mark, f"{_named(owner, key)} has {len(value)} characters; {rule['maxLength']} are allowed")

    def _number(self, value: float, rule: Schema, mark: Mark, owner: _Owner | None, key: str) -> None:
        for keyword, fits, words in _BOUNDS:
            if keyword in rule and not fits(value, rule[keyword]):
                self._report(mark, f"{_named(owner, key)} is {value}, {words} {rule[keyword]}")

    def _wrong_type(self, value: Value, allowed: Iterable[str], mark: Mark, owner: _Owner | None, key: str) -> None:
        wanted = _words([_NAMES[name] for name in allowed], "or")
        found = _NAMES[_TYPES[value.__class__][0]]
        if value.__class__ in (bool, int, float):
            found = _printed(value)
        remedy = "; quote it" if "string" in allowed and value.__class__ in (bool, int, float) else ""
        self._report(mark, f"{_named(owner, key)} must be {wanted}, not {found}{remedy}")


def _whole(value: Value, allowed: Iterable[str]) -> bool:
    return value.__class__ is float and "integer" in allowed and bool(value.is_integer())


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _inside(owner: _Owner | None) -> str:
    """` in evidence 'hot'`: the title of the object's schema and what the object calls itself."""
    if owner is None:
        return ""
    title, value = owner
    name = value.get("id", value.get("name"))
    return f" in {title} {shown(name)}" if isinstance(name, str) else f" in {title}"


def _named(owner: _Owner | None, key: str) -> str:
    return f"{shown(key)}{_inside(owner)}" if key else "the file"


def _printed(value: Value) -> str:
    if value.__class__ is bool:
        return "true" if value else "false"
    if value.__class__ is str:
        return shown(value)
    return _NAMES[_TYPES[value.__class__][0]] if value.__class__ in (Map, Seq, type(None)) else str(value)


def _words(names: Iterable[str], last: str) -> str:
    """`a, b or c`."""
    *most, end = list(names) or [""]
    return f"{', '.join(most)} {last} {end}" if most else end
