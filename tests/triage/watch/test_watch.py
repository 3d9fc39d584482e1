"""A watch tells what opens, changes and ends, once, whatever happens to it."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from probes.stuck import start_of
from tests.fake_nvml import Scenario
from tests.kernel_ring import address
from tests.patience import until
from tests.triage.watch.conftest import Packets, Start, check_lines, inject, is_open

OFF_BUS = "NVRM: Xid (PCI:{pci}): 79, pid=811, name=python, GPU has fallen off the bus."


@pytest.mark.usefixtures("kernel_log")
def test_a_line_written_to_the_kernel_log_becomes_an_open_incident(start: Start) -> None:
    """At once, for the line itself wakes the watch, which else looks every five seconds; and marked as injected."""
    watch = start().ready()
    delays = []
    for pci in [address() for _ in range(5)]:
        at = inject(OFF_BUS.format(pci=pci))
        line = watch.opened(pci)
        delays.append(next(when for when, told in watch.lines if told is line) - at)
        assert ("gpu-off-bus", "critical") == (line["rule"]["id"], line["severity"])
        assert line["evidence"][0]["source"]["injected"] is True

    assert 0 == watch.stop()
    check_lines(watch)
    assert min(delays) < 2.0, delays  # each were five seconds if nothing woke it, however fast the machine


@pytest.mark.usefixtures("kernel_log")
def test_what_happens_while_it_is_down_is_told_and_what_was_told_is_not_told_again(start: Start) -> None:
    """It is killed without a chance to tidy up."""
    before, after, meanwhile = address(), address(), address()
    first = start().ready()
    inject(OFF_BUS.format(pci=before))
    told = first.opened(before)
    inject(OFF_BUS.format(pci=after))
    first.opened(after)  # by when it is noted that the one before was told
    first.stop(signal.SIGKILL)
    inject(OFF_BUS.format(pci=meanwhile))

    second = start()
    line = second.opened(meanwhile)

    assert 0 == second.stop()
    assert [] == second.opens(before)
    assert line["id"] > told["id"]
    assert second.lines[0][1]["after"] is not None
    assert second.lines[-1][1]["complete"] is True


@pytest.mark.usefixtures("kernel_log")
def test_killed_at_random_moments_it_loses_nothing_and_numbers_what_it_repeats(start: Start) -> None:
    """A line comes twice only if the kill hit between its leaving and the note of that, and then with the same id."""
    rng = random.Random(8)
    places = [address() for _ in range(8)]
    raw: list[bytes] = []
    for pci in places:
        watch = start()
        if rng.random() < 0.7:
            watch.wait_for(lambda line: line["kind"] == "watching")
        time.sleep(rng.random() * 0.3)
        inject(OFF_BUS.format(pci=pci))
        time.sleep(rng.random() * 0.05)
        watch.stop(signal.SIGKILL)
        raw += [line for line in watch.raw if b'"kind":"incident"' in line]
    last = start().ready()
    assert 0 == last.stop()
    lines = [(told["id"], told) for _, told in last.lines if told["kind"] == "incident"]
    lines += [(told["id"], told) for told in map(json.loads, raw)]
    by_id: dict[int, dict[str, object]] = {}
    for number, told in lines:
        assert by_id.setdefault(number, told) == told

    opens = [told for told in by_id.values() if told["event"] == "open"]
    assert [1] * len(places) == [sum(is_open(told, pci) for told in opens) for pci in places]


def test_it_drains_when_it_is_told_to_end(start: Start, packets: Packets) -> None:
    """What stands in the log when SIGTERM comes is still told, and no child is left."""
    watch = start("--kmsg", str(packets.path)).ready().listens()
    watch.halt()
    children = {pid: start_of(pid) for pid in watch.children()}
    packets.write(OFF_BUS.format(pci="0000:10:00"))
    os.kill(watch.process.pid, signal.SIGTERM)
    os.kill(watch.process.pid, signal.SIGCONT)

    assert 0 == watch.stop(signal.SIGCONT)
    assert 1 == len(watch.opens("0000:10:00"))
    assert ("end", True) == (watch.lines[-1][1]["kind"], watch.lines[-1][1]["complete"])
    assert children
    # One that was at a reading is killed by the kernel once the watch has ended.
    until(lambda: not [pid for pid, began in children.items() if began is not None and start_of(pid) == began])


def test_records_that_were_overwritten_are_counted_and_told(start: Start, packets: Packets) -> None:
    """With how many, and when."""
    watch = start("--kmsg", str(packets.path)).ready()
    packets.write("usb 1-1: new device", seq=10)
    packets.write("usb 1-2: new device", seq=4321)

    line = watch.wait_for(lambda line: line.get("what") == "records-lost")

    assert 4310 == line["lost"]
    assert "(11 to 4320)" in line["says"]
    assert None not in (line["since"], line["until"])
    check_lines(watch)


def test_a_counter_opens_an_incident_without_any_line(start: Start, nodes: Scenario, packets: Packets) -> None:
    """At the next reading."""
    watch = start("--every", "1", "--kmsg", str(packets.path)).ready()
    nodes.gpu(1).set("rows.failure", 1)

    line = watch.wait_for(lambda line: line.get("event") == "open")

    assert ("gpu-memory", 1) == (line["rule"]["id"], line["where"]["gpu"]["index"])


def test_trouble_is_looked_for_more_often_than_the_rest(start: Start, nodes: Scenario, packets: Packets) -> None:
    """A brief reading finds it; a GPU that is lost then is read as a whole, so that no old value speaks for it."""
    watch = start("--every", "86400", "--often", "1", "--kmsg", str(packets.path)).ready()
    nodes.gpu(1).set("rows.failure", 1)
    failed = watch.wait_for(lambda line: line.get("event") == "open")
    assert ("gpu-memory", 1) == (failed["rule"]["id"], failed["where"]["gpu"]["index"])
    nodes.gpu(2).lost()
    lost = watch.wait_for(lambda line: line.get("event") == "open" and line["fingerprint"] != failed["fingerprint"])

    # Which one it is only the bus could tell now, and there is none here.
    assert "gpu-off-bus" == lost["rule"]["id"]


def test_an_xid_that_only_nvml_tells_opens_an_incident(start: Start, nodes: Scenario, packets: Packets) -> None:
    """For the kernel log may have lost it; where the log tells it too, it is the log's and counted once."""
    watch = start("--kmsg", str(packets.path)).ready().listens()
    packets.write(OFF_BUS.format(pci="0000:11:00"))
    nodes.event(gpu=1, data=79)
    nodes.event(gpu=2, data=79)

    both, alone = watch.opened("0000:11:00"), watch.opened("0000:12:00")

    assert 0 == watch.stop()
    assert ("/dev/kmsg" in both["evidence"][0]["source"]["origin"]) or both["evidence"][0]["source"]["origin"] == str(
        packets.path
    )
    assert "nvml-events" == alone["evidence"][0]["source"]["origin"]
    last = [told for _, told in watch.lines if told.get("fingerprint") == both["fingerprint"]][-1]
    assert 1 == last["seen"]


