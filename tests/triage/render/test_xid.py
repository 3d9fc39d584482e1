"""What is told of a code reads well, says everything, and shows foreign text harmlessly."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from probes.model import LogRecord
from tests.triage.rulebook.conftest import root  # noqa: F401  # a small rulebook, so that no change of a rule is felt here
from triage import catalog
from triage.assess import assess
from triage.catalog_entry import told
from triage.render.color import colored
from triage.render.layout import Look
from triage.render.safe import cells
from triage.render.xid import render
from triage.rulebook.load import load
from triage.rulebook.model import Rulebook
from triage.scanner import Scanner

Golden = Callable[[str, str], None]
LINE_149 = (
    "NVRM: Xid (PCI:0008:01:00): 149, NETIR_LINK_EVT Fatal XC0 i0 Link 08 "
    "(0x004505c6 0x00000000 0x00000000 0x00000000 0x00000000 0x00000000)"
)


@cache
def shipped() -> Rulebook:
    return load()


def of_lines(rulebook: Rulebook, *lines: str) -> dict[str, Any]:
    """Return what is told of lines of a kernel log."""
    records = [LogRecord(line, line=number) for number, line in enumerate(lines, 1)]
    found = assess(rulebook, records, (), (), node=None, now=0.0)
    return told(rulebook, lines=list(Scanner(rulebook).scan(records)), found=found)


def test_a_code_as_text_is_golden(root: Path, golden: Golden) -> None:  # noqa: F811
    """Every word and every line break; one that all agree on, and one that they do not."""
    rulebook = load(root)
    golden("xid_79.txt", render(told(rulebook, xids=[79]), Look(80)))
    golden("xid_31.txt", render(told(rulebook, xids=[31]), Look(80)))


def test_a_line_as_text_is_golden(root: Path, golden: Golden) -> None:  # noqa: F811
    """Taken apart, explained, and weighed."""
    golden("xid_149_line.txt", render(of_lines(load(root), LINE_149), Look(80)))


def test_a_switch_error_as_text_is_golden(root: Path, golden: Golden) -> None:  # noqa: F811
    """With how each source rates it."""
    golden("xid_sxid_20034.txt", render(told(load(root), sxids=[20034, 12028]), Look(80)))


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        (
            "74, NVLink: fatal error detected on link 14(0x200000, 0x0, 0x80, 0x0, 0x0, 0x0, 0x0)",
            ["link 14", "bit 21: signal-integrity", "bit 7: no source names it"],
        ),
        ("74, NVLink: failed to train link 3 to remote PCI:0000:86:00", ["link 3 could not be trained"]),
        (
            "154, GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)",
            ["from none to drain-and-reset", "let jobs finish then reset", "NVSentinel"],
        ),
        (
            "154, GPU recovery action changed from 0x0 (None) to 0x9 (Other)",
            ["recovery action 0x9 is not in the catalogue"],
        ),
        (
            "95, Uncontained: LTC TAG (0x2,0x0). physAddr: 0x1f RST: Yes, D-RST: No",
            ["not contained: other programs", "reset needed: yes; drain and reset: no", "0x1f"],
        ),
        (
            "13, Graphics SM Warp Exception on (GPC 7, TPC 4, SM 0): Out Of Range Address",
            ["warp exception on GPC 7, TPC 4, SM 0", "Out Of Range Address"],
        ),
        (
            "31, MMU Fault: ENGINE CE0 CLIENT_0 faulted @ 0x0_00000010. Fault is of type FAULT_PDE ACCESS_TYPE_READ",
            ["engine CE0, CLIENT_0", "0x10: next to null", "FAULT_PDE ACCESS_TYPE_READ"],
        ),
        (
            "119, Timeout after 45s of waiting for RPC response from GPU3 GSP! Expected function 76 (GSP_RM_CONTROL)",
            ["the driver waited for 45 s for the answer to GSP_RM_CONTROL"],
        ),
        ("140, x DRAM:1, LTC:0, MMU:2, PCIE:0", ["DRAM 1, LTC 0, MMU 2, PCIE 0"]),
        (
            "149, NETIR_LINK_DOWN Fatal XC0 i1 Link -1",
            ["no one link", "injected on purpose", "18 more rows", "has no registers"],
        ),
        (
            "149, NETIR_LINK_DOWN Fatal XC0 i0 Link 2 (0x02000011 0x0)",
            ["the other end of the link", "drivers 575 or later"],
        ),
        (
            "145, RLW_RXPIPE Nonfatal XC0 i0 Link 11 (0x00000086 0x00000004)",
            ["NVIDIA says software; rated nonfatal*", "RESET_GPU: End the programs"],
        ),
    ],
)
def test_what_a_line_says_is_told_in_words(line: str, parts: list[str]) -> None:
    """Each form of text that is taken apart."""
    shown = render(of_lines(shipped(), f"NVRM: Xid (PCI:0000:4e:00): {line}"), Look(200))

    assert [] == [part for part in parts if part not in shown]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_asked(width: int) -> None:
    """It is legible on any console."""
    everything = told(shipped(), xids=[13, 79, 110, 149, 154, 180], sxids=[20034, 10004, 5])
    shown = render(everything, Look(width)) + render(of_lines(shipped(), LINE_149), Look(width))

    assert [] == [line for line in shown.splitlines() if cells(line) > width]


def test_colour_adds_nothing_but_colour() -> None:
    """Without the escapes both forms are the same."""
    told_of = of_lines(shipped(), LINE_149)
    painted = render(told_of, Look(100, colored))

    assert "\x1b[" in painted
    assert render(told_of, Look(100)) == re.sub(r"\x1b\[[0-9;]*m", "", painted)


def test_foreign_text_is_shown_harmless() -> None:
    """A program chose its name, and whoever pastes the line has not read it."""
    line = "NVRM: Xid (PCI:0000:4e:00): 13, pid=1, name=\x1b[2J\u202eevil, Graphics Exception: \x9b31m\x07 all is well"
    shown = render(of_lines(shipped(), line), Look(100))

    assert not set("\x1b\x9b\x07\u202e") & set(shown)
    assert "\\x1b[2J" in shown


def test_every_code_can_be_shown() -> None:
    """No entry of the catalogue lacks what the text needs."""
    shown = render(told(shipped(), xids=shipped().xids, sxids=catalog.sxids()), Look(100))

    assert all(f"Xid {code}" in shown for code in shipped().xids)
    assert all(f"SXid {code}" in shown for code in catalog.sxids())
    assert "None" not in shown
