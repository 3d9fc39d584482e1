"""Through what was recorded: report by report, or to what was known by a moment."""

from __future__ import annotations

from tui.fleet.ways import FleetWays
from tui.sources import ReportSource
from tui.when import moment_of


class Past(FleetWays):
    """Steps through recordings, and takes a fleet back to an earlier time."""

    def ask_again(self) -> None:
        """Have the source say anew what it says."""
        raise NotImplementedError

    def action_replay(self, by: int) -> None:
        """Step through recorded reports."""
        if not isinstance(self.source, ReportSource):
            self.say("this is not a recording; open one with: gpu-triage tui --replay FILE")
        elif self.source.move(by):
            self.ask_again()
        else:
            self.say("that was the last report" if by > 0 else "that was the first report")

    def go_to_time(self, text: str) -> None:
        """Show what was known by a moment: the report of a recording, or a fleet without its later captures."""
        source = self.source
        if not isinstance(source, ReportSource) and self.fleet is None:
            self.say("what this shows was not recorded; open a recording: gpu-triage tui --replay FILE")
            return
        newest = source.newest if isinstance(source, ReportSource) else self.now()
        try:
            at = None if text == "now" else moment_of(text, newest)
        except ValueError as error:
            self.say(str(error))
            return
        if isinstance(source, ReportSource):
            if not source.go_to(newest if at is None else at):
                self.say("no report is that old; this is the first")
        elif self.fleet is not None:
            self.fleet.until = at
        self.ask_again()
