"""The screen of a fleet: what stands first, how one gets to a node and back, and that rows never jump."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.patience import WITHIN
from tests.tui import samples
from tests.tui.conftest import settled, text_of, until
from tests.tui.fleets import NEW, TAKEN, write_fleet
from tui.app import FASTEST, Arrived, TriageApp
from tui.fleet import picture
from tui.fleet.picture import Picture
from tui.fleet.source import FleetSource
from tui.look import Look
from tui.screens.fleet import FleetScreen, NodeOfFleetScreen
from tui.screens.incident import IncidentScreen
from tui.source import Failed
from tui.widgets.page import Page
from tui.widgets.table import Table

Story = Callable[[TriageApp, "Pilot[None]"], Awaitable[None]]
NOW = TAKEN + 38.0


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The captures of a fleet, and the picture of them, which is made once."""
    return write_fleet(tmp_path_factory.mktemp("fleet") / "captures", 120)


@pytest.fixture(scope="module")
def kept(captures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the picture in it."""
    cache = tmp_path_factory.mktemp("cache")
    monkey = pytest.MonkeyPatch()
    monkey.setenv("XDG_CACHE_HOME", str(cache))
    source = FleetSource([str(captures)], cache, now=NOW)
    found = next(source.snapshots(threading.Event(), threading.Event()))
    monkey.undo()
    assert isinstance(found, Picture)
    return cache


class Quiet(FleetSource):
    """A fleet that is read once and not looked at again."""

    def snapshots(self, stop: threading.Event, again: threading.Event) -> Iterator[Picture | Failed]:
        """Yield what was kept."""
        found = picture.load(self.store)
        assert found is not None
        yield found
        stop.wait()


@pytest.fixture
def drive(captures: Path, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TriageApp]:
    """Open the screens on the fleet and let a story happen."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))

    def run(story: Story, size: tuple[int, int] = (80, 24)) -> TriageApp:
        source = Quiet([str(captures)], tmp_path, now=NOW)
        app = TriageApp(source, Look("plain", True), samples.rulebook, now=lambda: NOW)

        async def play() -> None:
            async with app.run_test(size=size) as pilot:
                await until(app, pilot, lambda: app.picture is not None)
                await pilot.pause()
                await story(app, pilot)

        asyncio.run(asyncio.wait_for(play(), WITHIN))
        return app

    return run


def table(app: TriageApp, name: str) -> Table:
    return app.screen.query_one(f"#{name}", Table)


@pytest.mark.parametrize("name", ["fleet", "fleet-nodes", "fleet-node"])
def test_screen(name: str, drive: Callable[..., TriageApp], golden: Callable[[dict[str, str]], None]) -> None:
    shown: dict[str, str] = {}

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        if name == "fleet-nodes":
            await pilot.press("enter")
            await until(app, pilot, lambda: bool(table(app, "nodes").asked))
        elif name == "fleet-node":
            await pilot.press("j", "enter")
            await until(app, pilot, lambda: bool(app.readings))
        for size in ((80, 24), (120, 40), (200, 50)):
            await pilot.resize_terminal(*size)
            shown[f"{name}_{size[0]}x{size[1]}.txt"] = await settled(app, pilot, size)

    drive(story)
    for text in shown.values():
        assert text.isascii()
        assert "READ-ONLY" in text
    golden(shown)


def test_commands_that_need_a_node_say_so_and_an_incident_of_the_fleet_opens_by_its_place(
    drive: Callable[..., TriageApp],
) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        for asked in ("log", "gpu 0"):
            app.command(asked)
            await pilot.pause()
            assert "open a node first" in text_of(app)
        app.command("incident 99")
        await pilot.pause()
        assert "no incident '99'" in text_of(app)
        app.command("incident 1")
        await pilot.pause()
        assert [f"gpu-{n:04d}" for n in range(20, 32)] == [row.key for row in table(app, "nodes").rows]
        app.command("incident gpu-off-bus")
        await until(app, pilot, lambda: isinstance(app.screen, NodeOfFleetScreen))

    drive(story)


def test_one_fault_on_many_nodes_is_one_line_and_enter_shows_its_nodes(drive: Callable[..., TriageApp]) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        assert "gpu-[0020-0031]" in text_of(app)
        assert f"12 of 20 nodes with driver version {NEW} show it" in text_of(app)
        await pilot.press("enter")
        await pilot.pause()
        assert [f"gpu-{n:04d}" for n in range(20, 32)] == [row.key for row in table(app, "nodes").rows]
        await pilot.press("a")
        assert 121 == len(table(app, "nodes").rows)

    drive(story)


def test_from_the_fleet_to_a_node_its_incident_and_back(drive: Callable[..., TriageApp]) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("j", "enter")
        await pilot.pause()
        assert isinstance(app.screen, NodeOfFleetScreen)
        assert "fleet > gpu-0003" in text_of(app)
        assert "(hardware?)" in text_of(app)
        await until(app, pilot, lambda: "55C" in text_of(app))  # its own readings come a moment later
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, IncidentScreen)
        assert "1 of 100 nodes with driver version 550.54.15 show it" in _page(app)
        await pilot.press("escape", "escape")
        await pilot.pause()
        assert isinstance(app.screen, FleetScreen)
        assert (None, None) == (app.node, app.facts)
        assert 1 == table(app, "groups").cursor

    drive(story, size=(120, 40))


