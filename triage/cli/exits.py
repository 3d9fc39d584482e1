"""The exit codes, and the one exception with which a verb refuses.

`check` speaks the contract of monitoring plug-ins (0 ok, 1 warning, 2 critical,
3 unknown); all other verbs use the codes named here.  They are an API: none has
another meaning anywhere.
"""

from __future__ import annotations

import errno

DONE = 0
FOUND = 1
USAGE = 2
UNREACHABLE = 3
PARTIAL = 4
BUG = 70
"""EX_SOFTWARE of sysexits.h: a mistake in this program."""
INTERRUPTED = 130

CHECK = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}

OUT_OF_MEMORY = "out of memory; it may use too little of it (ulimit -v, MemoryMax= of a unit, the limit of a container)"
"""What is said where even saying so must need none."""
SHORT_OF = {
    errno.EAGAIN: "no further process can be started; too few are allowed (ulimit -u, TasksMax= of a unit)",
    errno.ENOMEM: OUT_OF_MEMORY,
    errno.EMFILE: "no further file can be opened; too few are allowed (ulimit -n, LimitNOFILE= of a unit)",
    errno.ENFILE: "this machine can open no further file (sysctl fs.file-max)",
    errno.ENOSPC: "the disk is full; make room where it keeps its state, its cache and its temporary files",
}
"""What a machine can run out of, which is no mistake of this program."""


class Refused(Exception):
    """What was asked cannot be done; the text says why and what would help, the code is the exit code."""

    def __init__(self, message: str, code: int = USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
