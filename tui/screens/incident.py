"""One incident: what broke, whose fault, how sure and why; what could not be checked; what to do now.

At 80x24 everything is one page in the order in which it is asked.  On a wide
screen what happened and what to do stand beside the evidence.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from triage.history.people import Told
from triage.render.layout import Look as TextLook
from triage.render.machine import to_json
from triage.render.safe import safe
from triage.render.text import render
from tui.facts import Evidence, Facts, Incident, Step
from tui.look import Look
from tui.screens.base import TriageScreen
from tui.screens.changes import before, changed_rows
from tui.text import Line, Span, age, width_of, wrap
from tui.widgets import bars
from tui.widgets.banner import Banner
from tui.widgets.evidence import detail, nothing, rows, section, would_change
from tui.widgets.lines import Lines
from tui.widgets.page import Page, PageRow
from tui.widgets.timeline import timeline_rows
from tui.words import clock, place, risk, severity, verdict_long, witness_place

WIDE = 110
"""Columns from which two pages stand side by side."""
TALL = 32
"""Lines from which sentences are shown whole and each family has its line."""
WEEK = 7 * 86400.0
MOST_CHANGES = 5
MOST_LINES = 12
"""Lines of the timeline that are shown unless it is opened."""


class IncidentScreen(TriageScreen):
    """Shows the incident with one fingerprint, as long as reports have it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "rule", "rule", id="incident.rule"),
        Binding("l", "log", "log", id="incident.log"),
        Binding("z", "open", "more/less", id="incident.open"),
        Binding("a", "acknowledge", "acknowledge", id="incident.acknowledge"),
        Binding("d", "dispute", "dispute", id="incident.dispute"),
        Binding("left_square_bracket", "other(-1)", "incident before", id="incident.previous", show=False),
        Binding("right_square_bracket", "other(1)", "next incident", id="incident.next"),
    ]

    def __init__(self, fingerprint: str) -> None:
        super().__init__()
        self.fingerprint = fingerprint
        self.incident: Incident | None = None
        self.opened = False
        self._told_of: tuple[str, list[Told]] = ("", [])

    @property
    def crumb(self) -> str:  # type: ignore[override]
        """Name it by its rule and place."""
        return f"incident {self.incident.rule}" if self.incident is not None else "incident"

    def body(self) -> ComposeResult:
        """Make the headline, the pages and the note about the block under the cursor."""
        yield Banner(self._headline, id="headline")
        with Horizontal():
            with Vertical(id="left"):
                yield Page(id="main")
            with Vertical(id="right"):
                yield Page(id="aside")
        yield Banner(self._detail, id="detail")

    def on_resize(self) -> None:
        """Show one page or two."""
        self.query_one("#right").display = self.size.width >= WIDE
        self.query_one("#detail").styles.height = 7 if self.size.height >= TALL else 3
        self.show()

    def show(self) -> None:
        """Draw the incident as the newest report has it."""
        facts = self.triage.facts
        found = None if facts is None else facts.incident(self.fingerprint)
        if found is not None:
            self.incident = found
        incident = self.incident
        if incident is None:
            return
        main, aside = self.query_one("#main", Page), self.query_one("#aside", Page)
        brief = self.size.height < TALL
        if self.size.width >= WIDE:
            main.put(lambda w, h: self._judged(incident, w, brief))
            aside.put(lambda w, h: self._told(incident, w, False))
        else:
            main.put(lambda w, h: [*self._judged(incident, w, brief), *self._told(incident, w, brief)])
        self.query_one("#headline").refresh()
        self.query_one("#detail").refresh()

    def _judged(self, incident: Incident, width: int, brief: bool) -> list[PageRow]:
        return [
            *verdict_rows(incident, width, self.look, brief=brief, first=self.size.width < WIDE),
            *rows(incident, width, self.look, brief=brief, opened=self.opened),
        ]

    def _told(self, incident: Incident, width: int, brief: bool) -> list[PageRow]:
        look = self.look
        lines = timeline_rows([incident], width, look)
        most = len(lines) if self.opened else MOST_LINES
        more = [PageRow((("faint", f"      {len(lines) - most} more; z shows all"),), "more lines")]
        return [
            *next_rows(incident, width, look),
            *section("timeline", lines[:most] + (more if len(lines) > most else []), width, look, "UTC"),
            *self._changed(incident, width),
            *section("people", self._people(incident, width), width, look),
            *section("what would change the verdict", change_rows(incident, width, look), width, look),
            *(section("explains", _list(incident.explains, "explains", width, look), width, look,
                      "symptoms of this, not counted apart") if incident.explains else ()),
        ]  # fmt: skip

    def _changed(self, incident: Incident, width: int) -> list[PageRow]:
        """What changed before it, for most faults that are nobody's board begin with a change."""
        known = before(self.triage.changes, incident.opened_at, WEEK)
        if not known:
            return []
        rows = changed_rows(known, self.triage.now(), width, self.look, MOST_CHANGES)
        return section("changed in the week before it", rows, width, self.look)

    def _people(self, incident: Incident, width: int) -> list[PageRow]:
        """What people said of it, and how to say something."""
        app = self.triage
        known = [] if app.people is None else self._said(incident.key)
        rows: list[PageRow] = []
        for n, each in enumerate(known):
            words: list[Span] = [
                ("faint", f"  {clock(each.at, day=True)}Z "),
                ("strong", each.kind),
                ("", f" {each.says}"),
            ]
            rows += [PageRow(line, f"said {n}") for line in wrap(words, width, self.look, 4)]
        if app.people is None:
            return rows or nothing("nothing is kept of what people say of it")
        refusal = app.people.refusal()
        how = "a acknowledge  d dispute the verdict; both ask why" if refusal is None else f"READ-ONLY: {refusal}"
        return [*rows, *(PageRow(line, "people") for line in wrap([("faint", f"  {how}")], width, self.look, 2))]

    def _said(self, key: str) -> list[Told]:
        if self._told_of[0] != key and self.triage.people is not None:
            self._told_of = key, self.triage.people.told(key)
        return self._told_of[1]

    def action_acknowledge(self) -> None:
        """Ask why it is acknowledged."""
        self._ask_why("acknowledge ")

    def action_dispute(self) -> None:
        """Ask why the verdict is wrong."""
        self._ask_why("dispute ")

    def _ask_why(self, start: str) -> None:
        people = self.triage.people
        refusal = "there is no history here" if people is None else people.refusal()
        if refusal is not None:
            self.triage.say(f"READ-ONLY: {refusal}")
        else:
            self.ask(":", start)

    def say_of_it(self, what: str, words: str) -> None:
        """Write what a person says of this incident: `acknowledge` or `dispute`, the latter with the cause it was."""
        people, incident = self.triage.people, self.incident
        if people is None or incident is None:
            self.triage.say("READ-ONLY: there is no history here")
            return
        if what == "acknowledge":
            told = people.acknowledge(incident.raw, words)
        else:
            first, _, rest = words.partition(" ")
            rulebook = self.triage.rulebook()
            causes = {} if rulebook is None else rulebook.causes
            known = {*causes, *(cause.family for cause in causes.values())}
            told = people.dispute(incident.raw, rest if first in known and rest else words,
                                  first if first in known else None)  # fmt: skip
        self._told_of = "", []
        if self.triage.is_live:
            self.triage.ask_again()  # its state is now another
        self.show()
        self.triage.say(told)

    def _headline(self, width: int, height: int) -> list[Line]:
        incident, facts = self.incident, self.triage.facts
        if incident is None or facts is None:
            return [(("unknown", " this incident is in no report yet"),)]
        spans: list[Span] = [("", " "), severity(incident.severity), ("strong", f"  {place(incident.gpu)}  ")]
        spans.append(("", incident.title))
        rule: Span = ("faint", f"   rule {incident.rule} v{incident.rule_version}")
        if width_of(spans) + width_of([rule]) <= width:
            spans.append(rule)
        if incident.state != "open":
            spans.insert(1, ("strong", f"{incident.state.upper()} "))
        if facts.incident(self.fingerprint) is None:
            spans.insert(1, ("unknown strong", "NOT IN THE NEWEST REPORT "))
        return wrap(spans, width, self.look, 1, most=2)

    def _detail(self, width: int, height: int) -> list[Line]:
        incident, on = self.incident, self._key()
        if incident is None:
            return []
        item = self._item(on)
        if item is not None:
            return [*detail(item, incident, width, self.look)][:height]
        seen = f"seen {incident.seen} times" if incident.seen > 1 else "seen once"
        since = f"{clock(incident.opened_at, day=True)}Z to {clock(incident.last_seen_at, day=True)}Z"
        if incident.opened_at is None:
            since = "at an unknown time"
        elif incident.opened_at == incident.last_seen_at:
            since = f"at {clock(incident.opened_at, day=True)}Z ({age(self.triage.now() - incident.opened_at)} ago)"
        return wrap([("", f" {incident.summary}; "), ("faint", f"{seen}, {since}")], width, self.look, 1)[:height]

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Say more about the block under the cursor."""
        self.query_one("#detail").refresh()

    def on_descendant_focus(self) -> None:
        """The other page has the cursor now."""
        self.query_one("#detail").refresh()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Go where the block leads: evidence to its line in the log, a step to the clipboard."""
        on = self._key()
        if on is None or self.incident is None:
            return
        if on.startswith("more"):
            self.action_open()
        elif on.startswith("step"):
            self.action_copy()
        else:
            self.triage.open_key(on, self.incident)

    def action_rule(self) -> None:
        """Show the rule, at the item under the cursor."""
        item = self._item(self._key())
        if self.incident is not None:
            self.triage.open_rules(self.incident.rule, None if item is None else item.id)

    def action_log(self) -> None:
        """Show the log at the evidence under the cursor, else at the trigger."""
        item = self._item(self._key())
        self.triage.open_log_of(self.incident, item)

    def action_open(self) -> None:
        """Show all of the long lists, or only the head of each."""
        self.opened = not self.opened
        self.show()

    def action_other(self, by: int) -> None:
        """Show the incident before or after in the list."""
        facts = self.triage.facts
        keys = [] if facts is None else [incident.key for incident in facts.incidents]
        if self.fingerprint in keys and 0 <= (place := keys.index(self.fingerprint) + by) < len(keys):
            self.fingerprint = keys[place]
            for page in self.query(Page):
                page.cursor = page.top = 0
            self.show()
            self.tick()
        else:
            self.triage.say("that was the last incident" if by > 0 else "that was the first incident")

    def copied(self) -> str | None:
        """Return the command or the text of a step, the line of evidence, else the incident in words."""
        on, incident = self._key(), self.incident
        if incident is None:
            return None
        if on is not None and on.startswith("step"):
            step = incident.next[int(on.split()[1])]
            return step.command or step.do
        item = self._item(on)
        if item is not None:
            witness = item.witness
            return item.why if witness is None else f"{item.why}\n{witness_place(witness, item.at)}: {witness.text}"
        return report_text(self.triage.facts, incident)

    def exported(self, form: str) -> str | None:
        """Return this incident alone."""
        if self.incident is None:
            return None
        return to_json(self.incident.raw) if form == "json" else report_text(self.triage.facts, self.incident)

    def _key(self) -> str | None:
        page = self.focused if isinstance(self.focused, Page) else self.query_one("#main", Page)
        return page.key

    def _item(self, on: str | None) -> Evidence | None:
        if self.incident is None or on is None:
            return None
        number = on.partition(" ")[2].partition(" ")[0]
        if not on.startswith(("evidence", "line", "change")):
            return None
        return next((item for item in self.incident.evidence if str(item.number) == number), None)


