"""What is wrong in a rule file: where, what, and the likely remedy.

Problems are collected, because whoever mends a rule file wants all of them at
once; `RulebookError` carries them out of the loader.
"""

from __future__ import annotations

from collections.abc import Iterable

from probes.named import NamedTuple
from triage.rulebook.model import Place


class Problem(NamedTuple):
    """One mistake at one place; printed as `path:line:column: message`.

    `severity` is error or warning.  `id` names the lint check that found it and
    is `load` for what keeps a file from being used at all.
    """

    place: Place
    message: str
    severity: str = "error"
    id: str = "load"

    def __str__(self) -> str:
        return printable(f"{self.place}: {self.message}")


class RulebookError(Exception):
    """The rulebook cannot be used; `problems` holds everything that is wrong with it, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Keep the problems sorted by place; the text of the error is one line for each."""
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The words `; did you mean 'x'?`, or nothing if no known word comes close."""
    import difflib  # only when something is already wrong

    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {shown(close[0])}?" if close else ""


def shown(text: str) -> str:
    """Text from a file made safe to print in a message: quoted, one line, at most 60 characters."""
    line = printable(text)
    return f"'{line}'" if len(line) <= 60 else f"'{line[:57]}...'"


def printable(text: str) -> str:
    """Text with a question mark for whatever could move a cursor or hide something."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
