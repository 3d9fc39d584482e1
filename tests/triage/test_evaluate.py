"""The figures that tell how good the verdicts are must themselves be right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from triage.evaluate import Outcome, as_text, evaluate, figures, judge
from triage.rulebook.load import load

RULEBOOK = load()
MISMATCH = (
    "NVRM: API mismatch: the client has the version 535.54.03, but\nNVRM: this kernel module has the version 530.30.02."
)
OFF_BUS = "NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus."


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
    repair = "NVRM: Xid (PCI:0000:9d:00): 64, Row Remapper Error: (0x1) - All reserved rows for bank are remapped"
    log = f"{OFF_BUS}\n{repair}"

    assert "hardware.gpu" == case(log, "hardware", gpu_bdf="0000:9d:00.0").leaf
    assert "undetermined" == case(log, "hardware").leaf


def test_a_case_without_a_log_is_skipped() -> None:
    """It says nothing about reading logs."""
    assert "skipped" == case(None, "hardware").result


def outcome(result: str, leaf: str, confidence: float, cause: str = "hardware", grade: str = "A") -> Outcome:
    known = grade != "D" and cause != "unknown"
    return Outcome("x", cause, (cause,), known, grade, result, leaf, leaf, confidence, result == "right", "", ())


def test_the_figures_are_shares_of_the_right_wholes() -> None:
    """Coverage is of the known, accuracy of the decided."""
    result = figures(
        [
            outcome("right", "hardware.gpu", 0.85),
            outcome("right", "hardware.gpu", 0.95),
            outcome("wrong", "workload", 0.95),
            outcome("open", "undetermined", 0.5),
            outcome("wrong", "workload", 0.99, grade="D"),
            outcome("right", "undetermined", 0.5, cause="unknown", grade="D"),
            outcome("wrong", "workload", 0.9, cause="unknown", grade="D"),
        ]
    )

    assert (4, 3, 2, 1, 1) == (result.known, result.decided, result.right, result.wrong, result.confident_wrong)
    assert (0.75, 0.5) == (result.coverage, result.unknown_left_open)
    assert pytest.approx(2 / 3) == result.accuracy


def test_the_calibration_error_is_the_gap_between_said_and_right() -> None:
    """Two at 0.85 of which one was right are off by 0.35."""
    result = figures([outcome("right", "hardware.gpu", 0.85), outcome("wrong", "workload", 0.85)])

    assert pytest.approx(0.35) == result.calibration_error


def test_a_corpus_is_read_from_a_file_and_the_misses_are_listed(tmp_path: Path) -> None:
    """With what was said and why."""
    corpus = tmp_path / "corpus.jsonl"
    rows = [{"id": "a", "log": MISMATCH, "cause": "hardware"}, {"id": "b", "log": OFF_BUS, "cause": "hardware"}]
    corpus.write_text("\n".join(json.dumps(row) for row in rows))

    result, outcomes = evaluate(RULEBOOK, corpus)

    text = as_text(result, outcomes)
    assert "confident wrong   1" in text
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
