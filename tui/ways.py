"""The way between the screens: each thing that can be looked at, and what is said where it cannot be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.app import App
from textual.screen import Screen

from probes.model import Reading
from tui.facts import Evidence, Facts, Incident
from tui.gpus import gpus_of
from tui.screens.gpu import GpuScreen
from tui.screens.incident import IncidentScreen
from tui.screens.log import LogScreen
from tui.screens.node import named
from tui.screens.rules import RulesScreen
from tui.source import LogText


class Ways(App[None]):
    """Opens screens on the facts that the application holds."""

    facts: Facts | None

    @property
    def readings(self) -> Sequence[Reading]:
        """The readings of the snapshot that is shown."""
        raise NotImplementedError

    @property
    def logs(self) -> Sequence[LogText]:
        """The logs that can be opened."""
        raise NotImplementedError

    @property
    def is_live(self) -> bool:
        """Whether what is shown goes on."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Say something in the bottom line for a while."""
        raise NotImplementedError

    def open_incident(self, key: str) -> None:
        """Open an incident by its fingerprint."""
        self.push_screen(IncidentScreen(key))

    def open_named(self, text: str) -> None:
        """Open an incident by its number, rule or fingerprint."""
        found = None if self.facts is None else named(self.facts.incidents, text)
        if found is None:
            self.say(f"no incident '{text}'; give its number in the list or its rule")
        else:
            self.open_incident(found.key)

    def open_gpu(self, text: str) -> None:
        """Open a GPU by its key, index or part of its address."""
        known = [] if self.facts is None else gpus_of(self.facts, self.readings)
        for own in known:
            if text in (own.gpu.key, str(own.gpu.index), own.gpu.uuid, own.gpu.serial):
                self.push_screen(GpuScreen(own.gpu.key))
                return
        near = [own for own in known if own.gpu.pci is not None and text.lower() in own.gpu.pci]
        if len(near) == 1:
            self.push_screen(GpuScreen(near[0].gpu.key))
        else:
            self.say(f"no GPU '{text}'; give its index or PCI address")

    def open_rules(self, rule: str | None, item: str | None = None) -> None:
        """Open the rules at one, at one of its items."""
        self.push_screen(RulesScreen(rule, item))

    def open_sweeps(self) -> None:
        """Open the last sweeps, of this machine or of the fleet's folders."""
        from tui.screens.sweeps import SweepsScreen

        self._show(SweepsScreen)

    def open_changes(self) -> None:
        """Open what changed lately, of this machine or of the fleet."""
        from tui.screens.changes import ChangesScreen

        self._show(ChangesScreen)

    def _show(self, screen: Callable[[], Screen[None]]) -> None:
        """Open a screen of which there is one kind, unless it is in front already."""
        if type(self.screen) is not screen:
            self.push_screen(screen())

    def open_key(self, key: str, incident: Incident | None) -> None:
        """Go where a block of a page leads: to a line of the log, if it is one."""
        words = key.split(" ", 2)
        if words[0] == "line" and len(words) == 3:
            origin, _, line = words[2].rpartition(":")
            if line.isdecimal():
                self.open_log(origin, int(line), incident, "")
            else:
                self.say("this was read from the driver, not from a log")
        elif words[0] == "changed":
            self.open_changes()
        elif words[0] in ("evidence", "change") and incident is not None:
            item = next((each for each in incident.evidence if str(each.number) == words[1]), None)
            if item is not None:
                self.open_line_of(incident, item)

    def open_log_of(self, incident: Incident | None, item: Evidence | None = None) -> None:
        """Open the log at a piece of evidence, else at the line that opened the incident, else at any of its lines."""
        evidence = () if incident is None else incident.evidence
        triggers = [each for each in evidence if each.id == "trigger"]
        lines = [each.witness for each in (item, *triggers, *evidence) if each is not None and _in_a_log(each)]
        if lines and lines[0] is not None:
            self.open_log(lines[0].origin or "", lines[0].line, incident, lines[0].text)
            return
        self.open_log_at("")
        if incident is not None and self.logs:
            self.say("no line of a log is evidence of this incident; this is the log as it is")

    def open_line_of(self, incident: Incident, item: Evidence) -> None:
        """Open the log at a piece of evidence, or say why it stands in none."""
        witness = item.witness
        if witness is None:
            self.say("this was not seen, so no line says it")
        elif not _in_a_log(item):
            self.say("this was read from the driver or the system, not from a log")
        else:
            self.open_log(witness.origin or "", witness.line, incident, witness.text)

    def open_log(self, origin: str, line: int | None, incident: Incident | None, quoted: str) -> None:
        """Open a log at a line, if the log is here."""
        log = next((log for log in self.logs if log.origin == origin), None)
        if log is None:
            self.say(f"{origin or 'the log'} is not here; the line stands above as it was quoted")
            return
        self.push_screen(LogScreen(log, self.logs, incident, line, quoted))

    def open_log_at(self, words: str) -> None:
        """Open the first log, or go to a line of the one that is open."""
        line = int(words) if words.isdecimal() and int(words) > 0 else None
        if words and line is None:
            self.say(f"'{words}' is no line number")
        elif isinstance(self.screen, LogScreen):
            self.screen.view.go_to((line or 1) - 1)
        elif not self.logs:
            self.say("no log is open: " + ("no kernel log could be read" if self.facts else "nothing is read yet"))
        else:
            log = self.logs[0]
            if line is not None:
                log = log._replace(rows=None)
            self.push_screen(LogScreen(log, self.logs, None, line, newest=self.is_live and line is None))


def _in_a_log(item: Evidence) -> bool:
    return item.witness is not None and item.witness.kind == "log" and item.witness.line is not None
