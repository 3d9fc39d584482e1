"""What is told of a code is one object of plain values that its schema describes."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from probes.model import LogRecord
from triage import catalog, decode
from triage.assess import assess
from triage.catalog_entry import sxid_entry, told, xid_entry
from triage.rulebook.load import load
from triage.rulebook.model import Rulebook
from triage.scanner import Scanner
from triage.schema import XID

LINES = (
    "NVRM: Xid (PCI:0000:4e:00): 79, pid=811, name=python, GPU has fallen off the bus.",
    "NVRM: Xid (PCI:0000:4e:00): 13, pid=1, name=a, Graphics SM Warp Exception on (GPC 7, TPC 4, SM 0): Out Of Range",
    "NVRM: Xid (PCI:0000:4e:00): 31, Ch 8, intr 0. MMU Fault: ENGINE CE0 HUBCLIENT_CE0 faulted @ 0x0_00000000. x",
    "NVRM: Xid (PCI:0000:4e:00): 74, NVLink: fatal error detected on link 14(0x0, 0x0, 0x10000, 0x0, 0x0, 0x0, 0x8)",
    "NVRM: Xid (PCI:0000:4e:00 GPU-I:05): 94, Contained: LTC TAG (0x4, 0x1). physAddr: 0x12 RST: No, D-RST: No",
    "NVRM: Xid (PCI:0000:4e:00): 119, Timeout after 45s of waiting. Expected function 76 (GSP_RM_CONTROL) (0x1 0xb0).",
    "NVRM: Xid (PCI:0000:4e:00): 140, x DRAM:1, LTC:0, MMU:0, PCIE:0",
    "NVRM: Xid (PCI:0000:4e:00): 145, RLW_SRC_TRACK Nonfatal XC1 i0 Link 17 (0x04084507 0x00000004 0x0)",
    "NVRM: Xid (PCI:0000:4e:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)",
    "NVRM: Xid (PCI:0000:4e:00): 180, what nobody has heard of",
    "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x62:0x40:2168)",
    "nvidia-nvswitch2: SXid (PCI:0000:07:00.0): 22013, Non-fatal, Link 47 Minion Link DLREQ interrupt",
)


@cache
def rulebook() -> Rulebook:
    return load()


@cache
def validator() -> Any:
    return jsonschema.Draft202012Validator(json.loads(XID.read_text()))


def of_lines(*lines: str) -> dict[str, Any]:
    """Return what is told of lines of a kernel log."""
    records = [LogRecord(line, line=number) for number, line in enumerate(lines, 1)]
    signals = list(Scanner(rulebook()).scan(records))
    found = assess(rulebook(), records, (), (), node=None, now=0.0)
    return told(rulebook(), lines=signals, found=found)


def test_every_code_is_told_as_the_schema_says() -> None:
    """Known or not."""
    failures = [decode.init_failure("(0x62:0x40:1)"), decode.init_failure("(0x99:0x999:1)")]
    everything = told(
        rulebook(),
        xids=[*rulebook().xids, 0, 180, 9999],
        sxids=[*catalog.sxids(), 1, 99999],
        init=[failure for failure in failures if failure],
    )

    validator().check_schema(validator().schema)
    assert [] == [error.message for error in validator().iter_errors(json.loads(json.dumps(everything)))][:3]
    assert (180, 402, 2) == (len(everything["xids"]), len(everything["sxids"]), len(everything["init_failures"]))


def test_every_form_of_line_is_told_as_the_schema_says() -> None:
    """Each with what its text decodes to."""
    everything = of_lines(*LINES)
    forms = [line["decoded"]["form"] for line in everything["lines"] if line["decoded"]]

    assert [] == [error.message for error in validator().iter_errors(json.loads(json.dumps(everything)))][:3]
    assert sorted(validator().schema["$defs"]["decoded"]["properties"]["form"]["enum"]) == sorted(set(forms))


def test_every_known_xid_names_the_rules_that_it_opens() -> None:
    """Each with a favourite, what it weighs, and something to do at first."""
    for code in rulebook().xids:
        rules = xid_entry(code, rulebook())["rules"]
        assert rules, code
        for rule in rules:
            assert rule["favourite"] == next(iter(rule["before_evidence"])), rule
            assert rule["first"], rule
            assert all(tell["speaks_for"] and tell["points"] > 0 for tell in rule["tells_apart"])


def test_who_says_what_of_an_xid_is_told() -> None:
    """NVIDIA's two buckets and older table, and what two other tools make of it."""
    entry = xid_entry(94, rulebook())

    assert ("RESTART_APP", "IGNORE (sympathetic)") == (entry["bucket"], entry["investigate"])
    assert "Restart the program; the GPU itself may go on." == entry["bucket_means"]
    assert ["gpud", "DCGM health check 4.6"] == [other["tool"] for other in entry["others"]]
    assert ["A100", "H100", "B100", "GB200"] == entry["applies"]
    assert any("gpud calls it fatal" in text for text in entry["contradictions"])


def test_an_unknown_code_is_told_with_its_neighbours_and_its_rule() -> None:
    """It may be a newer driver's."""
    entry = xid_entry(180, rulebook())

    assert (False, [176, 185], None) == (entry["known"], entry["nearest"], entry["meaning"])
    assert ["xid-other"] == [rule["id"] for rule in entry["rules"]]
    assert [185] == xid_entry(9999, rulebook())["nearest"]
    assert [1] == xid_entry(0, rulebook())["nearest"]
    assert [30006] == sxid_entry(99999, rulebook())["nearest"]


def test_a_bare_code_lists_what_its_lines_may_say_and_a_line_only_what_it_says() -> None:
    """Rows of the NVLink table and recovery actions."""
    bare, line = told(rulebook(), xids=[145, 154]), of_lines(LINES[7], LINES[8])

    assert [33, 0] == [len(entry["rows"]) for entry in bare["xids"]]
    assert [0, 8] == [len(entry["actions"]) for entry in bare["xids"]]
    assert [0, 0] == [len(entry["rows"] + entry["actions"]) for entry in line["xids"]]
    assert ["RLW_SRC_TRACK"] == [row["unit"] for row in line["lines"][0]["decoded"]["rows"]]


def test_lines_are_told_once_per_code_with_what_they_conclude_together() -> None:
    """Two lines of one code are one entry, and both are listed."""
    everything = of_lines(LINES[0], LINES[0].replace("4e", "5f"), LINES[7])

    assert [79, 145] == [entry["code"] for entry in everything["xids"]]
    assert 3 == len(everything["lines"])
    assert "gpu-off-bus" in {verdict["rule"] for verdict in everything["verdicts"]}
    assert all(verdict["because"] and verdict["next"] for verdict in everything["verdicts"])


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_told_the_same_each_time(line: str) -> None:
    """Nothing depends on the clock or on the order of a set."""
    assert of_lines(line) == of_lines(line)
