"""What happened while no watch ran, before a reboot too, and where /dev/kmsg may not be read."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path

from probes.follow import Follower, of_boot
from probes.model import LogRecord
from tests.patience import WITHIN
from tests.triage.watch import journal
from tests.triage.watch.conftest import Packets, Start, check_lines
from triage.history.store import open_store
from triage.watch.before import earlier
from triage.watch.telling import Cursor

OFF_BUS = "NVRM: Xid (PCI:{pci}): 79, pid=811, name=python, GPU has fallen off the bus."


def been_here(state: Path, boot: str, at: float) -> None:
    """Leave the state that a watch of that boot left."""
    state.mkdir(mode=0o700)
    with open_store(state, now=at) as store, store.transaction() as db:
        db.execute("INSERT INTO watch VALUES('cursor', ?)", (json.dumps([boot, 40, at]),))


def test_what_an_earlier_boot_logged_after_the_watch_had_ended_is_told_as_over(
    start: Start, packets: Packets, tmp_path: Path
) -> None:
    """The node lost a GPU and was rebooted before anybody looked; what the watch had seen itself is not read again."""
    boot, at = uuid.uuid4().hex, journal.yesterday()
    lines = [*["usb 1-1: new device"] * 30, OFF_BUS.format(pci="0000:14:00")]
    journal.write(tmp_path / "journal", boot, lines, since=at)
    been_here(tmp_path / "state", boot, at)
    packets.write("Linux version 6.18.0", level=5)
    watch = start("--kmsg", str(packets.path), "--journal", str(tmp_path / "journal"))

    line = watch.wait_for(lambda line: line["kind"] == "incident")

    assert ("resolved", "gpu-off-bus") == (line["event"], line["rule"]["id"])
    assert "0000:14:00.0" == line["where"]["gpu"]["pci"]
    assert "rebooted" in line["history"]["resolved_why"]
    assert 0 == watch.stop()
    assert [] == watch.notices("not-watched")
    check_lines(watch)


def test_a_reboot_of_which_no_journal_tells_is_said(start: Start, packets: Packets, tmp_path: Path) -> None:
    """Silence of a log that nobody has is no health."""
    (tmp_path / "journal").mkdir()
    been_here(tmp_path / "state", uuid.uuid4().hex, journal.yesterday())
    watch = start("--kmsg", str(packets.path), "--journal", str(tmp_path / "journal"))

    line = watch.wait_for(lambda line: line.get("what") == "not-watched")

    assert line["since"] is not None
    check_lines(watch)


def test_the_journal_of_one_boot_is_read_from_a_time_on(tmp_path: Path) -> None:
    """Only the kernel's records, and only of that boot."""
    boot, other, at = uuid.uuid4().hex, uuid.uuid4().hex, float(int(journal.yesterday()))
    journal.write(tmp_path / "journal", boot, [f"line {number}" for number in range(20)], since=at)
    journal.write(tmp_path / "journal", other, ["another boot"], since=at + 15)

    records = of_boot(boot, at + 10.5, WITHIN, ("--directory", str(tmp_path / "journal")))

    assert [f"line {number}" for number in range(10, 20)] == [record.message for record in records]
    assert {boot} == {record.boot for record in records}


def test_where_the_device_may_not_be_read_the_journal_is_followed(tmp_path: Path) -> None:
    """Its child ends with it, and the source says why it is not the device."""
    from probes.kernel_log import boot_id

    boot = boot_id()
    assert boot is not None
    journal.write(tmp_path / "journal", boot, [OFF_BUS.format(pci="0000:15:00")], since=time.time() - 60)
    with Follower(str(tmp_path / "none"), journal=("--directory", str(tmp_path / "journal"))) as follower:
        records: list[LogRecord] = []
        until = time.monotonic() + WITHIN
        while not records and time.monotonic() < until:
            records = follower.read()
            time.sleep(0.02)
        source = follower.source

    assert [79] == [79 for record in records if "Xid (PCI:0000:15:00): 79" in record.message]
    assert source.readable
    assert "no such file or directory reading" in str(source.reason)
    assert not follower.readable


PANIC = (
    "<0>[ 5012.100000] NVRM: Xid (PCI:0000:16:00): 79, pid=811, name=python, GPU has fallen off the bus.\n"
    "<0>[ 5012.200000] Kernel panic - not syncing: Fatal local machine check\n"
)


def dump(folder: Path, at: float) -> None:
    """What efi-pstore shows of a panic: one part, whose name holds when it was written."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"dmesg-efi_pstore-{(int(at) * 100 + 1) * 1000 + 1}").write_text(f"Panic#1 Part1\n{PANIC}")


def test_what_a_crash_left_in_pstore_is_told_where_the_journal_knows_nothing_of_it(
    start: Start, packets: Packets, tmp_path: Path
) -> None:
    boot, at = uuid.uuid4().hex, journal.yesterday()
    (tmp_path / "journal").mkdir()
    dump(tmp_path / "pstore", at + 60)
    been_here(tmp_path / "state", boot, at)
    packets.write("Linux version 6.18.0", level=5)
    watch = start(
        "--kmsg", str(packets.path), "--journal", str(tmp_path / "journal"), "--pstore", str(tmp_path / "pstore")
    )

    line = watch.wait_for(lambda line: line["kind"] == "incident" and line["rule"]["id"] == "gpu-off-bus")

    assert ("resolved", "0000:16:00.0") == (line["event"], line["where"]["gpu"]["pci"])
    assert 0 == watch.stop()
    assert [] == watch.notices("not-watched")
    check_lines(watch)


def test_of_a_crash_each_line_is_told_once_and_none_that_the_watch_saw(tmp_path: Path) -> None:
    """systemd-pstore keeps dumps for ever; those of before the cursor were told in their time."""
    boot, at = uuid.uuid4().hex, float(int(journal.yesterday()))
    journal.write(
        tmp_path / "journal", boot, ["usb 1-1: new device", PANIC.splitlines()[0].partition("] ")[2]], since=at + 50
    )
    dump(tmp_path / "pstore" / "later", at + 60)
    dump(tmp_path / "pstore" / "older", at - 3600)
    seen = Cursor(boot, 40, at)

    records = earlier(seen, ("--directory", str(tmp_path / "journal")), (tmp_path / "pstore", tmp_path / "none"))

    assert ["usb 1-1: new device", "NVRM: Xid", "Kernel panic - not syncing: Fatal local machine check"] == [
        record.message.partition(" (PCI")[0] for record in records
    ]
    assert {boot} == {record.boot for record in records}
    assert at + 60.0 == records[-1].at
