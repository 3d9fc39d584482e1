"""A watch in a process of its own, its lines read as they come."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests import kernel_ring
from tests.fake_nvml import Scenario
from tests.needed import missing
from tests.patience import WITHIN, until
from triage.schema import REPORT, WATCH

KMSG = "/dev/kmsg"
ROOT = Path(__file__).parents[3]
Json = dict[str, Any]
LINE = jsonschema.Draft202012Validator(json.loads(WATCH.read_text()))
_REPORT = json.loads(REPORT.read_text())
INCIDENT = jsonschema.Draft202012Validator({**_REPORT["$defs"]["incident_line"], "$defs": _REPORT["$defs"]})


class Watching:
    """A `gpu-triage watch` under way: what it tells, what it tells systemd, and what it asks the fake driver."""

    def __init__(
        self, *words: str, env: dict[str, str], state: Path, read: bool = True, within: Sequence[str] = ()
    ) -> None:
        self.lines: list[tuple[float, Json]] = []
        self.raw: list[bytes] = []
        self._calls = state.with_name(f"{state.name}.calls")
        self._calls.unlink(missing_ok=True)
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind("")  # an address of the kernel's choice
        address = "@" + self._manager.getsockname()[1:].decode()
        self.process = subprocess.Popen(
            [*within, sys.executable, "-m", "triage", "watch", "--state-dir", str(state), *words],
            cwd=ROOT,
            env={**os.environ, "NOTIFY_SOCKET": address, "FAKE_NVML_CALLS": str(self._calls), **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        if read:
            self._thread.start()

    def read(self) -> None:
        """Begin to read what it tells."""
        self._thread.start()

    def wait_for(self, wanted: Callable[[Json], object], seconds: float = WITHIN) -> Json:
        """Return the first line of this kind, waiting for it."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            over = self.process.poll() is not None and not self._thread.is_alive()
            for _, line in list(self.lines):
                if wanted(line):
                    return line
            if over:
                break
            time.sleep(0.005)
        told = [(line["kind"], line.get("event"), line.get("fingerprint"), line.get("says")) for _, line in self.lines]
        raise AssertionError(f"no such line among {told}; ended: {self.process.poll()}")

    def ready(self) -> Watching:
        """Wait until it has decided for the first time, which is what it tells systemd as READY=1."""
        until = time.monotonic() + WITHIN
        while time.monotonic() < until and self.process.poll() is None:
            if select.select([self._manager], [], [], 0.05)[0] and self._manager.recv(4096) == b"READY=1":
                return self
        raise AssertionError(f"it was never ready; ended: {self.process.poll()}")

    def asked(self, function: str) -> int:
        """Return how often it has called a function of NVML, or those whose names begin so."""
        calls = self._calls.read_text() if self._calls.exists() else ""
        return calls.count(f"\n{function}") + calls.startswith(function)

    def listens(self, times: int = 1) -> Watching:
        """Wait until it waits for NVML's events, for which every GPU is registered, so many times."""
        until(lambda: self.asked("nvmlEventSetCreate") >= times)
        waits = self.asked("nvmlEventSetWait")
        until(lambda: self.asked("nvmlEventSetWait") > waits)
        return self

    def reads(self) -> None:
        """Wait until a reading of the counters that begins from now on has been taken in; whoever `listens` does so."""
        began = self.asked("nvmlInit")
        until(lambda: self.asked("nvmlInit") >= began + 2)  # for when the next one begins, the one before is taken

    def opened(self, pci: str, seconds: float = WITHIN) -> Json:
        """Wait until an incident of this GPU was opened."""
        return self.wait_for(lambda line: is_open(line, pci), seconds)

    def opens(self, pci: str) -> list[Json]:
        """Return the lines that opened an incident of this GPU."""
        return [line for _, line in self.lines if is_open(line, pci)]

    def notices(self, what: str) -> list[Json]:
        """Return the notices of this kind."""
        return [line for _, line in self.lines if line["kind"] == "notice" and line["what"] == what]

    def children(self) -> dict[int, bytes]:
        """Return the process ids of its children, and the words of their commands."""
        found: dict[int, bytes] = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # a thread, or a child, that ends meanwhile
                for pid in (task / "children").read_text().split():
                    found[int(pid)] = Path(f"/proc/{pid}/cmdline").read_bytes()
        return found

    def child(self, word: bytes) -> int:
        """Return the process id of its child that has this in its command; there must be one."""
        (pid,) = until(lambda: [pid for pid, words in self.children().items() if word in words])
        return pid

    def halt(self) -> None:
        """Stop it as a debugger does, and wait until no thread of it runs; `SIGCONT` lets it go on."""
        self.process.send_signal(signal.SIGSTOP)
        until(lambda: self._states() == {"T"})

    def stop(self, number: int = signal.SIGTERM, seconds: float = WITHIN) -> int:
        """End it, read the rest and return its exit code; one that still loads is let get so far that it hears."""
        if number != signal.SIGKILL:
            until(lambda: self.process.poll() is not None or self._hears(signal.SIGTERM))
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(seconds)
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return code

    def close(self) -> None:
        """Kill it if it still runs, and let go of what it was connected by."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        if self._thread.ident is not None:
            self._thread.join(WITHIN)
        self._manager.close()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def _states(self) -> set[str]:
        """Return the states of its threads (proc(5))."""
        found = set()
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # one that ends meanwhile
                found.add((task / "stat").read_text().rpartition(") ")[2][0])
        return found

    def _hears(self, number: int) -> bool:
        """Tell whether it has a handler for this signal (proc(5), SigCgt)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (caught,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught, 16) >> (number - 1) & 1)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self.raw.append(line)
                self.lines.append((time.time(), json.loads(line)))


