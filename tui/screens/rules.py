"""The rulebook: every rule in a list, the one under the cursor in plain words beside or below it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container

from triage.rulebook.model import Rulebook
from triage.rulebook.show import WIDTH, show_text
from tui.look import Look
from tui.screens.base import TriageScreen
from tui.text import heading, wrap
from tui.widgets.lines import Lines
from tui.widgets.page import Page, PageRow
from tui.widgets.rows import Row
from tui.widgets.table import Column, Table
from tui.words import severity

RULES = (
    Column("rule", "RULE", 18),
    Column("v", "V", 2, True),
    Column("status", "STATUS", 8, least=70),
    Column("sev", "SEV", 4),
    Column("scope", "SCOPE", 5, least=60),
    Column("items", "ITEMS", 5, True, 78),
    Column("title", "TITLE", 0),
)
WIDE = 150


class RulesScreen(TriageScreen):
    """Shows all rules, the cursor on the one that was asked for, its text at the item that was."""

    crumb = "rules"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("slash", "filter", "filter", id="table.filter", priority=True)]

    def __init__(self, rule: str | None = None, item: str | None = None) -> None:
        super().__init__()
        self._rule = rule
        self._item = item
        self._rulebook: Rulebook | None = None
        self._record: dict[str, tuple[int, int]] = {}

    def body(self) -> ComposeResult:
        """Make the list and the text."""
        with Container(id="rules-body"):
            yield Table("rules", RULES, id="rules", empty="the rulebook is being read")
            yield Page(id="rule")

    def on_resize(self) -> None:
        """Beside each other where there is room."""
        self.query_one("#rules-body").set_class(self.size.width >= WIDE, "-wide")

    def show(self) -> None:
        """Put the rules into the list, once."""
        rulebook = self.triage.rulebook()
        if rulebook is None or self._rulebook is not None:
            return
        self._rulebook = rulebook
        self._record = {} if self.triage.people is None else self.triage.people.record()
        table = self.query_one("#rules", Table)
        fired = {incident.rule for incident in self.triage.facts.incidents} if self.triage.facts is not None else set()
        rows = []
        for rule in sorted(rulebook.rules, key=lambda rule: (rule.id not in fired, rule.id)):
            name, words = severity(rule.severity)
            cells = (
                ("strong" if rule.id in fired else "", rule.id),
                ("", str(rule.version)),
                ("", rule.status),
                (name, words),
                ("", rule.scope),
                ("", str(len(rule.evidence))),
                ("", rule.title),
            )
            fields: dict[str, str | int | float | None] = {
                "rule": rule.id,
                "v": rule.version,
                "status": rule.status,
                "sev": f"{words} {rule.severity}",
                "scope": rule.scope,
                "items": len(rule.evidence),
                "title": f"{rule.title} {rule.summary}",
            }
            rows.append(Row(rule.id, cells, fields))
        table.note = f"{len(fired)} with an incident now, first" if fired else ""
        table.put(rows)
        if self._rule is not None and not table.go_to(self._rule):
            self.triage.say(f"the rulebook here has no rule '{self._rule}'; the report was made with another")
        self._text()

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Show the text of the rule under the cursor."""
        if event.lines.id == "rules":
            self._text()

    def _text(self) -> None:
        rulebook, rule = self._rulebook, self.query_one("#rules", Table).key
        page = self.query_one("#rule", Page)
        if rulebook is None or rule is None:
            return
        text = show_text(rulebook, rule)
        asked = self._item if rule == self._rule else None
        page.top = page.cursor = 0
        seen, wrong = self._record.get(rule, (0, 0))
        said = f"history of this machine: incidents {seen:,}, of which disputed {wrong:,}" if seen else ""
        page.put(lambda width, height: rule_rows(text, asked, width, self.look, said))
        if asked is not None:
            page.go_to(_key(asked))

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Move from the list to the text and back."""
        self.query_one("#rule" if event.lines.id == "rules" else "#rules").focus()

    def copied(self) -> str | None:
        """Return the rule in plain words."""
        rule = self.query_one("#rules", Table).key
        return None if self._rulebook is None or rule is None else show_text(self._rulebook, rule)

    def exported(self, form: str) -> str | None:
        """Return the rule in plain words."""
        return self.copied() if form == "text" else None


def rule_rows(text: str, asked: str | None, width: int, look: Look, record: str = "") -> list[PageRow]:
    """Return the text of a rule as blocks; the item that was asked for is marked, `record` is how it did so far."""
    rows: list[PageRow] = []
    key: str | None = None
    name = text.partition(":")[0]
    rows.append(PageRow(heading(name, "in plain words", width, look)))
    if record:
        rows += [PageRow(line) for line in wrap([("strong", f" {record}")], width, look, 3)]
    for n, line in enumerate(_unwrapped(text)):
        indent = len(line) - len(line.lstrip(" "))
        title = line.isupper() or line.startswith("EVIDENCE")
        if indent == 2 and line.strip():
            key = _key(line.split()[0].rstrip(","))
        elif indent < 2:
            key = None if not line.strip() or title else f"text {n}"
        styles = "strong" if title or indent == 2 else ""
        if asked is not None and key == _key(asked):
            styles = "mark"
        rows += [PageRow(each, key) for each in wrap([(styles, " " + line)], width, look, indent + 3)]
    return rows


def _unwrapped(text: str) -> list[str]:
    """Return the lines as they were before they were broken for a page: a broken one had no room for the next word."""
    whole: list[str] = []
    last = ""
    for line in text.splitlines():
        words = line.split()
        full = bool(words and last.strip()) and len(last) + 1 + len(words[0]) > WIDTH
        # A line that only happens to be full ends before a sentence that stands as far left as it began itself.
        if full and (_indent(line) > _indent(whole[-1]) or not words[0][0].isupper()):
            whole[-1] += " " + line.strip()
        else:
            whole.append(line)
        last = line
    return whole


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _key(item: str) -> str:
    return f"item {item}"
