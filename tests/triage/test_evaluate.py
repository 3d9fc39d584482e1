"""The figures that tell how good the verdicts are must themselves be right."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from triage.evaluate import distinct, evaluate, explain_text, judge, reweighed
from triage.figures import Outcome
from triage.render.figures import details, side_by_side
from triage.rulebook.load import load

RULEBOOK = load()
MISMATCH = (
    "NVRM: API mismatch: the client has the version 535.54.03, but\nNVRM: this kernel module has the version 530.30.02."
)
OFF_BUS = "NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus."
REMAPPED = "NVRM: Xid (PCI:0000:9d:00): 64, Row Remapper Error: (0x1) - All reserved rows for bank are remapped"


def case(log: str | None, cause: str, **more: Any) -> Outcome:
    return judge(RULEBOOK, {"id": "x", "log": log, "cause": cause, "basis_grade": "A", **more})


def test_a_decided_leaf_that_names_the_cause_is_right() -> None:
    """Or a secondary cause; anything else is wrong."""
    assert "right" == case(MISMATCH, "configuration").result
    assert "right" == case(MISMATCH, "driver", secondary_causes=["configuration"]).result
    assert "wrong" == case(MISMATCH, "hardware").result


def test_undetermined_is_open_and_right_only_where_nothing_is_known() -> None:
    """Leaving the undecidable open is an answer."""
    assert "open" == case(OFF_BUS, "hardware").result
    assert "right" == case(OFF_BUS, "unknown").result


def test_finding_nothing_is_missed_unless_there_was_nothing() -> None:
    """Silence is right only for a healthy log."""
    assert "missed" == case("usb 1-1: new device", "hardware").result
    assert "right" == case("usb 1-1: new device", "none").result


def test_the_incident_on_the_named_gpu_is_looked_at() -> None:
    """Not the first one, where a log has several."""
    log = f"{OFF_BUS}\n{REMAPPED}"

    assert "hardware.gpu" == case(log, "hardware", gpu_bdf="0000:9d:00.0").leaf
    assert "undetermined" == case(log, "hardware").leaf


def test_a_case_without_a_log_is_skipped() -> None:
    """It says nothing about reading logs."""
    assert "skipped" == case(None, "hardware").result


def test_reweighing_is_what_reading_again_would_give() -> None:
    """What was seen does not depend on what it is worth."""
    log = f"{OFF_BUS}\n{REMAPPED}"
    heavy = tuple(
        rule._replace(trigger=rule.trigger._replace(points={"hardware.power": 7})) if rule.id == "gpu-off-bus" else rule
        for rule in RULEBOOK.rules
    )
    other = RULEBOOK._replace(rules=heavy)
    again, weighed = explain_text(other, log), reweighed(explain_text(RULEBOOK, log), other)

    assert [i.verdict for i in again.incidents] == [i.verdict for i in weighed.incidents]
    assert [(i.rule, i.severity, i.evidence) for i in again.incidents] == [
        (i.rule, i.severity, i.evidence) for i in weighed.incidents
    ]
    assert "hardware.power" in {i.verdict.leaf for i in weighed.incidents}


def test_logs_that_differ_only_in_numbers_are_one() -> None:
    """A corpus put together from several counts each incident once."""
    cases: list[dict[str, Any]] = [
        {"id": "a", "log": "[1.0] NVRM: Xid 79"},
        {"id": "b", "log": "[22.5]  NVRM: Xid 31"},
        {"id": "c", "log": None},
    ]

    assert ["a", "c"] == [case["id"] for case in distinct(cases)]


def test_a_corpus_is_read_from_a_file_and_the_misses_are_listed(tmp_path: Path) -> None:
    """With what was said and why."""
    corpus = tmp_path / "corpus.jsonl"
    rows = [{"id": "a", "log": MISMATCH, "cause": "hardware"}, {"id": "b", "log": OFF_BUS, "cause": "hardware"}]
    corpus.write_text("\n".join(json.dumps(row) for row in rows))

    result, outcomes = evaluate(RULEBOOK, corpus)

    text = f"{side_by_side({'rules': result})}\n{details(result, outcomes)}"
    assert re.search(r"confident wrong +1", text)
    assert "wrong    a: is hardware [C], said system.configuration" in text
    assert "versions-differ: {'system.configuration': 7}" in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not a JSON object"),
        ('{"id": "a"}', "no 'log'"),
        ('{"id": "a", "log": "", "cause": "gremlins"}', "gremlins"),
    ],
)
def test_a_line_that_is_no_case_is_named(tmp_path: Path, line: str, message: str) -> None:
    """By file and line number."""
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("\n" + line)

    with pytest.raises(ValueError, match=rf"corpus\.jsonl:2: .*{message}"):
        evaluate(RULEBOOK, corpus)
