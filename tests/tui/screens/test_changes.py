"""What changed lately, on the screens of a node, an incident and a fleet, and on one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from probes.model import NODE, Reading
from tests.patience import WITHIN
from tests.triage.history import sweeps
from tests.tui import samples
from tests.tui.conftest import settled, text_of, until
from triage.fleet.changed import Changed
from triage.fleet.model import ANSWERED, Answer, Part
from tui.app import TriageApp
from tui.fleet import compose, picture
from tui.look import Look
from tui.people import People
from tui.screens.changes import ChangesScreen

Story = Callable[[TriageApp, "Pilot[None]"], Awaitable[None]]
HOUR = 3600.0


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A machine whose driver became another and one of whose boards was swapped, a day before the incident."""
    began = samples.SWEPT - sweeps.START
    state = tmp_path / "state"
    driver = [Reading(NODE, "driver.version", version, "text", 0.0) for version in ("570.86.15", "565.57.01")]
    with sweeps.open_memory(state) as memory:
        for when, version, board in ((-400 * HOUR, 0, 1), (-25 * HOUR, 1, 1), (-24 * HOUR, 1, 7)):
            read = [driver[version], sweeps.counter(0, gpu=sweeps.board(board)), sweeps.gpus(1)]
            sweeps.sweep(memory, sweeps.at(began + when), readings=read)
    return state


def drive(story: Story, state: Path | None, size: tuple[int, int] = (80, 24)) -> None:
    people = None if state is None else People(state)
    source = samples.Fixed(samples.snapshot())
    app = TriageApp(source, Look("plain", True), samples.rulebook, now=lambda: samples.NOW, people=people)

    async def play() -> None:
        async with app.run_test(size=size) as pilot:
            await until(app, pilot, lambda: app.facts is not None)
            await story(app, pilot)

    asyncio.run(asyncio.wait_for(play(), WITHIN))


def test_screen(state: Path, golden: Callable[[dict[str, str]], None]) -> None:
    shown: dict[str, str] = {}

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("c")
        await until(app, pilot, lambda: isinstance(app.screen, ChangesScreen))
        for size in ((80, 24), (120, 40), (200, 50)):
            await pilot.resize_terminal(*size)
            shown[f"changes_{size[0]}x{size[1]}.txt"] = await settled(app, pilot, size)

    drive(story, state)
    golden(shown)


def test_they_stand_on_the_screen_of_the_node_and_of_the_incident_that_followed(state: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        assert "driver.version: 570.86.15 became 565.57.01" in text_of(app)
        await pilot.press("enter")
        await pilot.pause()
        assert "changed in the week before it" in text_of(app)
        assert f"the GPU at {sweeps.SLOT} is another" in text_of(app)

    drive(story, state, (200, 50))


def test_without_a_history_none_is_known_and_the_screen_says_what_would_make_one_known(tmp_path: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        assert "changed lately" not in text_of(app)
        app.command("changes")
        await until(app, pilot, lambda: isinstance(app.screen, ChangesScreen))
        assert "`gpu-triage check` keeps the history" in text_of(app)

    drive(story, tmp_path / "none")


def test_a_fleet_tells_each_change_once_with_its_nodes(tmp_path: Path) -> None:
    rollout = [Changed(f"n{n}", 100.0 + n, "driver.version: A became B") for n in range(3)]
    store = tmp_path / "fleet.db"
    picture.write(
        store, rules="", told={"made_at": 0.0, "newest": 0.0, "complete": True, "map": "", "notices": []}, read=(),
        nodes=(), groups=(), said=(), details=[("n1", compose.detail(Answer("n1", ANSWERED), (), (), "", rollout[:1]))],
        changes=compose.change_rows([*rollout, Changed("n9", 500.0, "serial 1 is new at 0000:4e:00.0")]),
    )  # fmt: skip
    found = picture.load(store)

    assert found is not None
    assert [("serial 1 is new at 0000:4e:00.0", "n9", 1), ("driver.version: A became B", "n[0-2]", 3)] == [
        each[:3] for each in found.changes
    ]
    assert (100.0, 102.0) == (found.changes[1].first, found.changes[1].last)
    assert {"changes": [[100.0, "driver.version: A became B"]]}.items() <= (found.detail("n1") or {}).items()


def test_a_fleet_tells_how_the_readings_of_a_model_lie() -> None:
    def node(value: float, model: str = "H100") -> Answer:
        return Answer("n", ANSWERED, gpus=(Part("0000:4e:00.0", name=model, numbers={"gpu.temperature": value}),))

    rows = compose.spread_rows([*(node(float(n)) for n in range(101)), node(500.0, "A100")])

    assert [
        ("H100", "gpu.temperature", 5.0, 50.0, 95.0, 101),
        ("A100", "gpu.temperature", 500.0, 500.0, 500.0, 1),
    ] == rows
