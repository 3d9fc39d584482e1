"""The application on fixed data, driven by keys, and its screen as plain text."""

from __future__ import annotations

import asyncio
import difflib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual import _wait
from textual.pilot import Pilot

from tests.patience import WITHIN
from tests.tui import samples
from tui.app import TriageApp
from tui.look import Look
from tui.people import People
from tui.source import Source

GOLDEN = Path(__file__).parent.parent / "golden" / "tui"

STILL = 12
"""Looks in a row at which a screen must be the same to count as at rest; on a busy machine layouts take several."""

Story = Callable[[TriageApp, "Pilot[None]"], Awaitable[None]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log that the report quotes."""
    path = tmp_path / "kern.log"
    path.write_text(samples.LOG, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies and exports go to a folder of the test; colour is as each test sets it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    # Textual's pilot looks every 20 ms whether the screen is at rest; hundreds of keys are pressed here.
    monkeypatch.setattr(_wait, "SLEEP_GRANULARITY", 0.008)
    monkeypatch.setattr(_wait, "SLEEP_IDLE", 0.0004)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def drive(log: Path) -> Callable[..., TriageApp]:
    """Open the screens on a source, let a story happen, and return the application as it was left."""

    def run(
        story: Story,
        *,
        size: tuple[int, int] = (80, 24),
        source: Source | None = None,
        look: Look | None = None,
        people: People | None = None,
    ) -> TriageApp:
        opened = source or samples.Fixed(samples.snapshot(log))
        app = TriageApp(opened, look or Look("plain", True), samples.rulebook, now=lambda: samples.NOW, people=people)

        async def play() -> None:
            async with app.run_test(size=size) as pilot:
                await until(app, pilot, lambda: app.facts is not None or bool(app.failed))
                await story(app, pilot)

        asyncio.run(asyncio.wait_for(play(), 3 * WITHIN))
        return app

    return run


async def until(app: TriageApp, pilot: Pilot[None], holds: Callable[[], bool]) -> None:
    """Wait until something holds that a thread brings about."""
    end = time.monotonic() + WITHIN
    while time.monotonic() < end:
        await pilot.pause()
        if holds():
            await pilot.pause()
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"it never came to hold\n{text_of(app)}")


async def settled(app: TriageApp, pilot: Pilot[None], size: tuple[int, int]) -> str:
    """Return the screen once it has its size and stands still."""
    shown = [""]

    def still() -> bool:
        shown.append(text_of(app))
        return (
            len(shown) > STILL and len(set(shown[-STILL:])) == 1 and shown[-1].count("\n") == size[1] == app.size.height
        )

    await until(app, pilot, still)
    return shown[-1]


def text_of(app: TriageApp) -> str:
    """Return the screen as the terminal shows it, without styles; the only use of Textual's compositor by a test."""
    strips = app.screen._compositor.render_strips()
    return "".join("".join(segment.text for segment in strip).rstrip() + "\n" for strip in strips)


@pytest.fixture
def golden() -> Callable[[dict[str, str]], None]:
    """Compare texts with files of tests/golden/tui; UPDATE_GOLDEN=1 writes them and fails: look at them."""

    def compare(texts: dict[str, str]) -> None:
        wrong: list[str] = []
        for name, actual in texts.items():
            path = GOLDEN / name
            expected = path.read_text(encoding="utf-8") if path.exists() else ""
            if actual == expected:
                continue
            if os.environ.get("UPDATE_GOLDEN"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(actual, encoding="utf-8")
                wrong.append(f"wrote {path}; look at it, then run again without UPDATE_GOLDEN")
            else:
                wrong += difflib.unified_diff(expected.splitlines(), actual.splitlines(), str(path), "now", lineterm="")
        if wrong:
            pytest.fail("\n".join(wrong))

    return compare
