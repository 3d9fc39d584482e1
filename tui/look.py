"""How things are drawn: one table of styles per theme, and the signs that have an ASCII twin.

State is a word first and a colour last: with every colour off not a letter of
a screen changes.  The themes use only the sixteen colours that the terminal's
owner chose, so they are legible over SSH, on a console and on light grounds.
`safe` has no red beside green: blue is well, yellow is a warning, critical is
drawn in reverse.
"""

from __future__ import annotations

import locale
import os
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from rich.style import Style

_PLAIN: Mapping[str, str] = {
    "critical": "bold",
    "warning": "bold",
    "unknown": "underline",
    "info": "",
    "ok": "",
    "strong": "bold",
    "faint": "dim",
    "bar": "reverse",
    "head": "bold",
    "key": "bold",
    "cursor": "reverse",
    "mark": "bold",
    "hit": "reverse underline",
    "for": "",
    "against": "",
}
_SIXTEEN = {
    "critical": "bold red",
    "warning": "yellow",
    "unknown": "magenta",
    "info": "cyan",
    "ok": "green",
    "head": "bold cyan",
    "key": "bold cyan",
    "mark": "bold yellow",
    "for": "bold",
    "against": "cyan",
}
_SAFE = {
    "critical": "bold reverse yellow",
    "warning": "bold yellow",
    "unknown": "bold magenta",
    "info": "cyan",
    "ok": "blue",
    "head": "bold blue",
    "key": "bold blue",
    "mark": "bold yellow",
    "for": "bold",
    "against": "blue",
}

THEMES: Mapping[str, Mapping[str, str]] = {
    "plain": _PLAIN,
    "sixteen": {**_PLAIN, **_SIXTEEN},
    "safe": {**_PLAIN, **_SAFE},
}
"""Style name to its definition; `plain` has attributes only and is what NO_COLOR gets."""

_SIGNS = {"full": "█", "empty": "·", "rule": "─", "wall": "│", "cut": "…", "cursor": "▶", "rest": "▷"}
_ASCII = {"full": "#", "empty": ".", "rule": "-", "wall": "|", "cut": "~", "cursor": ">", "rest": ">"}


class Look(NamedTuple):
    """A theme's name and whether nothing beyond ASCII may be drawn."""

    theme: str = "plain"
    ascii_only: bool = False

    def sign(self, name: str) -> str:
        """Return the sign, one column wide."""
        return (_ASCII if self.ascii_only else _SIGNS)[name]


@lru_cache(maxsize=512)
def style(theme: str, names: str) -> Style:
    """Return the sum of the named styles (`critical cursor`); names that the theme does not know add nothing."""
    table = THEMES[theme]
    found = Style.null()
    for name in names.split():
        found += Style.parse(table.get(name) or "none")
    return found


def speaks_utf8() -> bool:
    """Return whether the locale says that the terminal shows UTF-8."""
    # In the locale C Python takes UTF-8 of its own accord, which says nothing of the terminal.
    of_its_own_accord = sys.flags.utf8_mode and not os.environ.get("PYTHONUTF8")
    return not of_its_own_accord and locale.getpreferredencoding(False).upper().replace("-", "") == "UTF8"
