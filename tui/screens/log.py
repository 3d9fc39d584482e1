"""A log, opened at once whatever its size: found, filtered, folded, with the evidence marked by its number."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from triage.cli.output import reason_of
from tui.facts import Incident
from tui.loghits import Hits
from tui.loglines import Search, decoded, search_for
from tui.marks import evidence_at, marks_of
from tui.merge import Clock, Merged, merged, wall
from tui.screens.logwork import LogWork
from tui.source import LogText
from tui.text import Line, Span, clean, wrap
from tui.widgets.banner import Banner
from tui.widgets.lines import Lines
from tui.widgets.logview import MOST_LISTED, LogView, listed
from tui.words import clock

MOST_COPIED = 10_000
"""Lines that an export of a log holds at most."""
_TALL = 32


class LogScreen(LogWork):
    """Shows one log after another; `logs` are those that can be chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "find", "find", id="log.find", priority=True),
        Binding("n", "again(True)", "next", id="log.next-hit"),
        Binding("N", "again(False)", "hit before", id="log.previous-hit", show=False),
        Binding("ampersand", "narrow", "filter", id="log.filter", priority=True),
        Binding("right_square_bracket", "signal(True)", "signal", id="log.next-signal"),
        Binding("left_square_bracket", "signal(False)", "signal before", id="log.previous-signal", show=False),
        Binding("x", "xid(True)", "Xid", id="log.next-xid"),
        Binding("X", "xid(False)", "Xid before", id="log.previous-xid", show=False),
        Binding("v", "evidence(True)", "evidence", id="log.next-evidence"),
        Binding("V", "evidence(False)", "evidence before", id="log.previous-evidence", show=False),
        Binding("z", "fold", "fold", id="log.fold"),
        Binding("m", "time(60)", "1 minute on", id="log.minute-on", show=False),
        Binding("M", "time(-60)", "1 minute back", id="log.minute-back", show=False),
        Binding("o", "time(3600)", "1 hour on", id="log.hour-on", show=False),
        Binding("O", "time(-3600)", "1 hour back", id="log.hour-back", show=False),
        Binding("F", "follow", "follow", id="log.follow"),
        Binding("w", "raw", "raw lines", id="log.raw", show=False),
        Binding("b", "other", "next log", id="log.other", show=False),
        Binding("B", "merge", "all logs by time", id="log.merge", show=False),
        Binding("r", "rule", "rule", id="log.rule", show=False),
    ]

    def __init__(self, log: LogText, logs: Sequence[LogText], incident: Incident | None, line: int | None,
                 quoted: str = "", newest: bool = False) -> None:  # fmt: skip
        super().__init__()
        self.view = LogView(id="log")
        self.view.to_end = newest
        self.log_text = log
        self.logs = tuple(logs)
        self.incident = incident
        self._line = line
        self._quoted = quoted
        self._searching = ""
        self._filter: Search | None = None
        self._folding = False
        self._following = False
        self._whole = False
        self._hits: Hits | None = None

    @property
    def crumb(self) -> str:  # type: ignore[override]
        """Name the file where there are several."""
        name = os.path.basename(self.log_text.origin) or self.log_text.origin
        return f"log {clean(name, self.look)}" if len(self.logs) > 1 else "log"

    def body(self) -> ComposeResult:
        """Make the line that says what is shown, the lines, and what is known of the one under the cursor."""
        yield Banner(self._about, id="about")
        yield self.view
        yield Banner(self._detail, id="detail")

    def on_resize(self) -> None:
        """Give what is known of a line more room on a tall screen, or where all of it was asked for."""
        room = self.size.height
        self.query_one("#detail").styles.height = room * 2 // 3 if self._whole else 7 if room >= _TALL else 4

    def show(self) -> None:
        """Mark the evidence of the newest report."""
        facts = self.triage.facts
        if facts is None:
            return
        if self.incident is not None:
            self.incident = facts.incident(self.incident.key) or self.incident
        self.view.marks = marks_of(facts, self.incident, self.log_text)
        self.view.refresh()
        self.query_one("#about").refresh()

    # What is shown --------------------------------------------------------------------------------------------------

    def _about(self, width: int, height: int) -> list[Line]:
        view, file = self.view, self.view.file
        if self._trouble:
            return [(("unknown strong", f" {self.log_text.origin} {self._trouble}"),)]
        if file is None:
            return [(("", f" opening {self.log_text.origin}"),)]
        shown = f"{view.total:,} of {file.count:,} lines" if view.view is not None else f"{file.count:,} lines"
        words: list[Span] = [("", f" line {view.number + 1:,}, {shown}")]
        if not file.done:
            words.append(("unknown", f"  indexed {file.share:.0%}"))
        if view.search is not None:
            words += [("", "  find: "), ("strong", view.search.asked), ("", self._count())]
        if self._filter is not None:
            words += [("", "  filter: "), ("strong", self._filter.asked)]
        if self._folding:
            words.append(("", "  repeats folded"))
        if self._following:
            words.append(("strong", "  FOLLOW"))
        if file.note:
            words.append(("unknown", f"  {file.note}"))
        if self._busy:
            words.append(("faint", f"  {self._busy}..."))
        if len(view.marks):
            words.append(("faint", f"  {len(view.marks)} evidence lines"))
        return [tuple(words)]

    def _count(self) -> str:
        hits = self._hits
        if hits is None:
            return ""
        of = f"{len(hits):,}{'' if hits.done else '+'}"
        place = hits.place(self.view.number)
        return f" ({of})" if place is None else f" ({place:,} of {of})"

    def _detail(self, width: int, height: int) -> list[Line]:
        view = self.view
        if view.file is None or not view.total:
            return []
        number = view.number
        raw = view.text(number)
        lines = wrap([("", f" {decoded(raw)}")], width, self.look, 1, most=max(1, height - 2))
        for incident, item in evidence_at(self.triage.facts, self.incident, self.log_text, number):
            where = f" [{item.number}] {item.id} of {incident.rule} "
            lines += wrap([("mark", where), ("", item.why)], width, self.look, 2, most=1)
        if view.signals is not None and view.is_signal(number, raw):
            for name, says, fields in view.signals.of(raw):
                told = ", ".join(f"{field} {value}" for field, value in fields.items() if field != "text")
                lines += wrap(
                    [("warning", f" ! {name} "), ("", f"{says} "), ("faint", told)], width, self.look, 3, most=1
                )
        return lines

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Show the whole line, or only its start."""
        self._whole = not self._whole
        self.on_resize()

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Say what is known of the line under the cursor."""
        self.query_one("#about").refresh()
        self.query_one("#detail").refresh()

    # Keys -----------------------------------------------------------------------------------------------------------

    def action_find(self) -> None:
        """Ask what to find."""
        self.ask("/", self.view.search.asked if self.view.search is not None else "", anew=True)

    def action_narrow(self) -> None:
        """Ask which lines to show."""
        self.ask("&", self._filter.asked if self._filter is not None else "")

    def asked(self, sign: str, text: str) -> None:
        """Find, or show only the lines that match; nothing ends either."""
        search = search_for(text) if text else None
        if search is not None and search.literal:
            self.triage.say(f"'{text}' is no regular expression; it is taken as text")
        if sign == "&":
            self._filter = search
            self._list()
            return
        self.view.search = search
        file = self.view.file
        self._hits = None if search is None or file is None else Hits(file, search)
        if self._hits is not None:
            self.work("count", "counting", self._hits.collect)
            self._jump(self._hits, self.view.number, True)

    def action_again(self, forward: bool) -> None:
        """Go to the next or the previous hit."""
        if self._hits is None:
            self.action_find()
        else:
            self._jump(self._hits, self.view.number + (1 if forward else -1), forward)

    def action_xid(self, forward: bool) -> None:
        """Go to the next or the previous Xid."""
        if self.xids is None:
            self.triage.say("the log is still being opened; wait a moment")
        else:
            self._jump(self.xids, self.view.number + (1 if forward else -1), forward, "Xid")

    def action_signal(self, forward: bool) -> None:
        """Go to the next or the previous line that the rulebook knows."""
        if self.view.signals is None:
            self.triage.say("the signals are not known yet; wait a moment")
            return
        found = self.view.signals
        file = self.view.file
        if file is not None:
            hits = Hits(file, Search("signal", found.chunk, found.line, None))
            self._jump(hits, self.view.number + (1 if forward else -1), forward, "signal")

    def action_evidence(self, forward: bool) -> None:
        """Go to the next or the previous line that is evidence."""
        rows = sorted(self.view.marks)
        here = self.view.number
        further = [row for row in rows if row > here] if forward else [row for row in reversed(rows) if row < here]
        if further:
            self.view.go_to(further[0])
        else:
            self.triage.say(f"no evidence line {'below' if forward else 'above'}")

    def _jump(self, hits: Hits, start: int, forward: bool, what: str = "") -> None:
        file, extra, search = self.view.file, self._filter, hits.search
        if file is None:
            return

        def both(raw: bytes) -> bool:
            return search.line(raw) and (extra is None or extra.line(raw))

        def look(stop: Callable[[], bool]) -> None:
            found = None
            if start >= 0 and extra is None:
                found = hits.next(start, forward, stop)
            elif start >= 0:
                found = file.find(start, forward, search.chunk, both, stop)
            if stop():
                return
            if found is None:
                where = "below" if forward else "above"
                self.tell(lambda: self.triage.say(f"no {what or repr(search.asked)} {where}"))
            else:
                row = found
                self.tell(lambda: self.view.go_to(row))

        self.work("jump", "looking", look)

    def action_fold(self) -> None:
        """Fold lines that repeat the one before, or unfold them."""
        self._folding = not self._folding
        self._list()

    def _list(self) -> None:
        """Make the list of the lines to show anew, and stay on the line."""
        view, file = self.view, self.view.file
        if file is None:
            return
        here = view.number
        search, fold = self._filter, self._folding
        if search is None and not fold:
            self.workers.cancel_group(self, "list")
            view.view = view.folds = None
            view.go_to(here)
            self.tell(self.idle)
            return
        keep = frozenset(view.marks)

        def take(rows: array[int], counts: array[int] | None) -> None:
            view.view, view.folds = rows, counts

        def work(stop: Callable[[], bool]) -> None:
            whole = listed(file, search, fold, keep, stop, lambda rows, counts: self.tell(lambda: take(rows, counts)))
            if stop():
                return
            self.tell(lambda: view.go_to(here))
            if not whole:
                self.tell(lambda: self.triage.say(f"only the first {MOST_LISTED:,} lines are listed; filter more"))

        self.work("list", "listing", work)

    def action_time(self, seconds: int) -> None:
        """Go on or back in time; times in a log may step, so this is about."""
        if not self.view.go_in_time(seconds, self.triage.now()):
            self.triage.say("no line near here has a time")

    def action_follow(self) -> None:
        """Show new lines as they are written, or stop."""
        self._following = not self._following
        if self._following:
            self.view.action_edge(True)
        self.query_one("#about").refresh()

    def action_raw(self) -> None:
        """Show lines as they stand in the file, or as time and message."""
        self.view.raw = not self.view.raw
        self.view.refresh()

    def action_other(self) -> None:
        """Show the next log."""
        if len(self.logs) < 2:
            self.triage.say("there is no other log")
            return
        origins = [log.origin for log in self.logs]
        place = origins.index(self.log_text.origin) if self.log_text.origin in origins else -1
        self.switch(self.logs[(place + 1) % len(self.logs)], None)

    def action_merge(self) -> None:
        """Show what all logs say around the time of this line, in order of time."""
        if len(self.logs) < 2:
            self.triage.say("there is no other log to put beside it")
            return
        hint = Clock(self.triage.now(), self.triage.zone)
        here = wall(self.view.text(self.view.number), hint) if self.view.file is not None else None
        if here is None and self.incident is not None:
            here = self.incident.opened_at
        logs, on = self.logs, (self.log_text.origin, self.view.number)

        def put_in_order(stop: Callable[[], bool]) -> None:
            try:
                found = merged(logs, here, hint, stop, on)
            except OSError as error:
                reason = reason_of(error)
                self.tell(lambda: self.triage.say(f"cannot put the logs in order: {reason}"))
                return
            if found is None:
                self.tell(lambda: self.triage.say("no log here names a time of day; they cannot be put in order"))
            else:
                told = found
                self.tell(lambda: self._show_merged(told))

        self.work("merge", "putting in order", put_in_order)

    def _show_merged(self, found: Merged) -> None:
        self.passing = found.log.path
        self.switch(found.log, found.row + 1)
        span = f"{clock(found.start)} to {clock(found.end)}Z"
        left = f"; without {', '.join(found.left_out)}, which name no time of day" if found.left_out else ""
        self.triage.say(f"all logs, {span}, by time; b shows one log again{left}")

    def switch(self, log: LogText, line: int | None) -> None:
        """Show another log."""
        self.workers.cancel_all()
        self.log_text, self._line, self._trouble = log, line, ""
        self._filter, self._folding, self._following = None, False, False
        self.view.search = self._hits = self.xids = None
        self.view.cursor = self.view.top = 0
        self._open()
        self.tick()

    def action_rule(self) -> None:
        """Show the rule that counted this line."""
        for incident, item in evidence_at(self.triage.facts, self.incident, self.log_text, self.view.number):
            self.triage.open_rules(incident.rule, item.id)
            return
        self.triage.say("no rule counted this line as evidence")

    def copied(self) -> str | None:
        """Return the line under the cursor as it stands in the file."""
        return decoded(self.view.text(self.view.number)) or None

    def exported(self, form: str) -> str | None:
        """Return the lines that are shown, from the cursor on if there are too many."""
        if form != "text" or self.view.file is None:
            return None
        view = self.view
        first = 0 if view.total <= MOST_COPIED else view.cursor
        last = min(view.total, first + MOST_COPIED)
        return "".join(decoded(view.text(view.number_at(index))) + "\n" for index in range(first, last))