def verdict_rows(incident: Incident, width: int, look: Look, *, brief: bool, first: bool) -> list[PageRow]:
    """Return the verdict in words, its bars and, if asked, the first thing to do or to find out."""
    verdict = incident.verdict
    lines: list[Line] = wrap([("", " "), *verdict_long(verdict)], width, look, 2, most=2)
    figures = (bars.compact if brief else bars.full)(verdict, width - 1, look)
    lines += [(("", " "), *line) for line in figures]
    if first and incident.next:
        step = incident.next[0]
        words: list[Span] = [("strong", " do first "), _risk(step), ("", f" {step.do}")]
        lines += wrap(words, width, look, 10, most=2)
    elif first and incident.settle:
        lines += wrap([("strong", " find out first "), ("", incident.settle[0])], width, look, 10, most=2)
    return section("verdict", [PageRow(line, "verdict") for line in lines], width, look)


def summary_rows(incident: Incident, width: int, look: Look, *, brief: bool) -> list[PageRow]:
    """Return the short form for a preview: verdict, evidence, steps."""
    head = wrap([("strong", f" {incident.summary}")], width, look, 1)
    return [
        *(PageRow(line) for line in head),
        *verdict_rows(incident, width, look, brief=False, first=False),
        *next_rows(incident, width, look),
        *rows(incident, width, look, brief=brief, opened=False),
    ]


