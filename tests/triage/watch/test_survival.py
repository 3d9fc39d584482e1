"""A watch goes on whatever happens to what it reads: ring, journal, disk, driver, GPU, clocks; and without a thread."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import sqlite3
import struct
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests import confined, kernel_ring
from tests.fake_nvml import Scenario
from tests.kernel_ring import address
from tests.needed import missing
from tests.patience import until
from tests.triage.watch.conftest import Packets, Start, Watching, check_lines, inject
from triage.watch.telling import UNNUMBERED, cursor

OFF_BUS = "NVRM: Xid (PCI:{pci}): 79, pid=811, name=python, GPU has fallen off the bus."
JOURNALD = "/lib/systemd/systemd-journald"


def told(watch: Watching, what: str, times: int) -> None:
    """Wait until it has told something so many times."""
    until(lambda: len(watch.notices(what)) == times)


# the ring -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("kernel_log")
def test_a_ring_that_overran_it_is_told_and_so_is_what_it_holds_then(start: Start) -> None:
    """The real one, filled anew while the watch is held up."""
    watch = start("--no-events").ready()
    before, after = address(), address()
    inject(OFF_BUS.format(pci=before))
    watch.opened(before)
    watch.halt()
    first = kernel_ring.newest()
    kernel_ring.flush()
    inject(OFF_BUS.format(pci=after))
    os.kill(watch.process.pid, signal.SIGCONT)

    watch.opened(after)
    (lost,) = watch.notices("records-lost")
    span = re.search(r"\((\d+) to (\d+)\)", lost["says"])
    assert span is not None
    assert int(span[1]) <= first <= int(span[2])
    assert lost["lost"] == int(span[2]) - int(span[1]) + 1
    assert 0 == watch.stop()
    assert [] == [line for _, line in watch.lines if line.get("event") == "resolved"]
    check_lines(watch)


# journald -----------------------------------------------------------------------------------------------------------


class Journald:
    """A real journald in a mount namespace of its own, which reads the kernel log of this machine."""

    def __init__(self, scratch: Path) -> None:
        self._run = scratch / "run"
        self._run.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", self._run], check=True)
        for name in ("systemd/journal", "log/journal"):
            (self._run / name).mkdir(parents=True)
        self.folder = self._run / "log" / "journal"
        self.start()

    def start(self) -> None:
        """Begin, or go on where it stopped."""
        script = f"mount --bind {self._run} /run && exec {JOURNALD}"
        words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        self._process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        until(lambda: list(self.folder.rglob("system.journal")))

    def restart(self) -> None:
        """What `systemctl restart systemd-journald` does."""
        self._stop()
        self.start()

    def rotate(self) -> None:
        """What `journalctl --rotate` asks of it."""
        before = len(self.files())
        self._process.send_signal(signal.SIGUSR2)
        until(lambda: len(self.files()) > before)

    def files(self) -> list[Path]:
        """Return its files."""
        return list(self.folder.rglob("*.journal"))

    def end(self) -> None:
        """Leave nothing of it."""
        self._stop()
        subprocess.run(["umount", "--lazy", self._run], check=True)

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait(120)


@pytest.fixture
def journald(tmp_path: Path) -> Iterator[Journald]:
    """A journald of our own."""
    if not os.access(JOURNALD, os.X_OK) or os.geteuid() != 0:
        missing("journald cannot be run here; install the Debian package systemd, and run the tests as root")
    made = Journald(tmp_path)
    yield made
    made.end()


@pytest.mark.usefixtures("kernel_log")
def test_a_journal_is_followed_over_restarts_rotation_and_the_end_of_who_reads_it(
    start: Start, journald: Journald, tmp_path: Path
) -> None:
    """Nothing of it is lost, and nothing counted twice."""
    watch = start("--no-events", "--kmsg", str(tmp_path / "none"), "--journal", str(journald.folder)).ready()
    places = [address() for _ in range(4)]

    def seen(pci: str) -> None:
        inject(OFF_BUS.format(pci=pci))
        watch.opened(pci)

    seen(places[0])
    journald.restart()
    seen(places[1])
    journald.rotate()
    seen(places[2])
    os.kill(watch.child(b"journalctl"), signal.SIGKILL)
    watch.wait_for(lambda line: line.get("what") == "log-unreadable" and "journalctl ended" in line["says"])
    seen(places[3])

    assert watch.notices("log-readable")
    assert 0 == watch.stop()
    last = {line["where"]["gpu"]["pci"]: line for _, line in watch.lines if line["kind"] == "incident"}
    assert [1, 1, 1, 1] == [len(watch.opens(pci)) for pci in places]
    assert {f"{pci}.0": 1 for pci in places} == {pci: line["seen"] for pci, line in last.items()}
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "history.db")) as db:
        came = cursor(db)
    assert came is not None  # so that the next watch catches up on what came after, also over a reboot
    assert UNNUMBERED == came.seq
    check_lines(watch)


# the disk -----------------------------------------------------------------------------------------------------------


def test_on_a_disk_that_is_slow_each_line_is_told_once_and_kept(start: Start, packets: Packets, tmp_path: Path) -> None:
    """Whatever it is asked to keep takes twenty times as long as it usually does."""
    words = ("--kmsg", str(packets.path), "--no-events")
    watch = start(*words, **confined.slow_disk(tmp_path, 80)).ready()
    places = [f"0000:{bus:02x}:00" for bus in range(0x10, 0x18)]
    for pci in places:
        packets.write(OFF_BUS.format(pci=pci))
    assert 0 == watch.stop()
    again = start(*words).ready()
    assert 0 == again.stop()

    assert [1] * len(places) == [len(watch.opens(pci)) for pci in places]
    assert [] == [line for _, line in again.lines if line["kind"] == "incident"]
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "history.db")) as db:
        assert (len(places),) == db.execute("SELECT count(*) FROM incident WHERE state = 'open'").fetchone()
    check_lines(watch)


# the driver ---------------------------------------------------------------------------------------------------------


WITH_MODULE = (
    "unshare", "--mount", "sh", "-c",
    'mount -t tmpfs modules /sys/module && mkdir /sys/module/nvidia && exec "$@"', "sh",
)  # fmt: skip
"""Runs a program where the nvidia module is loaded, as far as /sys tells, and can be unloaded."""
INIT = ("nvmlInit_v2", "nvmlInitWithFlags")


def test_a_driver_that_is_loaded_anew_is_told_and_read_again(start: Start, nodes: Scenario, packets: Packets) -> None:
    """Whatever NVML says meanwhile; a part of another version is an incident, a driver that is away is none."""
    words = ("--every", "1", "--often", "1", "--kmsg", str(packets.path))
    watch = start(*words, within=WITH_MODULE).ready()
    module = Path(f"/proc/{watch.process.pid}/root/sys/module/nvidia")
    until(module.exists)
    for turn, error in enumerate(("DRIVER_NOT_LOADED", "UNINITIALIZED", "LIB_RM_VERSION_MISMATCH"), 1):
        for function in INIT:
            nodes.on(function, error)
        module.rmdir()
        told(watch, "nvml-unreadable", turn)
        told(watch, "driver-unloaded", turn)
        nodes.set("driver.version", f"580.65.0{turn}")
        for function in INIT:
            nodes.clear(f"do.{function}")
        listened = watch.asked("nvmlEventSetCreate")
        module.mkdir()
        told(watch, "driver-loaded", turn)
        told(watch, "nvml-readable", turn)
        watch.listens(listened + 1)
    opened = [line for _, line in watch.lines if line.get("event") == "open"]
    nodes.event(gpu=3, data=79)

    assert watch.opened("0000:13:00")
    assert [("driver-install", "system", None)] == [
        (line["rule"]["id"], line["verdict"]["family"], line["where"]["gpu"]) for line in opened
    ]
    assert 0 == watch.stop()
    check_lines(watch)


def test_a_gpu_that_is_lost_and_found_again_is_one_incident(start: Start, nodes: Scenario, packets: Packets) -> None:
    """It is not over because it answers for a moment; the others are read all the while."""
    watch = start("--every", "1", "--often", "1", "--no-events", "--kmsg", str(packets.path)).ready()
    until(lambda: watch.asked("nvmlInit") > 1)  # so that a reading was taken in, and it knows who the GPU is
    for _ in range(2):
        nodes.gpu(2).lost()
        packets.write(OFF_BUS.format(pci="0000:12:00"))
        watch.opened("0000:12:00")
        watch.reads()
        nodes.clear("gpu.2.do.*")
        watch.reads()
    nodes.gpu(1).set("rows.failure", 1)
    failed = watch.wait_for(lambda line: line.get("event") == "open" and line["rule"]["id"] == "gpu-memory")

    assert 1 == failed["where"]["gpu"]["index"]
    assert ["gpu-off-bus"] == [line["rule"]["id"] for line in watch.opens("0000:12:00")]
    assert 0 == watch.stop()
    assert [] == [line for _, line in watch.lines if line.get("event") == "resolved"]
    check_lines(watch)


def test_where_no_process_and_no_thread_can_be_started_the_log_is_still_followed(
    start: Start, packets: Packets, tmp_path: Path
) -> None:
    """The limit of a unit or of a container is reached."""
    within = confined.denied(confined.build(tmp_path), confined.STARTS, errno.EAGAIN)
    watch = start("--kmsg", str(packets.path), "--every", "1", "--often", "1", within=within).ready()
    packets.write(OFF_BUS.format(pci="0000:10:00"))
    watch.opened("0000:10:00")

    assert 0 == watch.stop()
    check_lines(watch)


# clocks -------------------------------------------------------------------------------------------------------------


class Clock:
    """Moves the clocks of a program that was started with `env`."""

    def __init__(self, scratch: Path) -> None:
        library = scratch / "fake_clock.so"
        source = Path(__file__).parents[2] / "fake_clock.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-o", library, source], check=True)
        self._path = scratch / "clock"
        self._ahead = [0.0, 0.0]
        self.env = {"LD_PRELOAD": str(library), "FAKE_CLOCK": str(self._path)}
        self._path.write_bytes(struct.pack("2d", 0.0, 0.0))

    def move(self, boot: float = 0.0, wall: float = 0.0) -> None:
        """Put them on."""
        self._ahead = [self._ahead[0] + boot, self._ahead[1] + wall]
        with open(self._path, "r+b") as file:
            file.write(struct.pack("2d", *self._ahead))


def test_a_machine_that_slept_and_a_clock_that_was_set_are_told_and_change_nothing_else(
    start: Start, nodes: Scenario, packets: Packets, tmp_path: Path
) -> None:
    """Nothing ends or opens by it, and what comes after is told at once."""
    clock = Clock(tmp_path)
    watch = start("--every", "1", "--often", "1", "--kmsg", str(packets.path), **clock.env).ready()
    moves = [("suspended", 3600.0, 3600.0), ("clock-jumped", 0.0, -7200.0), ("clock-jumped", 0.0, 90000.0)]
    for number, (what, boot, wall) in enumerate(moves):
        packets.write(OFF_BUS.format(pci=f"0000:{0x10 + number:02x}:00"))
        watch.opened(f"0000:{0x10 + number:02x}:00")
        clock.move(boot, wall)
        moved(watch, what, wall)
    packets.write(OFF_BUS.format(pci="0000:17:00"))
    last = watch.opened("0000:17:00")

    assert 0 == watch.stop()
    ahead = datetime.fromisoformat(last["at"].replace("Z", "+00:00")).timestamp() - time.time()
    assert 86400 - 600 < ahead < 86400 + 600
    assert [1, 1, 1, 1] == [len(watch.opens(f"0000:{bus}:00")) for bus in (10, 11, 12, 17)]
    assert [1, 2] == [len(watch.notices(what)) for what in ("suspended", "clock-jumped")]
    assert [] == [line for _, line in watch.lines if line.get("event") == "resolved"]
    check_lines(watch)


def moved(watch: Watching, what: str, seconds: float) -> None:
    """Wait until it has told that a clock moved so far."""
    watch.wait_for(lambda line: line.get("what") == what and abs(line["seconds"] - seconds) < 2)
