"""The README shows what the command really prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from triage.evaluate import evaluate
from triage.rulebook.load import load

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"<!-- output of make demo -->\n+```text\n(.*?)```\n", re.DOTALL)


FIGURES = re.compile(r"<!-- figures of the incident sets -->\n```text\n(.*?)```\n", re.DOTALL)


def stripped(text: str) -> list[str]:
    """Return the lines without trailing spaces."""
    return [line.rstrip(" ") for line in text.splitlines()]


def demo() -> str:
    """Run what `make demo` runs, once installed, and return what it prints."""
    words = re.search(r"^DEMO := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert words is not None
    asked = [sys.executable, "-m", "triage", *words[1].split()]
    plain = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    ran = subprocess.run(asked, cwd=ROOT, env=plain, capture_output=True, text=True, timeout=120)
    assert (0, "") == (ran.returncode, ran.stderr)
    return ran.stdout


def test_the_readme_shows_what_the_demo_prints() -> None:
    """The output block is the output, line by line."""
    block = BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert block is not None, "README.md has no block after <!-- output of make demo -->"
    if not block[1].strip():
        pytest.skip("the output block in README.md is still empty: paste what `make demo` prints")

    assert stripped(demo()) == stripped(block[1])


def measured() -> str:
    """Return the table of the README: how often the rules are right on each set of incidents."""
    lines = ["incidents  known cause  decided  right  leading cause right  wrong at 0.9 or more  undecidable left open"]
    for file in sorted((ROOT / "tests" / "incidents").glob("*.jsonl")):
        result, _ = evaluate(load(), file)
        lines.append(
            f"{file.stem:<9}  {result.known:>11}  {result.decided:>7}  {result.right:>5}  {result.top1 or 0:>19.2f}"
            f"  {result.confident_wrong:>20}  {result.unknown_left_open or 0:>21.2f}"
        )
    return "\n".join(lines) + "\n"


def test_the_readme_shows_the_figures_as_they_are() -> None:
    """A rule that changes them changes the README; `python -m tests.test_readme` prints the table."""
    block = FIGURES.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert block is not None

    assert stripped(measured()) == stripped(block[1])


def test_the_readme_names_only_make_targets_that_exist() -> None:
    """Whoever copies a command from the README gets what it says."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", readme, re.MULTILINE))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {"demo", "test"} <= named
    assert named <= targets


if __name__ == "__main__":
    print(measured(), end="")
