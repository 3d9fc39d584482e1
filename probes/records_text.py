"""Hostile bytes made into bounded, printable text.

No text that leaves here holds a control character other than tab and newline,
a lone surrogate or a direction override, and none is longer than its cap.
"""

from __future__ import annotations

import re
from typing import Optional

from probes.model import OURS

MESSAGE_CAP = 16 * 1024
"""Characters of one record's message, its mark of a cut included."""

CONTINUATION_CAP = 64
"""Lines of one record."""

LINE_CAP = 256 * 1024
"""Bytes of one raw line; a journal object with a message of byte numbers is the longest honest one."""

TEXT_CAP = 500
"""Characters of the line that is kept as it stood."""

CUT = "…"
"""The mark of a cut."""

# Compiled when they are first needed, which on most machines is never.
_ESCAPE = (
    r"\x1b(?:\[[0-?]{0,32}[ -/]{0,4}[@-~]"  # CSI: colours, cursor
    r"|\][^\x07\x1b]{0,256}(?:\x07|\x1b\\)?"  # OSC: titles, links
    r"|[@-Z\\^_])"
)
_UNSAFE = "[\x01-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
_SURROGATE = "[\ud800-\udfff]"


class CutLine(bytes):
    """The start of a raw line that was too long to keep.  `full` is its length in bytes as it stood."""

    full = 0


class Tally:
    """What had to be changed or left out while reading one source.

    `cut` records were shortened, `not_text` bytes were no UTF-8 or NUL,
    `zoneless` records had a wall time without a zone, `unproven` journal
    records did not say which transport they came by.
    """

    __slots__ = ("cut", "not_text", "unproven", "zoneless")

    def __init__(self) -> None:
        self.cut = 0
        self.not_text = 0
        self.zoneless = 0
        self.unproven = 0


def decode(raw: bytes, tally: Optional[Tally] = None) -> str:
    """UTF-8 text without NULs; what is not text becomes U+FFFD and is counted."""
    if b"\0" in raw:
        if tally is not None:
            tally.not_text += raw.count(0)
        raw = raw.replace(b"\0", b"")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("utf-8", "replace")
        if tally is not None:
            tally.not_text += text.count("\ufffd")
        return text


def plain(text: str) -> str:
    """`text` without the sequences that colour a terminal."""
    return re.sub(_ESCAPE, "", text) if "\x1b" in text else text


def _spell(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def writer(identifier: str) -> str:
    """Return who a log says wrote a line; nobody there is one of the probes."""
    identifier = identifier.replace("\t", " ")  # a name takes its place in a column, a message does not
    return f"{identifier}?" if identifier in OURS else identifier


def clean(text: str) -> str:
    r"""`text` with colours removed and other control characters spelt as the kernel does (`\x1b`)."""
    if text.isprintable():
        return text
    text = re.sub(_ESCAPE, "", text).replace("\0", "")
    return re.sub(_SURROGATE, "\ufffd", re.sub(_UNSAFE, _spell, text))


def shorten(text: str, cap: int) -> str:
    """`text`, at most `cap` characters of it, the last one marking a cut."""
    return text if len(text) <= cap else text[: cap - 1] + CUT


def message(text: str, tally: Optional[Tally] = None) -> str:
    """`text` as the message of a record: clean, without trailing blanks, capped."""
    text = clean(text[: 2 * MESSAGE_CAP]).rstrip() if len(text) > MESSAGE_CAP else clean(text).rstrip()
    if len(text) <= MESSAGE_CAP:
        return text
    if tally is not None:
        tally.cut += 1
    return shorten(text, MESSAGE_CAP)


def as_it_stood(text: str) -> str:
    """A raw line, printable and shortened."""
    return shorten(clean(text[: 2 * TEXT_CAP]), TEXT_CAP)
