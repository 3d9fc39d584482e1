"""A watch whose driver is taken away, whose journal is rotated under it, and to which the machine gives no thread."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

from probes.kernel_log import boot_id
from tests import confined
from tests.fake_nvml import Scenario
from tests.triage.watch import journal
from tests.triage.watch.conftest import Packets, Start, Watching, check_lines

OFF_BUS = "NVRM: Xid (PCI:{pci}): 79, pid=811, name=python, GPU has fallen off the bus."


def test_a_driver_that_is_replaced_under_it_is_told_and_no_gpu_is_accused(
    start: Start, packets: Packets, nodes: Scenario, tmp_path: Path
) -> None:
    """Unloaded, loaded in another version than the library has, and in the library's."""
    module = tmp_path / "module/nvidia"
    module.mkdir(parents=True)
    within = confined.mounted(f"mount --bind {tmp_path}/module /sys/module")
    watch = start("--kmsg", str(packets.path), "--every", "1", "--often", "1", within=within).ready()

    nodes.on("nvmlInitWithFlags", "DRIVER_NOT_LOADED")
    module.rmdir()
    watch.wait_for(lambda line: line.get("what") == "driver-unloaded")
    nodes.on("nvmlInitWithFlags", "LIB_RM_VERSION_MISMATCH")
    (tmp_path / "module/other").mkdir()  # so that the next folder does not get the number of the one that is gone
    module.mkdir()
    watch.wait_for(lambda line: line.get("what") == "driver-loaded")
    opened = watch.wait_for(lambda line: line["kind"] == "incident" and line["event"] == "open")
    nodes.clear("do.nvmlInitWithFlags")
    time.sleep(2.5)  # read again, and well

    assert "system" == opened["verdict"]["family"]
    assert opened["where"]["gpu"] is None
    assert {opened["fingerprint"]} == {line["fingerprint"] for _, line in watch.lines if line["kind"] == "incident"}
    assert 0 == watch.stop()
    check_lines(watch)


def told(watch: Watching) -> list[tuple[str, int]]:
    return [
        (line["where"]["gpu"]["pci"], line["seen"])
        for _, line in watch.lines
        if line["kind"] == "incident" and line["event"] == "open"
    ]


def test_a_journal_that_is_rotated_and_a_reader_of_it_that_dies_cost_no_line_and_repeat_none(
    start: Start, tmp_path: Path
) -> None:
    """As journald does it: the file gets another name, and a new one is begun."""
    boot, folder = boot_id(), tmp_path / "journal"
    assert boot is not None
    journal.write(folder, boot, [OFF_BUS.format(pci="0000:15:00")], since=time.time() - 60)
    watch = start("--kmsg", str(tmp_path / "none"), "--journal", str(folder))
    watch.opened("0000:15:00")

    (folder / f"{boot}.journal").rename(folder / f"{boot}@1.journal")
    journal.write(folder, boot, [OFF_BUS.format(pci="0000:16:00")], since=time.time() - 30)
    watch.opened("0000:16:00")
    for child in watch.children():
        if b"journalctl" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(child, signal.SIGKILL)
    watch.wait_for(lambda line: line.get("what") == "log-unreadable")
    journal.write(tmp_path / "more", boot, [OFF_BUS.format(pci="0000:17:00")], since=time.time() - 10)
    (tmp_path / "more" / f"{boot}.journal").rename(folder / f"{boot}@2.journal")
    watch.opened("0000:17:00")

    assert [("0000:15:00.0", 1), ("0000:16:00.0", 1), ("0000:17:00.0", 1)] == told(watch)
    assert 0 == watch.stop()
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
