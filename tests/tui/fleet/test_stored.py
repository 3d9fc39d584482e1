"""A fleet's store on the screens: nodes, incidents, what changed, how GPUs went, and what a store does not keep."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patience import WITHIN
from tests.triage.fleet.places import DAY
from tests.triage.fleet.store.made import answer, failing, swept
from tests.tui import samples
from tests.tui.conftest import settled, text_of, until
from triage.cli import tui
from triage.cli.exits import Refused
from triage.fleet.model import TIMED_OUT, Answer, Part
from triage.fleet.store import write
from triage.fleet.store.opened import Store
from tui.app import TriageApp
from tui.fleet.picture import Picture
from tui.fleet.stored import StoreSource
from tui.fleet.stored_node import past
from tui.look import Look
from tui.source import Failed, Snapshot


@pytest.fixture
def kept(tmp_path: Path, warm_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sweeps: g1 got another driver and then a fault, g2 did not answer the second time."""
    shutil.copytree(warm_cache, tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GPU_TRIAGE_STORE", raising=False)
    path = tmp_path / "fleet.db"
    newer = {"driver.version": "570.99.99", "kernel.release": "6.8.0"}
    ill = answer("g1", 2.0, facts=newer, status="critical", incidents=(failing("g1", 1.5 * DAY),))
    with Store(str(path)) as store:
        write.put(store, swept(1), [answer("g1"), answer("g2")])
        write.put(store, swept(2), [ill, Answer("g2", TIMED_OUT, "no answer within 20 s")])
    return path


def opened(path: Path, folder: Path, *words: str) -> StoreSource:
    source = tui.source(
        tui.parser().parse_args(
            ["--store", str(path), *(words if "--now" in words else ("--now", str(3 * DAY), *words))]
        ),
        folder,
    )
    assert isinstance(source, StoreSource)
    return source


def picture_of(source: StoreSource) -> Picture | Failed:
    found = next(source.snapshots(threading.Event(), threading.Event()))
    assert isinstance(found, (Picture, Failed))
    return found


def test_nodes_incidents_and_changes_are_there(kept: Path, tmp_path: Path) -> None:
    found = picture_of(opened(kept, tmp_path))

    assert isinstance(found, Picture), found
    rows = {row.node: row for row in found.nodes}
    assert ("critical", 1, "570.99.99") == (rows["g1"].state, rows["g1"].incidents, rows["g1"].driver)
    assert {"g1", "g2"} == set(rows)
    assert "driver.version: 550.54.15 became 570.99.99" in {change.says for change in found.changes}
    detail = found.detail("g1")
    assert detail is not None
    assert ["gsp-fault"] == [each["rule"]["id"] for each in detail["report"]["incidents"]]
    assert 1978.0 < found.spreads("NVIDIA H100")["gpu.clock.sm"].low < 1981.0


def test_it_is_as_it_was_known_at_a_moment(kept: Path, tmp_path: Path) -> None:
    found = picture_of(opened(kept, tmp_path, "--at", "1970-01-02T12:00Z"))

    assert isinstance(found, Picture), found
    assert {"550.54.15"} == {row.driver for row in found.nodes}
    assert () == found.changes


def month(path: Path) -> Path:
    """Thirty daily sweeps of a node with four GPUs; the third corrects errors from day 20 on; on day 30 all are hot."""
    with Store(str(path)) as store:
        for day in range(1, 31):
            parts = tuple(
                Part(f"0000:{16 * (i + 1):02x}:00.0", f"GPU-g1-{i}", f"g1-{i}", i, "NVIDIA H100", {"gpu.state": "ok"}, {
                    "gpu.responsive": 1.0,
                    "gpu.temperature": 50.0 + (day * 7 + i) % 9 + 25 * (day == 30),
                    "gpu.power": 400.0 + 10 * ((day * 3 + i) % 5),
                    "gpu.clock.sm": 1980e6,
                    "gpu.utilization": 0.9,
                    "gpu.memory.used": float(40 << 30),
                    "gpu.ecc.corrected.aggregate": 3.0 + 30 * max(0, day - 20) * (i == 2),
                })
                for i in range(4)
            )  # fmt: skip
            write.put(store, swept(day), [answer("g1", float(day), gpus=parts)])
    return path


def test_a_gpu_beside_what_it_was_in_the_sweeps_before(
    kept: Path, tmp_path: Path, golden: Callable[[dict[str, str]], None]
) -> None:
    source = opened(month(tmp_path / "month.db"), tmp_path, "--now", str(30.5 * DAY))
    app = TriageApp(source, Look("plain", True), samples.rulebook, now=lambda: 30.5 * DAY)
    shown: dict[str, str] = {}

    async def play() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await until(app, pilot, lambda: app.picture is not None)
            app.open_node("g1")
            await until(app, pilot, lambda: bool(app.snapshot and app.snapshot.past))
            app.open_gpu("2")
            await until(app, pilot, lambda: "by the fleet's store" in text_of(app))
            for width, height in ((80, 24), (120, 40), (200, 50)):
                await pilot.resize_terminal(width, height)
                shown[f"stored-gpu_{width}x{height}.txt"] = await settled(app, pilot, (width, height))

    asyncio.run(asyncio.wait_for(play(), WITHIN))
    assert "above its 30 days" in shown["stored-gpu_200x50.txt"]
    golden(shown)


def test_a_count_that_began_anew_has_grown_from_nothing() -> None:
    def said(day: float, errors: float) -> Answer:
        return answer(
            "g1", day, gpus=(Part(uuid="GPU-1", numbers={"gpu.pcie.replays": errors, "gpu.responsive": 1.0}),)
        )

    (own,) = past([said(1, 5.0), said(2, 7.0), said(3, 4.0)]).values()

    assert {"gpu.pcie.replays"} == set(own)
    assert [0.0, 2.0, 4.0] == [lay.most for lay in own["gpu.pcie.replays"].lays]


def test_a_node_that_never_answered_has_no_past(kept: Path, tmp_path: Path) -> None:
    told = opened(kept, tmp_path).read("g3", [], threading.Event())

    assert isinstance(told, Failed)
    assert "answered in no sweep of the last 30 days" in told.reason


def test_what_a_store_knows_of_a_node_has_no_logs(kept: Path, tmp_path: Path) -> None:
    told = opened(kept, tmp_path).read("g1", [], threading.Event())

    assert isinstance(told, Snapshot)
    assert "keeps no logs" in told.report["notices"][-1]
    assert {("gpu.clock.sm", 1980, "hertz"), ("gpu.clock.sm", 1979, "hertz")} <= {r[1:4] for r in told.readings}
    assert ["GPU-g1-0", "GPU-g1-1"] == sorted(told.past)


def test_a_store_that_cannot_be_read_is_told(kept: Path, tmp_path: Path) -> None:
    kept.write_text("no store at all, but a text that somebody wrote into its place " * 20)
    told = picture_of(opened(kept, tmp_path))

    assert isinstance(told, Failed)
    assert str(kept) in told.reason
    with pytest.raises(Refused, match="password on the command line"):
        tui.source(tui.parser().parse_args(["--store", "postgresql://a:secret@db/fleet"]), tmp_path)
