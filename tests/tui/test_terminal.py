"""The real program in a real terminal: tmux plays the person."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.patience import until
from tests.tui.fleets import write_fleet

ROOT = Path(__file__).parent.parent.parent
LOG = ROOT / "examples" / "bus-errors-then-xid79.log"
CAPTURE = ROOT / "tests" / "fixtures" / "h200-healthy-redacted.tar.gz"
COLOUR = re.compile(rb"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|4[0-7]|9[0-7]|10[0-7]|38|48)(?:;[0-9;]*)?m")
PATIENCE = 120.0

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="TMUX IS MISSING: the screens were not driven")


class Terminal:
    """One tmux server of its own with one window."""

    def __init__(self, folder: Path) -> None:
        self._tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self.raw = folder / "raw"

    def run(self, *words: str) -> str:
        """Run a command of tmux."""
        return subprocess.run([*self._tmux, *words], capture_output=True, text=True, timeout=120).stdout

    def open(self, folder: Path, size: tuple[int, int], environ: dict[str, str]) -> None:
        """Open a window with a shell."""
        clean = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        given = [f"{name}={value}" for name, value in (clean | environ).items()]
        width, height = map(str, size)
        shell = ["env", "-i", *given, "PS1=prompt> ", "sh", "-i"]
        self.run("new-session", "-d", "-x", width, "-y", height, "-c", str(ROOT), *shell)
        self.run("set", "-s", "set-clipboard", "on")
        self.run("pipe-pane", "-o", f"cat > {self.raw}")
        self.sees("prompt>")

    def type(self, text: str) -> None:
        """Type a line."""
        self.run("send-keys", "-l", text)
        self.run("send-keys", "Enter")

    def press(self, *keys: str) -> None:
        """Press keys."""
        for key in keys:
            self.run("send-keys", key)

    @property
    def screen(self) -> str:
        """What stands in the window."""
        return self.run("capture-pane", "-p")

    def ends(self, code: int) -> None:
        """Wait until the shell has the window again, in its usual mode, and says how the program ended."""
        self.sees("prompt>")
        self.type("echo ended=$?, $((6 * 7))")
        self.sees(f"ended={code}, 42")

    def sees(self, *texts: str) -> None:
        """Wait until all texts stand in the window."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            shown = self.screen
            if all(text in shown for text in texts):
                return
            time.sleep(0.05)
        pytest.fail(f"never seen: {texts}\n{self.screen}")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Open windows; all are closed at the end."""
    opened: list[Terminal] = []

    def window(size: tuple[int, int] = (80, 24), **environ: str) -> Terminal:
        opened.append(Terminal(tmp_path))
        own = {"XDG_RUNTIME_DIR": str(tmp_path), "GPU_TRIAGE_STATE_DIR": str(tmp_path / "state")}
        opened[-1].open(tmp_path, size, own | environ)
        return opened[-1]

    yield window
    for each in opened:
        each.run("kill-server")


def program(*words: str) -> str:
    """Return the line that starts the screens."""
    return f"{sys.executable} -m triage tui {' '.join(words)}"


def test_from_the_log_to_the_evidence_its_line_the_rule_a_copy_and_out(
    terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    """The story of a night: what broke, why, which line says so, which rule, what to do; and all without colour."""
    window = terminal(NO_COLOR="1")
    window.type(program(str(LOG)))
    window.sees("CRITICAL", "READ-ONLY", "? help")
    window.press("Enter")
    window.sees("HARDWARE, very likely", "could not check", "incident gpu-off-bus")
    window.press("j", "j", "Enter")
    window.sees("log", "whole line", "PCIe Bus Error: severity=Corrected")
    window.press("r")
    window.sees("> rules", "link-noise [bus]")
    window.press("Escape")
    window.sees("whole line")
    window.press("Escape")
    window.sees("incident gpu-off-bus", "? help")
    window.press(":")
    window.type(f"export text {tmp_path}/told.txt")
    window.sees("wrote ", "told.txt")
    window.press("y")
    window.sees("copied", "also in")
    assert "The link to the GPU" in window.run("show-buffer")
    window.press("q")
    window.sees("lines that count")
    window.press("q")
    window.ends(0)

    assert "EVIDENCE FOR HARDWARE" in (tmp_path / "told.txt").read_text()
    assert "Traceback" not in window.screen
    assert [] == COLOUR.findall(window.raw.read_bytes())


def test_from_the_page_of_the_fleet_to_a_command_in_the_clipboard(
    terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    """Page, node, incident, line of evidence, rule, what to do, out."""
    captures = write_fleet(tmp_path / "captures", 40)
    window = terminal((200, 50), NO_COLOR="1")
    window.type(program(str(captures), "--no-history"))
    window.sees("gsp-fault  12 of 20 nodes with driver version 570.99.99 show it", "gpu-[0020-0031]", "READ-ONLY")
    window.press("j", "Enter")
    window.sees("fleet > gpu-0003", "55C")
    window.press("Enter")
    window.sees("fleet > gpu-0003 > incident gpu-off-bus", "do not show it")
    window.press("l")
    window.sees("> log", "79, pid=1811, name=python, GPU has fallen off the bus.", "trigger of gpu-off-bus")
    window.press("r")
    window.sees("> rules", "gpu-off-bus  in plain words")
    window.press("Escape", "Escape")
    window.sees("incident gpu-off-bus", "a acknowledge")
    window.press("Tab", "y")
    window.sees("copied", "also in")
    assert window.run("show-buffer").startswith("Run nvidia-bug-report.sh now: a reboot destroys the evidence.")
    window.press("q", "q")
    window.sees("what faults go with")
    window.press("q")
    window.ends(0)

    assert "Traceback" not in window.screen
    assert [] == COLOUR.findall(window.raw.read_bytes())


def test_a_capture_opens_on_another_machine(terminal: Callable[..., Terminal]) -> None:
    """What `collect` wrote there: the GPUs with their readings, not only the log."""
    window = terminal(size=(120, 40))
    window.type(program(str(CAPTURE)))
    window.sees("h200-healthy-redacted.tar.gz", "kernel-log, nvml", "TEMP POWER UTIL", "? help")
    gpu = re.compile(r"ok +[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.0 +\d+C +\d+W")
    until(lambda: gpu.search(window.screen))  # a screen comes in pieces, its head first
    assert "no readings in this source" not in window.screen
    assert "Traceback" not in window.screen
    window.press("q")
    window.ends(0)


@pytest.mark.skipif(shutil.which("watch") is None, reason="WATCH IS MISSING: nothing ran under it")
def test_under_watch_it_says_what_to_do_instead(terminal: Callable[..., Terminal]) -> None:
    window = terminal(size=(120, 40))
    window.type(f"watch -n 60 {program(str(LOG))}")
    window.sees("they renew themselves: run `gpu-triage` without it")
    window.press("C-c")


def test_it_suspends_and_comes_back(terminal: Callable[..., Terminal]) -> None:
    window = terminal(size=(120, 40))
    window.type(program(str(LOG)))
    window.sees("? help", "GPU stopped answering")
    window.press("C-z")
    window.sees("Stopped")
    window.type("clear; fg")
    window.sees("? help", "GPU stopped answering")
    window.press("q")
    window.ends(0)

    assert COLOUR.findall(window.raw.read_bytes())


@pytest.mark.parametrize("signal", ["TERM", "HUP", "INT"])
def test_a_signal_ends_it_and_leaves_the_terminal_as_it_was(
    terminal: Callable[..., Terminal], tmp_path: Path, signal: str
) -> None:
    window = terminal()
    told = tmp_path / "pid"
    window.type(f"sh -c 'echo $$ > {told}; exec {program(str(LOG), '--ascii')}'")
    window.sees("? help", "GPU stopped answering")
    assert window.screen.isascii()
    if signal == "INT":
        window.press("C-c")
    else:
        subprocess.run(["kill", f"-{signal}", told.read_text().strip()], check=True)
    window.ends(0)

    assert "Traceback" not in window.screen
