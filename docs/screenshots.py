"""Draws the pictures of docs/images from made-up data: `make screenshots`.  A test sees that they are up to date.

Each picture is the screen of the real application, driven by keys, as SVG that
asks no other host for anything and is the same for ever.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.tui import samples
from tests.tui.conftest import text_of
from tests.tui.fleets import TAKEN, write_fleet
from tests.tui.weeks import write_week
from tui.app import TriageApp
from tui.fleet.picture import Picture
from tui.fleet.source import FleetSource
from tui.look import Look
from tui.people import People
from tui.source import LogText, Source

IMAGES = Path(__file__).parent / "images"
SIZE = (110, 32)
LOOK = Look("sixteen", False)
_FONT = re.compile(r"@font-face \{.*?\}\n", re.DOTALL)
_ID = re.compile(r"terminal-\d+-")
_NUMBER = re.compile(r'(?<==")\d+\.\d{2,}(?=")')
"""Places and lengths, not the words of the screen."""


class Shot(NamedTuple):
    """A picture: its name, the keys that lead to it, whether it is of the fleet, and when it is ready."""

    name: str
    keys: tuple[str, ...]
    fleet: bool
    ready: Callable[[TriageApp], bool] = lambda app: True


def _known(app: TriageApp) -> bool:
    view = getattr(app.screen, "view", None)
    return view is not None and view.signals is not None and not app.screen.workers._workers


SHOTS = (
    Shot("node", (), False),
    Shot("incident", ("enter",), False),
    Shot("gpu", ("tab", "j", "j", "enter"), False, lambda app: "by the history" in text_of(app)),
    Shot("log", ("l",), False, _known),
    Shot("rules", ("r",), False),
    Shot("fleet", (), True),
)


def draw(folder: Path, shots: Sequence[Shot] = SHOTS) -> dict[str, str]:
    """Return the pictures by name; `folder` is for the log and the captures that they show."""
    log = folder / "kern.log"
    log.write_text(samples.LOG, encoding="utf-8")
    captures = write_fleet(folder / "captures", 120)
    week = write_week(folder / "state")
    drawn = {}
    for shot in shots:
        source: Source
        if shot.fleet:
            source = Once([str(captures)], folder, now=TAKEN + 38.0)
        else:
            snapshot = samples.snapshot()._replace(logs=(LogText(samples.KERN_LOG, str(log)),))
            source = samples.Fixed(snapshot)
        people = People(week) if shot.name == "gpu" else None
        drawn[shot.name] = steady(asyncio.run(_shown(source, shot, people)))
    return drawn


class Once(FleetSource):
    """A fleet that is read once."""

    def snapshots(self, stop: threading.Event, again: threading.Event):  # type: ignore[no-untyped-def]
        """Read it and wait for the end."""
        from tui.sources import Child

        yield from self.sweep(Child(), stop)
        stop.wait()


async def _shown(source: Source, shot: Shot, people: People | None) -> str:
    app = TriageApp(source, LOOK, samples.rulebook, now=lambda: samples.NOW, people=people)
    async with app.run_test(size=SIZE) as pilot:
        for _ in range(1000):
            if app.facts is not None or isinstance(app.picture, Picture):
                break
            await asyncio.sleep(0.02)
        await pilot.pause()
        for key in shot.keys:
            await pilot.press(key)
            await pilot.pause()
        for _ in range(500):
            await pilot.pause()
            if shot.ready(app):
                break
            await asyncio.sleep(0.01)
        await pilot.pause()
        return app.export_screenshot(title="gpu-triage")


def steady(svg: str) -> str:
    """Return the picture without what changes from one drawing to the next, and without fonts from elsewhere."""
    svg = _ID.sub("t-", _FONT.sub("", svg))
    svg = _NUMBER.sub(lambda match: f"{float(match[0]):.1f}", svg)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def main() -> None:
    """Write the pictures."""
    os.environ.pop("NO_COLOR", None)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        for name, svg in draw(Path(folder)).items():
            (IMAGES / f"{name}.svg").write_text(svg, encoding="utf-8")
            print(f"wrote {IMAGES / name}.svg")


if __name__ == "__main__":
    main()
