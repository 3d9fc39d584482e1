"""The application that a screen, a widget or a provider belongs to, by its own type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.app import App

    from tui.app import TriageApp


def own(app: App[Any]) -> TriageApp:
    """Return the application as what it is; a screen is never drawn in another."""
    from tui.app import TriageApp  # which imports the screens

    assert isinstance(app, TriageApp)
    return app
