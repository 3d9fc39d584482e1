"""The examples in the description of the rule language are read by the loader itself."""

from __future__ import annotations

import re
from pathlib import Path

from triage.rulebook.lint import lint
from triage.rulebook.load import RULES, load

PAGE = RULES.parent / "docs" / "rules.md"
LINT = PAGE.read_text().partition("## What lint asks for")[2].partition("\n## ")[0]
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_the_examples_in_the_documentation_load_and_lint_clean(root: Path) -> None:
    """Only the names of other rules and signals that the examples mention are added."""
    rule, signals = EXAMPLES[:2]
    names = ("gpu-lost", "gsp-fault", "dpc")
    others = [f"  - {{id: {name}, match: {name}, says: A signal., examples: [{name}]}}\n" for name in names]
    xid = (root / "signals" / "gpu.yaml").read_text().split("  - id: aer-fatal")[0]
    (root / "signals" / "gpu.yaml").write_text(xid + "".join(others))
    (root / "signals" / "pci.yaml").write_text(signals)
    (root / "gpu-off-bus.yaml").write_text(rule)
    rulebook = load(root)
    assert [] == [p for p in lint(rulebook) if p.id != "tests"]
    assert {"gpu-off-bus", "compute-exception"} == {rule.id for rule in rulebook.rules}


def test_the_examples_of_site_rules_apply_to_the_shipped_rules(tmp_path: Path) -> None:
    change, disable = EXAMPLES[2:]
    (tmp_path / "change.yaml").write_text(change)
    (tmp_path / "disable.yaml").write_text(disable)
    shipped = {rule.id: rule for rule in load().rules}
    rulebook = load(overlays=[tmp_path], now=1.8e9)
    rules = {rule.id: rule for rule in rulebook.rules}
    items = {item.id: item for item in rules["gpu-off-bus"].evidence}

    assert shipped.keys() - rules.keys() == {"nouveau"}
    changed = rules["gpu-off-bus"]
    assert ("warning", 43200.0, 3600.0) == (changed.severity, changed.lasts, changed.look_before)
    assert 4 == changed.trigger.points["hardware.link"] == items["link-noise"].points["hardware.link"]
    assert "driver.module" not in items["link-noise"].points
    assert 2 == len(rulebook.notices)


def test_the_documentation_names_every_check_of_lint() -> None:
    from triage.rulebook import lint as module

    used = set(re.findall(r'_(?:error|warning)\([\w.]+, "([a-z-]+)"', Path(module.__file__).read_text()))
    assert used == set(re.findall(r"^    ([a-z-]+) {2,}", module.__doc__ or "", re.MULTILINE))
    assert used == set(re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (`.*?) \|", LINT, re.MULTILINE))))
