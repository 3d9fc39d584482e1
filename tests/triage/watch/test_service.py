"""A watch as a service: rules read anew, slow readers, systemd, metrics, and nothing that piles up."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.fake_nvml import Scenario
from tests.patience import WITHIN, until
from tests.ports import free_port
from tests.triage.watch.conftest import Packets, Start, Watching, check_lines
from triage.rulebook.folders import RULES
from triage.watch.clocks import Clocks
from triage.watch.notify import Notify
from triage.watch.serve import Server

OFF_BUS = "NVRM: Xid (PCI:{pci}): 79, pid=811, name=python, GPU has fallen off the bus."


def metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WITHIN) as answer:
        return str(answer.read().decode())


def test_rules_that_do_not_lint_are_not_taken_and_those_that_do_are(
    start: Start, packets: Packets, tmp_path: Path
) -> None:
    """On SIGHUP, and all at once; what was read of the log before is judged by the new ones too."""
    rules = tmp_path / "rules"
    shutil.copytree(RULES, rules)
    watch = start("--rules", str(rules), "--kmsg", str(packets.path)).ready()
    rule = rules / "gpu-off-bus.yaml"
    whole = rule.read_text()

    rule.write_text(whole.replace("severity: critical", "severity: terrible", 1))
    watch.process.send_signal(signal.SIGHUP)
    kept = watch.wait_for(lambda line: line.get("what") == "rules-kept")
    packets.write(OFF_BUS.format(pci="0000:10:00"))
    before = watch.opened("0000:10:00")
    rule.write_text(whole.replace("severity: critical", "severity: warning", 1))
    watch.process.send_signal(signal.SIGHUP)
    loaded = watch.wait_for(lambda line: line.get("what") == "rules-loaded")
    packets.write(OFF_BUS.format(pci="0000:11:00"))
    after = watch.opened("0000:11:00")

    assert "gpu-off-bus.yaml" in kept["says"]
    assert "terrible" in kept["says"]
    assert loaded["rules"] != watch.lines[0][1]["rules"]
    assert ("critical", "warning") == (before["severity"], after["severity"])
    assert 0 == watch.stop()
    check_lines(watch)


def test_a_reader_that_is_slow_holds_nothing_up_and_misses_nothing(start: Start, packets: Packets) -> None:
    """The lines wait in the history."""
    watch = start("--kmsg", str(packets.path), read=False)
    assert watch.process.stdout is not None
    fcntl.fcntl(watch.process.stdout, 1031, 4096)  # F_SETPIPE_SZ
    watch.ready()
    for number in range(8):
        packets.write(OFF_BUS.format(pci=f"0000:{0x10 + number:02x}:00"))
        until(partial(_known, packets.path.parent / "state", number + 1))
    watch.read()
    for number in range(8):
        watch.opened(f"0000:{0x10 + number:02x}:00")

    assert 0 == watch.stop()
    ids = [line["id"] for _, line in watch.lines if line["id"] is not None]
    assert sorted(set(ids)) == ids
    check_lines(watch)


def _known(state: Path, wanted: int) -> bool:
    from triage.history.store import open_store

    with open_store(state, now=time.time(), patience=30.0) as store:
        (known,) = store.db.execute("SELECT count(*) FROM incident WHERE rule = 'gpu-off-bus'").fetchone()
        return bool(known == wanted)


def test_a_reader_that_goes_away_ends_it_and_what_it_did_not_read_is_told_the_next_one(
    start: Start, packets: Packets
) -> None:
    """As `gpu-triage watch | head -1` does."""
    watch = start("--kmsg", str(packets.path), read=False)
    assert watch.process.stdout is not None
    assert b'"watching"' in watch.process.stdout.readline()
    watch.ready()
    watch.process.stdout.close()
    packets.write(OFF_BUS.format(pci="0000:10:00"))

    assert 0 == watch.process.wait(WITHIN)
    assert watch.process.stderr is not None
    assert b"" == watch.process.stderr.read()
    assert start("--kmsg", str(packets.path)).opened("0000:10:00")


def test_systemd_hears_that_it_is_ready_alive_and_how_the_node_stands(
    start: Start, packets: Packets, tmp_path: Path
) -> None:
    """By sd_notify, from which it learns that it lives, what is wrong, that it reloads, and that it ends."""
    path = tmp_path / "notify"
    said: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(WITHIN)

        def hear(holds: Callable[[], bool]) -> None:
            while not holds():
                said.append(manager.recv(4096).decode())

        watch = start("--kmsg", str(packets.path), NOTIFY_SOCKET=str(path), WATCHDOG_USEC="2000000")
        hear(lambda: "READY=1" in said)
        hear(lambda: said.count("WATCHDOG=1") >= 3)
        packets.write(OFF_BUS.format(pci="0000:10:00"))
        hear(lambda: "1 open incident" in said[-1])
        watch.process.send_signal(signal.SIGHUP)
        hear(lambda: said[-1].startswith("RELOADING=1\nMONOTONIC_USEC="))
        hear(lambda: said[-1] == "READY=1")
        watch.process.terminate()
        hear(lambda: said[-1] == "STOPPING=1")

    assert 2 == said.count("READY=1")
    assert any(text.startswith("STATUS=") and "0 open incidents" in text for text in said)
    assert 0 == watch.process.wait(WITHIN)


def test_the_watchdog_is_fed_at_half_its_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "notify"
    now = 100.0
    monkeypatch.setattr("triage.watch.notify.time", SimpleNamespace(monotonic=lambda: now))
    beats = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.setblocking(False)
        notify = Notify({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "2000000"})
        for tenth in range(35):
            now = 100.0 + tenth / 10
            notify.alive()
            with contextlib.suppress(BlockingIOError):
                beats.append((tenth, manager.recv(64)))
        notify.close()

    assert [(tenth, b"WATCHDOG=1") for tenth in (0, 10, 20, 30)] == beats


def test_what_finds_the_managers_queue_full_is_told_with_the_next_sign_of_life(tmp_path: Path) -> None:
    """A manager that was held up hears all the same how things stand, which is not told a second time."""
    path = tmp_path / "notify"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other,
    ):
        manager.bind(str(path))
        manager.setblocking(False)
        other.setblocking(False)
        notify = Notify({"NOTIFY_SOCKET": str(path)})
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"WATCHDOG=1", str(path))
        notify.status("critical: 1 open incident")
        notify.say("READY=1")
        with contextlib.suppress(BlockingIOError):
            while True:
                assert b"WATCHDOG=1" == manager.recv(64)
        notify.alive()

        assert [b"STATUS=critical: 1 open incident", b"READY=1"] == [manager.recv(64) for _ in range(2)]
        notify.close()


def test_who_asked_in_time_is_answered_however_long_the_watch_was_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """And who said nothing by then is hung up on."""
    now = 100.0
    monkeypatch.setattr("triage.watch.serve.time", SimpleNamespace(monotonic=lambda: now))
    server = Server(("127.0.0.1", 0))
    asking, silent = (socket.create_connection(server.address) for _ in range(2))
    listener = {fd for fd, _ in server.wants()}
    server.serve(listener)
    asking.sendall(b"GET / HTTP/1.1\r\n\r\n")
    now += 60.0
    server.serve({fd for fd, _ in server.wants()} - listener)

    assert asking.recv(64).startswith(b"HTTP/1.1 200 OK")
    assert b"" == silent.recv(64)
    for each in (asking, silent, server):
        each.close()


def test_metrics_are_served_where_asked_and_promtool_finds_nothing_wrong(
    start: Start, packets: Packets, promtool: str
) -> None:
    """An open incident is there, and clients that say nothing or rubbish change nothing."""
    port = free_port()
    watch = start("--kmsg", str(packets.path), "--listen", f"127.0.0.1:{port}").ready()
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(12)]
    rubbish = socket.create_connection(("127.0.0.1", port))
    rubbish.sendall(b"\x16\x03\x01\x00 \r\n\r\n")
    packets.write(OFF_BUS.format(pci="0000:10:00"))
    watch.opened("0000:10:00")
    until(lambda: 'rule="gpu-off-bus"} 1' in metrics(port))

    text = metrics(port)
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/nothing", timeout=WITHIN)

    assert (0, "", "") == (checked.returncode, checked.stdout, checked.stderr)
    assert 'gpu_triage_gpu_incident{gpu="GPU-' in text
    assert "gpu_triage_kernel_records_total 1" in text
    assert b"405" in rubbish.recv(100)
    assert 0 == watch.stop()
    for connection in (*silent, rubbish):
        connection.close()


def test_it_listens_nowhere_unless_it_is_asked_to(start: Start, packets: Packets) -> None:
    """No socket of its process is a listening one."""
    watch = start("--kmsg", str(packets.path)).ready()

    inodes = set()
    for fd in Path(f"/proc/{watch.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(os.readlink(fd))
    listening = [
        line.split()
        for table in ("tcp", "tcp6", "udp", "udp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]

    assert [] == [row[1] for row in listening if f"socket:[{row[9]}]" in inodes]


def test_without_a_history_that_can_be_used_it_still_watches(start: Start, packets: Packets, tmp_path: Path) -> None:
    """And says that it remembers only as long as it runs."""
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o777)
    open_to_all.chmod(0o777)
    watch = start("--kmsg", str(packets.path), state=open_to_all)
    packets.write(OFF_BUS.format(pci="0000:10:00"))

    assert watch.opened("0000:10:00")
    assert ["history-lost"] == [line["what"] for _, line in watch.lines if line["kind"] == "notice"]
    assert 0 == watch.stop()
    check_lines(watch)


def test_a_history_that_is_lost_while_it_watches_stops_nothing(start: Start, packets: Packets, tmp_path: Path) -> None:
    """What was told before is not told again, and ids go on."""
    watch = start("--kmsg", str(packets.path)).ready()
    packets.write(OFF_BUS.format(pci="0000:10:00"))
    before = watch.opened("0000:10:00")
    with sqlite3.connect(tmp_path / "state" / "history.db", timeout=WITHIN) as db:
        db.execute("PRAGMA user_version = 99")  # as a newer gpu-triage would leave it
    db.close()
    packets.write(OFF_BUS.format(pci="0000:11:00"))
    after = watch.opened("0000:11:00")

    assert 0 == watch.stop()
    assert 1 == len(watch.opens("0000:10:00"))
    assert after["id"] > before["id"]
    assert 1 == len(watch.notices("history-lost"))
    check_lines(watch)


def test_a_machine_that_slept_is_told_from_a_clock_that_was_set() -> None:
    """Each once; what is slewed is neither."""
    shown = iter([(0.0, 1000.0), (0.0, 1000.5), (3600.0, 1000.5), (3600.0, 4600.0), (3600.0, 4600.0)])
    clocks = Clocks(lambda: next(shown))

    assert [(0.0, 0.0), (3600.0, 0.0), (0.0, 3599.5), (0.0, 0.0)] == [clocks.moved() for _ in range(4)]


def test_nothing_piles_up(start: Start, nodes: Scenario, packets: Packets) -> None:
    """Threads, children and descriptors are as many after many readings, rules read anew and a GPU lost and found."""
    watch = start("--every", "1", "--kmsg", str(packets.path)).ready().listens()
    until(lambda: held(watch)[0] == 1)  # no thread reads the counters just now
    before = held(watch)
    for turn in range(2):
        nodes.gpu(2).lost()
        watch.process.send_signal(signal.SIGHUP)
        packets.write(OFF_BUS.format(pci=f"0000:{0x10 + turn:02x}:00"))
        watch.reads()
        until(partial(_told, watch, "rules-loaded", turn + 1))
        nodes.clear("gpu.2.do.*")
        watch.reads()

    until(lambda: all(now <= then for now, then in zip(held(watch), before, strict=True)))
    assert 0 == watch.stop()


def _told(watch: Watching, what: str, times: int) -> bool:
    return len(watch.notices(what)) == times


def held(watch: Watching) -> tuple[int, int, int]:
    pid = watch.process.pid
    return (
        len(os.listdir(f"/proc/{pid}/task")),
        len(watch.children()),
        len(os.listdir(f"/proc/{pid}/fd")),
    )
