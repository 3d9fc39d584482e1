"""A folder of captures as a source: what was kept at once, then what changed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.fleets import NEW, TAKEN, write_fleet, write_node
from tui.fleet import picture
from tui.fleet.picture import Picture
from tui.fleet.source import FleetSource, node_snapshot
from tui.source import Failed, Snapshot

NODES = 40


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, warm_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test."""
    shutil.copytree(warm_cache, tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gpu-triage"


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """A folder with the captures of a fleet."""
    return write_fleet(tmp_path / "captures", NODES)


def opened(captures: Path, tmp_path: Path) -> FleetSource:
    """Return a source that looks for changes often."""
    return FleetSource([str(captures)], tmp_path, now=TAKEN + 38.0, every=0.05)


def first(source: FleetSource) -> Picture:
    """Return the first picture of a source."""
    found = next(source.snapshots(threading.Event(), threading.Event()))
    assert isinstance(found, Picture), found
    return found


def test_every_node_has_a_row_worst_first_and_what_could_not_be_read_is_told(captures: Path, tmp_path: Path) -> None:
    seen = first(opened(captures, tmp_path))

    assert NODES + 1 == len(seen.nodes)
    lost, *timed_out = seen.nodes[:13]
    assert ("gpu-0003", "critical", "...C....", "gpu-off-bus") == (lost.node, lost.state, lost.gpus, lost.rule)
    assert {(f"gpu-{n:04d}", "gsp-fault", NEW) for n in range(20, 32)} == {
        (row.node, row.rule, row.driver) for row in timed_out
    }
    assert ("gpu-9999", "unread", None, "") == (seen.nodes[13].node, seen.nodes[13].state, seen.nodes[13].at,
                                               seen.nodes[13].gpus)  # fmt: skip
    assert "the compressed stream ends early" == seen.nodes[13].what
    assert {"ok"} == {row.state for row in seen.nodes[14:]}
    assert ["gpu-0007"] == [row.node for row in seen.nodes if seen.stale(row)]
    assert "...C" + "." * 16 + "C" * 12 + "." * 8 + "?" == seen.map


def test_the_same_fault_on_many_nodes_is_one_row_with_what_the_fleet_says(captures: Path, tmp_path: Path) -> None:
    seen = first(opened(captures, tmp_path))

    group = seen.groups[0]
    assert ("gpu-[0020-0031]", 12, "driver") == (group.nodes, group.count, group.family)
    assert group.why.startswith("12 of 20 nodes with driver version 570.99.99 show it, 0 of 20 others.")
    assert [("gsp-fault", NEW)] == [(said.rule, said.value) for said in seen.said]
    example = seen.example(group)
    assert example is not None
    assert "gsp-fault" == example["rule"]["id"]


def until_picture(found: Iterator[Picture | Failed]) -> Picture:
    value = next(found)
    assert isinstance(value, Picture), value
    return value


def test_what_was_kept_comes_at_once_and_a_new_capture_makes_a_new_picture(captures: Path, tmp_path: Path) -> None:
    first(opened(captures, tmp_path))
    source = opened(captures, tmp_path)
    stop = threading.Event()
    came = source.snapshots(stop, threading.Event())

    with pytest.MonkeyPatch.context() as nothing_is_read:
        nothing_is_read.setattr(FleetSource, "sweep", None)
        kept = until_picture(came)
    assert NODES + 1 == len(kept.nodes)
    until_picture(came)  # the same again: nothing changed
    write_node(captures, 77, "NVRM: Xid (PCI:0000:5d:00): 48, pid=8, name=x, DBE (double bit error) on GPU")
    newer = until_picture(came)

    assert "gpu-0077" in {row.node for row in newer.nodes if row.state == "critical"}
    stop.set()


def test_only_what_changed_is_read_again(captures: Path, tmp_path: Path) -> None:
    source = opened(captures, tmp_path)
    first(source)
    with sqlite3.connect(source.store) as db:
        before = dict(db.execute("SELECT path, stamp FROM answer"))
        assert NODES + 1 == len(before)
        # Had it been read again, it would say what stands in the capture.
        (body,) = db.execute("SELECT body FROM answer WHERE path LIKE '%gpu-0001%'").fetchone()
        other = picture.unpacked(body)
        other[5] = "warning"
        db.execute("UPDATE answer SET body = ? WHERE path LIKE '%gpu-0001%'", (picture.packed(other),))
    came = source.snapshots(threading.Event(), threading.Event())
    next(came)
    again = until_picture(came)

    assert "warning" == next(row.state for row in again.nodes if row.node == "gpu-0001")
    os.utime(captures / "gpu-0001.tar.gz")
    assert "ok" == next(row.state for row in until_picture(came).nodes if row.node == "gpu-0001")


@pytest.mark.parametrize("damage", ["garbage", "cut", "link", "open", "older"])
def test_a_kept_picture_that_cannot_be_trusted_is_made_anew(captures: Path, tmp_path: Path, damage: str) -> None:
    source = opened(captures, tmp_path)
    first(source)
    if damage == "garbage":
        source.store.write_bytes(b"no database at all" * 100)
    elif damage == "cut":
        data = source.store.read_bytes()
        source.store.write_bytes(data[: len(data) // 3])
    elif damage == "link":
        source.store.rename(tmp_path / "elsewhere.db")
        source.store.symlink_to(tmp_path / "elsewhere.db")
    elif damage == "open":
        source.store.chmod(0o666)
    else:
        with sqlite3.connect(source.store) as db:
            db.execute("UPDATE about SET value = '0' WHERE name = 'version'")

    assert picture.load(source.store) is None
    assert NODES + 1 == len(first(opened(captures, tmp_path)).nodes)


def test_a_folder_that_is_gone_or_empty_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, says in (("empty", "nothing in it; give a folder of captures"), ("gone.tar.gz", "")):
        found = next(opened(tmp_path / name, tmp_path).snapshots(threading.Event(), threading.Event()))
        if says:
            assert isinstance(found, Failed)
            assert says in found.reason
        else:
            assert isinstance(found, Picture)
            assert ("unread", "No such file or directory") == (found.nodes[0].state, found.nodes[0].what)


def test_a_node_is_shown_with_the_fleets_verdict_and_its_own_readings(captures: Path, tmp_path: Path) -> None:
    source = opened(captures, tmp_path)
    seen = first(source)
    detail = seen.detail("gpu-0020")
    assert detail is not None
    read = source.read(detail["report"]["node"], detail["paths"], threading.Event())
    assert isinstance(read, Snapshot)

    value, known = node_snapshot(detail, read)

    assert ("gpu-0020", "critical", "driver") == (known.node, known.status, known.incidents[0].verdict.family)
    assert "undetermined" == read.report["incidents"][0]["verdict"]["family"]  # alone it could not tell
    assert 59 in [reading.value for reading in value.readings if reading.name == "gpu.temperature"]
    assert TAKEN - 20 == value.at
    assert seen.detail("nobody") is None


def test_the_log_within_a_capture_can_be_opened_at_the_evidence(captures: Path, tmp_path: Path) -> None:
    source = opened(captures, tmp_path)
    seen = first(source)
    detail = seen.detail("gpu-0003")
    assert detail is not None

    read = source.read(detail["report"]["node"], detail["paths"], threading.Event())

    assert isinstance(read, Snapshot)
    (log,) = read.logs
    witness = node_snapshot(detail, read)[1].incidents[0].evidence[0].witness
    assert witness is not None
    assert (log.origin, witness.line) == (witness.origin, 2)
    row = log.row(2)
    assert row is not None
    assert "NVRM: Xid (PCI:0000:4e:00): 79" in Path(log.path).read_text().splitlines()[row]


def test_a_fleet_is_shown_as_it_was_known_at_a_moment(captures: Path, tmp_path: Path) -> None:
    now = first(opened(captures, tmp_path))
    source = FleetSource([str(captures)], tmp_path, now=TAKEN + 38.0, until=TAKEN - 86400.0)

    then = first(source)

    assert ["gpu-0007", "gpu-9999"] == sorted(row.node for row in then.nodes)  # the one that is two days old
    assert source.store != opened(captures, tmp_path).store
    assert NODES + 1 == len(now.nodes) == len(first(opened(captures, tmp_path)).nodes)


def test_pictures_that_nobody_opened_for_a_month_are_removed(captures: Path, tmp_path: Path, cache: Path) -> None:
    old, other = cache / "fleet-0123456789abcdef.db", cache / "rules-x"
    for path in (old, other):
        path.write_text("x")
        os.utime(path, (1.0, 1.0))

    first(opened(captures, tmp_path))

    assert (False, True) == (old.exists(), other.exists())
