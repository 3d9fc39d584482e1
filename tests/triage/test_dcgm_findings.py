"""What DCGM found is known by its number or its text, looked up by name, and explained from a file."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from probes.model import LogRecord
from tests.probes.test_dcgm import failed, health
from tests.probes.test_dcgm_diag import FOUR, THREE
from triage import catalog, decode
from triage.assess import assess
from triage.cli.dispatch import main
from triage.rulebook.load import load
from triage.rulebook.model import Rulebook

HEALTH = {
    3: "Detected more than 8 PCIe replays per minute for GPU 1 : 29",
    4: "Detected 1 volatile double-bit ECC error(s) in GPU 1.",
    5: "More than 8 single-bit ECC error(s) detected in GPU 1 Volatile SBEs: 900",
    6: "A pending retired page has been detected in GPU 1.",
    7: "64 or more retired pages have been detected in GPU 1. ",
    8: "An excess of 15 retired pages due to DBEs have been detected and more than one page has been retired",
    9: "A corrupt InfoROM has been detected in GPU 1.",
    10: "Detected clocks event due to thermal violation in GPU 1.",
    11: "Cannot reliably read the power usage for GPU 1.",
    12: "Detected clocks event due to power violation in GPU 1.",
    13: "Detected 4 replay NvLink errors on GPU 1's NVLink which exceeds threshold of 1",
    14: "GPU 1's NvLink link 3 is currently down",
    15: "Detected fatal errors on NvSwitch 2 link 5",
    16: "Detected nonfatal errors on NvSwitch 2 link 5",
    70: "101.3 CRC NvLink errors found occurring per second on GPU 1, exceeding the limit of 100 per second.",
    71: "Detected 3 recovery NvLink errors on GPU 1's NVLink (should be 0)",
    80: "GPU 1 had uncorrectable memory errors and row remapping failed.",
    81: "GPU had an uncontained error (XID 95)",
    101: "Detected XID 48 for GPU 1",
    119: "Detected effective BER 1.00e-08 exceeds minimum threshold on GPU 1's NVLink.",
    120: "GPU 1 has fallen off the bus",
    121: "Detected symbol BER 1.00e-08 exceeds minimum threshold on GPU 1's NVLink.",
    122: "IMEX domain status is DOWN (2)",
    123: "GPU 1: Fabric State is In Progress (2).",
    125: "GPU 1 requires a reset to recover from a fault. Recovery action: 1 (GPU_RESET).",
    126: "GPU 1 fault may have left the OS in an inconsistent state. Recovery action: 2 (NODE_REBOOT).",
    127: "GPU 1 requires peer-to-peer traffic to be quiesced. Recovery action: 3 (DRAIN_P2P).",
    128: "GPU 1 operating at reduced capacity due to a fault. Recovery action: 4 (DRAIN_AND_RESET).",
    131: "GPU had a contained error.",
    132: "GPU 1 exceeded uncorrectable row remap limit with 512 remapped rows",
    29: "Persistence Mode: Persistence mode for GPU 1 is disabled.",
    52: "Found 3 faulty memory elements on GPU 1",
    86: "GPU 1 was unsuccessfully written to by GPU 2 in a peer-to-peer test: x",
    113: "GPU 1 was unsuccessfully written to by GPU 2 over PCIe in a peer-to-peer test: x",
    116: "GPU 1 unsuccessfully wrote data to GPU 2 over NVLink in a peer-to-peer test: x",
}
"""One message of each finding that DCGM's watches can have, and of some tests, as dcgm_errors.h has it printed."""


@cache
def rulebook() -> Rulebook:
    return load()


def test_all_numbers_of_dcgm_are_there_and_no_name_twice() -> None:
    entries = catalog.dcgm_errors()

    assert list(range(133)) == list(entries)
    assert 133 == len({entry.name for entry in entries.values()})


@pytest.mark.parametrize("code", HEALTH)
def test_a_message_of_the_watches_is_known_by_its_text_alone(code: int) -> None:
    assert catalog.dcgm_errors()[code].name == decode.dcgm_fields("-", HEALTH[code])["dcgm_name"]


def test_every_finding_opens_an_incident_or_is_none() -> None:
    """Those that nobody has heard of too."""
    quiet = {"none", "skipped"}
    for code in [*catalog.dcgm_errors(), 133, 9999]:
        line = f"dcgm diag: gpu 0000:4e:00.0 | memory | fail | {code} | text"
        found = assess(rulebook(), [LogRecord(line, kernel=False, identifier="dcgm")], (), (), node=None, now=0.0)
        entry = catalog.dcgm_errors().get(code)
        if entry is not None and entry.kind in quiet:
            assert [] == list(found.incidents), code
        else:
            assert [True] == [bool(incident.next) for incident in found.incidents], code


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert 0 == main(words)
    return capsys.readouterr().out


@pytest.mark.parametrize("asked", ["DCGM_FR_FAULTY_MEMORY", "faulty_memory", "dcgm 52", "DCGM:52"])
def test_a_finding_is_looked_up_by_name_or_number(asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = told(["xid", asked], capsys)

    assert "DCGM error 52 DCGM_FR_FAULTY_MEMORY" in shown
    assert "rule dcgm-diag" in shown


def test_a_slip_of_the_pen_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(["xid", "DCGM_FR_FAULTY_MEMRY"])
    assert "did you mean DCGM_FR_FAULTY_MEMORY?" in capsys.readouterr().err


def test_an_unknown_number_is_told_with_its_neighbour(capsys: pytest.CaptureFixture[str]) -> None:
    assert [[132]] == [e["nearest"] for e in json.loads(told(["xid", "dcgm 871", "--format", "json"], capsys))["dcgm"]]


def explained(path: Path, said: str, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    path.write_text(said)
    report = json.loads(told(["explain", "--format", "json", str(path)], capsys))
    return {incident["rule"]["id"]: incident for incident in report["incidents"]}


def test_a_result_file_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = explained(tmp_path / "diag.json", "Successfully ran diagnostic.\n" + json.dumps(FOUR, indent=1), capsys)

    assert ["dcgm-diag"] == list(found)
    assert "hardware.gpu" == found["dcgm-diag"]["verdict"]["leaf"]  # type: ignore[index]


def test_a_setting_beside_a_narrow_link_is_an_incident_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = explained(tmp_path / "diag.json", json.dumps(THREE), capsys)

    assert {"dcgm-setting": "info", "dcgm-diag": "warning"} == {name: one["severity"] for name, one in found.items()}
    assert "hardware.link" == found["dcgm-diag"]["verdict"]["leaf"]  # type: ignore[index]


def test_what_the_watches_said_elsewhere_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = health("Failure", {"1": failed(error=HEALTH[80])})
    path = tmp_path / "health.json"
    path.write_text(said)
    report = json.loads(told(["explain", "--format", "json", str(path)], capsys))

    assert [("dcgm", True)] == [(source["kind"], source["readable"]) for source in report["sources"]]
