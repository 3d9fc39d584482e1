"""What the log screen does in threads: opening, indexing, following, and whatever takes longer than a key may."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from textual.message import Message
from textual.worker import get_current_worker

from tui.logfile import LogFile
from tui.loghits import Hits
from tui.loglines import Signals, decoded, search_for
from tui.marks import same
from tui.screens.base import TriageScreen
from tui.source import LogText
from tui.widgets.logview import LogView

FOLLOW = 0.5
"""Seconds between looks at a log that is followed."""
XID = "Xid \\("
"""How the driver writes that it reports an Xid, or the switch's an SXid."""


class Told(Message):
    """Something that a thread found out; the screen draws it."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self.then = then


class LogWork(TriageScreen):
    """Holds one open log; each kind of work has one thread, and a newer one ends it."""

    view: LogView
    log_text: LogText
    xids: Hits | None = None
    _line: int | None
    _quoted: str
    _following: bool
    passing: str | None = None
    """The path of a text that is only for this screen: once it is open, its name goes."""
    _busy = ""
    _trouble = ""

    def on_mount(self) -> None:
        """Open the file in a thread: a compressed one is unpacked first."""
        super().on_mount()
        self.set_interval(FOLLOW, self._look_again)
        self._open()

    def on_unmount(self) -> None:
        """Close the file."""
        if self.view.file is not None:
            self.view.file.close()

    def tell(self, then: Callable[[], None]) -> None:
        """Let the screen do something, from any thread."""
        self.post_message(Told(then))

    def on_told(self, message: Told) -> None:
        """Do what a thread asked for, and draw."""
        message.then()
        self.view.refresh()
        self.query_one("#about").refresh()
        self.query_one("#detail").refresh()

    def work(self, name: str, busy: str, do: Callable[[Callable[[], bool]], None]) -> None:
        """Run something in a thread, ending what ran under that name before."""
        self._busy = busy

        def run() -> None:
            worker = get_current_worker()
            stop = lambda: worker.is_cancelled  # noqa: E731
            try:
                do(stop)
            finally:
                if not worker.is_cancelled:
                    self.tell(self.idle)

        self.run_worker(run, thread=True, exclusive=True, group=name)

    def idle(self) -> None:
        """Say that nothing goes on."""
        self._busy = ""

    def _open(self) -> None:
        path, rulebook, tidy = self.log_text.path, self.triage.rulebook, self._tidy

        def opened(stop: Callable[[], bool]) -> None:
            try:
                file = LogFile(path)
                tidy()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                self.tell(lambda: self._refuse(reason))
                return
            first = True

            def stop_or_tell() -> bool:
                nonlocal first
                if first and file.count:
                    first = False
                    self.tell(lambda: self._take(file))
                return stop()

            file.index(stop_or_tell)
            if stop():
                return
            if first:
                self.tell(lambda: self._take(file))
            self.tell(self._arrive)
            found = rulebook()
            if found is not None:
                signals = Signals(found)
                self.tell(lambda: self._know(signals))

        self.work("open", "opening", opened)

    def _tidy(self) -> None:
        passing, self.passing = self.passing, None
        if passing is not None:
            with suppress(OSError):
                os.unlink(passing)

    def _refuse(self, reason: str) -> None:
        self._trouble = f"cannot be opened: {reason}"

    def _take(self, file: LogFile) -> None:
        if self.view.file is not None and self.view.file is not file:
            self.view.file.close()
        self.view.file = file
        hits = self.xids = Hits(file, search_for(XID))
        self.work("xids", "", hits.collect)
        self.view.reset()
        self.show()

    def _arrive(self) -> None:
        """Go to the line that was asked for, once it is known to be there."""
        if self.view.to_end:
            self.view.action_edge(True)
        line, self._line = self._line, None
        if line is None:
            return
        row = self.log_text.row(line)
        if row is None or self.view.file is None or row >= self.view.file.count:
            self.triage.say(f"line {line} is no longer in the log; it was rotated or cut")
            return
        self.view.go_to(row)
        if self._quoted and not same(self._quoted, decoded(self.view.text(row))):
            self.triage.say(f"line {line} now reads otherwise than the report quotes it: the log has changed")

    def _know(self, signals: Signals) -> None:
        self.view.signals = signals

    def _look_again(self) -> None:
        """See whether a followed file has grown, and how far the index is."""
        file = self.view.file
        if file is not None and not file.done:
            self.query_one("#about").refresh()
            self.view.refresh()
        if not self._following or file is None or not file.done:
            return

        def grown(stop: Callable[[], bool]) -> None:
            before = file.count
            file.index(stop)
            if file.count != before:
                self.tell(lambda: self.view.action_edge(True))

        self.work("follow", "", grown)
