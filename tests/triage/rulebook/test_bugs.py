"""The table of driver bugs is read, and what is wrong with a row is said where it stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from triage.rulebook.lint import lint
from triage.rulebook.load import RulebookError, load
from triage.rulebook.model import Seen, Select

TABLE = """schema: 1
bugs:
  - id: bus-lost
    fault: The first drivers of the branch lost the bus.
    leaf: driver.module
    shows:
      - {xid: 79, where: {text: 'fallen'}}
    beside: {of: aer-fatal, when: before, within: 5s, at_least: 2}
    since: {570: 570.86.15}
    fixed: {565: never, 570: "570.169"}
    do: Update.
    sources: ["https://example.org/notes"]
    examples: ["NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus."]
"""
ITEM = """  - id: known
    known_bug: {leaf: driver}
    supports: {driver: moderate}
    why: This driver version is known for it.
"""
PLACE = "rules/catalog/driver-bugs.yaml"

Written = Callable[..., list[str]]


@pytest.fixture
def written(root: Path) -> Written:
    """Write the table with replacements, weighed by a rule, and return what is wrong with the rulebook."""

    def write(*replacements: tuple[str, str], weigh: bool = True) -> list[str]:
        text = TABLE
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        (root / "catalog" / "driver-bugs.yaml").write_text(text)
        rule = root / "gpu-off-bus.yaml"
        if weigh and "known_bug" not in rule.read_text():
            rule.write_text(rule.read_text().replace("actions:\n", f"{ITEM}actions:\n", 1))
        try:
            return [f"{p.place}: {p.message}" for p in lint(load(root)) if "driver-bugs" in str(p.place)]
        except RulebookError as error:
            return [str(problem) for problem in error.problems]

    return write


def test_a_row_becomes_a_value(root: Path, written: Written) -> None:
    assert [] == written()
    (bug,) = load(root).bugs
    assert (Select(xids=(79,), where={"text": "fallen"}),) == bug.shows
    assert Seen(Select(signals=("aer-fatal",)), "node", "before", 5.0, 2) == bug.beside
    assert ({"565": "never", "570": "570.169"}, {"570": "570.86.15"}) == (bug.fixed, bug.since)
    assert (None, None, ("https://example.org/notes",)) == (bug.flavour, bug.gpu, bug.sources)


def test_a_rulebook_without_the_table_knows_no_bugs(root: Path) -> None:
    assert () == load(root).bugs


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"570.169"', "570.169", f"{PLACE}:10:30: '570' in fixed must be text, not 570.169; quote it"),
        ('"570.169"', '"575.64"', f"{PLACE}:10:12: 'fixed' has 575.64 for branch 570 in driver bug 'bus-lost'"),
        ('"570.169"', "never", f"{PLACE}:10:12: driver bug 'bus-lost' is fixed nowhere; a row names the version"),
        ("since: {570", "since: {575", f"{PLACE}:10:12: 'since' has 570.86.15 for branch 575 in driver bug 'bus-lost'"),
        ("570.86.15", "570.172.08", "begins in 570.172.08, which is not before its fix in 570.169"),
        ("leaf: driver.module", "leaf: driver.modula", f"{PLACE}:5:11: unknown cause 'driver.modula'"),
        ("{xid: 79, where: {text: 'fallen'}}", "{of: trigger}", "so 'trigger' means nothing in it"),
        ("of: aer-fatal", "of: aer-fata", f"{PLACE}:8:18: unknown signal 'aer-fata'; did you mean 'aer-fatal'?"),
        ("    do: Update.\n", "", f"{PLACE}:3:5: missing key 'do' in driver bug 'bus-lost'"),
        ("'fallen'", "'(?<=fallen)'", "RE2 refuses 'where' for text"),
        ("text: 'fallen'", "text: '0000:4e:00.0'", "in 'where' for text is a PCI address: it fits one case only"),
        ("text: 'fallen'", "txt: 'fallen'", "no field 'txt' in xid; did you mean 'text'?"),
        ("xid: 79", "xid: 5555", "Xid 5555 is not in catalog/xid.yaml"),
        ("lost the bus.", "lost the bus", "'fault' of bus-lost is not one sentence"),
    ],
)
def test_what_is_wrong_with_a_row_is_said_where_it_stands(written: Written, old: str, new: str, message: str) -> None:
    problems = written((old, new))
    assert any(message in problem for problem in problems), problems


def test_a_row_that_stands_twice_is_reported(written: Written) -> None:
    again = TABLE.partition("bugs:\n")[2]
    assert any("driver bug 'bus-lost' exists already" in problem for problem in written((again, again + again)))


def test_a_row_that_no_rule_weighs_is_reported(written: Written) -> None:
    assert [f"{PLACE}:3:5: no rule weighs the known bugs of driver.module"] == written(weigh=False)
