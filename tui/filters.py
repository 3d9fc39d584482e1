"""The language of `/` in tables: words, `field:word`, `field>=2`, each with `!` to turn it round; all must hold.

    sev:crit !g3 xid>=60 "fell off" node:gpu-[2201-2238,2240]

A word is looked for in every field, without regard to case.  `*` in the word
of a field stands for anything; the field `node` takes a folded set of names.
A number beside `<` or `>` holds only where the field is known: unknown is
neither large nor small.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

from tui.fleet.nodesets import matcher

Fields = Mapping[str, str | int | float | None]
Wanted = Callable[[Fields], bool]

_TERM = re.compile(r'(?P<no>!?)(?:(?P<field>[A-Za-z][\w-]*)(?P<op>>=|<=|[:=<>]))?(?P<word>"[^"]*"|\S*)')
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
}


class FilterError(ValueError):
    """A filter that cannot be understood; `column` is where, from 1."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"column {column}: {message}")
        self.column = column


def parse(text: str, names: Iterable[str]) -> Wanted:
    """Return what decides whether a row is wanted.

    Raises:
        FilterError: for a field that is none, or a comparison with no number.
    """
    known = list(names)
    terms: list[Wanted] = []
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        match = _TERM.match(text, place)
        assert match is not None  # it matches the empty word
        if match["word"].startswith('"') and not (len(match["word"]) > 1 and match["word"].endswith('"')):
            raise FilterError('the quote is not closed; add "', match.start("word") + 1)
        terms.append(_term(match, known))
        place = max(match.end(), place + 1)
    return lambda fields: all(term(fields) for term in terms)


def _term(match: re.Match[str], known: list[str]) -> Wanted:
    word, field, op = match["word"].strip('"').lower(), match["field"], match["op"]
    if not word:
        raise FilterError("a word is missing here", match.end() + 1)
    if field is None:
        found = _anywhere(word)
    else:
        name = field.lower()
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"one of {', '.join(known)}"
            raise FilterError(f"no field '{field}' here; {hint}", match.start("field") + 1)
        found = _compared(name, op, word, match.start("word") + 1)
    return (lambda fields: not found(fields)) if match["no"] else found


def _anywhere(word: str) -> Wanted:
    return lambda fields: any(word in str(value).lower() for value in fields.values() if value is not None)


def _compared(name: str, op: str, word: str, column: int) -> Wanted:
    if op in _COMPARE:
        compare = _COMPARE[op]
        try:
            limit = float(word)
        except ValueError:
            raise FilterError(f"'{word}' is no number", column) from None
        return lambda fields: isinstance(value := fields.get(name), (int, float)) and compare(float(value), limit)
    inside = matcher(word) if name == "node" else None
    if inside is not None:
        return lambda fields: inside(str(fields.get(name)).lower())
    exact = op == "="
    pattern = word if exact or "*" in word else f"*{word}*"
    pattern = pattern.replace("[", "[[]")
    return lambda fields: fnmatchcase("?" if (value := fields.get(name)) is None else str(value).lower(), pattern)
