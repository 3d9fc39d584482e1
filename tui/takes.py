"""What a person takes away from a screen: a copy through the terminal, a file that was not there before."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from textual.app import App
from textual.message import Message

from triage.cli.output import reason_of
from tui import clipboard
from tui.screens.base import TriageScreen
from tui.source import Source


class Collected(Message):
    """A capture of this node was written, or not; in one line."""

    def __init__(self, says: str) -> None:
        super().__init__()
        self.says = says


class Takes(App[None]):
    """Copies and exports what a screen offers."""

    now: Callable[[], float]
    source: Source
    _collecting: subprocess.Popen[str] | None = None

    def say(self, text: str) -> None:
        """Say something in the bottom line for a while."""
        raise NotImplementedError

    def copy(self, text: str) -> None:
        """Copy through the terminal and into a private file, and say where."""
        sequence = clipboard.osc52(text)
        if sequence is not None and self._driver is not None:
            self._driver.write(sequence)
        way = f"copied {len(text):,} characters" if sequence is not None else "too long for the terminal's clipboard"
        try:
            self.say(f"{way}; also in {clipboard.keep(text)}")
        except OSError as error:
            self.say(f"{way}; no file: {reason_of(error)}")

    def free_name(self, crumb: str, ending: str) -> str:
        """Return a file name for what is shown that is not taken."""
        words = re.sub(r"[^a-z0-9.]+", "-", crumb.lower()).strip("-.") or "screen"
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self.now()))
        return f"gpu-triage-{words}-{stamp}.{ending}"

    def export(self, form: str, path: str) -> None:
        """Write what the screen shows to a file that is not there yet, and say where."""
        screen = self.screen
        text = None
        if isinstance(screen, TriageScreen):
            text = screen.rows_exported() if form == "ndjson" else screen.exported(form)
        if text is None:
            self.say(f"this screen has nothing to export as {form}")
            return
        ending = "txt" if form == "text" else form
        target = Path(path).expanduser() if path else Path(self.free_name(getattr(screen, "crumb", ""), ending))
        try:
            clipboard.write_new(target, text)
            self.say(f"wrote {target.absolute()}")
        except FileExistsError:
            self.say(f"{target} is there already; name another file")
        except (OSError, RuntimeError) as error:
            self.say(f"cannot write {target}: {reason_of(error)}")

    def export_capture(self, path: str, *, redact: bool) -> None:
        """Write all that this node says into one archive, as `gpu-triage collect` does, while the screens go on."""
        if self.source.period is None:
            self.say("this is not the node itself; what it shows was read from files that can be copied")
            return
        if self._collecting is not None:
            self.say("a capture is being written already")
            return
        words = ["collect", *(["--redact"] if redact else []), "-o", str(Path(path or ".").expanduser())]
        try:
            child = subprocess.Popen(
                [sys.executable, "-m", "triage", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            self.say(f"the capture cannot be started: {reason_of(error)}")
            return
        self._collecting = child
        self.say("writing a capture of this node ...")

        def wait() -> None:
            wrote, said = (text.strip().splitlines() for text in child.communicate())
            why = said[-1] if said else f"exit code {child.returncode}"
            self.post_message(Collected(f"wrote {wrote[-1]}" if wrote else f"no capture: {why}"))

        threading.Thread(target=wait, name="collect", daemon=True).start()

    def on_collected(self, message: Collected) -> None:
        """Say what became of the capture."""
        self._collecting = None
        self.say(message.says)

    def stop_collecting(self) -> None:
        """End a capture that is being written; what is not whole does not appear."""
        if self._collecting is not None:
            self._collecting.terminate()
