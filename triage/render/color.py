"""Colour: one function that decides, one table that knows the escape sequences.

No meaning rests on colour alone; with it off not a letter changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

CHOICES = ("auto", "always", "never")

_SGR = {
    "critical": "1;31",
    "warning": "1;33",
    "unknown": "1;35",
    "info": "36",
    "ok": "32",
    "strong": "1",
    "faint": "2",
}

Paint = Callable[[str, str], str]
"""Takes a style and safe text."""


def wants_color(choice: str, environ: Mapping[str, str], is_terminal: bool) -> bool:
    """Return whether to colour: a flag beats the variables, NO_COLOR beats FORCE_COLOR, both only if not empty."""
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return is_terminal and environ.get("TERM") != "dumb"


def colored(style: str, text: str) -> str:
    """Return the text in a style of the table; an unknown style changes nothing."""
    code = _SGR.get(style)
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text


def plain(style: str, text: str) -> str:
    """Return the text as it is."""
    return text
