"""The last sweeps, of this machine by its history and of a fleet by its folders."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.patience import WITHIN
from tests.triage.history import sweeps
from tests.tui import samples
from tests.tui.conftest import settled, text_of, until
from triage.fleet.sweep import FILE, Folder, Outcome
from tui.app import TriageApp
from tui.look import Look
from tui.passes import of_folders, passes
from tui.people import People
from tui.screens.sweeps import SweepsScreen
from tui.widgets.table import Table

Story = Callable[[TriageApp, "Pilot[None]"], Awaitable[None]]
NOW = sweeps.START + 7200.0


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A machine that was swept, lost a GPU, and was started anew."""
    state = tmp_path / "state"
    with sweeps.open_memory(state) as memory:
        sweeps.sweep(memory, sweeps.at(0))
        sweeps.sweep(memory, sweeps.at(3600), incidents=[sweeps.incident(3590.0)])
        sweeps.sweep(memory, sweeps.at(7000, boot=sweeps.LATER_BOOT, up=60.0))
    return state


def drive(story: Story, state: Path | None, size: tuple[int, int] = (80, 24)) -> None:
    people = None if state is None else People(state)
    app = TriageApp(samples.Fixed(samples.snapshot()), Look("plain", True), samples.rulebook, now=lambda: NOW,
                    people=people)  # fmt: skip

    async def play() -> None:
        async with app.run_test(size=size) as pilot:
            await until(app, pilot, lambda: app.facts is not None)
            app.command("sweeps")
            await until(app, pilot, lambda: isinstance(app.screen, SweepsScreen))
            await story(app, pilot)

    asyncio.run(asyncio.wait_for(play(), WITHIN))


def test_screen(state: Path, golden: Callable[[dict[str, str]], None]) -> None:
    shown: dict[str, str] = {}

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        for size in ((80, 24), (120, 40), (200, 50)):
            await pilot.resize_terminal(*size)
            shown[f"sweeps_{size[0]}x{size[1]}.txt"] = await settled(app, pilot, size)

    drive(story, state)
    assert all(text.isascii() for text in shown.values())
    golden(shown)


def test_the_sweep_under_the_cursor_says_what_it_told(state: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        assert "rebooted: the node was rebooted" in text_of(app)
        await pilot.press("j")
        await pilot.pause()
        text = text_of(app)
        assert "opened" in text
        assert "GPU stopped answering on the PCIe bus" in text
        copied = app.screen
        assert isinstance(copied, SweepsScreen)
        assert "sweep 2" in (copied.copied() or "")
        assert 3 == len((copied.exported("text") or "").splitlines())

    drive(story, state)


def test_without_a_history_it_says_what_would_make_one(tmp_path: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        assert "no sweep is remembered; gpu-triage check makes one" in app.screen.query_one("#sweeps", Table).note

    drive(story, tmp_path / "none")
    assert ([], "no history is kept or shown here") == passes(None, ())


def swept(path: Path, at: float, outcomes: list[Outcome], complete: bool = True) -> None:
    asked = [each.node for each in outcomes]
    folder = Folder(path, asked, {"began_at": at, "via": "ssh", "deadline": 30.0, "set": f"gpu-[{len(asked)}]"})
    for each in outcomes:
        folder.add(each)
    folder.end(at + 12.5, complete=complete)


def test_the_folders_of_a_fleet_tell_who_did_not_answer_and_why(tmp_path: Path) -> None:
    refused = [Outcome(f"gpu-{n:02d}", "refused", "its host key changed", 0.2) for n in range(3)]
    swept(tmp_path / "a", 100.0, [Outcome("gpu-10", "answered", None, 3.5, b"x"), *refused])
    swept(tmp_path / "b", 200.0, [Outcome("gpu-10", "answered", None, 1.0, b"x")])
    swept(tmp_path / "c", 300.0, [Outcome("gpu-10", "answered", None, 1.0, b"x")], complete=False)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / FILE).write_text("{")
    interrupted, well, partial, broken = of_folders([str(tmp_path)])
    assert ("interrupted", "ok", "partial", "unknown") == tuple(
        each.status for each in (interrupted, well, partial, broken)
    )
    assert (4, 3, 12.5) == (partial.asked, partial.silent, partial.took)
    assert "refused gpu-[00-02]: its host key changed" in partial.lines
    assert "the slowest answer: gpu-10, 3.5 s" in partial.lines
    assert "remove it to read the captures" in broken.lines[0]


@pytest.mark.parametrize("nodes", [None, 5, [5], [{"node": "a"}], [{"node": "a", "state": 5, "took": "x"}]])
def test_a_manifest_from_anywhere_is_read_as_far_as_it_goes(nodes: Any, tmp_path: Path) -> None:
    told = {"schema_version": 1, "kind": "sweep", "began_at": "x", "nodes": nodes}
    (tmp_path / FILE).write_text(json.dumps(told))
    (found,) = of_folders([str(tmp_path)])
    assert ("interrupted", None, None) == (found.status, found.at, found.asked)


def test_asked_for_again_the_list_is_not_opened_on_top_of_itself(state: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        deep = len(app.screen_stack)
        app.command("sweeps")
        app.command("changes")
        app.command("changes")
        await pilot.pause()
        assert deep + 1 == len(app.screen_stack)

    drive(story, state)
