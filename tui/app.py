"""The application: takes snapshots in, hands facts to the screens, and knows the way between them.

A thread iterates the source and posts each snapshot; the newest replaces those
not yet shown, and the screens are drawn at most twice a second whatever comes.
Keys never wait for data.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.message import Message
from textual.widgets import Input

from probes.model import Reading
from triage.render.safe import safe
from triage.rulebook.model import Rulebook
from tui import commands
from tui.facts import Facts, facts
from tui.fleet.picture import Picture
from tui.fleet.source import FleetSource
from tui.keys import keys_of
from tui.look import THEMES, Look
from tui.past import Past
from tui.people import People
from tui.screens.base import ASKING, TriageScreen
from tui.screens.changes import Seen, of_picture
from tui.screens.help import HelpScreen
from tui.screens.node import NodeScreen
from tui.source import Failed, LogText, Snapshot, Source
from tui.sources import LogSource, ReportSource
from tui.takes import Takes
from tui.text import Span, age
from tui.trend import Trend
from tui.words import clock, moment

FASTEST = 0.5
"""Seconds between two drawings of new data, at least."""
SAID = 6.0
"""Seconds that a remark stands in the bottom line."""
AGES = 5.0
"""Seconds after which rows are drawn anew although no data came, for the ages in them."""
LAST_WAIT = 2.0
"""Seconds that a source gets to end its sweep before the program ends without it."""
STALE = 3.0
"""Periods after which what is shown is called stale."""

ROOMY = 100
"""Columns from which the title can afford words."""

Rulebooks = Callable[[], Rulebook]


class Arrived(Message):
    """A snapshot, its report already made into facts, and what the history says has changed."""

    def __init__(
        self, value: Snapshot | Picture | Failed, known: Facts | None = None, changes: tuple[Seen, ...] = ()
    ) -> None:
        super().__init__()
        self.value = value
        self.known = known
        self.changes = changes


class TriageApp(Past, Takes):
    """`gpu-triage tui`."""

    CSS_PATH = "triage.tcss"
    TITLE = "gpu-triage"
    COMMANDS: ClassVar = {lambda: commands.Palette}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "keys", "help", id="app.help"),
        Binding("colon", "prompt", "command", id="app.command", priority=True),
        Binding("p", "pause", "pause", id="app.pause", show=False),
        Binding("R", "again", "sweep now", id="app.again", show=False),
        Binding("less_than_sign", "replay(-1)", "report before", id="app.replay-back", show=False),
        Binding("greater_than_sign", "replay(1)", "next report", id="app.replay-on", show=False),
        Binding("ctrl+p", "command_palette", "palette", id="app.palette", show=False),
        Binding("ctrl+z", "suspend_process", "suspend", id="app.suspend", show=False),
        Binding("ctrl+c", "quit", "leave at once", id="app.quit", show=False, priority=True),
    ]

    def __init__(
        self,
        source: Source,
        look: Look,
        load: Rulebooks,
        *,
        now: Callable[[], float] = time.time,
        threads: bool = True,
        people: People | None = None,
        keymap: Mapping[str, str] | None = None,
    ) -> None:
        # Textual looks at NO_COLOR when it starts, and counts it even where it is empty.
        if look.theme == "plain":
            os.environ["NO_COLOR"] = "1"
        else:
            os.environ.pop("NO_COLOR", None)
        super().__init__(ansi_color=True)
        self.animation_level = "none"
        self.set_keymap(dict(keymap or {}))
        self.source = source
        self.look = look
        self.now = now
        self.people = people
        self.trend = Trend()
        self.facts: Facts | None = None
        self.snapshot: Snapshot | None = None
        self.failed = ""
        self.said = ""
        self.paused = False
        self.fault: Exception | None = None
        self._load = load
        self._rulebook: Rulebook | None = None
        self._rulebook_lock = threading.Lock()
        self._stop = threading.Event()
        self._again = threading.Event()
        self._threads = threads
        self._pumping: threading.Thread | None = None
        self._waiting: Arrived | None = None
        self._held = 0
        self._drawn = 0.0
        self._shown = now()
        self._began = now()
        self._said_until = 0.0

    # The data -------------------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Show the first screen at once and start asking the source."""
        self.push_screen(NodeScreen() if self.fleet is None else self.first_screen())
        self.set_interval(1.0, self._tick)
        if self._threads:
            self._pumping = threading.Thread(target=self._pump, name="source", daemon=True)
            self._pumping.start()

    def on_unmount(self) -> None:
        """Let the source end, and the sweep that it may be waiting for."""
        self._stop.set()
        self._again.set()
        self.stop_collecting()
        if self._pumping is not None:
            self._pumping.join(LAST_WAIT)

    def _pump(self) -> None:
        try:
            self.rulebook()
            for value in self.source.snapshots(self._stop, self._again):
                if self._stop.is_set():
                    return
                self.post_message(self._arrived(value))
                del value  # else a picture would stay until the next one has come
        except Exception as error:
            # Whatever goes wrong in a source is told on the screen; what it told before is still worth looking at.
            self.post_message(
                Arrived(Failed(f"the source broke off: {type(error).__name__}: {error}", time.time()), None)
            )

    def _arrived(self, value: Snapshot | Picture | Failed) -> Arrived:
        if isinstance(value, Picture):
            return Arrived(value, None, of_picture(value))
        if isinstance(value, Failed):
            return Arrived(value)
        lately = self.people.lately(value.at) if self.people is not None and self.is_live else ()
        return Arrived(value, facts(dict(value.report)), tuple(Seen(each.at, each.says) for each in lately))

    def on_arrived(self, message: Arrived) -> None:
        """Draw what came, unless something was drawn just now or the picture is frozen."""
        first = self._waiting is None
        self._waiting = message
        if self.paused:
            self._held += 1
            return
        wait = self._drawn + FASTEST - time.monotonic()
        if wait <= 0:
            self._draw()
        elif first:
            self.set_timer(wait, self._draw_late)

    def _draw_late(self) -> None:
        """Draw what waits, unless something was drawn since the timer was set; then another timer has been set."""
        if time.monotonic() > self._drawn + FASTEST * 0.9:
            self._draw()

    def _draw(self) -> None:
        arrived, self._waiting = self._waiting, None
        if arrived is None or self.paused:
            self._waiting = arrived
            return
        self._drawn = time.monotonic()
        self._shown = self.now()
        if isinstance(arrived.value, Failed):
            self.failed = arrived.value.reason
        elif isinstance(arrived.value, Picture):
            self.take(arrived.value)
            self.fleet_changes, self.failed = arrived.changes, ""
        else:
            self.snapshot, self.facts, self.failed = arrived.value, arrived.known, ""
            self.node_changes = arrived.changes
            self.trend.add(arrived.value.at, arrived.value.readings)
        self.draw_again()

    def draw_again(self) -> None:
        """Draw the screen that is looked at with the facts as they are now."""
        if self.front is not None:
            self.front.show()
        self._tick()

    def _tick(self) -> None:
        if self.said and time.monotonic() > self._said_until:
            self.said = ""
        front = self.front
        if front is not None:
            # Ages stand in rows too; they are whole seconds only while they are small.
            nothing = self.facts is None and self.picture is None
            if nothing or self.now() - self._shown >= AGES:
                self._shown = self.now()
                front.show()
            front.tick()

    @property
    def front(self) -> TriageScreen | None:
        """The screen in front; None before its widgets are there, and once they are being taken down."""
        screen = self.screen_stack[-1] if self.screen_stack else None
        return screen if isinstance(screen, TriageScreen) and screen.ready and screen.query("#title") else None

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The readings of the snapshot that is shown."""
        return () if self.snapshot is None else self.snapshot.readings

    @property
    def logs(self) -> tuple[LogText, ...]:
        """The logs that can be opened."""
        return self.source.logs if self.snapshot is None else self.snapshot.logs or self.source.logs

    @property
    def zone(self) -> float:
        """Seconds east of UTC of times that name no zone."""
        return self.source.zone if isinstance(self.source, (LogSource, FleetSource)) else 0.0

    @property
    def is_live(self) -> bool:
        """Whether the source sweeps again and again."""
        return self.source.period is not None

    def rulebook(self) -> Rulebook | None:
        """Return the rulebook, loaded once; a thread may ask too."""
        with self._rulebook_lock:
            if self._rulebook is None:
                self._rulebook = self._load()
            return self._rulebook

    @property
    def title_of_source(self) -> str:
        """What is looked at: the node's name where it is known."""
        node = None if self.facts is None or self.fleet is not None else self.facts.node
        if self.source.period is not None:
            return safe(node or self.source.title)
        return safe(f"{self.source.title} ({node})" if node else self.source.title)

    def waiting(self) -> str:
        """Say what is waited for, and since when."""
        doing = "sweeping" if self.source.period is not None else "reading"
        far = "" if self.fleet is None or not self.fleet.reading else f", {self.fleet.reading}"
        since = f"{doing} {safe(self.source.title)}{far}, {age(self.now() - self._began)} so far"
        return f"{since}; its lines can be looked at: l" if self.source.logs else since

    def age_words(self, width: int) -> list[Span]:
        """Return when the data is from, how old it is, and what is wrong with that."""
        words: list[Span] = []
        if self.paused:
            words.append(("strong", f"PAUSED +{self._held} "))
        if self.fleet is not None:
            return words + self.fleet_age(width)
        snapshot = self.snapshot
        if self.failed:
            words.append(("strong", "FAILED " if snapshot is None else "SWEEP FAILED "))
        if snapshot is None:
            return words or [("", "no data yet")]
        old = self.now() - snapshot.at
        if isinstance(self.source, ReportSource):
            place, count = self.source.position
            of = f" {place}/{count} < >" if count > 1 else ""
            return [*words, ("strong", f"RECORDED{of}"), ("", f" {clock(snapshot.at, day=True)}Z, {age(old)} ago")]
        if self.source.period is None:
            verb = "" if width < ROOMY else "speaks until "
            return [*words, ("", f"{verb}{moment(snapshot.at, old, width >= ROOMY)}")]
        verb = "" if width < ROOMY else "swept "
        if old > STALE * self.source.period + (snapshot.took or 0.0):
            words.append(("strong", "STALE "))
        took = f", took {snapshot.took:.1f}s" if snapshot.took is not None and width >= 110 else ""
        return [*words, ("", f"{verb}{moment(snapshot.at, old, width >= ROOMY)}{took}")]

    # What a person asks for -----------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Say something in the bottom line for a while."""
        self.said = safe(text)
        self._said_until = time.monotonic() + SAID
        if self.front is not None:
            self.front.tick()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let `:` be a letter where something is being typed already."""
        return not (action in ASKING and isinstance(self.focused, Input)) and super().check_action(action, parameters)

    def action_keys(self) -> None:
        """Show the keys of this screen."""
        screen = self.screen
        if isinstance(screen, TriageScreen) and not isinstance(screen, HelpScreen):
            self.push_screen(HelpScreen(keys_of(screen.active_bindings), screen.crumb))

    def action_prompt(self) -> None:
        """Open the command line."""
        self.prompt("")

    def prompt(self, text: str) -> None:
        """Open the command line with some text in it."""
        if self.front is not None:
            self.front.ask(":", text)

    def command(self, line: str) -> None:
        """Run a command."""
        commands.run(self, line)

    def action_command_palette(self) -> None:
        """Open the palette of commands."""
        self.push_screen(CommandPalette(id="--command-palette", placeholder="a command"))

    def action_pause(self) -> None:
        """Freeze the picture, or show what came meanwhile."""
        self.paused = not self.paused
        self._held = 0
        if not self.paused:
            self._draw()
        self._tick()

    def ask_again(self) -> None:
        """Have the source say anew what it says."""
        self._again.set()

    def action_again(self) -> None:
        """Ask the source for a new snapshot now."""
        self._again.set()
        self.say("asked for a new sweep" if self.source.period is not None else "reading again")

    def theme_named(self, name: str) -> None:
        """Change the colours."""
        if name not in THEMES:
            self.say(f"no theme '{name}'; one of {', '.join(THEMES)}")
        elif self.no_color and name != "plain":
            self.say("started without colour (NO_COLOR or --color never); start with --color always")
        else:
            self.look = self.look._replace(theme=name)
            self._redraw()

    def toggle_ascii(self) -> None:
        """Draw with ASCII alone, or not."""
        self.look = self.look._replace(ascii_only=not self.look.ascii_only)
        self._redraw()

    def _redraw(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, TriageScreen) and screen.ready:
                screen.show()
        self.screen.refresh(layout=True)
        for widget in self.screen.walk_children():
            widget.refresh()

    # The end --------------------------------------------------------------------------------------------------------

    def _handle_exception(self, error: Exception) -> None:
        self.fault = self.fault or error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        # The command says in one line what went wrong; Textual would fill the screen with a traceback.
        self._close_messages_no_wait()
