"""What a person takes away from a screen: a copy through the terminal, a file that was not there before."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from textual.app import App

from triage.cli.output import reason_of
from tui import clipboard
from tui.screens.base import TriageScreen


class Takes(App[None]):
    """Copies and exports what a screen offers."""

    now: Callable[[], float]

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
        text = screen.exported(form) if isinstance(screen, TriageScreen) else None
        if text is None:
            self.say(f"this screen has nothing to export as {form}")
            return
        ending = "json" if form == "json" else "txt"
        target = Path(path).expanduser() if path else Path(self.free_name(getattr(screen, "crumb", ""), ending))
        try:
            clipboard.write_new(target, text)
            self.say(f"wrote {target.absolute()}")
        except FileExistsError:
            self.say(f"{target} is there already; name another file")
        except (OSError, RuntimeError) as error:
            self.say(f"cannot write {target}: {reason_of(error)}")
