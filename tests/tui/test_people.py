"""What people say of an incident, from its screen into the history, and from there to the figures of its rule."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from probes.moment import moment
from tests.patience import WITHIN
from tests.triage.history import sweeps
from tests.tui import samples
from tests.tui.conftest import text_of, until
from triage.history.people import disputes, find, listed
from triage.history.store import open_store
from tui.app import TriageApp
from tui.look import Look
from tui.people import People
from tui.screens.incident import IncidentScreen

Story = Callable[[TriageApp, "Pilot[None]"], Awaitable[None]]
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state directory that knows the first incident."""
    state = tmp_path / "state"
    with sweeps.open_memory(state) as memory:
        known = sweeps.incident()._replace(fingerprint=samples.OFF_BUS["fingerprint"])
        sweeps.sweep(memory, sweeps.at(0), incidents=[known])
    return state


def drive(story: Story, people: People | None, size: tuple[int, int] = (120, 40)) -> None:
    app = TriageApp(samples.Fixed(samples.snapshot()), Look("plain", True), samples.rulebook, now=lambda: samples.NOW,
                    people=people)  # fmt: skip

    async def play() -> None:
        async with app.run_test(size=size) as pilot:
            await until(app, pilot, lambda: app.facts is not None)
            await pilot.press("enter")
            await until(app, pilot, lambda: isinstance(app.screen, IncidentScreen))
            await story(app, pilot)

    asyncio.run(asyncio.wait_for(play(), WITHIN))


async def answer(app: TriageApp, pilot: Pilot[None], key: str, text: str, told: str) -> None:
    """Press a key, type after what the prompt then holds, and wait for what is told."""
    await pilot.press(key)
    await until(app, pilot, lambda: app.screen.query_one("#prompt").display)
    app.screen.query_one(Input).insert_text_at_cursor(text)
    await pilot.press("enter")
    await until(app, pilot, lambda: told in text_of(app))


def test_an_acknowledgement_with_its_reason_is_in_the_history(state: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        assert "READ-ONLY" in text_of(app).splitlines()[0]  # the node is; its history is not
        await answer(app, pilot, "a", "ticket 4711", "acknowledged: it no longer counts")
        assert any("ticket 4711" in line for line in text_of(app).splitlines()[:-1])

    drive(story, People(state), (200, 50))
    with open_store(state, now=samples.NOW, create=False) as store:
        (row,) = listed(store, moment(), False)
    assert "acknowledged" == row["state"]
    assert row["history"]["acknowledged"]["reason"].startswith("ticket 4711 (")


def test_a_dispute_is_counted_against_the_rule(state: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await answer(app, pilot, "d", "driver.module gone with the new driver", "disputed; counted by")
        await pilot.press("r")
        await until(app, pilot, lambda: "incidents 1, of which disputed 1" in text_of(app))

    drive(story, People(state))
    with open_store(state, now=samples.NOW, create=False) as store:
        (one,) = disputes(store)
        assert find(store.db, "gpu-off-bus").fingerprint == one.fingerprint
    assert ("gpu-off-bus", 3, "hardware.link", "driver.module") == (one.rule, one.version, one.said, one.was)
    counted = subprocess.run(
        [sys.executable, "-m", "triage", "rules", "evaluate", "--history", str(state)], cwd=ROOT, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert 0 == counted.returncode, counted.stderr
    assert "gpu-off-bus                      1         1" in counted.stdout
    assert "hardware.link -> driver.module: gone with the new driver (" in counted.stdout


def test_a_reason_without_a_cause_is_a_dispute_too_and_an_incident_of_another_machine_can_be_disputed(
    tmp_path: Path,
) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await answer(app, pilot, "d", "reseated twice, no change", "disputed; counted by")
        await answer(app, pilot, "a", "known", "run `gpu-triage check` once")

    drive(story, People(tmp_path / "none-yet"))
    with open_store(tmp_path / "none-yet", now=samples.NOW, create=False) as store:
        (one,) = disputes(store)
    assert (None, True) == (one.was, one.reason.startswith("reseated twice, no change ("))


@pytest.mark.parametrize("kind", ["open to all", "none"])
def test_where_nothing_may_be_written_it_is_read_only_and_says_why(tmp_path: Path, kind: str) -> None:
    state = tmp_path / "state"
    people = None
    if kind == "open to all":
        state.mkdir()
        os.chmod(state, 0o777)
        people = People(state)

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        assert "READ-ONLY" in text_of(app).splitlines()[0]
        await pilot.press("d")
        await pilot.pause()
        assert "READ-ONLY: " + ("others can write" if people else "there is no history here") in text_of(app)
        app.command("acknowledge why not")
        await pilot.pause()

    drive(story, people)
    assert [] == (list(state.iterdir()) if state.exists() else [])


def test_what_is_said_is_one_harmless_line(state: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        app.command("dispute driver \x1b[31mred\x1b]52;c;AAAA\a " + "x" * 5000)
        await pilot.pause()
        assert "\x1b" not in text_of(app)

    drive(story, People(state))
