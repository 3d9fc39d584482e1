"""Every screen, to the letter, at three sizes, without colour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.conftest import settled, text_of, until
from tests.tui.weeks import write_week
from tui.app import TriageApp
from tui.look import Look
from tui.people import People
from tui.screens.log import LogScreen

SIZES = ((80, 24), (120, 40), (200, 50))


async def _log(app: TriageApp, pilot: Pilot[None]) -> None:
    app.open_log_of(app.facts.incidents[0] if app.facts else None)
    await until(app, pilot, lambda: isinstance(app.screen, LogScreen) and app.screen.view.signals is not None)


KEYS: dict[str, tuple[str, ...]] = {
    "node": (),
    "incident": ("enter",),
    "undetermined": ("j", "enter"),
    "gpu": ("tab", "j", "j", "enter"),
    "lost-gpu": ("tab", "j", "j", "j", "enter"),
    "rules": ("r",),
    "help": ("question_mark",),
}


@pytest.mark.parametrize("name", [*KEYS, "log"])
def test_screen(name: str, drive: Callable[..., TriageApp], golden: Callable[[dict[str, str]], None]) -> None:
    shown: dict[tuple[int, int], str] = {}

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        if name == "log":
            await _log(app, pilot)
        for key in KEYS.get(name, ()):
            await pilot.press(key)
            await pilot.pause()
        for size in SIZES:
            await pilot.resize_terminal(*size)
            shown[size] = await settled(app, pilot, size)

    drive(story, size=(80, 24))

    for (width, height), text in shown.items():
        lines = text.splitlines()
        assert height == len(lines)
        assert max(map(len, lines)) <= width
        assert text.isascii()
        assert "READ-ONLY" in lines[0]

    golden({f"{name}_{width}x{height}.txt": text for (width, height), text in shown.items()})


def test_a_gpu_beside_its_own_past(
    drive: Callable[..., TriageApp], golden: Callable[[dict[str, str]], None], tmp_path: Path
) -> None:
    shown: dict[str, str] = {}

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        app.open_gpu("2")
        await until(app, pilot, lambda: "by the history" in text_of(app))
        for width, height in SIZES:
            await pilot.resize_terminal(width, height)
            shown[f"gpu-past_{width}x{height}.txt"] = await settled(app, pilot, (width, height))

    drive(story, people=People(write_week(tmp_path / "state")))
    golden(shown)


def test_the_letters_are_the_same_in_every_theme(
    drive: Callable[..., TriageApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No meaning rests on colour."""
    shown = []

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        shown.append(await settled(app, pilot, (80, 24)))

    for theme in ("plain", "sixteen", "safe"):
        drive(story, look=Look(theme, True))

    assert 1 == len(set(shown))


def test_unicode_draws_bars_and_lines(
    drive: Callable[..., TriageApp], golden: Callable[[dict[str, str]], None]
) -> None:
    """The same screen, drawn finer where the terminal can."""

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        golden({"incident_unicode_80x24.txt": await settled(app, pilot, (80, 24))})

    drive(story, look=Look("plain", False))