def is_open(line: Json, pci: str) -> bool:
    gpu = line["where"]["gpu"] if line["kind"] == "incident" and line["event"] == "open" else None
    return gpu is not None and str(gpu["pci"]).startswith(pci)


def check_lines(watch: Watching) -> None:
    """See that every line fits the schemas."""
    for _, line in watch.lines:
        LINE.validate(line)
        if line["kind"] == "incident":
            INCIDENT.validate(line)


class Packets:
    """Stands in for /dev/kmsg: a pipe that keeps one record per read, as the device does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self.fd, fcntl.F_SETFL, os.O_NONBLOCK | os.O_DIRECT)
        fcntl.fcntl(self.fd, 1031, 1 << 20)  # F_SETPIPE_SZ
        self.seq = 0

    def write(self, text: str, *, level: int = 3, seq: int | None = None) -> None:
        """Write a record, as the kernel would have."""
        number = self.seq + 1 if seq is None else seq
        micros = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        os.write(self.fd, f"{level},{number},{micros},-;{text}\n".encode())
        self.seq = number

    def press(self, text: str) -> None:
        """Write a record as soon as there is room for it."""
        while True:
            try:
                return self.write(text)
            except BlockingIOError:
                assert select.select([], [self.fd], [], WITHIN)[1], "nobody reads"


def inject(text: str) -> float:
    """Write a line to the kernel log of this machine and return when."""
    fd = os.open(KMSG, os.O_WRONLY)
    try:
        at = time.time()
        os.write(fd, f"<3>{text}\n".encode())
    finally:
        os.close(fd)
    return at


@pytest.fixture
def kernel_log() -> None:
    """A kernel log that can be written and read, and holds nothing of other tests."""
    if not os.access(KMSG, os.W_OK | os.R_OK):
        missing(f"{KMSG} cannot be written and read here; run the tests as root of a machine with a kernel log")
    kernel_ring.flush()


@pytest.fixture
def packets(tmp_path: Path) -> Iterator[Packets]:
    """A kernel log of our own."""
    made = Packets(tmp_path / "kmsg")
    yield made
    os.close(made.fd)


@pytest.fixture
def nodes(scenario: Callable[[int], Scenario]) -> Scenario:
    """Eight healthy GPUs."""
    return scenario(8)


Start = Callable[..., Watching]


@pytest.fixture
def start(fake_nvml: Path, nodes: Scenario, tmp_path: Path) -> Iterator[Start]:
    """Starts a watch on this node; whatever is still running at the end is killed."""
    started: list[Watching] = []

    def begin(
        *words: str, state: Path | None = None, read: bool = True, within: Sequence[str] = (), **env: str
    ) -> Watching:
        env = {**nodes.env(fake_nvml), **env}
        watch = Watching(*words, env=env, state=state or tmp_path / "state", read=read, within=within)
        started.append(watch)
        return watch

    yield begin
    for watch in started:
        watch.close()
