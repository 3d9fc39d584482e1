"""Other programs, run so that none can hold the caller up.

Every wait here ends: a program that does not finish is killed, and one that
cannot be killed (it sleeps uninterruptibly in a driver) is left behind.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Generator, Sequence
from typing import IO, TYPE_CHECKING, NoReturn, Optional, Union

from probes.named import NamedTuple

if TYPE_CHECKING:
    import subprocess

# A health check of Slurm runs without PATH, and dmesg often stands in sbin.
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ERROR_TAIL = 2000
_PIPE = 1 << 20
_LONGEST_LINE = 1 << 20  # what stands behind that on a line is dropped


class Forked:
    """A copy of this process that does one thing; as much of `subprocess.Popen` as is needed of it."""

    def __init__(self, pid: int, output: int, errors: int) -> None:
        """Take the process id and the descriptors to read from."""
        self.pid = pid
        self.stdout: IO[bytes] = os.fdopen(output, "rb", 0)
        self.stderr: IO[bytes] = os.fdopen(errors, "rb", 0)
        self.returncode: Optional[int] = None

    def poll(self) -> Optional[int]:
        """The exit status (minus the signal, if one ended it), or None while it runs."""
        if self.returncode is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # somebody else has waited for it
                self.returncode = 0
            else:
                if pid:
                    self.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        return self.returncode

    def kill(self) -> None:
        """Kill it, unless it is known to have ended."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)


Process = Union["subprocess.Popen[bytes]", Forked]
_left_behind: list[Process] = []


def may_fork() -> bool:
    """Whether this process can be copied safely: it has one thread, and locks of others are not copied."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def fork(work: Callable[[int], None]) -> Forked:
    """Do `work` in a copy of this process, which writes to the descriptor it is given.

    The copy is a session of its own, has no other file of ours open, none of
    our signal handlers, and ends without what Python does at its end.  What it
    prints are errors.  Only where `may_fork`.
    """
    output, write_output = os.pipe()
    errors, write_errors = os.pipe()
    _widen(output)
    pid = os.fork()
    if pid == 0:
        _be_child(work, write_output, write_errors)
    os.close(write_output)
    os.close(write_errors)
    return Forked(pid, output, errors)


def _be_child(work: Callable[[int], None], output: int, errors: int) -> NoReturn:
    try:
        os.setsid()
        os.chdir("/")
        for number in range(1, signal.NSIG):
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        # the three highest first, so that none is overwritten before it was copied
        high = [os.dup(fd) for fd in (null, errors, errors, output)]
        top = max(high) + 1
        spare = [os.dup2(fd, top + place) for place, fd in enumerate(high)]
        for place, fd in enumerate(spare):
            os.dup2(fd, place)
        os.closerange(4, top + len(spare))
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 3:
                with contextlib.suppress(OSError):
                    os.close(int(name))
        work(3)
        os._exit(0)
    except BaseException as failure:
        os.write(2, f"{type(failure).__name__}: {failure}\n".encode("utf-8", "replace"))
        os._exit(1)


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
    import subprocess  # here, because a health check can do without it

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


def ended(process: Process, seconds: float) -> Optional[int]:
    """The exit status of a program (minus the signal that ended it), None if it has none after so many seconds."""
    give_up = time.monotonic() + seconds
    while True:
        status = process.poll()
        if status is not None or time.monotonic() >= give_up:
            return status
        time.sleep(0.005)


def end(process: Process, grace: float = 0.5) -> bool:
    """Kill a program and wait up to `grace` seconds; False if it could not be killed and was left behind."""
    if process.poll() is None:
        process.kill()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    if ended(process, grace) is None:
        _left_behind.append(process)
        return False
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

    def __init__(self, process: Process) -> None:
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


def _widen(fd: int) -> None:
    """Let a pipe hold more, so that its writer need not wait for a reader that is busy."""
    import fcntl

    F_SETPIPE_SZ = 1031  # which Python names from 3.10 on
    with contextlib.suppress(OSError):  # more pipes than a user may have so wide
        fcntl.fcntl(fd, F_SETPIPE_SZ, _PIPE)


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
                self.status = ended(process, max(0.0, self._until - time.monotonic()) + 0.1)
                if self.status is None:
                    self.cut = "it did not end"
        finally:
            end(process)
