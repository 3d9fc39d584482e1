"""The exit codes, and the one exception with which a verb refuses.

`check` speaks the contract of monitoring plug-ins (0 ok, 1 warning, 2 critical,
3 unknown); all other verbs use the codes named here.  They are an API: none has
another meaning anywhere.
"""

from __future__ import annotations

DONE = 0
FOUND = 1
USAGE = 2
UNREACHABLE = 3
PARTIAL = 4
BUG = 70
"""EX_SOFTWARE of sysexits.h: a mistake in this program."""
INTERRUPTED = 130

CHECK = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}


class Refused(Exception):
    """What was asked cannot be done; the text says why and what would help, the code is the exit code."""

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
