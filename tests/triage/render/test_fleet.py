"""A fleet's report reads well at any width, gathers what is alike, and lets no name do harm."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.generated_fleet import fleet
from tests.triage.fleet.places import rulebook
from triage.fleet.gather import gather
from triage.fleet.hypotheses import load
from triage.fleet.model import TIMED_OUT, Answer
from triage.fleet.report import to_fleet_report
from triage.fleet.testify import find
from triage.render.fleet import render
from triage.render.layout import Look


@cache
def report() -> dict[str, Any]:
    """Three hundred nodes, one of which did not answer."""
    made = fleet(300, 2)
    answers = [*made.answers, Answer("gpu99999", TIMED_OUT, "no answer within 20 s; see whether it is up")]
    findings = find(gather(answers, made.places), load(rulebook()))
    notices = ["1 nodes are not in racks.csv: gpu99999"]
    told = to_fleet_report(findings, answers, rulebook(), generated_at=31 * 86400.0, notices=notices)
    return {**told, "tool": {"name": "gpu-triage", "version": "0"}}


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_is_as_it_was(width: int, golden: Callable[[str, str], None]) -> None:
    text = render(report(), Look(width=width))

    assert all(len(line) <= width for line in text.splitlines())
    golden(f"fleet_{width}.txt", text)


def test_a_fleet_without_incidents_says_so() -> None:
    """And that nothing was found, not that all is well with those that were silent."""
    quiet = {**report(), "patterns": [], "incidents": []}
    text = render(quiet, Look())

    assert "No incidents." in text
    assert "nothing that chance would not do as often" in text
    assert "gpu99999: no answer within 20 s" in text


def test_names_from_elsewhere_are_shown_and_not_obeyed() -> None:
    """A host may call itself what it likes."""
    hostile = {**report(), "notices": ["\x1b[2Jevil\u202egpj"], "nodes": {**report()["nodes"]}}
    hostile["nodes"]["silent"] = [{"node": "\x1b]0;x\x07", "state": "garbage", "reason": "a\nb"}]
    incident = dict(report()["incidents"][0])
    incident["where"] = {"node": "\x1b[31mred", "gpu": None}
    hostile["incidents"] = [incident]
    text = render(hostile, Look())

    assert not {c for c in text if not c.isprintable()} - {"\n"}
    assert "\\x1b[31mred" in text
