"""How readings went: from sweep to sweep, and in the history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from probes.model import LOST, Missing, Reading
from tests.patience import WITHIN
from tests.triage.history import sweeps
from tests.tui import samples
from tests.tui.conftest import text_of, until
from tui.app import Arrived, TriageApp
from tui.facts import facts
from tui.look import Look
from tui.people import People
from tui.screens.gpu import GpuScreen
from tui.trend import Trend, remembered, spark

ASCII = Look("plain", True)


@pytest.mark.parametrize(
    ("values", "width", "expected"),
    [
        ([], 10, ""),
        ([5.0, 5.0, 5.0], 10, "___"),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 8, "_.:-=+*#"),
        ([1.0, None, 3.0], 10, "_?#"),
        ([None, None], 10, "??"),
        ([1.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0], 4, "#___"),  # the highest of each stretch is not lost
    ],
)
def test_a_course_is_drawn_from_its_lowest_to_its_highest(
    values: list[float | None], width: int, expected: str
) -> None:
    assert expected == spark([(float(n), value) for n, value in enumerate(values)], width, ASCII)


def test_time_without_a_sweep_goes_on_as_it_was() -> None:
    points = [(0.0, 1.0), (1.0, 1.0), (2.0, 9.0), (9.0, 1.0)]

    assert "##_" == spark([*points, *((9.0 + n, 1.0) for n in range(1, 3))], 3, ASCII)


def test_a_sweep_is_remembered_once_and_the_unknown_as_unknown() -> None:
    trend = Trend()
    gpu = samples.entity(0)
    trend.add(1.0, [Reading(gpu, "gpu.temperature", 50, "celsius", 1.0)])
    trend.add(1.0, [Reading(gpu, "gpu.temperature", 50, "celsius", 1.0)])
    trend.add(2.0, [Reading(gpu, "gpu.temperature", Missing(LOST), "celsius", 2.0)])

    assert [(1.0, 50.0), (2.0, None)] == trend.of("0000:1b:00.0", "gpu.temperature")
    assert [(1.0, None), (2.0, None)] == trend.of("0000:1b:00.0", "gpu.power")


def test_the_history_tells_by_how_much_a_counter_rose(tmp_path: Path) -> None:
    with sweeps.open_memory(tmp_path / "s") as memory:
        for hour, value in enumerate((3, 3, 8, 9)):
            sweeps.sweep(memory, sweeps.at(hour * 3600.0), readings=[sweeps.counter(value)])

    course = remembered(tmp_path / "s", sweeps.board().uuid or "", sweeps.START + 5 * 3600.0)

    assert course["gpu.pcie.replays"].counts
    assert [(0.0, 1.0, 0.0), (2.0, 2.0, 5.0), (3.0, 3.0, 1.0)] == [
        ((lay.at - sweeps.START) / 3600.0, (lay.until - sweeps.START) / 3600.0, lay.most)
        for lay in course["gpu.pcie.replays"].lays
    ]
    assert {} == remembered(tmp_path / "s", "GPU-nobody", sweeps.START)
    assert {} == remembered(tmp_path / "none", "GPU-nobody", sweeps.START)


def test_the_screen_of_a_gpu_shows_the_course_of_the_reading_under_the_cursor(
    drive: Callable[..., TriageApp],
) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        app.open_gpu("2")
        await until(app, pilot, lambda: isinstance(app.screen, GpuScreen))
        app.screen.query_one("#checks").focus()
        assert "course of temperature" in text_of(app)
        assert "read once here" in text_of(app)
        for n, degrees in enumerate((70, 91, 50), 1):
            told = samples.snapshot()
            hot = [r._replace(value=degrees) if r.name == "gpu.temperature" else r for r in told.readings]
            app.trend.add(samples.SWEPT + n * 15.0, hot)
        app.post_message(Arrived(told, facts(dict(told.report))))
        await until(app, pilot, lambda: "4 sweeps in 45s; 50-91 C" in text_of(app))
        assert "#-#_" in text_of(app)

    drive(story)


def test_a_gpu_stands_beside_its_own_seven_days(tmp_path: Path) -> None:
    began = samples.SWEPT - sweeps.START
    gpu = samples.entity(2)
    with sweeps.open_memory(tmp_path / "s") as memory:
        for hour, replays, lanes in ((-72, 3, 16), (-48, 8, 8), (-24, 9, 16)):
            read = [
                sweeps.counter(replays, gpu=gpu),
                Reading(gpu, "gpu.pcie.width", lanes, "count", 0.0),
                Reading(gpu, "gpu.temperature", 50 + replays, "celsius", 0.0),
            ]
            sweeps.sweep(memory, sweeps.at(began + hour * 3600.0), readings=read)
    app = TriageApp(samples.Fixed(samples.snapshot()), ASCII, samples.rulebook, now=lambda: samples.NOW,
                    people=People(tmp_path / "s"))  # fmt: skip

    async def play() -> None:
        async with app.run_test(size=(200, 50)) as pilot:
            await until(app, pilot, lambda: app.facts is not None)
            app.open_gpu("2")
            await until(app, pilot, lambda: "ITS 7 DAYS" in text_of(app) and "by the history" in text_of(app))
            lines = text_of(app).splitlines()
            (replays,) = [line for line in lines if "pcie.replays" in line]
            (lanes,) = [line for line in lines if "pcie.width " in line]
            assert "+6" in replays
            assert 2 == lanes.count("8-16")  # its own past, and its peers
            (heat,) = [line for line in lines if "  temperature  " in line or "> temperature " in line]
            assert "91 C        53-59 C" in heat
            assert "46% above peers" in heat
            assert "course of temperature  3d by the history; 53-59 C" in text_of(app)
            await pilot.resize_terminal(80, 24)
            await until(app, pilot, lambda: "7 DAYS" in text_of(app) and "ITS" not in text_of(app))
            (narrow,) = [line for line in text_of(app).splitlines() if "> temperature " in line]
            assert ["91", "C", "53-59", "C", "58-65", "C", "92", "C", "46%", "above", "peers"] == narrow.split()[2:]

    asyncio.run(asyncio.wait_for(play(), WITHIN))
