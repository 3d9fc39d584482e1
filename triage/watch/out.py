"""Standard output that never holds up who follows a log.

A reader that is slow is not waited for: what it did not take yet stays where it
came from.  A pipe is opened anew so that not to wait concerns us alone and not
whoever else writes to it.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable

from triage.cli.exits import PARTIAL, Refused
from triage.history.place import Unavailable
from triage.history.store import Store
from triage.watch import telling


class Gone(Exception):
    """Nobody reads any more."""


class Out:
    """A descriptor that lines are written to; `busy` while it takes no more."""

    def __init__(self, fd: int = 1) -> None:
        """Find out what it is."""
        self.busy = False
        self._rest = b""
        self._socket: socket.socket | None = None
        self._own = False
        self.fd = fd
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISFIFO(mode):
                self.fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._own = True
            elif stat.S_ISSOCK(mode):
                self._socket = socket.socket(fileno=os.dup(fd))
        except OSError:
            self.fd = fd  # it is written to as it is

    def write(self, line: bytes) -> bool:
        """Begin to write a line, if all before it was written; while `busy` after that, `flush` goes on with it.

        Returns false if the line was not begun.

        Raises:
            Gone: if nobody reads any more.
            Refused: if it cannot be written.
        """
        if not self.flush():
            return False
        self._rest = line
        self.flush()
        if len(self._rest) == len(line):
            self._rest = b""
            return False
        return True

    def flush(self) -> bool:
        """Write what is left of a line; whether nothing is."""
        while self._rest:
            try:
                if self._socket is not None:
                    sent = self._socket.send(self._rest, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                else:
                    sent = os.write(self.fd, self._rest)
            except BlockingIOError:
                self.busy = True
                return False
            except (BrokenPipeError, ConnectionResetError):
                raise Gone from None
            except OSError as error:
                reason = error.strerror or str(error)
                raise Refused(f"cannot write to standard output: {reason}", PARTIAL) from error
            self._rest = self._rest[sent:]
        self.busy = False
        return True

    def close(self) -> None:
        """Let go of what was opened here."""
        if self._own:
            os.close(self.fd)
            self._own = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Delivery:
    """Brings what waits in the history to the output, each line once, and notes what has left."""

    def __init__(self, out: Out) -> None:
        """Nothing has left yet."""
        self._out = out
        # ids of the last line that was begun, of the last that was written whole, and of the last that was noted
        self._begun = self._left = self._noted = 0

    def send(self, store: Store, keep: Callable[[], bool] = lambda: True) -> bool:
        """Write as much as the reader takes; false if it could not be noted, so that it will be told again.

        `keep` puts down what others are to be told of it; if that fails nothing is taken for told yet.

        Raises:
            Gone: if nobody reads any more.
            Refused: if it cannot be written.
        """
        try:
            if self._out.flush():
                self._left = self._begun
                for number, line in telling.waiting(store.db, self._begun):
                    if not self._out.write(line):
                        break
                    self._begun = number
                    if self._out.busy:
                        break
                    self._left = number
        finally:
            kept = keep()
        if self._left == self._noted or not kept:
            return True
        try:
            with store.transaction() as db:
                telling.left(db, self._left)
        except Unavailable:
            return False
        self._noted = self._left
        return True
