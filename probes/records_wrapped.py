"""Takes a log line out of what a collector put around it.

Container runtimes and agents carry the kernel's lines inside their own: Docker as
JSON, Go programs as `msg="..."`, a journal that lost its other fields as
`MESSAGE=`.  What comes out is the line as it was, behind the collector's time if
it has one; any other line comes out as it went in.
"""

from __future__ import annotations

import re

_LOGFMT = re.compile(
    r'(?:(?:time|ts)="?(\d{4}-\d\d-\d\dT[\d:.]{8,18}(?:Z|[+-]\d\d:?\d\d)?)"? )?'
    r'level=[a-z]{1,9} (?:[\w.]{1,32}=\S{1,64} ){0,4}msg="((?:[^"\\]|\\.)*)"'
)
_FIELD = "MESSAGE="
_DOCKER = '{"log":'
_BEGINNINGS = (_FIELD, _DOCKER, "level=", "time=", "ts=")
_ESCAPES = {"n": " ", "t": " ", "r": ""}
_ESCAPE = re.compile(r"\\(.)")


def unwrapped(line: str) -> str:
    """Return the line that `line` carries, or `line`."""
    if not line.startswith(_BEGINNINGS):
        return line
    if line.startswith(_FIELD):
        return line[len(_FIELD) :]
    if line.startswith(_DOCKER):
        return _docker(line)
    found = _LOGFMT.match(line)
    if found:
        text = _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[1]), found[2]).strip()
        return f"{found[1]} {text}" if found[1] else text
    return line


def _docker(line: str) -> str:
    import json  # here, because few logs have such a line

    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return line
    text, time = entry.get("log"), entry.get("time")
    if not isinstance(text, str):
        return line
    text = text.rstrip("\r\n")
    return f"{time} {text}" if isinstance(time, str) else text
