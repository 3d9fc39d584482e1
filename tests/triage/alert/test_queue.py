"""The queue on the disk: private, whole after a kill, bounded, and mended where it is damaged."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.triage.alert.bodies import START, body, change
from triage.alert.queue import FORGET, open_queue
from triage.alert.queue_file import NoQueue
from triage.alert.states import Delivery
from triage.alert.turn import Turn
from triage.history.place import Unavailable

ROOT = Path(__file__).parents[3]


def test_it_is_for_its_owner_only(tmp_path: Path) -> None:
    with open_queue(tmp_path / "s") as queue:
        queue.put([change(body())], START)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "s").iterdir()}

    assert {"alerts.db", "alerts.db-wal", "alerts.db-shm"} == set(modes)
    assert {0o600} == set(modes.values())
    assert 0o700 == stat.S_IMODE((tmp_path / "s").stat().st_mode)


def test_what_was_put_down_is_there_after_a_kill(tmp_path: Path) -> None:
    """The process that put it down is killed as soon as it says so."""
    script = (
        "import sys, time; from pathlib import Path\n"
        "from tests.triage.alert.bodies import START, body, change\n"
        "from triage.alert.queue import open_queue\n"
        "queue = open_queue(Path(sys.argv[1]))\n"
        "for n in range(1000):\n"
        "    queue.put([change(body(str(n)))], START); print(n, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = [int(process.stdout.readline()) for _ in range(20)]
    process.send_signal(signal.SIGKILL)
    said += [int(line) for line in process.stdout.read().split()]
    process.wait()
    process.stdout.close()

    with open_queue(tmp_path) as queue:
        known = set(queue.stands())
    assert len(said) >= 20
    assert {body(str(n))["fingerprint"] for n in said} <= known


def test_what_is_over_and_was_never_put_down_is_left_out(tmp_path: Path) -> None:
    with open_queue(tmp_path) as queue:
        queue.put([change(body("a", "resolved")), change(body("b"))], START)

        assert [body("b")["fingerprint"]] == [incident.fingerprint for incident in queue.incidents()]


def test_what_everybody_knows_to_be_over_is_forgotten(tmp_path: Path) -> None:
    """And not before."""
    with open_queue(tmp_path) as queue:
        queue.targets(["x", "y"], 1, START)
        queue.put([change(body())], START)
        queue.put([change(body(state="resolved"))], START + 1)
        (over,) = queue.incidents()
        done = (over.fingerprint, Delivery(said="resolved", version=over.version))
        queue.note("x", None, [done])
        queue.settle()
        assert [over] == queue.incidents()
        queue.note("y", None, [done])
        queue.settle([over.fingerprint])
        assert [over] == queue.incidents()
        queue.settle()

        assert [] == queue.incidents()
        assert {} == queue.deliveries("x")


def test_a_target_that_is_away_for_a_while_is_not_told_everything_again(tmp_path: Path) -> None:
    """Another file of targets was tried on the same queue; what is over meanwhile waits for it, but not for ever."""
    with open_queue(tmp_path) as queue:
        queue.targets(["x"], 1, START)
        queue.put([change(body())], START)
        (incident,) = queue.incidents()
        told = Delivery(said="open", version=incident.version)
        queue.note("x", None, [(incident.fingerprint, told)])
        queue.targets(["other"], 2, START + 60)
        queue.put([change(body(state="resolved"))], START + 61)
        (over,) = queue.incidents()
        queue.note("other", None, [(over.fingerprint, Delivery(version=over.version))])
        queue.settle()
        queue.targets(["x"], 1, START + 120)

        assert [over] == queue.incidents()
        assert {over.fingerprint: told} == queue.deliveries("x")
        queue.targets(["other"], 2, START + 180)
        queue.targets(["other"], 2, START + 180 + FORGET + 1)
        assert {} == queue.deliveries("x")
        queue.settle()
        assert [] == queue.incidents()


def test_when_it_is_full_the_oldest_updates_go_and_no_opening_and_no_end(tmp_path: Path) -> None:
    """Then the details of the oldest; each incident stays, and what it is about."""
    padding = [{"id": f"e{n}", "state": "seen", "bearing": "for", "why": "x" * 100} for n in range(100)]

    def fat(name: str, state: str = "open") -> dict[str, object]:
        told = body(name, state)
        return {**told, "evidence": [*told["evidence"], *padding]}

    with open_queue(tmp_path) as queue:
        queue.targets(["x"], 1, START)
        queue.put([change(fat("told-first")), change(fat("told-later"))], START)
        for incident in queue.incidents():
            queue.note("x", None, [(incident.fingerprint, Delivery(said="open", version=incident.version))])
        queue.settle()
        updates = [change({**fat(name), "seen": 2}) for name in ("told-first", "told-later")]
        assert 0 == queue.put(updates, START + 1)
        size = queue.db.execute("SELECT sum(length(body)) FROM incident").fetchone()[0]
        dropped = queue.put([change(fat("new"))], START + 2, most=size + 4096)

        waiting = {
            i.fingerprint: i.version > queue.deliveries("x").get(i.fingerprint, Delivery()).version
            for i in queue.incidents()
        }
        assert 1 == dropped
        assert {"told-first": False, "told-later": True, "new": True} == {
            name.rpartition("/")[2]: waits for name, waits in waiting.items()
        }
        assert 1 == queue.put(
            [change(fat("told-later", "resolved")), change(fat("newer"))], START + 3, most=size + 4096
        )
        assert {"told-first", "told-later", "new", "newer"} == {
            i.fingerprint.rpartition("/")[2] for i in queue.incidents()
        }
        assert "resolved" == queue.incidents()[-2].state
        short = queue.body(body("new")["fingerprint"])
        assert short is not None
        assert (True, [], body()["summary"]) == (short["abridged"], short["evidence"], short["summary"])


def test_a_damaged_file_is_set_aside_and_a_newer_one_left_alone(tmp_path: Path) -> None:
    (tmp_path / "alerts.db").write_bytes(b"no database, but long enough to be looked at " * 100)
    with open_queue(tmp_path) as queue:
        assert ["damaged" in notice for notice in queue.notices] == [True]
        queue.db.execute("PRAGMA user_version = 9")
    assert 1 == len(list(tmp_path.glob("alerts.db.corrupt-*")))

    with pytest.raises(Unavailable, match="written by a newer gpu-triage"):
        open_queue(tmp_path)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    os.symlink(tmp_path / "elsewhere", tmp_path / "alerts.db")

    with pytest.raises(Unavailable, match="cannot be used"):
        open_queue(tmp_path)
    with pytest.raises(NoQueue):
        open_queue(tmp_path / "none", create=False)


def test_only_one_sends_at_a_time(tmp_path: Path) -> None:
    first, second = Turn(tmp_path), Turn(tmp_path)

    assert first.take()
    assert not second.take()
    first.close()
    assert second.take()
    second.close()