def _page(app: TriageApp) -> str:
    """What the pages say, however it is broken into lines."""
    words = (text for page in app.screen.query(Page) for row in page.rows for _, text in (*row.line, ("", " ")))
    return " ".join("".join(words).split())


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("node:gpu-[0003,0020-0021]", ["gpu-0003", "gpu-0020", "gpu-0021"]),
        ("state:stale", ["gpu-0007"]),
        ("state:unread", ["gpu-9999"]),
        ("gpus>=1 driver:550*", ["gpu-0003"]),
        ("!state:ok !verdict:driver*", ["gpu-0003", "gpu-9999"]),
        ("age>86400", ["gpu-0007"]),
    ],
)
def test_the_filter_knows_sets_words_and_numbers(
    asked: str, expected: list[str], drive: Callable[..., TriageApp]
) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        table(app, "nodes").ask(asked)
        assert expected == [row.key for row in table(app, "nodes").rows]

    drive(story)


def changed(before: Picture) -> Picture:
    """Return a picture in which other nodes have become worse and stand first."""
    worse = tuple(row._replace(state="critical") for row in before.nodes[-60:])
    return before._replace(nodes=(*worse, *before.nodes[:-60]))


def test_the_cursor_stays_on_its_node_and_on_its_line_when_others_come_before_it(
    drive: Callable[..., TriageApp],
) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("n", "j", "j")
        nodes = table(app, "nodes")
        assert ("gpu-0021", 2) == (nodes.key, nodes.cursor)
        line = nodes.cursor - nodes.top
        assert app.picture is not None
        app.post_message(Arrived(changed(app.picture)))
        await until(app, pilot, lambda: nodes.cursor == 62)

        assert ("gpu-0021", line) == (nodes.key, nodes.cursor - nodes.top)

    drive(story)


def test_a_new_picture_reaches_the_node_that_is_looked_at(
    drive: Callable[..., TriageApp], captures: Path, tmp_path: Path
) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("n", "enter")
        await until(app, pilot, lambda: isinstance(app.screen, NodeOfFleetScreen) and bool(app.readings))
        assert app.picture is not None
        app.post_message(Arrived(app.picture._replace(newest=TAKEN + 9 * 86400.0)))
        await until(app, pilot, lambda: "STALE" in text_of(app))

        assert app.readings

    drive(story)


