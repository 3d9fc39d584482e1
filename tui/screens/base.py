"""What all screens share: the title with the age of the data, the keys, the prompt, and the way back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from tui.filters import FilterError
from tui.keys import key_line, keys_of
from tui.look import Look
from tui.own import own
from tui.text import Line, both, clean, clipped, width_of
from tui.widgets.banner import Banner
from tui.widgets.table import Table

if TYPE_CHECKING:
    from tui.app import TriageApp

SMALLEST = (80, 24)
"""Columns and lines that every screen is made for."""


ASKING = frozenset({"prompt", "filter", "find", "narrow"})
"""Actions of the keys that open the prompt; while it is open they are letters in it."""
LEAST_NAME = 12
"""Columns that the name of what is looked at keeps, however long the way to this screen is."""


class Prompt(Horizontal):
    """The line in which commands, filters and searches are typed; hidden until it is needed."""

    def compose(self) -> ComposeResult:
        """Make the sign and the input."""
        yield Banner(lambda width, height: [(("key", self.sign),)], id="sign")
        yield Input(compact=True, select_on_focus=False)

    sign = ":"


class TriageScreen(Screen[None]):
    """A screen with a title above, keys below, and whatever `body` makes between."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "back", "back", id="screen.back"),
        Binding("tab", "app.focus_next", "next pane", id="screen.next-pane", show=False),
        Binding("shift+tab", "app.focus_previous", "pane before", id="screen.previous-pane", show=False),
        Binding("y", "copy", "copy", id="screen.copy"),
        Binding("e", "export", "export", id="screen.export"),
    ]
    AUTO_FOCUS = "Table, Page, LogView"
    crumb = ""
    ready = False
    """Whether the widgets are there: a key may come before they are."""
    _before: Widget | None = None
    _mistaken: tuple[Table, str, int] | None = None
    """The filter that was not understood, of which table, and the column of its mistake."""

    @property
    def triage(self) -> TriageApp:
        """The application, by its own type."""
        return own(self.app)

    @property
    def look(self) -> Look:
        """How the application draws."""
        return self.triage.look

    def compose(self) -> ComposeResult:
        """Make the frame and what is in it."""
        yield Banner(self._title, id="title", base="bar")
        yield from self.body()
        yield Banner(self._keys, id="keys")
        yield Prompt(id="prompt")

    def body(self) -> ComposeResult:
        """Make what stands between the title and the keys."""
        raise NotImplementedError

    def show(self) -> None:
        """Draw the application's facts as they are now."""

    def copied(self) -> str | None:
        """Return the text that `y` copies, None if there is nothing to copy."""
        return None

    def exported(self, form: str) -> str | None:
        """Return this screen as `text` or `json`, None if it has no such form."""
        return None

    def rows_exported(self) -> str | None:
        """Return the rows of the table that has the focus as NDJSON, None if there is no table."""
        table = self.focused if isinstance(self.focused, Table) else next(iter(self.query(Table)), None)
        if table is None:
            return None
        return "".join(json.dumps({"key": row.key, **row.fields}, default=str) + "\n" for row in table.rows)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Let keys do nothing while there is nothing yet for them to act on."""
        return self.ready and not (action in ASKING and isinstance(self.focused, Input))

    def on_mount(self) -> None:
        """Draw what there is."""
        self.ready = True
        self.query_one("#prompt").display = False
        self.show()

    def on_screen_resume(self) -> None:
        """Draw what came while another screen was in front."""
        if not self.ready:
            return
        self.show()
        self.tick()

    def tick(self) -> None:
        """Draw the age of the data."""
        if not self.ready:
            return
        self.query_one("#title").refresh()
        self.query_one("#keys").refresh()

    def _title(self, width: int, height: int) -> list[Line]:
        app = self.triage
        crumbs = [each.crumb for each in app.screen_stack if isinstance(each, TriageScreen) and each.crumb]
        right = [*app.age_words(width), ("strong", "  READ-ONLY ")]
        room = width - width_of(right) - 1
        # Where one is matters more than the name of the program; the last screen matters most.
        shapes = (
            ("gpu-triage  ", crumbs),
            ("", crumbs),
            ("", ["..", *crumbs[-1:]] if len(crumbs) > 2 else crumbs[-1:]),
        )
        for program, path in shapes:
            left = [
                ("", f" {program}"),
                ("strong", clean(app.title_of_source, self.look)),
                ("", "  " + " > ".join(path)),
            ]
            if width_of(left) <= room:
                break
        else:
            trail = left[2:]
            name = clipped(app.title_of_source, max(LEAST_NAME, room - width_of(trail) - 1), self.look)
            left = [("", " "), ("strong", name), *trail]
        return [both(left, right, width, self.look)]

    def _keys(self, width: int, height: int) -> list[Line]:
        if self.triage.said:
            return [(("strong", f" {self.triage.said}"),)]
        if self.size.width < SMALLEST[0] or self.size.height < SMALLEST[1]:
            small = f" {self.size.width}x{self.size.height}: made for {SMALLEST[0]}x{SMALLEST[1]} and more;"
            return [(("warning", small), ("", " ? keys, q out"))]
        return [key_line(keys_of(self.active_bindings), width, self.look)]

    def action_back(self) -> None:
        """Go back to the screen before; from the first one, out."""
        if len(self.triage.screen_stack) > 2:
            self.triage.pop_screen()
        else:
            self.triage.exit()

    def action_copy(self) -> None:
        """Copy what the cursor is on."""
        text = self.copied()
        self.triage.copy(text) if text else self.triage.say("nothing here to copy")

    def action_export(self) -> None:
        """Ask where to, with a name that is free."""
        self.ask(":", f"export text {self.triage.free_name(self.crumb, 'txt')}")

    # The prompt -----------------------------------------------------------------------------------------------------

    def ask(self, sign: str, text: str = "", anew: bool = False) -> None:
        """Open the prompt: `:` a command, `/` a filter or a search, `&` a filter of a log.

        With `anew` the first letter takes the place of the text, and Enter takes it as it is.
        """
        if not self.ready:
            return
        prompt = self.query_one("#prompt", Prompt)
        prompt.sign = sign
        self.query_one("#keys").display = False
        prompt.display = True
        prompt.query_one(Banner).refresh()
        typed = prompt.query_one(Input)
        if not isinstance(self.focused, Input):
            self._before = self.focused
        typed.value = text
        typed.cursor_position = len(text)
        if anew:
            typed.select_all()
        self.set_focus(typed)  # at once: the next key may be waiting already

    def _close_prompt(self) -> None:
        prompt = self.query_one("#prompt", Prompt)
        prompt.display = False
        self.query_one("#keys").display = True
        if self._before is not None:
            self.set_focus(self._before)

    def on_key(self, event: object) -> None:
        """Let Esc close the prompt."""
        from textual.events import Key

        if isinstance(event, Key) and event.key == "escape" and self.ready and self.query_one("#prompt").display:
            event.stop()
            event.prevent_default()
            self._close_prompt()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Do what was typed."""
        event.stop()
        sign = self.query_one("#prompt", Prompt).sign
        self._close_prompt()
        if sign == ":":
            self.triage.command(event.value)
        else:
            self.asked(sign, event.value)

    def asked(self, sign: str, text: str) -> None:
        """Filter the table that had the focus."""
        table = self.focused if isinstance(self.focused, Table) else next(iter(self.query(Table)), None)
        if table is None:
            return
        try:
            table.ask(text)
            self._mistaken = None
        except FilterError as error:
            self._mistaken = table, text, error.column
            self.triage.say(f"filter: {error}")

    def action_filter(self) -> None:
        """Ask for a filter, with the present one to change, or the one that was not understood, at its mistake."""
        table = self.focused if isinstance(self.focused, Table) else next(iter(self.query(Table)), None)
        if table is not None:
            self.set_focus(table)
            if self._mistaken is not None and self._mistaken[0] is table:
                _, text, column = self._mistaken
                self._mistaken = None
                self.ask("/", text)
                self.query_one("#prompt", Prompt).query_one(Input).cursor_position = column - 1
            else:
                self.ask("/", table.asked)