def _risk(step: Step) -> Span:
    names, words = risk(step.risk)
    return names, f"[{words}]"


def next_rows(incident: Incident, width: int, look: Look) -> list[PageRow]:
    """Return the steps, each with what it risks."""
    steps = [row for n, step in enumerate(incident.next) for row in step_rows(step, n, width, look)]
    steps = steps or nothing("the rule names no step for this verdict")
    return section("next", steps, width, look, "printed, never run")


def step_rows(step: Step, place: int, width: int, look: Look) -> list[PageRow]:
    """Return a step with its risk and owner, and its exact command on a line of its own."""
    start = f"  {place + 1}  "
    words: list[Span] = [("strong", start), ("", step.do + " "), _risk(step), ("faint", f" {step.owner}")]
    lines = wrap(words, width, look, len(start))
    if step.command:
        lines += wrap([("", " " * len(start)), ("strong", step.command)], width, look, len(start) + 2)
    return [PageRow(line, f"step {place}") for line in lines]


def change_rows(incident: Incident, width: int, look: Look) -> list[PageRow]:
    """Return what a person can find out, then which open questions would turn or move the verdict, and to what."""
    listed = _list(incident.settle, "settle", width, look)
    for item in incident.evidence:
        turned = would_change(item, incident)
        if turned is not None:
            start: list[Span] = [("mark", f"  [{item.number}] ")]
            words: list[Span] = [*start, ("", f"{item.why} "), ("strong", turned)]
            listed += [PageRow(line, f"change {item.number}") for line in wrap(words, width, look, width_of(start))]
    return listed or nothing("nothing that is known of")


def _list(entries: Iterable[str], name: str, width: int, look: Look) -> list[PageRow]:
    return [
        PageRow(line, f"{name} {n}")
        for n, entry in enumerate(entries)
        for line in wrap([("", f"  - {entry}")], width, look, 4)
    ]


def report_text(facts: Facts | None, incident: Incident | None) -> str:
    """Return the report, or one incident of it, as `gpu-triage explain` prints it."""
    if facts is None:
        return ""
    report = facts.raw if incident is None else {**facts.raw, "incidents": [incident.raw]}
    try:
        return render(report, TextLook(100))
    except (KeyError, TypeError, AttributeError):  # a report of another version, or an edited one
        shown = facts.incidents if incident is None else (incident,)
        return "".join(f"{safe(each.severity)} {safe(each.summary)}\n" for each in shown)
