"""The rules hold on real logs with known causes: the figures never fall below their floors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from triage.evaluate import LEAVES, explain_text, judged, read_corpus
from triage.figures import Figures, Outcome, figures
from triage.model import Assessment
from triage.rulebook.load import load

FOLDER = Path(__file__).parent / "incidents"
FILES = sorted(FOLDER.glob("*.jsonl"))
FLOORS = json.loads((FOLDER / "floors.json").read_text(encoding="utf-8"))
RULEBOOK = load()

PRIVATE = re.compile(
    r"(?<![\d.])(?!(?:192\.0\.2|198\.51\.100|203\.0\.113|127\.0\.0|0\.0\.0)\.)"
    r"(?<!version )(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?![\d.])"
    r"|/(?:home|Users)/(?!user\d)[a-z]"
    r"|\b[\w.+-]+@[\w-]+\.(?:com|org|net|edu|io|de)\b"
)
"""Addresses but those set aside for documentation, home folders, mail addresses."""
HOST = re.compile(r"^\s*(?:[A-Z][a-z]{2} +\d+ [\d:]{8}|\d{4}-\d\d-\d\dT\S+) (\S+) \S+:", re.MULTILINE)
GIVEN = "localhost|dom0|nixos|pop-os|fedora|ubuntu|debian|archlinux|raspberrypi"
"""Host names that an installer gives and that name nobody."""
UNMET = {
    "dcgm-health": "opens on what dcgmi health --json prints; threads show its table, or one that says all is well",
    "dcgm-setting": "opens on what dcgmi diag --json prints; threads show its table",
    "pcie-link": "opens on the links of three GPUs or more, as lspci -vvv lists them; no log has a line of it",
}
"""Rules that no incident here meets, and why; they stand on their own tests."""
LOOKS_LIKE_A_LOG = re.compile(
    r"NVRM|Xid|NCCL|CUDA|PKCS#7|kernel|pcie|mlx5|DMAR|AMD-Vi|nouveau|amdgpu|error|BUG|nvme|mce|EDAC|nvidia"
    r"|fabric manager|\[ *\d+\.\d+\]|\w+: ",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def runs() -> dict[str, tuple[list[dict[str, Any]], list[Assessment], list[Outcome]]]:
    """Every incident through the walk, once; a crash fails here with its traceback."""
    found = {}
    for file in FILES:
        cases = list(read_corpus(file))
        said = [explain_text(RULEBOOK, case["log"]) for case in cases]
        found[file.stem] = (cases, said, [judged(c, a) for c, a in zip(cases, said, strict=True)])
    return found


@pytest.fixture(scope="module")
def results(runs: dict[str, tuple[Any, Any, list[Outcome]]]) -> dict[str, Figures]:
    return {name: figures(outcomes) for name, (_, _, outcomes) in runs.items()}


def test_there_are_enough_incidents_and_each_is_there_once(runs: dict[str, tuple[Any, Any, Any]]) -> None:
    cases = [case for listed, _, _ in runs.values() for case in listed]

    assert len(cases) >= 200
    assert len(cases) == len({case["id"] for case in cases})
    assert len(cases) == len({"".join(c for c in case["log"] if c.isalnum()) for case in cases})


def test_every_incident_names_its_public_thread(runs: dict[str, tuple[Any, Any, Any]]) -> None:
    cases = [case for listed, _, _ in runs.values() for case in listed]

    assert [] == [case["id"] for case in cases if not re.match(r"https://[\w.-]+/\S+$", case["url"])]


def test_logs_hold_log_lines_and_nobody_s_name(runs: dict[str, tuple[Any, Any, Any]]) -> None:
    cases = [case for listed, _, _ in runs.values() for case in listed]

    assert [] == [(case["id"], hit[0]) for case in cases if (hit := PRIVATE.search(case["log"]))]
    hosts = {(case["id"], host) for case in cases for host in HOST.findall(case["log"])}
    assert set() == {
        (name, host) for name, host in hosts if not re.fullmatch(r"(?:host|node)\d*|kernel:|CDT|\[.*|" + GIVEN, host)
    }
    assert [] == [case["id"] for case in cases if not LOOKS_LIKE_A_LOG.search(case["log"])]


def test_causes_and_grades_are_those_that_the_page_explains(runs: dict[str, tuple[Any, Any, Any]]) -> None:
    cases = [case for listed, _, _ in runs.values() for case in listed]

    assert set() == {cause for c in cases for cause in (c["cause"], *(c["secondary_causes"] or ()))} - LEAVES.keys()
    assert {"A", "B", "C", "D"} == {case["basis_grade"] for case in cases}


@pytest.mark.parametrize(("name", "figure"), [(name, figure) for name in FLOORS for figure in FLOORS[name]])
def test_a_figure_stays_above_its_floor(name: str, figure: str, results: dict[str, Figures]) -> None:
    assert getattr(results[name], figure) >= FLOORS[name][figure]


@pytest.mark.parametrize("name", [file.stem for file in FILES])
def test_no_wrong_cause_is_named_with_confidence(
    name: str, runs: dict[str, tuple[Any, Any, list[Outcome]]], results: dict[str, Figures]
) -> None:
    wrong = [o for o in runs[name][2] if o.known and o.result == "wrong" and o.confidence >= 0.9]

    assert [] == [(o.id, o.leaf, o.confidence, o.why) for o in wrong]
    assert (0, 0) == (results[name].confident_wrong, results[name].crashed)


def test_every_rule_meets_an_incident(runs: dict[str, tuple[Any, list[Assessment], Any]]) -> None:
    """A rule is met where it opened an incident, or where another one took its incident for a later symptom."""
    met = {incident.rule for _, said, _ in runs.values() for a in said for incident in a.incidents}
    titles = {text for _, said, _ in runs.values() for a in said for i in a.incidents for text in i.explains}
    met |= {rule.id for rule in RULEBOOK.rules if any(title.startswith(rule.title) for title in titles)}

    assert UNMET.keys() == {rule.id for rule in RULEBOOK.rules} - met
    assert [] == [rule.id for rule in RULEBOOK.rules if rule.id in UNMET and not rule.tests]
