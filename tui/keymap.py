"""Other keys for the actions of the screens: which there are, and what may be a key."""

from __future__ import annotations

import re
from collections.abc import Iterator

from textual.binding import Binding
from textual.dom import DOMNode

from tui.app import TriageApp
from tui.screens.changes import ChangesScreen
from tui.screens.fleet import FleetScreen, NodeOfFleetScreen
from tui.screens.gpu import GpuScreen
from tui.screens.incident import IncidentScreen
from tui.screens.log import LogScreen
from tui.screens.node import NodeScreen
from tui.screens.rules import RulesScreen
from tui.screens.sweeps import SweepsScreen
from tui.widgets.logview import LogView
from tui.widgets.page import Page
from tui.widgets.table import Table

_OF: tuple[type[DOMNode], ...] = (
    TriageApp, NodeScreen, IncidentScreen, GpuScreen, LogScreen, RulesScreen, FleetScreen, NodeOfFleetScreen,
    SweepsScreen, ChangesScreen, LogView, Page, Table,
)  # fmt: skip
_KEY = re.compile(
    r"(?:(?:ctrl|shift|alt)\+){0,3}(?:[!-~]|f[0-9]{1,2}|enter|escape|space|tab|backspace|delete|insert|home|end|"
    r"pageup|pagedown|up|down|left|right|[a-z]+_[a-z_]+)"
)


def actions() -> set[str]:
    """Return the ids of all actions that a key can be given."""
    return {str(binding.id) for binding in bindings()}


def bindings() -> Iterator[Binding]:
    """Yield what keys are bound to, screen by screen; an action of several keys comes several times."""
    for widget in _OF:
        for each in widget.__mro__:
            for binding in each.__dict__.get("BINDINGS", ()):
                if isinstance(binding, Binding) and binding.id is not None:
                    yield binding


def key_named(text: str) -> str:
    """Return a key as the terminal library calls it: `R`, `?`, `ctrl+n`, `f2`, `pagedown`.

    Raises:
        ValueError: if that is none.
    """
    if not _KEY.fullmatch(text):
        raise ValueError(f"'{text[:40]}' is no key; write a letter or sign, or ctrl+n, f2, pagedown, enter")
    return "comma" if text == "," else text
