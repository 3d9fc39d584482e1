"""A fleet's store on the screens: nodes, incidents, what changed, and what a store does not keep."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.triage.fleet.places import DAY
from tests.triage.fleet.store.made import answer, failing, swept
from triage.cli import tui
from triage.cli.exits import Refused
from triage.fleet.model import TIMED_OUT, Answer
from triage.fleet.store import write
from triage.fleet.store.opened import Store
from tui.fleet.picture import Picture
from tui.fleet.stored import StoreSource
from tui.source import Failed


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sweeps: g1 got another driver and then a fault, g2 did not answer the second time."""
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
    source = tui.source(tui.parser().parse_args(["--store", str(path), "--now", str(3 * DAY), *words]), folder)
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


def test_there_are_no_logs_behind_it(kept: Path, tmp_path: Path) -> None:
    told = opened(kept, tmp_path).read([], threading.Event())

    assert isinstance(told, Failed)
    assert "keeps no logs" in told.reason


def test_a_store_that_cannot_be_read_is_told(kept: Path, tmp_path: Path) -> None:
    kept.write_text("no store at all, but a text that somebody wrote into its place " * 20)
    told = picture_of(opened(kept, tmp_path))

    assert isinstance(told, Failed)
    assert str(kept) in told.reason
    with pytest.raises(Refused, match="password on the command line"):
        tui.source(tui.parser().parse_args(["--store", "postgresql://a:secret@db/fleet"]), tmp_path)
