"""The commands after `:`, as one table: run when typed, offered by the palette, listed in the help."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from tui.own import own

if TYPE_CHECKING:
    from tui.app import TriageApp


class Command(NamedTuple):
    """A command: its words, what it does, and whether it makes sense without words after it."""

    name: str
    usage: str
    says: str
    do: Callable[[TriageApp, str], None]
    alone: bool = True


def _export(app: TriageApp, words: str) -> None:
    form, _, path = words.strip().partition(" ")
    if form in ("capture", "redacted"):
        app.export_capture(path.strip(), redact=form == "redacted")
        return
    if form not in ("text", "json", "ndjson"):
        form, path = "text", words
    app.export(form, path.strip())


def _say_of_it(what: str) -> Callable[[TriageApp, str], None]:
    def do(app: TriageApp, words: str) -> None:
        from tui.screens.incident import IncidentScreen

        if isinstance(app.screen, IncidentScreen):
            app.screen.say_of_it(what, words)
        else:
            app.say(f"open the incident first; then :{what} WHY")

    return do


COMMANDS = (
    Command("quit", "quit", "leave", lambda app, words: app.exit()),
    Command("incident", "incident N|RULE", "open an incident by its number or its rule",
            lambda app, words: app.open_named(words), False),
    Command("gpu", "gpu N|ADDRESS", "open a GPU by its index or PCI address",
            lambda app, words: app.open_gpu(words), False),
    Command("node", "node NAME", "open a node of the fleet", lambda app, words: app.open_node(words), False),
    Command("log", "log [LINE]", "open the log, at a line", lambda app, words: app.open_log_at(words)),
    Command("rule", "rule [ID]", "open the rules, at one", lambda app, words: app.open_rules(words or None)),
    Command("sweeps", "sweeps", "the last sweeps: when, how they went, who did not answer",
            lambda app, words: app.open_sweeps()),
    Command("changes", "changes", "what changed lately: driver, kernel, firmware, rules, parts, restarts",
            lambda app, words: app.open_changes()),
    Command("acknowledge", "acknowledge WHY", "take this incident out of the status of check",
            _say_of_it("acknowledge"), False),
    Command("dispute", "dispute [CAUSE] WHY", "say that this verdict is wrong, and what it was",
            _say_of_it("dispute"), False),
    Command("export", "export text|json|ndjson|capture|redacted [FILE]",
            "write what this screen shows to a file, or all of this node", _export),
    Command("at", "at TIME|now", "what was known by then: 03:10, 2026-08-22T03:10Z",
            lambda app, words: app.go_to_time(words), False),
    Command("refresh", "refresh", "sweep or read again now", lambda app, words: app.action_again()),
    Command("pause", "pause", "freeze the picture, or go on", lambda app, words: app.action_pause()),
    Command("theme", "theme plain|sixteen|safe", "colours: none, sixteen, or without red beside green",
            lambda app, words: app.theme_named(words), False),
    Command("ascii", "ascii", "draw with ASCII alone, or not", lambda app, words: app.toggle_ascii()),
    Command("help", "help", "the keys of this screen", lambda app, words: app.action_keys()),
)  # fmt: skip


def run(app: TriageApp, line: str) -> None:
    """Do what was typed after `:`; what cannot be done is said, with what would."""
    name, _, words = line.strip().partition(" ")
    if not name:
        return
    if name in ("q", "q!", "x"):
        name = "quit"
    command = next((each for each in COMMANDS if each.name == name), None)
    if command is None:
        started = [each for each in COMMANDS if each.name.startswith(name)]
        command = started[0] if len(started) == 1 else None
    if command is None:
        near = get_close_matches(name, [each.name for each in COMMANDS], n=1)
        hint = f"did you mean :{near[0]}?" if near else "? lists them"
        app.say(f"no command '{name}'; {hint}")
    elif not words.strip() and not command.alone:
        app.say(f"say which: :{command.usage}")
    else:
        command.do(app, words.strip())


class Palette(Provider):
    """Offers the commands that need no words, and prompts for those that do."""

    async def discover(self) -> Hits:
        """Yield all of them."""
        for command in COMMANDS:
            yield DiscoveryHit(Content(command.usage), partial(self._do, command), help=command.says)

    async def search(self, query: str) -> Hits:
        """Yield those whose words resemble the query."""
        matcher = self.matcher(query)
        for command in COMMANDS:
            words = f"{command.name}: {command.says}"  # no brackets: what is highlighted is read as markup
            score = matcher.match(words)
            if score > 0:
                yield Hit(score, matcher.highlight(words), partial(self._do, command), help=command.says)

    def _do(self, command: Command) -> None:
        app = own(self.app)
        if command.alone:
            command.do(app, "")
        else:
            app.call_later(app.prompt, f"{command.name} ")
