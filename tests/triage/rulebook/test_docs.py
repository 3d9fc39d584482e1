"""The examples in the description of the rule language are read by the loader itself."""

from __future__ import annotations

import re
from pathlib import Path

from triage.rulebook.lint import lint
from triage.rulebook.load import RULES, load

PAGE = RULES.parent / "docs" / "rules.md"
LINT = PAGE.read_text().partition("## What lint asks for")[2]


def test_the_examples_in_the_documentation_load_and_lint_clean(root: Path) -> None:
    """Only the names of other rules and signals that the examples mention are added."""
    rule, signals = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = ("gpu-lost", "gsp-fault", "dpc")
    others = [f"  - {{id: {name}, match: {name}, says: A signal., examples: [{name}]}}\n" for name in names]
    xid = (root / "signals" / "gpu.yaml").read_text().split("  - id: aer-fatal")[0]
    (root / "signals" / "gpu.yaml").write_text(xid + "".join(others))
    (root / "signals" / "pci.yaml").write_text(signals)
    (root / "gpu-off-bus.yaml").write_text(rule)
    rulebook = load(root)
    assert [] == [p for p in lint(rulebook) if p.id != "tests"]
    assert {"gpu-off-bus", "compute-exception"} == {rule.id for rule in rulebook.rules}


def test_the_documentation_names_every_check_of_lint() -> None:
    from triage.rulebook import lint as module

    used = set(re.findall(r'_(?:error|warning)\([\w.]+, "([a-z-]+)"', Path(module.__file__).read_text()))
    assert used == set(re.findall(r"^    ([a-z-]+) {2,}", module.__doc__ or "", re.MULTILINE))
    assert used == set(re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (`.*?) \|", LINT, re.MULTILINE))))
