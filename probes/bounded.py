"""Other programs, run so that none can hold the caller up.

Every wait here ends: a program that does not finish is killed, and one that
cannot be killed (it sleeps uninterruptibly in a driver) is left behind.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Generator, Sequence
from typing import IO, NamedTuple, Optional

# A health check of Slurm runs without PATH, and dmesg often stands in sbin.
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ERROR_TAIL = 2000
_LONGEST_LINE = 1 << 20  # what stands behind that on a line is dropped
_left_behind: list[subprocess.Popen[bytes]] = []


def find_program(name: str) -> Optional[str]:
    """The path of a program, or None."""
    for folder in f"{os.environ.get('PATH', '')}:{_USUAL_PATH}".split(":"):
        path = os.path.join(folder, name)
        if os.path.isabs(path) and os.access(path, os.X_OK):
            return path
    return None


def start(argv: Sequence[str], env: Optional[dict[str, str]] = None) -> subprocess.Popen[bytes]:
    """Start a program of its own session, its output and errors on pipes, holding no other file of ours.

    Whoever waits for our own output must not also wait for a program we had to leave behind.
    """
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd="/",
        close_fds=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[bytes], grace: float = 0.5) -> bool:
    """Kill a program and wait up to `grace` seconds; False if it could not be killed and was left behind."""
    if process.poll() is None:
        process.kill()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    give_up = time.monotonic() + grace
    while process.poll() is None:
        if time.monotonic() >= give_up:
            _left_behind.append(process)
            return False
        time.sleep(0.005)
    return True


def left_behind() -> list[int]:
    """The process ids of programs that were left behind and still have not ended."""
    _left_behind[:] = [process for process in _left_behind if process.poll() is None]
    return [process.pid for process in _left_behind]


class Chunk(NamedTuple):
    """What a wait brought: data of one of the pipes, or nothing (`timed_out`), or the end of all."""

    output: bytes = b""
    errors: bytes = b""
    timed_out: bool = False
    ended: bool = False


class Listener:
    """The pipes of a started program, read without ever waiting past a given time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        """Listen to the standard output and standard error of `process`."""
        self._output = _fd(process.stdout)
        self._open = {self._output, _fd(process.stderr)}
        self._poll = select.poll()
        for fd in self._open:
            os.set_blocking(fd, False)
            self._poll.register(fd, select.POLLIN)

    def wait(self, until: float) -> Chunk:
        """The next data, or a chunk that says that `until` (monotonic seconds) has come or all was read."""
        if not self._open:
            return Chunk(ended=True)
        left = until - time.monotonic()
        ready = self._poll.poll(max(0.0, left) * 1000)
        if not ready:
            return Chunk(timed_out=True)
        output, errors = b"", b""
        for fd, _ in ready:
            data = os.read(fd, 65536)
            if not data:
                self._poll.unregister(fd)
                self._open.discard(fd)
            elif fd == self._output:
                output = data
            else:
                errors = data
        return Chunk(output, errors, ended=not self._open)


def _fd(pipe: Optional[IO[bytes]]) -> int:
    if pipe is None:
        raise ValueError("the program was started without a pipe")
    return pipe.fileno()


class Run:
    """A program whose output lines are wanted: iterate `lines`, then look at what became of it."""

    def __init__(self, argv: Sequence[str], until: float, limit: int) -> None:
        """Run `argv` until `until` (monotonic seconds), reading at most `limit` bytes."""
        self.status: Optional[int] = None
        self.errors = b""
        self.cut: Optional[str] = None
        self._argv, self._until, self._limit = argv, until, limit

    def lines(self) -> Generator[bytes, None, None]:
        """The output, line by line, without line ends.  `status` is None if the program had to be stopped."""
        process = start(self._argv)
        listener, rest, seen = Listener(process), b"", 0
        try:
            while self.cut is None:
                chunk = listener.wait(self._until)
                self.errors = (self.errors + chunk.errors)[-_ERROR_TAIL:]
                seen += len(chunk.output)
                *whole, rest = (rest + chunk.output).split(b"\n")
                rest = rest[:_LONGEST_LINE]
                yield from whole
                if chunk.ended:
                    break
                if chunk.timed_out or time.monotonic() >= self._until:
                    self.cut = "it did not finish in time"
                elif seen > self._limit:
                    self.cut = f"it wrote more than {self._limit >> 20} MiB"
            if rest and self.cut is None:
                yield rest
            if self.cut is None:
                try:
                    self.status = process.wait(max(0.0, self._until - time.monotonic()) + 0.1)
                except subprocess.TimeoutExpired:
                    self.cut = "it did not end"
        finally:
            end(process)
