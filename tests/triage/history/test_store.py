"""The file: safe to open, never in the way of a sweep, and never losing what was acknowledged."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.patience import WITHIN
from tests.soak.kill_sweeps import torment
from tests.triage.history.sweeps import START, at, counter, incident, open_memory, report_of, sweep
from triage.history import place, store
from triage.history.place import Unavailable, default_directory, prepare
from triage.history.schema import APPLICATION, VERSION
from triage.history.store import FILE, open_store
from triage.history.sweep import Memory


def filled(directory: Path, sweeps: int = 5) -> Path:
    with open_memory(directory) as memory:
        for minute in range(sweeps):
            sweep(memory, at(minute * 60), incidents=[incident(0)], readings=[counter(minute)])
    return directory / FILE


def count(directory: Path) -> int:
    with open_store(directory, now=START) as opened:
        return int(opened.db.execute("SELECT count(*) FROM sweep").fetchone()[0])


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.lstat().st_mode) for path in (directory, *directory.iterdir())}


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    """Whatever the umask; process names and serial numbers are nobody else's business."""
    before = os.umask(0)
    try:
        with open_memory(tmp_path / "state") as memory:
            sweep(memory, at(0))
            assert {0o600, 0o700} == set(modes(tmp_path / "state").values())
            assert f"{FILE}-wal" in modes(tmp_path / "state")
    finally:
        os.umask(before)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    """Neither as the directory nor as the file."""
    (tmp_path / "target").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(Unavailable, match="symbolic link"):
        open_store(tmp_path / "link", now=START)

    (tmp_path / "target" / FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match=r"symbolic link|too many levels"):
        open_store(tmp_path / "target", now=START)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("mode", "user", "refused"), [(0o770, 0, True), (0o707, 0, True), (0o770, 1, False), (0o707, 1, True)]
)
def test_a_directory_that_others_can_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, user: int, refused: bool
) -> None:
    """By root also if only a group can."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d").chmod(mode)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    os.chown(tmp_path / "d", user, -1) if os.getuid() == 0 else monkeypatch.setattr(
        os, "lstat", lambda path: _owned(os.stat(path), user)
    )

    assert refused == ("chmod" in (place.fault(tmp_path / "d") or ""))


def _owned(found: os.stat_result, user: int) -> os.stat_result:
    values = list(found)
    values[4] = user
    return os.stat_result(values)


def test_root_uses_no_directory_below_one_that_others_can_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They could put another in its place; a sticky one such as /tmp is safe."""
    (tmp_path / "open" / "state").mkdir(parents=True, mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: (tmp_path / "open" / "state").stat().st_uid)
    for mode, refused in ((0o777, os.geteuid() == 0), (0o1777, False), (0o755, False)):
        (tmp_path / "open").chmod(mode)

        assert refused == ("above the state directory" in (place.fault(tmp_path / "open" / "state") or ""))


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns it can put anything there."""
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)

    with pytest.raises(Unavailable, match=f"belongs to user {owner}"):
        prepare(tmp_path)


def test_root_and_users_have_their_own_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's is one per node, for homes are shared; a relative XDG_STATE_HOME does not count."""
    monkeypatch.delenv("GPU_TRIAGE_STATE_DIR")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Path("/var/lib/gpu-triage") == default_directory()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/ada/state")
    assert Path("/home/ada/state/gpu-triage") / os.uname().nodename == default_directory()
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    assert Path.home() / ".local/state/gpu-triage" / os.uname().nodename == default_directory()


@pytest.mark.parametrize("what", ["noise", "head", "middle", "empty-pages", "sqlite"])
def test_a_corrupt_or_foreign_file_is_set_aside_told_and_made_anew(tmp_path: Path, what: str) -> None:
    """Under a dated name; the sweep goes on in a new file."""
    file = filled(tmp_path, 60)
    if what == "sqlite":
        file.unlink()
        with sqlite3.connect(file) as db:
            db.execute("CREATE TABLE theirs(x)")
        db.close()
    else:
        data = bytearray(file.read_bytes())
        if what == "noise":
            data[:] = os.urandom(len(data))
        elif what == "head":
            data[20:100] = b"\xff" * 80
        elif what == "middle":
            data[4096:] = os.urandom(len(data) - 4096)
        else:
            data[4096:] = bytes(len(data) - 4096)
        file.write_bytes(data)

    with open_memory(tmp_path) as memory:
        report = sweep(memory, at(9000), incidents=[incident(8990)])

    (notice,) = report["notices"]
    aside = [path.name for path in tmp_path.iterdir() if path.name.startswith(f"{FILE}.")]
    word = "foreign" if what == "sqlite" else "corrupt"
    assert "set aside" in notice
    assert [f"{FILE}.{word}-20260528T202640Z"] == aside or len(aside) == 1
    assert f"{FILE}.{word}-" in aside[0]
    assert (1, True) == (count(tmp_path), "history" in report["incidents"][0])


def test_an_older_file_without_tables_is_simply_begun(tmp_path: Path) -> None:
    """A sweep that was killed while it made the file leaves it empty."""
    (tmp_path / FILE).touch(mode=0o600)

    assert 0 == count(tmp_path)


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    """Whoever goes back to an older program keeps what the newer one wrote."""
    file = filled(tmp_path)
    with sqlite3.connect(file) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    before = file.read_bytes()

    with open_memory(tmp_path) as memory:
        report = sweep(memory, at(600), incidents=[incident(0)])

    assert "written by a newer gpu-triage" in report["notices"][0]
    assert "history" not in report["incidents"][0]
    assert before == file.read_bytes()


