"""From the fleet to a node and back: what is shown of it at once, and what reading it anew adds."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable

from textual.message import Message

from tui.facts import Facts
from tui.fleet.picture import STALE, Picture, Spread
from tui.fleet.source import FleetSource, node_snapshot
from tui.screens.changes import Seen
from tui.screens.fleet import FleetScreen, NodeOfFleetScreen
from tui.source import Failed, Snapshot, Source
from tui.text import Span
from tui.ways import Ways
from tui.words import clock, moment


class NodeRead(Message):
    """A node's captures were read anew."""

    def __init__(self, node: str, value: Snapshot | Failed) -> None:
        super().__init__()
        self.node = node
        self.value = value


class FleetWays(Ways):
    """Holds the fleet's picture and the node of it that is looked at."""

    source: Source
    now: Callable[[], float]
    failed: str
    picture: Picture | None = None
    snapshot: Snapshot | None = None
    facts: Facts | None = None
    node: str | None = None
    fleet_changes: tuple[Seen, ...] = ()
    node_changes: tuple[Seen, ...] = ()
    _read: Snapshot | None = None
    _left: threading.Event | None = None

    @property
    def fleet(self) -> FleetSource | None:
        """The source, if it is one of many nodes."""
        return self.source if isinstance(self.source, FleetSource) else None

    @property
    def changes(self) -> tuple[Seen, ...]:
        """What changed lately, of the fleet or of the node that is looked at."""
        return self.fleet_changes if self.fleet is not None and self.node is None else self.node_changes

    def spreads(self, model: str | None) -> dict[str, Spread]:
        """Return how the readings of the GPUs of a model lie in the fleet; nothing where there is none."""
        if self.fleet is None or self.picture is None or model is None:
            return {}
        try:
            return self.picture.spreads(model)
        except (sqlite3.Error, OSError, ValueError, TypeError):
            return {}

    def open_node(self, node: str, rule: str = "") -> None:
        """Open a node at the incident of a rule: at once as the fleet sees it, then with its counters and logs."""
        source = self.fleet
        if source is None:
            self.say("this is one node; a fleet is a folder with a capture for each: gpu-triage tui FOLDER")
            return
        self.leave_node()
        paths = self._see(node)
        if paths is None:
            self.say(f"no node '{node}' in this fleet; / filters the list")
            self.leave_node()
            return
        self.push_screen(NodeOfFleetScreen(node, rule))
        left = self._left = threading.Event()

        def read() -> None:
            value = source.read(node, paths, left)
            if not left.is_set():
                self.post_message(NodeRead(node, value))

        threading.Thread(target=read, name="node", daemon=True).start()

    def open_named(self, text: str) -> None:
        """Open an incident of the node that is looked at; of a fleet, by its place in the list or its rule."""
        if self.fleet is None or self.node is not None:
            super().open_named(text)
            return
        groups = () if self.picture is None else self.picture.groups
        place = int(text) - 1 if text.isdecimal() else None
        found = next((each for n, each in enumerate(groups) if n == place or each.rule == text), None)
        if found is None:
            self.say(f"no incident '{text}'; give its place in the list or its rule")
        elif isinstance(self.screen, FleetScreen):
            self.screen.open_group(found)
        else:
            self.say("go back to the fleet first: Esc")

    def open_gpu(self, text: str) -> None:
        """Open a GPU of the node that is looked at."""
        if not self._at_no_node():
            super().open_gpu(text)

    def open_log_at(self, words: str) -> None:
        """Open the log of the node that is looked at."""
        if not self._at_no_node():
            super().open_log_at(words)

    def _at_no_node(self) -> bool:
        if self.fleet is None or self.node is not None:
            return False
        self.say("open a node first: Enter on it, or :node NAME")
        return True

    def on_node_read(self, message: NodeRead) -> None:
        """Add what reading the node said, if it is still looked at."""
        if message.node != self.node:
            return
        if isinstance(message.value, Failed):
            self.say(f"{message.node} could not be read again: {message.value.reason}")
            return
        self._read = message.value
        self._see(message.node)
        self.draw_again()

    def leave_node(self) -> None:
        """Forget the node; whatever still reads it ends."""
        if self._left is not None:
            self._left.set()
        self.node = self.snapshot = self.facts = self._read = self._left = None
        self.node_changes = ()

    def take(self, picture: Picture) -> None:
        """Take a new picture, and what it says of the node that is looked at."""
        self.picture = picture
        if self.node is not None:
            self._see(self.node)

    def _see(self, node: str) -> list[str] | None:
        """Take what the picture says of a node; return the paths that it was read from, None if it is not there."""
        try:
            detail = None if self.picture is None else self.picture.detail(node)
        except (sqlite3.Error, OSError, ValueError):
            detail = None
        if detail is None:
            return None
        self.node = node
        self.node_changes = tuple(Seen(at, says) for at, says in detail.get("changes", ()))
        self.snapshot, self.facts = node_snapshot(detail, self._read)
        return list(detail["paths"])

    def fleet_age(self, width: int) -> list[Span]:
        """Return how old the newest answer of the fleet is, or that of the node that is looked at."""
        words: list[Span] = [("strong", "FAILED ")] if self.failed else []
        if self.picture is None:
            return words or [("", "no data yet")]
        if self.fleet is not None and self.fleet.reading:
            words.append(("faint", f"{self.fleet.reading}  "))
        if self.fleet is not None and self.fleet.until is not None:
            words.append(("strong", f"AS OF {clock(self.fleet.until, day=True)}Z  "))
        newest = self.picture.newest
        at = newest if self.node is None else self.snapshot.at if self.snapshot is not None else None
        if not at:
            return [*words, ("unknown", "of unknown age")]
        if newest is not None and newest - at > STALE:
            words.append(("unknown strong", "STALE "))
        old, said = self.now() - at, "newest " if self.node is None and width >= 100 else ""
        return [*words, ("", f"{said}{moment(at, old, width >= 100)}")]

    def draw_again(self) -> None:
        """Draw the screen that is looked at with the facts as they are now."""
        raise NotImplementedError

    def first_screen(self) -> FleetScreen:
        """Return the screen that a fleet opens with."""
        return FleetScreen()
