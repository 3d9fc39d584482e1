"""The keys of the screen from which help was asked, and the commands; made from what is bound, so always right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from tui.commands import COMMANDS
from tui.keys import Key
from tui.look import Look
from tui.screens.base import TriageScreen
from tui.text import Span, wrap
from tui.widgets.evidence import section
from tui.widgets.page import Page, PageRow

SIGNS = (
    ("?", "could not be read; it is not zero and not well"),
    ("####", "how sure: 4 from 0.95, 3 from 0.80, 2 from 0.60; a verdict needs 0.80"),
    ("(x?)", "undetermined: x is ahead, too little to decide"),
    ("[3]", "the third piece of evidence, the same on every screen"),
    ("READ-ONLY", "nothing of a node is ever changed; what people say (a, d) is kept in its history"),
    ("STALE", "older than it should be: how it is now is not known"),
    ("T", "the line that opened the incident"),
    ("!", "a line that the rulebook knows"),
    ("x12 alike", "a line and eleven like it, folded"),
)
FILTER = (
    ("xid gsp", "rows that hold both words, anywhere"),
    ("!info", "rows that do not hold the word"),
    ("sev:crit", "rows whose column holds it; = is exactly, * anything"),
    ("temp>=80", "a number to compare; what is not known is neither"),
)


WORDS = 22
"""Columns that what a key does takes at most."""


class HelpScreen(TriageScreen):
    """Shows keys, commands and signs."""

    crumb = "help"
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, keys: Sequence[Key], about: str) -> None:
        super().__init__()
        self._help = list(keys)
        self._about = about

    def body(self) -> ComposeResult:
        """Make the page."""
        yield Page(id="help")

    def show(self) -> None:
        """Fill the page."""
        self.query_one(Page).put(lambda width, height: help_rows(self._help, self._about, width, self.look))

    def copied(self) -> str | None:
        """Return the help as text."""
        return help_text(self._help, self._about)

    def exported(self, form: str) -> str | None:
        """Return the help as text."""
        return self.copied() if form == "text" else None


def help_rows(keys: Sequence[Key], about: str, width: int, look: Look) -> list[PageRow]:
    """Return the help of a screen as a page."""
    listed = _pairs(((" ".join(key.keys), f"{key.says:<{WORDS}} {key.id}") for key in keys), width, look)
    rows = section(
        f"keys of: {about}", listed, width, look, "the last column names the action, for keymap: in the config"
    )
    rows += section("commands, after :", _pairs(((c.usage, c.says) for c in COMMANDS), width, look), width, look)
    rows += section("filters of tables, after /", _pairs(FILTER, width, look), width, look)
    return rows + section("signs", _pairs(SIGNS, width, look), width, look)


def help_text(keys: Sequence[Key], about: str) -> str:
    """Return the help of a screen as plain text."""
    rows = help_rows(keys, about, 100, Look(ascii_only=True))
    return "".join("".join(text for _, text in row.line).rstrip() + "\n" for row in rows)


def _pairs(pairs: object, width: int, look: Look) -> list[PageRow]:
    found: list[PageRow] = []
    for left, right in pairs:  # type: ignore[attr-defined]
        spans: list[Span] = [("key", f"  {left:<24}"), ("", f" {right}")]
        found += [PageRow(line, f"{left} {right}") for line in wrap(spans, width, look, 27)]
    return found
