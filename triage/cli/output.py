"""Standard output is data and standard error is talk; only this module writes either.

A reader that goes away ends the output quietly.  A disk that is full does not:
what could not be written must not look like success.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import sys
from io import TextIOWrapper
from typing import TextIO

from triage.cli.exits import PARTIAL, Refused
from triage.render.safe import safe

UNLIKELY_WIDE = 500
DEFAULT_WIDTH = 100
"""Columns where there is no terminal to ask."""


def prepare() -> None:
    """Make both streams accept any text, whatever the locale."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write(text: str) -> None:
    """Write to standard output, now.

    Raises:
        Refused: if it cannot be written and nobody closed the pipe on purpose.
    """
    stream: TextIO | None = sys.stdout
    if stream is None:
        raise Refused("cannot write: standard output is closed", PARTIAL)
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _discard(stream)
    except (OSError, ValueError) as error:
        _discard(stream)
        raise Refused(f"cannot write to standard output: {reason_of(error)}", PARTIAL) from error


def tell(message: str) -> None:
    """Say something on standard error, each line made safe; nowhere to say it is no error."""
    if sys.stderr is None:
        return
    lines = "".join(f"{safe(line)}\n" for line in message.splitlines())
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"gpu-triage: {lines}")
        sys.stderr.flush()


def reason_of(error: BaseException) -> str:
    """Return what the system says, without the number."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


_REMEDIES = {
    errno.ENOENT: "make its folder first, or name another",
    errno.ENOTDIR: "name a place in a folder",
    errno.EISDIR: "name a file in it",
    errno.EACCES: "name a place that you may write to",
    errno.EPERM: "name a place that you may write to",
    errno.EROFS: "name a place that is not read-only",
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
}


def unwritten(where: object, error: OSError) -> str:
    """Return that nothing could be written there, why, and what helps."""
    remedy = _REMEDIES.get(error.errno or 0, "name another place")
    return f"cannot write {where}: {reason_of(error)}; {remedy}"


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a person sees this stream."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def no_screens() -> str:
    """Return why there are no screens where standard output is no terminal, and what does without one."""
    if _under_watch():
        return (
            "watch(1) is no terminal for the screens, and they renew themselves: run `gpu-triage` without it,"
            " or `watch gpu-triage check`"
        )
    return "the screens need a terminal; `gpu-triage check` and `gpu-triage explain` do not"


def _under_watch() -> bool:
    """Whether watch(1) runs this again and again; it does so by a shell, whose child this may be."""
    parent = os.getppid()
    for _ in range(3):
        try:
            with open(f"/proc/{parent}/stat", encoding="utf-8", errors="replace") as file:
                name, _, rest = file.read().partition(" (")[2].rpartition(") ")
            parent = int(rest.split()[1])
        except (OSError, ValueError, IndexError):
            return False
        if name == "watch":
            return True
    return False


def columns() -> int:
    """Return the width of the output: COLUMNS, else that of the terminal, else 100."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and len(given) < 6 and int(given):
        return min(int(given), UNLIKELY_WIDE)
    try:
        width = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return DEFAULT_WIDTH
    return min(width, UNLIKELY_WIDE) or DEFAULT_WIDTH


def leave(code: int) -> None:
    """End the process without taking it apart; only where nothing is registered to be done at the end.

    Returns if something is left to be written and cannot be, which the usual end will tell.
    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return
    os._exit(code)


def finish(code: int) -> None:
    """Do what is registered to be done at the end, and `leave`; returns if another thread goes on."""
    import threading  # here, because most verbs do without

    if threading.active_count() == 1:
        atexit._run_exitfuncs()
        leave(code)


def _discard(stream: TextIO) -> None:
    # The interpreter flushes once more when it exits and would complain there.
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
