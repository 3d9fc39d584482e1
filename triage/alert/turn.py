"""Only one process sends what is in a queue at a time: the watch, or a sweep where no watch runs."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from triage.alert.queue_file import said
from triage.history.place import Unavailable, prepare, private_file

LOCK = "alerts.lock"


class Turn:
    """The right to send what is in the queue of a directory, which only one process has at a time."""

    def __init__(self, directory: Path) -> None:
        """Prepare to ask for it."""
        prepare(directory)
        path = directory / LOCK
        with said():
            private_file(path)
            self._file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)

    def take(self) -> bool:
        """Whether it is ours now; the system gives it back when this process ends."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES, errno.EINTR):
                return False
            raise Unavailable(f"the queue of alerts cannot be locked: {(error.strerror or '').lower()}") from error
        return True

    def close(self) -> None:
        """Give it back."""
        os.close(self._file)
