"""The sum behind a verdict adds up, line by line, to the verdict that the report shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from triage.evaluate import explain_text
from triage.model import Incident
from triage.render.sums import incident_text, rule_text
from triage.rulebook.load import RULES, load

RULEBOOK = load()
DEMO = (RULES.parent / "examples" / "bus-errors-then-xid79.log").read_text(encoding="utf-8", errors="replace")
ALONE = "NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus."


def first(log: str) -> Incident:
    return explain_text(RULEBOOK, log).incidents[0]


@pytest.mark.parametrize("log", [DEMO, ALONE])
def test_the_last_probabilities_are_those_of_the_verdict(log: str) -> None:
    incident = first(log)
    makes = [line.split() for line in incident_text(incident, RULEBOOK).splitlines() if line.startswith("  makes ")]
    leading = next(iter(incident.verdict.by_leaf.values()))

    assert f"{leading:.3f}" == makes[-1][1]
    assert pytest.approx(1.0, abs=0.01) == sum(float(cell) for cell in makes[-1][1:])


def test_each_group_shows_its_points_and_who_spoke_in_it() -> None:
    text = incident_text(first(DEMO), RULEBOOK)

    assert re.search(r"^\+ bus +\+2", text, re.MULTILINE)
    assert re.search(r"^    link-noise seen(?: \d+ times)?: ", text, re.MULTILINE)
    assert "no-completion unknown, the log looks like an excerpt" in text
    assert "moved nothing:\n" in text


def test_what_decided_is_said_with_what_was_needed() -> None:
    text = incident_text(first(DEMO), RULEBOOK)

    assert text.count("  yes ") == 3
    assert re.search(r"groups that carry it: \d \(trigger, bus", text)
    assert "verdict: hardware.link" in text


def test_what_kept_it_open_is_said() -> None:
    text = incident_text(first(ALONE), RULEBOOK)

    assert "  NO  hardware holds " in text
    assert "groups that carry it: 1 (trigger); 2 are needed" in text
    assert "verdict: undetermined; hardware.link leads" in text


def test_an_item_that_decides_alone_is_named() -> None:
    mismatch = (
        "NVRM: API mismatch: the client has the version 535.54.03, but\n"
        "NVRM: this kernel module has the version 530.30.02."
    )

    assert "or one decisive item, which there is" in incident_text(first(mismatch), RULEBOOK)


def test_calibrated_confidence_is_marked() -> None:
    curved = RULEBOOK._replace(calibration=((0.0, 0.1), (1.0, 0.5)))

    assert "as computed" in incident_text(first(ALONE), RULEBOOK)
    assert "after calibration and cap" in incident_text(first(ALONE), curved)


@pytest.mark.parametrize("rule", RULEBOOK.rules, ids=lambda rule: rule.id)
def test_a_rule_tells_what_each_answer_would_change(rule: object) -> None:
    text = rule_text(rule, RULEBOOK)  # type: ignore[arg-type]

    assert all(f"  {item.id} seen: " in text for item in rule.evidence)  # type: ignore[attr-defined]
    assert "on the trigger alone:" in text


def test_the_page_about_rules_names_these_verbs() -> None:
    page = Path(RULES.parent / "docs" / "rules.md").read_text(encoding="utf-8")

    assert all(f"rules {verb} " in page for verb in ("explain", "evaluate", "fit", "calibrate", "replay"))
