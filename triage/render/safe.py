r"""Makes foreign text harmless: what comes out is printable, one line, and as wide as it looks.

Process names in Xid lines are chosen by users and log lines by whoever can
write one, so control characters, escape sequences, bidirectional overrides and
invisible characters are shown as escapes (`\x1b`, `\u202e`) instead of being
obeyed.  Everything a renderer prints that it did not write itself goes through
`safe`.
"""

from __future__ import annotations

from unicodedata import category, east_asian_width

_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters and symbols that print as nothing: Hangul fillers and the empty Braille cell."""
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def safe(text: str, *, ascii_only: bool = False) -> str:
    """Return `text` with every character that is not plainly visible replaced by its escape.

    Combining marks are escaped too: stacked, they paint over other lines.
    With `ascii_only` everything beyond ASCII is escaped.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if _visible(char, ascii_only) else _escape(char) for char in text)


def cells(text: str) -> int:
    """Return how many terminal columns safe text takes."""
    if text.isascii():
        return len(text)
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


def cut(text: str, width: int) -> tuple[str, str]:
    """Split safe text after at most `width` columns, but after at least one character."""
    if text.isascii():
        return text[: max(1, width)], text[max(1, width) :]
    used = 0
    for place, char in enumerate(text):
        used += cells(char)
        if used > width and place:
            return text[:place], text[place:]
    return text, ""


def _visible(char: str, ascii_only: bool) -> bool:
    if char.isascii():
        return char.isprintable()
    if ascii_only or not char.isprintable() or char in _BLANKS:
        return False
    return category(char) not in ("Mn", "Me")


def _escape(char: str) -> str:
    code = ord(char)
    if char in _NAMED:
        return _NAMED[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