def test_many_pictures_are_drawn_at_most_twice_a_second(drive: Callable[..., TriageApp]) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        drawn: list[float] = []
        put = Table.put

        def counted(self: Table, *rest: object) -> None:
            if self.id == "nodes":
                drawn.append(app._drawn)
            put(self, *rest)  # type: ignore[arg-type]

        monkey = pytest.MonkeyPatch()
        monkey.setattr(Table, "put", counted)
        assert app.picture is not None
        for n in range(150):
            last = app.picture._replace(made_at=float(n))
            app.post_message(Arrived(last))
            await asyncio.sleep(0.01)
        await until(app, pilot, lambda: app.picture is last)
        monkey.undo()

        assert 2 <= len(drawn)
        assert all(later - earlier > FASTEST * 0.9 for earlier, later in pairwise(drawn))

    drive(story)


def test_ten_thousand_nodes_are_put_in_order_beside_the_keys(drive: Callable[..., TriageApp]) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        assert app.picture is not None
        many = tuple(app.picture.nodes[n % 121]._replace(node=f"n{n:05d}", sure=n / 10_000) for n in range(10_000))
        app.post_message(Arrived(app.picture._replace(nodes=many)))
        nodes = table(app, "nodes")
        await until(app, pilot, lambda: 10_000 == len(nodes.rows))
        await pilot.press("n", "G")
        assert "n09999" == nodes.key
        nodes.ask("node:n[00100-00199]")
        await until(app, pilot, lambda: 100 == len(nodes.rows))

        assert "n00100" == nodes.rows[0].key

    drive(story)


def test_a_sentence_leads_to_the_incidents_of_its_rule(drive: Callable[..., TriageApp]) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        app.screen.query_one("#said").focus()
        await pilot.press("enter")
        await pilot.pause()

        assert "rule:gsp-fault" == table(app, "groups").asked
        assert app.screen.focused is table(app, "groups")

    drive(story)


def test_a_copy_is_text_that_slurm_understands(drive: Callable[..., TriageApp]) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        text = app.screen.copied()  # type: ignore[attr-defined]
        assert text.startswith("gpu-[0020-0031]: The GPU's system processor (GSP) failed; driver.firmware\n")
        exported = app.screen.exported("json")  # type: ignore[attr-defined]
        assert '"fleet-picture"' in exported
        assert "gpu-9999" in app.screen.exported("text")  # type: ignore[attr-defined]

    drive(story)


def test_a_gpu_stands_beside_those_of_its_model_in_the_fleet(drive: Callable[..., TriageApp]) -> None:
    """Fleet, peers and limit in one line: 55 C to 62 C is what nine tenths of 960 boards have."""

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        app.open_node("gpu-0004")
        await until(app, pilot, lambda: bool(app.readings))
        app.open_gpu("7")
        await until(app, pilot, lambda: "FLEET, 90 %" in text_of(app))
        (line,) = [line for line in text_of(app).splitlines() if "temperature " in line and "course" not in line]
        assert ["62", "C", "55-61", "C", "55-62", "C", "-"] == line.split()[1:8]

    drive(story, (200, 50))


def test_a_node_that_is_not_there_is_said(drive: Callable[..., TriageApp]) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        app.command("node nobody")
        await pilot.pause()

        assert "no node 'nobody' in this fleet" in text_of(app)
        assert isinstance(app.screen, FleetScreen)

    drive(story)


def test_what_is_over_several_thousand_nodes_is_one_sign_for_many_on_the_map() -> None:
    from tui.fleet.lists import map_lines

    each, lines = map_lines("." * 4999 + "?" + "w" + "." * 4998 + "C", 78, 2)

    assert (65, 154, "w", "C") == (each, sum(map(len, lines)), lines[0][76], lines[1][-1])
    assert (1, ["..C", "w?"]) == map_lines("..Cw?", 3, 4)
    assert (1, []) == map_lines("", 78, 2)
