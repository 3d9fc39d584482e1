"""Keys in words: the bottom line and the help are made from the bindings, so that they cannot be wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from textual.binding import ActiveBinding, Binding

from tui.look import Look
from tui.text import Line, Span, width_of

_NAMES: Mapping[str, str] = {
    "question_mark": "?",
    "slash": "/",
    "ampersand": "&",
    "colon": ":",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "escape": "Esc",
    "enter": "Enter",
    "tab": "Tab",
    "shift+tab": "Shift+Tab",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "home": "Home",
    "end": "End",
    "up": "Up",
    "down": "Down",
    "space": "Space",
}


class Key(NamedTuple):
    """What keys do: all that are bound to one action, and its words."""

    keys: tuple[str, ...]
    says: str
    id: str
    shown: bool


def key_name(key: str) -> str:
    """Return a key as it stands on the keyboard."""
    return _NAMES.get(key, key.replace("ctrl+", "Ctrl+"))


def keys_of(active: Mapping[str, ActiveBinding]) -> list[Key]:
    """Return the keys that work now, those of one action together: what is particular to the screen first."""
    found: dict[tuple[str, str], list[Binding]] = {}
    for each in sorted(active.values(), key=lambda each: _rank(each.binding)):
        known = each.binding.id is not None  # what is not ours Textual bound
        if each.enabled and each.binding.description and known:
            found.setdefault((each.binding.action, each.binding.id or ""), []).append(each.binding)
    return [
        Key(
            tuple(dict.fromkeys(key_name(binding.key) for binding in bindings)),
            bindings[0].description,
            bindings[0].id or "",
            any(binding.show for binding in bindings),
        )
        for bindings in found.values()
    ]


def _rank(binding: Binding) -> int:
    kind = (binding.id or "").partition(".")[0]
    order = ("list", "screen", "app")
    if binding.id == "list.open":
        return 0
    return order.index(kind) + 2 if kind in order else 1


def key_line(keys: Iterable[Key], width: int, look: Look) -> Line:
    """Return the bottom line: as many of the shown keys as fit; help and the way out always do."""
    shown = [key for key in keys if key.shown]
    always = [key for name in ("app.help", "screen.back", "screen.quit") for key in shown if key.id == name]
    others = [key for key in shown if key not in always]
    room = width - 1 - sum(_size(key) for key in always)
    fitted: list[Key] = []
    for key in others:
        if _size(key) > room:
            break
        fitted.append(key)
        room -= _size(key)
    spans: list[Span] = [("", " ")]
    for key in [*always[:1], *fitted, *always[1:]]:
        spans += [("key", key.keys[0]), ("", f" {key.says}  ")]
    assert width_of(spans) <= width + 2
    return tuple(spans)


def _size(key: Key) -> int:
    return len(key.keys[0]) + len(key.says) + 3
