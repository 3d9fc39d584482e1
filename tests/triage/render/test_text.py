"""The text says everything a woken person needs, in order, and nothing that could hurt."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.triage.samples import assessment, off_bus, record, report_of
from triage.model import Device, Evidence
from triage.render.color import colored
from triage.render.layout import Look
from triage.render.safe import cells
from triage.render.text import render
from triage.render.words import number, where

Golden = Callable[[str, str], None]
HOSTILE = "NVRM: Xid (PCI:0000:4e:00): 79, name=\x1b[2J\x1b]52;c;\x07\u202eevil\x9b\0\r\nCRITICAL  all is well"


@pytest.mark.parametrize("width", [80, 120])
def test_a_report_as_text_is_golden(width: int, full: dict[str, Any], golden: Golden) -> None:
    """Every word and every line break, at the two usual widths."""
    golden(f"report_{width}.txt", render(full, Look(width)))


def test_a_report_without_incidents_is_golden(quiet: dict[str, Any], unknown: dict[str, Any], golden: Golden) -> None:
    """All is well, and nothing is known, are not the same."""
    golden("quiet.txt", render(quiet, Look(80)))
    golden("unknown.txt", render(unknown, Look(80)))


def test_an_incident_is_told_in_the_order_of_the_questions(full: dict[str, Any]) -> None:
    """Verdict, what happened, for, against, quiet, unknown, what would settle it, what to do, what it explains."""
    shown = render(full, Look(100))
    order = [
        "CRITICAL  gpu-0417 GPU 3 0000:4e:00.0  HARDWARE, very likely (0.97)",
        "WHAT HAPPENED",
        "EVIDENCE FOR HARDWARE",
        "EVIDENCE AGAINST HARDWARE",
        "CHECKED AND QUIET",
        "COULD NOT CHECK",
        "WHAT WOULD SETTLE IT",
        "WHAT TO DO NEXT",
        "EXPLAINS",
    ]

    assert sorted(order, key=shown.index) == order


@pytest.mark.parametrize("width", [40, 80, 100, 200])
def test_no_line_is_wider_than_asked(width: int, full: dict[str, Any]) -> None:
    """It is legible on a console of 80 columns."""
    assert [] == [line for line in render(full, Look(width)).splitlines() if cells(line) > width]


def test_colour_adds_nothing_but_colour(full: dict[str, Any]) -> None:
    """Without the escapes both forms are the same."""
    assert render(full, Look(80)) == re.sub(r"\x1b\[[0-9;]*m", "", render(full, Look(80, colored)))


def test_ascii_only_is_ascii_only(full: dict[str, Any]) -> None:
    """For a serial console."""
    full["node"] = "größe"

    assert render(full, Look(80, ascii_only=True)).isascii()
    assert "gr\\xf6\\xdfe" in render(full, Look(80, ascii_only=True))


def poisoned(value: Any, key: str = "") -> Any:
    """Return a report in which every free text is hostile."""
    free = (
        "node",
        "origin",
        "reason",
        "title",
        "summary",
        "why",
        "text",
        "do",
        "owner",
        "name",
        "serial",
        "uuid",
        "pci",
    )
    if isinstance(value, dict):
        return {name: poisoned(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [HOSTILE if isinstance(inner, str) else poisoned(inner, key) for inner in value]
    return HOSTILE if isinstance(value, str) and key in free else value


def test_no_foreign_text_reaches_the_terminal_raw(full: dict[str, Any]) -> None:
    """Whichever field it comes in by, and no line of it looks like one of ours."""
    report = poisoned(copy.deepcopy(full))
    shown = render(report, Look(100))

    assert HOSTILE.count("\x1b") * shown.count("\\x1b[2J") <= shown.count("\\x1b")
    assert shown.count("\\x1b[2J") > 20
    assert all(line.isprintable() for line in shown.splitlines())
    assert [] == [line for line in shown.split("\n") if line.startswith("CRITICAL  all is well")]


def test_a_log_line_takes_three_screen_lines_at_most() -> None:
    """One long line does not push the advice off the screen."""
    long = Evidence("e", "g", "seen", {"hardware.gpu": 1}, {}, "Why.", record=record("x" * 500, 1))
    shown = render(report_of(assessment(off_bus()._replace(evidence=(long,)))), Look(80))

    assert 3 == len([line for line in shown.splitlines() if "kernel:" in line or "xxx" in line])
    assert "[...]" in shown


@pytest.mark.parametrize(
    ("expected", "node", "device"),
    [
        ("gpu-0417 GPU 3 0000:4e:00.0", "gpu-0417", Device("0000:4e:00.0", index=3)),
        ("GPU GPU-5b1e", None, Device(uuid="GPU-5b1e")),
        ("GPU 0", None, Device(index=0)),
        ("n1 GPU (which one is not known)", "n1", Device()),
        ("n1 (whole node)", "n1", None),
        ("the node", None, None),
    ],
)
def test_a_place_is_named_as_far_as_it_is_known(expected: str, node: str | None, device: Device | None) -> None:
    """The index never stands where an identity is known, and is 0 for the first GPU."""
    assert expected == where(node, None if device is None else device._asdict())


@pytest.mark.parametrize(
    ("expected", "share"),
    [("0.97", 0.97), ("<0.01", 0.004), ("<0.01", 1e-9), ("0.00", 0.0), (">0.99", 0.9999), ("1.00", 1.0), ("0.50", 0.5)],
)
def test_a_probability_is_never_rounded_to_certainty(expected: str, share: float) -> None:
    """Nothing that is possible reads as impossible."""
    assert expected == number(share)


def test_an_interrupted_report_says_so_first(full: dict[str, Any]) -> None:
    """Nobody takes a part for the whole."""
    full["complete"] = False

    assert "INTERRUPTED" in render(full, Look(200)).splitlines()[0]


def test_open_questions_are_cut_where_they_no_longer_tell_much() -> None:
    """The weightiest five per reason, and how many are left out."""
    asked = [
        Evidence(f"q{n}", f"g{n}", "unknown", {}, {"hardware.gpu": n}, f"Question {n}.", reason="an excerpt")
        for n in range(1, 8)
    ]
    steps = tuple(f"Look {n}." for n in range(1, 8))
    shown = render(report_of(assessment(off_bus()._replace(evidence=tuple(asked), settle=steps))), Look(80))

    assert ["7", "6", "5", "4", "3"] == re.findall(r"- Question (\d)\.", shown)
    assert "- and 2 that weigh less" in shown
    assert ["1", "2", "3", "4", "5"] == re.findall(r"- Look (\d)\.", shown)
    assert "- and 2 that would tell less" in shown


def test_what_is_over_is_not_counted_among_the_severities(full: dict[str, Any]) -> None:
    """An "OK  1 critical" would help nobody."""
    for incident in full["incidents"]:
        incident["state"] = "resolved"
    full["status"] = "ok"

    first = render(full, Look(width=100)).splitlines()[0]

    assert first.startswith("OK ")
    assert f"{len(full['incidents'])} no longer open" in first
    assert "critical" not in first
