"""A file replaced in one step: whoever reads it finds the old text or the new one, whole.

A symbolic link in the place of the file is replaced and not followed, and the
new text is written under a name that nobody could have guessed, so that another
user of the folder gains nothing.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from triage.cli.exits import PARTIAL, Refused
from triage.cli.output import unwritten

MODE = 0o644
"""For collectors that run as another user."""


def replace(path: Path, text: str) -> None:
    """Write this text to a file; when this returns it is on the disk.

    Raises:
        Refused: if it cannot be written; what was there before stays.
    """
    if not path.name:
        raise Refused(f"cannot write {path}: it is a folder; name a file in it")
    scratch = f".{path.name}.{os.urandom(8).hex()}"  # hidden, and not named *.prom: collectors pass it over
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(unwritten(path, error), PARTIAL) from error
    try:
        _refuse_others(path, folder)
        with contextlib.ExitStack() as undo:
            file = os.open(
                scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder
            )
            undo.callback(_remove, scratch, folder)
            with open(file, "w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(text)
                stream.flush()
                os.fchmod(file, MODE)
                os.fsync(file)
            os.replace(scratch, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            undo.pop_all()
        os.fsync(folder)
    except OSError as error:
        raise Refused(unwritten(path, error), PARTIAL) from error
    finally:
        os.close(folder)


def _refuse_others(path: Path, folder: int) -> None:
    """See that a device or a pipe is not replaced by a file."""
    try:
        mode = os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise Refused(f"cannot write {path}: it is no plain file; name another", PARTIAL)


def _remove(name: str, folder: int) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)
