"""The BMC's event log is read from a real BMC: OpenIPMI's simulator, asked by the real ipmitool."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes import around, bmc, bmc_sensors
from probes.model import LogRecord, Missing
from tests.patience import until
from tests.ports import free_port

EMULATOR = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""
LAN = """\
name "bmc1"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  user 1 true  ""        "test" user     10       none md2 md5 straight
  user 2 true  "ipmiusr" "test" admin    10       none md2 md5 straight
"""
EVENTS = """\
0x04 0x0C 0x01 0x6F 0x01 0xFF 0xFF
0x04 0x08 0x02 0x6F 0x01 0xFF 0xFF
0x04 0x01 0x03 0x01 0x09 0xFF 0xFF
0x04 0x08 0x02 0x6F 0x03 0xFF 0xFF
"""
SAID = [
    "Memory #0x01 | Uncorrectable ECC | Asserted",
    "Power Supply #0x02 | Failure detected | Asserted",
    "Temperature #0x03 | Upper Critical going high | Asserted",
    "Power Supply #0x02 | Power Supply AC lost | Asserted",
]


def can_run() -> bool:
    there = shutil.which("ipmi_sim") is not None and shutil.which("ipmitool") is not None
    assert there or not os.environ.get("CI"), "openipmi and ipmitool are not installed"
    return there


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/ipmi0").touch()
    return tmp_path


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[list[str]]:
    """How the simulated BMC is asked."""
    if not can_run():
        pytest.skip("ipmi_sim or ipmitool is not installed: apt-get install openipmi ipmitool")
    port = free_port(socket.SOCK_DGRAM)
    (tmp_path / "bmc.emu").write_text(EMULATOR)
    (tmp_path / "lan.conf").write_text(LAN.format(port=port))
    (tmp_path / "state").mkdir()
    words = ["ipmi_sim", "-n", "-c", "lan.conf", "-f", "bmc.emu", "-s", "state"]
    quiet = subprocess.DEVNULL
    sim = subprocess.Popen(words, cwd=tmp_path, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
    ask = ["ipmitool", "-I", "lan", "-H", "127.0.0.1", "-p", str(port), "-U", "ipmiusr", "-P", "test"]
    try:
        asked = [*ask, "mc", "info"]
        until(lambda: sim.poll() is not None or subprocess.run(asked, capture_output=True).returncode == 0)
        assert sim.poll() is None, "ipmi_sim ended"
        yield ask
    finally:
        sim.kill()
        sim.communicate()


def set_clock(ask: list[str], at: float) -> None:
    stamp = [f"0x{byte:02x}" for byte in struct.pack("<I", int(at))]
    subprocess.run([*ask, "raw", "0x0a", "0x49", *stamp], check=True, capture_output=True, timeout=120)


def add(ask: list[str], tmp_path: Path) -> None:
    """Have the BMC note the events of `SAID`."""
    (tmp_path / "events").write_text(EVENTS)
    subprocess.run([*ask, "sel", "add", str(tmp_path / "events")], check=True, capture_output=True, timeout=120)


def read(root: Path, ask: list[str], seconds: float = 30.0) -> bmc.Told:
    told = bmc.probe(time.monotonic() + seconds, root, ask)
    assert told is not None
    return told


def test_events_of_the_bmc_are_records_with_their_times(root: Path, ask: list[str]) -> None:
    set_clock(ask, time.time())
    add(ask, root)
    told = read(root, ask)

    assert SAID == [record.message for record in told.records]
    assert {False} == {record.kernel for record in told.records}
    assert {"bmc-sel"} == {record.identifier for record in told.records}
    assert all(record.at is not None and abs(record.at - time.time()) < 60 for record in told.records)
    assert told.source.readable
    assert told.source.reason is None
    assert 4 == {r.name: r.value for r in told.readings}["bmc.events"]


def test_a_clock_that_is_hours_off_is_told_and_set_right(root: Path, ask: list[str]) -> None:
    set_clock(ask, time.time() + 7200)
    add(ask, root)
    told = read(root, ask)

    assert all(record.at is not None and abs(record.at - time.time()) < 60 for record in told.records)
    assert told.source.reason is not None
    assert "ahead of this node's" in told.source.reason
    offset = {r.name: r.value for r in told.readings}["bmc.clock-offset"]
    assert isinstance(offset, float)
    assert abs(offset - 7200) < 60


def test_an_event_from_before_the_clock_was_set_is_counted_but_is_no_evidence(root: Path, ask: list[str]) -> None:
    set_clock(ask, 41303)
    add(ask, root)
    told = read(root, ask)

    assert [] == told.records
    assert 4 == {r.name: r.value for r in told.readings}["bmc.events"]
    assert told.source.reason == "4 entries have no time and were left out; set the BMC's clock"


def test_an_event_of_last_month_is_no_evidence_of_today(root: Path, ask: list[str]) -> None:
    set_clock(ask, time.time() - 30 * 86400)
    add(ask, root)
    set_clock(ask, time.time())

    assert [] == read(root, ask).records


def test_reading_changes_nothing_in_the_bmc(root: Path, ask: list[str]) -> None:
    """`sel elist` would have ipmitool erase the sensor records of a BMC that has none."""

    def state() -> str:
        said = [subprocess.run([*ask, *words], capture_output=True, text=True, timeout=120).stdout for words in asked]
        return "".join(said)

    asked = (["sel", "info"], ["sdr", "info"])
    add(ask, root)
    before = state()
    read(root, ask)

    assert "Entries" in before
    assert before == state()


def test_a_bmc_that_does_not_answer_is_said_before_time_is_up(root: Path) -> None:
    if not can_run():
        pytest.skip("ipmitool is not installed")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        port = str(deaf.getsockname()[1])
        words = ["ipmitool", "-I", "lan", "-H", "127.0.0.1", "-p", port, "-U", "ipmiusr", "-P", "test"]
        began = time.monotonic()
        told = read(root, words, 1.0)

    assert time.monotonic() - began < 30
    assert not told.source.readable
    assert told.source.reason == "the event log of the BMC: it did not finish in time"
    assert [] == told.records
    assert {True} == {isinstance(reading.value, Missing) for reading in told.readings}


def test_without_a_device_there_is_no_bmc(tmp_path: Path) -> None:
    assert bmc.probe(time.monotonic() + 1, tmp_path, ["/bin/false"]) is None


@pytest.mark.parametrize(
    ("line", "at", "message"),
    [
        ("   1 | 11/26/2026 | 17:50:00 | Fan #0x30 | Lower Critical going low  | Asserted",
         1795715400.0, "Fan #0x30 | Lower Critical going low | Asserted"),
        ("  2a | 11/26/26 | 17:50:00 UTC | Power Supply #0x51 | Failure detected () | Asserted",
         1795715400.0, "Power Supply #0x51 | Failure detected () | Asserted"),
        ("   3 | 13/45/2026 | 17:50:00 | Memory | Uncorrectable ECC", None, "Memory | Uncorrectable ECC"),
        ("   4 |  Pre-Init  |0000041303| Memory \x1b[31m | ECC", None, "Memory ?[31m | ECC"),
    ],
)  # fmt: skip
def test_entries_are_read_in_each_form(line: str, at: float | None, message: str) -> None:
    record = bmc.parse(line)

    assert isinstance(record, LogRecord)
    assert (at, message) == (record.at, record.message)


@pytest.mark.parametrize("line", ["", "SEL has no entries", "zz | a | b | c", "1 | 2"])
def test_what_is_no_entry_is_no_record(line: str) -> None:
    assert bmc.parse(line) is None


# Its sensors

SENSORS = """\
Inlet Temp       | 04h | ok  |  7.1 | 22 degrees C
GPU5 Temp        | 5Ah | ucr |  7.5 | 94 degrees C
Exhaust Temp     | 01h | ns  |  7.1 | No Reading
Fan1A            | 30h | ok  |  7.1 | 5880 RPM
Fan2A            | 31h | lcr |  7.1 | 0 RPM
PS1 Status       | C8h | ok  | 10.1 | Presence detected
PS2 Status       | C9h | ok  | 10.2 | Presence detected, Power Supply AC lost
PS3 Status       | CAh | ok  | 10.3 |
VCORE            | 11h | ok  |  3.1 | 1.02 Volts
Temp\x1b[31m     | 12h | nc  |  3.1 | 900 degrees C
"""


def stand_in(root: Path, count: int = 200) -> list[str]:
    """A program in ipmitool's place, which notes what it was asked."""
    (root / "sensors").write_text(SENSORS)
    tool = root / "ipmitool"
    tool.write_text(
        f'#!/bin/sh\necho "$@" >> {root}/asked\n'
        f'[ "$2" = info ] && exec echo "Record Count                         : {count}"\nexec cat {root}/sensors\n'
    )
    tool.chmod(0o755)
    return [str(tool)]


def test_failed_power_supplies_and_fans_are_counted_and_named(root: Path) -> None:
    told = bmc_sensors.probe(time.monotonic() + 10, root, stand_in(root))
    assert told is not None

    assert {
        "bmc.power-supplies": 2, "bmc.power-supplies.critical": 1, "bmc.power-supplies.warning": 0,
        "bmc.power-supplies.which": "PS2 Status", "bmc.fans": 2, "bmc.fans.critical": 1, "bmc.fans.warning": 0,
        "bmc.fans.which": "Fan2A", "bmc.temperatures": 3, "bmc.temperatures.critical": 1,
        "bmc.temperatures.warning": 1, "bmc.temperatures.which": "GPU5 Temp", "bmc.temperature.highest": 94.0,
    } == {reading.name: reading.value for reading in told[0]}  # fmt: skip
    assert told[1].readable


def test_sensors_without_records_are_not_asked_for_that_would_erase_them(root: Path) -> None:
    told = bmc_sensors.probe(time.monotonic() + 10, root, stand_in(root, 0))
    assert told is not None

    assert ([], "the BMC has no records of its sensors") == (told[0], told[1].reason)
    assert "sdr info\n" == (root / "asked").read_text()


def test_a_real_bmc_without_records_keeps_what_it_has(root: Path, ask: list[str]) -> None:
    words = [*ask, "sdr", "info"]
    before = subprocess.run(words, capture_output=True, text=True, timeout=120).stdout
    told = bmc_sensors.probe(time.monotonic() + 30, root, ask)
    assert told is not None

    assert "Erase" in before
    assert not told[1].readable
    assert before == subprocess.run(words, capture_output=True, text=True, timeout=120).stdout


def test_only_who_is_patient_has_the_sensors_read(root: Path) -> None:
    (root / "usr/bin").mkdir(parents=True)
    Path(stand_in(root)[0]).rename(root / "usr/bin/ipmitool")
    hurried = around.begin(time.monotonic() + 10, root, patient=False).result(time.monotonic() + 10)
    patient = around.begin(time.monotonic() + 10, root).result(time.monotonic() + 10)

    assert ["bmc"] == [source.kind for source in hurried[2]]
    assert ["bmc", "bmc-sensors"] == [source.kind for source in patient[2]]
