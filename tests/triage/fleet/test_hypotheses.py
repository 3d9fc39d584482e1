"""What a fault can follow is read from a file that says why, and mistakes in it are told with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.triage.fleet.places import rulebook
from triage.fleet.hypotheses import FILE, load
from triage.rulebook.problems import RulebookError


def test_the_shipped_file_is_sound() -> None:
    """Every one supports or opposes something, and a family means each of its leaves."""
    found = load(rulebook())

    assert all(hypothesis.points and hypothesis.why for hypothesis in found.all)
    driver = next(hypothesis for hypothesis in found.all if hypothesis.id == "follows-driver")
    assert driver.points["hardware.gpu"] == driver.points["hardware.host"] == -4


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "supports: {driver.firmware: strong}",
            "supports: {driver.firmvare: strong}",
            "unknown cause 'driver.firmvare'",
        ),
        ("ref: [titan]", "ref: [titanic]", "unknown reference 'titanic'"),
        ("    within: 3d\n", "", "after-driver-change: changed needs within"),
        ("kind: board", "kind: bored", "bored"),
        ("alpha: 0.01", "alpha: 0.5", "alpha"),
    ],
)
def test_a_mistake_is_told_with_its_place(old: str, new: str, said: str, tmp_path: Path) -> None:
    """As for any other rule file."""
    path = tmp_path / "hypotheses.yaml"
    text = FILE.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(RulebookError) as wrong:
        load(rulebook(), path)

    assert said in str(wrong.value)
    assert all(problem.place.line > 1 for problem in wrong.value.problems)