def test_the_file_says_whose_it_is(tmp_path: Path) -> None:
    """In its header, where `file` and doctor see it."""
    with sqlite3.connect(filled(tmp_path)) as db:
        assert (APPLICATION, VERSION) == (
            db.execute("PRAGMA application_id").fetchone()[0],
            db.execute("PRAGMA user_version").fetchone()[0],
        )
    db.close()


def test_while_another_writes_the_sweep_does_without(tmp_path: Path) -> None:
    """It waits a moment, says so, and is not held up."""
    filled(tmp_path)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    memory = open_memory(tmp_path)
    with memory:
        memory._store.db.execute("PRAGMA busy_timeout = 50")  # type: ignore[union-attr]
        began = time.monotonic()
        report = sweep(memory, at(600), incidents=[incident(0)])
    other.close()

    assert "in use by another sweep" in report["notices"][0]
    assert "history" not in report["incidents"][0]
    assert time.monotonic() - began < 30


def test_a_full_disk_is_a_notice(tmp_path: Path) -> None:
    """And the file is as it was."""
    filled(tmp_path)
    with open_memory(tmp_path) as memory:
        pages = memory._store.db.execute("PRAGMA page_count").fetchone()[0]  # type: ignore[union-attr]
        memory._store.db.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[union-attr]
        many = [incident(0, rule=f"r{n}") for n in range(400)]
        report = sweep(memory, at(600), incidents=many)

    assert "is full" in report["notices"][0]
    assert 5 == count(tmp_path)


def test_a_directory_that_cannot_be_made_is_a_notice(tmp_path: Path) -> None:
    """It is where a file stands."""
    (tmp_path / "file").touch()
    with open_memory(tmp_path / "file" / "state") as memory:
        report = sweep(memory, at(600), incidents=[incident(0)])

    assert "cannot be made: not a directory" in report["notices"][0]
    assert "critical" == report_of([incident(0)], (), at(0))["incidents"][0]["severity"]


def test_text_that_cannot_be_stored_is_a_notice(tmp_path: Path) -> None:
    """A name with half a surrogate pair."""
    with open_memory(tmp_path) as memory:
        broken = counter(1)._replace(name="gpu.name", value="\ud800")
        report = sweep(memory, at(0), readings=[broken])
        assert "cannot be stored" in report["notices"][0]
        memory.notices.clear()
        assert [] == sweep(memory, at(60))["notices"]


def test_two_sweeps_at_once_both_are_written(tmp_path: Path) -> None:
    """Each waits for the other's change."""

    def many() -> None:
        for minute in range(20):
            with Memory(tmp_path, at(0), WITHIN) as memory:
                sweep(memory, at(minute * 60), incidents=[incident(0)])
                assert memory.notices == []
                done.append(memory.written)

    done: list[int | None] = []
    threads = [threading.Thread(target=many) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(range(1, 61)) == sorted(number or 0 for number in done)
    assert 60 == count(tmp_path)


def test_two_that_find_it_corrupt_at_once_set_it_aside_once(tmp_path: Path) -> None:
    """The second finds the new file of the first."""
    filled(tmp_path).write_bytes(os.urandom(9000))
    script = (
        "import sys; from pathlib import Path; from triage.history.store import open_store\n"
        "with open_store(Path(sys.argv[1]), now=0.0, patience=100.0) as s: print(len(s.notices))"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]

    assert ["0", "0", "0", "1"] == sorted(run.communicate(timeout=WITHIN)[0].strip() for run in runs)
    assert 1 == sum(path.name.startswith(f"{FILE}.corrupt") for path in tmp_path.iterdir())


def test_damage_found_while_it_is_used_is_set_aside_too(tmp_path: Path) -> None:
    """The sweep at hand is written into the new file."""
    filled(tmp_path)
    with open_memory(tmp_path) as memory:
        memory._store.db.execute("DROP TABLE run")  # type: ignore[union-attr]
        report = sweep(memory, at(600), incidents=[incident(0)])

    assert ["open"] == [i["state"] for i in report["incidents"]]
    assert "set aside" in report["notices"][0]
    assert 1 == count(tmp_path)


def test_it_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two years of sweeps with counters that never stand still and incidents that come and go."""
    from triage.history import life, readings

    monkeypatch.setattr(readings, "MOST_RUNS", 300)
    monkeypatch.setattr(readings, "MOST_SWEEPS", 50)
    monkeypatch.setattr(life, "MOST_INCIDENTS", 20)
    with open_memory(tmp_path) as memory:
        for day in range(0, 730):
            ended = incident(day * 86400.0, rule=f"r{day % 50}", state="resolved", boot=f"{day:032d}")
            sweep(
                memory,
                at(day * 86400.0),
                incidents=[ended],
                readings=[counter(day), counter(day, "gpu.pcie.recoveries")],
            )
    with open_store(tmp_path, now=START) as opened:
        left = {
            table: opened.db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("run", "sweep", "incident")
        }

    assert left["run"] <= 300 + 2 * readings.EVERY
    assert left["sweep"] <= 600 + readings.EVERY
    assert left["incident"] <= 20 + readings.EVERY


def test_kills_at_random_moments_lose_nothing_acknowledged(tmp_path: Path) -> None:
    """A few here; `make soak` does a thousand.  How many sweeps come between two kills is the machine's affair."""
    outcome = torment(tmp_path, 40, seed=7)

    assert 40 == outcome.kills
    assert outcome.acknowledged > 10


def test_an_empty_history_is_not_made_by_looking(tmp_path: Path) -> None:
    """`incidents list` on a node that was never swept."""
    with pytest.raises(Unavailable, match="no history"):
        store.open_store(tmp_path / "none", now=START, create=False)
    assert not (tmp_path / "none").exists()
