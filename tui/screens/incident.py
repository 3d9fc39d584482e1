"""One incident: what broke, whose fault, how sure and why; what could not be checked; what to do now.

At 80x24 everything is one page in the order in which it is asked.  On a wide
screen what happened and what to do stand beside the evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from triage.render.layout import Look as TextLook
from triage.render.machine import to_json
from triage.render.safe import safe
from triage.render.text import render
from tui.facts import Evidence, Facts, Incident, Step
from tui.look import Look
from tui.screens.base import TriageScreen
from tui.text import Line, Span, age, padded, width_of, wrap
from tui.widgets import bars
from tui.widgets.banner import Banner
from tui.widgets.evidence import detail, nothing, rows, section, would_change
from tui.widgets.lines import Lines
from tui.widgets.page import Page, PageRow
from tui.words import clock, place, risk, severity, verdict_long, witness_place, witness_words

WIDE = 110
"""Columns from which two pages stand side by side."""
TALL = 32
"""Lines from which sentences are shown whole and each family has its line."""
MOST_LINES = 12
"""Lines of the timeline that are shown unless it is opened."""


class IncidentScreen(TriageScreen):
    """Shows the incident with one fingerprint, as long as reports have it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "rule", "rule", id="incident.rule"),
        Binding("l", "log", "log", id="incident.log"),
        Binding("z", "open", "more/less", id="incident.open"),
        Binding("left_square_bracket", "other(-1)", "incident before", id="incident.previous", show=False),
        Binding("right_square_bracket", "other(1)", "next incident", id="incident.next"),
    ]

    def __init__(self, fingerprint: str) -> None:
        super().__init__()
        self.fingerprint = fingerprint
        self.incident: Incident | None = None
        self.opened = False

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
            *section("what would change the verdict", change_rows(incident, width, look), width, look),
            *(section("explains", _list(incident.explains, "explains", width, look), width, look,
                      "symptoms of this, not counted apart") if incident.explains else ()),
        ]  # fmt: skip

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


def timeline_rows(incidents: Sequence[Incident], width: int, look: Look) -> list[PageRow]:
    """Return the log lines and readings that count, in order of time: each line once, with the numbers it bears.

    The number is that of the evidence; `T` is the line that opened the incident.
    """
    lines: dict[tuple[str | None, int | None, str], tuple[Evidence, list[str]]] = {}
    for incident in incidents:
        for item in incident.evidence:
            if item.witness is None or item.state == "unknown" or item.witness.missing is not None:
                continue
            where = (item.witness.origin, item.witness.line, item.witness.text or item.witness.name)
            label = "T" if item.id == "trigger" else f"[{item.number}]"
            lines.setdefault(where, (item, []))[1].append(label)
    found = []
    day = None
    for item, labels in sorted(lines.values(), key=lambda pair: _when(pair[0])):
        witness = item.witness
        assert witness is not None
        if item.at is not None and (today := clock(item.at, day=True)[:10]) != day:
            day = today
            found.append(PageRow((("faint", f"  {day}"),)))
        stamp = clock(item.at, millis=width > 100)
        if item.at is None and witness.monotonic is not None:
            stamp = f"+{witness.monotonic:.3f}s"
        size = max(8, len(stamp)) if item.at is not None else 12
        often = f" x{item.count}" if item.count > 1 else ""
        start: list[Span] = [
            ("", f"  {stamp:<{size}} "),
            ("mark", padded(" ".join(labels), max(6, len(" ".join(labels))), look) + " "),
        ]
        said = witness_words(witness)
        line: Line = (*start, ("strong" if "T" in labels else "", said), ("faint", often))
        found.append(PageRow(line, f"line {item.number} {witness.origin}:{witness.line}"))
    return found


def _when(item: Evidence) -> tuple[int, float, float]:
    witness = item.witness
    line = float(witness.line or 0) if witness is not None else 0.0
    if item.at is not None:
        return 0, item.at, line
    return 1, (witness.monotonic if witness is not None else None) or 0.0, line


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