def test_a_driver_that_hangs_holds_nothing_up(start: Start, nodes: Scenario, packets: Packets) -> None:
    """Lines of the log are told meanwhile, and the GPU that does not answer is an incident."""
    nodes.gpu(3).on("nvmlDeviceGetTotalEccErrors", "hang")
    watch = start("--every", "1", "--no-events", "--kmsg", str(packets.path)).ready()
    for bus in range(0x10, 0x20):
        began = watch.asked("nvmlInit")
        until(lambda: watch.asked("nvmlDeviceGetTotalEccErrors"))
        packets.write(OFF_BUS.format(pci=f"0000:{bus:02x}:00"))
        watch.opened(f"0000:{bus:02x}:00")
        if watch.asked("nvmlInit") == began:  # the driver is still being asked what it was asked before
            break
    else:
        raise AssertionError("no line was told while the driver hung")

    line = watch.wait_for(lambda line: line.get("rule", {}).get("id") == "nvml-unresponsive")
    assert 3 == line["where"]["gpu"]["index"]


def test_a_person_who_resolves_an_incident_is_heard(start: Start, packets: Packets) -> None:
    """It is told as resolved with the next reading."""
    from probes.moment import moment
    from triage.history.people import resolve
    from triage.history.store import open_store

    watch = start("--every", "1", "--no-events", "--kmsg", str(packets.path)).ready()
    packets.write(OFF_BUS.format(pci="0000:10:00"))
    opened = watch.opened("0000:10:00")
    with open_store(packets.path.parent / "state", now=time.time(), patience=30.0) as store:
        watch.reads()
        resolve(store, opened["fingerprint"], moment(), "riser reseated")

    line = watch.wait_for(lambda line: line.get("event") == "resolved")

    assert opened["fingerprint"] == line["fingerprint"]
    assert "riser reseated" in line["history"]["resolved_why"]
    check_lines(watch)


STORM = 20_000
"""Lines, as fast as they are taken."""


def test_a_storm_is_counted_and_not_kept(start: Start, packets: Packets) -> None:
    """Ten thousand lines a second of ever new text: memory stays bounded, and what matters is still told."""
    watch = start("--kmsg", str(packets.path)).ready()
    for number in range(STORM):
        packets.press(f"NVRM: Xid (PCI:0000:12:00): 31, pid={number}, name=p{number}, MMU Fault {number:x}")
    packets.press(OFF_BUS.format(pci="0000:13:00"))

    watch.opened("0000:13:00")
    status = Path(f"/proc/{watch.process.pid}/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0])

    assert peak < 120_000, f"{peak} kB"
    assert 0 == watch.stop()
    assert len(watch.lines) < STORM // 100
