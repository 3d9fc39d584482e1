"""Finds what in a regular expression could only ever match one case: an address, a serial number, a date.

A rule that names the machine or the day it was written from is not a rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ESCAPED_KIND = re.compile(r"\\[A-Za-z]")  # \d, \S, \b: no literal
_ESCAPED = re.compile(r"\\(.)")
_SET = re.compile(r"\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]")
_REPEAT = re.compile(r"\{\d+(?:,\d*)?\}")
_GROUP = re.compile(r"\(\?(?:P<\w+>|[a-zA-Z-]*[:)])")
_GAP = "\0"
_OPEN, _CLOSE = "\1", "\2"  # stand for literal brackets while sets are removed

_CASES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a UUID", re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.I)),
    ("a PCI address", re.compile(r"(?<![0-9a-f])[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}(?:\.[0-7])?(?![0-9a-f])", re.I)),
    ("a date", re.compile(r"(?<!\d)(?:19|20)\d\d-\d\d-\d\d(?!\d)|\b(?:19|20)\d\d/\d\d/\d\d\b")),
    (
        "a date",
        re.compile(r"\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]* +\d{1,2}\b|\b\d\d:\d\d:\d\d\b(?!\.)"),
    ),
    ("a process number", re.compile(r"\bpid[ =:]{1,2}\d{2,}|\[\d{3,}\](?=[: ]|$)", re.I)),
    (
        "a host name",
        re.compile(
            r"\b[a-z][a-z0-9-]*\.(?:[a-z0-9-]+\.)*(?:com|net|org|edu|local|lan|internal|corp|cluster)\b"
            r"|\b(?:node|host|dgx|hgx|gpu-?node|compute)-?\d{2,}\b",
            re.I,
        ),
    ),
    ("an address in memory", re.compile(r"\b0x0*[1-9a-f][0-9a-f]{6,}\b", re.I)),
    ("an address in memory", re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])0*[1-9a-f][0-9a-f]{7,}\b", re.I)),
    ("a serial number", re.compile(r"(?<![\d.])\d{10,}(?![\d.])")),
)


def literal_text(regex: str) -> str:
    """The text that a regular expression spells out; a NUL stands for each part that may vary."""
    text = regex.replace("\\[", _OPEN).replace("\\]", _CLOSE)
    text = _SET.sub(_GAP, text)
    text = _GROUP.sub(_GAP, text)
    text = _ESCAPED_KIND.sub(_GAP, text)
    text = _REPEAT.sub(_GAP, text)
    text = re.sub(r"(?<!\\)[.*+?^$|()]", _GAP, text)
    return _ESCAPED.sub(r"\1", text).replace(_OPEN, "[").replace(_CLOSE, "]")


def single_cases(regex: str) -> Iterator[tuple[str, str]]:
    """Each literal of a regular expression that identifies one case: what it is, and the text."""
    text = literal_text(regex)
    told: list[tuple[int, int]] = []
    for what, pattern in _CASES:
        for found in pattern.finditer(text):
            start, end = found.span()
            if not any(start < other_end and other_start < end for other_start, other_end in told):
                told.append((start, end))
                yield what, found[0]
