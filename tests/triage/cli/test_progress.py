"""How far a long reading is shows on a terminal, and nowhere else; Ctrl-C there ends it with what was found."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.patience import WITHIN, drained
from tests.triage.cli.conftest import ROOT, environment
from triage.cli.progress import size

XID = b"2025-11-26T12:00:00Z n1 kernel: NVRM: Xid (PCI:0000:01:00): 79, pid=1, GPU has fallen off the bus.\n"
NOISE = b"".join(b"2025-11-26T12:00:%02dZ n1 kernel: usb 1-1: new device %d\n" % (n % 60, n) for n in range(20_000))
WORDS = [sys.executable, "-m", "triage", "explain", "--format", "json"]


def fed(words: list[str], stderr: int, stdin: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*WORDS, *words], stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, cwd=ROOT, env=environment()
    )


def shown(screen: int, until: bytes, patience: float) -> bytes:
    """What comes on the screen until this is there."""
    seen, ends = b"", time.monotonic() + patience
    while until not in seen and time.monotonic() < ends:
        if select.select([screen], [], [], 0.2)[0]:
            seen += os.read(screen, 4096)
    return seen


def test_a_long_reading_shows_how_far_it_is_and_leaves_the_line_empty() -> None:
    screen, terminal = pty.openpty()
    process = fed(["-"], terminal)
    os.close(terminal)
    assert process.stdin is not None
    process.stdin.write(XID + NOISE)
    process.stdin.flush()
    seen, ends = b"", time.monotonic() + WITHIN
    while b"found" not in seen and time.monotonic() < ends:
        process.stdin.write(NOISE)
        process.stdin.flush()
        seen += shown(screen, b"found", 0.2)
    assert b"read, " in seen
    assert b"1 line found" in seen
    out, _ = process.communicate()
    assert 0 == process.returncode
    assert out.startswith(b"{")
    rest = b""
    while select.select([screen], [], [], 0)[0]:
        try:
            rest += os.read(screen, 4096)
        except OSError:
            break
    assert (seen + rest).endswith(b"\r")
    os.close(screen)


def test_where_nobody_watches_nothing_is_shown() -> None:
    process = fed(["-"], subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(XID + NOISE)
    process.stdin.flush()
    time.sleep(1.5)
    _, said = process.communicate(NOISE * 3)
    assert b"" == said


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_on_the_terminal_gives_what_was_found_so_far(jobs: str, tmp_path: Path) -> None:
    """The terminal itself sends the signal, to every process of the job at once."""
    pipe = tmp_path / "slow.log"
    os.mkfifo(pipe)
    large = tmp_path / "large.log"
    with large.open("wb") as file:
        file.write(XID)
        for _ in range(30):
            file.write(NOISE)
    other = tmp_path / "other.log"
    other.write_bytes(large.read_bytes())
    out = tmp_path / "out.json"
    child, screen = pty.fork()
    if child == 0:
        os.chdir(ROOT)
        with out.open("wb") as file:
            os.dup2(file.fileno(), 1)
        words = ["--jobs", jobs, str(large), str(other), str(pipe)]
        os.execve(sys.executable, [*WORDS, *words], environment())
    writer = os.open(pipe, os.O_WRONLY)  # waits until the pipe is read: by then the files before it are done
    os.write(writer, XID.replace(b"0000:01", b"0000:02") + XID.replace(b"0000:01", b"0000:03"))
    drained(writer)
    os.write(screen, b"\x03")
    _, status = os.waitpid(child, 0)
    os.close(writer)
    os.close(screen)
    assert 130 == os.waitstatus_to_exitcode(status)
    text = out.read_text()
    assert '"complete": false' in text
    assert "0000:01:00.0" in text


def test_sizes_are_said_as_people_say_them() -> None:
    assert ["0 B", "999 B", "2 KiB", "1.5 MiB", "2000.0 GiB"] == [
        size(n) for n in (0, 999, 2048, 1.5 * 2**20, 2000 * 2**30)
    ]
