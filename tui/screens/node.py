"""The first screen: what is wrong on this node, worst first, then its GPUs, then what was and was not read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from probes.pci import is_address
from triage.render.machine import to_json
from tui.facts import SEVERITIES, Facts, Incident, SourceRead
from tui.gpus import GpuFacts, gpus_of, number_of, value_words
from tui.look import Look
from tui.screens.base import TriageScreen
from tui.screens.changes import changed_rows
from tui.screens.incident import report_text, summary_rows
from tui.text import Line, Span, age, wrap
from tui.widgets import bars
from tui.widgets.banner import Banner
from tui.widgets.evidence import section
from tui.widgets.lines import Lines
from tui.widgets.page import Page, PageRow
from tui.widgets.rows import Row
from tui.widgets.table import Column, Table
from tui.widgets.timeline import timeline_rows
from tui.words import badness, clock, place, risk, severity, since, verdict_long, verdict_short

MOST = 3
"""Changes that are shown here; c lists all."""
WIDE = 150
"""Columns from which the incident under the cursor is shown beside the list."""

INCIDENTS = (
    Column("n", "#", 2, True, 100),
    Column("age", "AGE", 4, True),
    Column("sev", "SEV", 4),
    Column("state", "STATE", 6, least=110),
    Column("where", "WHERE", 12),
    Column("what", "WHAT", 0),
    Column("rule", "RULE", 18, least=130),
    Column("verdict", "VERDICT", 17),
    Column("sure", "SURE", 9),
    Column("times", "TIMES", 5, True, 90),
)
_GPU = (Column("g", "G", 2, True), Column("state", "STATE", 6), Column("bus", "BUS", 12))
_READ = (
    Column("temp", "TEMP", 5, True),
    Column("power", "POWER", 5, True),
    Column("util", "UTIL", 4, True),
    Column("mem", "MEM", 5, True),
    Column("eccu", "ECCu", 5, True),
    Column("rows", "ROWS", 5, True),
    Column("pcie", "PCIE", 5, True),
    Column("replays", "REPLAY", 6, True, 90),
    Column("clock", "SM MHz", 6, True, 96),
    Column("memtemp", "MEMT", 5, True, 104),
    Column("eccc", "ECCc", 6, True, 112),
    Column("nvlink", "NVL", 3, True, 116),
    Column("procs", "PROCS", 5, True, 120),
    Column("faults", "INCIDENTS", 0),
)
_NAMED = (
    Column("serial", "SERIAL", 15, least=100),
    Column("name", "NAME", 24, least=70),
    Column("faults", "INCIDENTS", 0),
)


class NodeScreen(TriageScreen):
    """Incidents above, GPUs below; on a wide screen the incident under the cursor beside them."""

    crumb = "node"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", id="table.filter", priority=True),
        Binding("l", "log", "log", id="node.log"),
        Binding("r", "rules", "rules", id="node.rules"),
        Binding("c", "changes", "changes", id="node.changes", show=False),
        Binding("i", "incident", "incident", id="node.incident", show=False),
        Binding("q", "back", "quit", id="screen.quit"),
        Binding("escape", "back", "quit", id="screen.back", show=False),
    ]

    def body(self) -> ComposeResult:
        """Make the status, the two tables and the page of events."""
        yield Banner(self._status, id="status")
        with Horizontal():
            with Vertical(id="left"):
                yield Table("incidents", INCIDENTS, id="incidents")
                yield Banner(self._answer, id="answer")
                yield Table("GPUs", (*_GPU, *_NAMED), id="gpus", empty="no GPU is named by any source")
                yield Page(id="events")
            with Vertical(id="right"):
                yield Page(id="preview")

    def on_resize(self) -> None:
        """Show the preview only where there is room for it."""
        wide, small = self.size.width >= WIDE, self.size.height < 16
        self.query_one("#right").display = wide
        self.query_one("#answer").display = not wide and not small
        self.query_one("#gpus").display = not small
        self.query_one("#events").display = not small

    def show(self) -> None:
        """Put the facts into the tables."""
        app = self.triage
        facts, now = app.facts, app.now()
        self.query_one("#status", Banner).renew()
        incidents = self.query_one("#incidents", Table)
        gpus = self.query_one("#gpus", Table)
        if facts is None:
            incidents.empty = app.failed or app.waiting()
            gpus.empty = "not known yet"
            incidents.put(())
            gpus.put(())
            self.query_one("#events", Page).put(lambda width, height: [])
            return
        incidents.empty = _none(facts)
        still = sum(each.state == "open" for each in facts.incidents)
        incidents.note = f"{still} open" if still != len(facts.incidents) else ""
        incidents.put([incident_row(each, n, now, self.look) for n, each in enumerate(facts.incidents, 1)])
        known = gpus_of(facts, app.readings)
        read = any(own.readings for own in known)
        gpus.note = "" if read or not known else "no readings in this source"
        gpus.empty = "no GPU is named by any source"
        gpus.put([gpu_row(own, read) for own in known], (*_GPU, *(_READ if read else _NAMED)))
        self.query_one("#events", Page).put(
            lambda width, height: event_rows(
                facts, width, self.look, changed_rows(app.changes, now, width, self.look, MOST)
            )
        )
        self._preview()

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Show the incident under the cursor."""
        if event.lines.id == "incidents":
            self._preview()

    def _answer(self, width: int, height: int) -> list[Line]:
        """The incident under the cursor in two lines: whose fault, how sure; what to do, at which risk, by whom."""
        incident = self._current()
        if incident is None:
            return []
        judged: list[Span] = [("", "   "), *verdict_long(incident.verdict)]
        if incident.next:
            step = incident.next[0]
            todo: list[Span] = [("strong", "   do first "), ("", f"[{risk(step.risk)[1]}; {step.owner}] {step.do}")]
        else:
            todo = [("strong", "   find out first "), ("", next(iter(incident.settle), "what the log says: l"))]
        return [tuple(judged), tuple(todo)]

    def _preview(self) -> None:
        self.query_one("#answer", Banner).renew()
        incident = self._current()
        page = self.query_one("#preview", Page)
        if incident is None:
            page.put(lambda width, height: [])
        else:
            page.put(lambda width, height: summary_rows(incident, width, self.look, brief=True))

    def _current(self) -> Incident | None:
        key = self.query_one("#incidents", Table).key
        return None if key is None or self.triage.facts is None else self.triage.facts.incident(key)

    def _status(self, width: int, height: int) -> list[Line]:
        facts = self.triage.facts
        if facts is None:
            return [(("unknown", f" {self.triage.failed or self.triage.waiting()}"),)]
        failed = self.triage.failed
        said = wrap([("unknown strong", f" the newest sweep failed: {failed}")], width, self.look, 2, most=2)
        return [status_line(facts), *(said if failed else ())]

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Open the incident or the GPU under the cursor."""
        if isinstance(event.lines, Table) and event.lines.key is not None:
            if event.lines.id == "incidents":
                self.triage.open_incident(event.lines.key)
            else:
                self.triage.open_gpu(event.lines.key)
        elif isinstance(event.lines, Page) and event.lines.key is not None:
            self.triage.open_key(event.lines.key, self._current())

    def action_incident(self) -> None:
        """Open the incident under the cursor."""
        incident = self._current()
        if incident is not None:
            self.triage.open_incident(incident.key)

    def action_log(self) -> None:
        """Open the log, at the incident under the cursor."""
        self.triage.open_log_of(self._current())

    def action_changes(self) -> None:
        """Open what changed lately."""
        self.triage.open_changes()

    def action_rules(self) -> None:
        """Open the rules, at that of the incident under the cursor."""
        incident = self._current()
        self.triage.open_rules(None if incident is None else incident.rule)

    def copied(self) -> str | None:
        """Return the line of the incident or GPU under the cursor."""
        if isinstance(self.focused, Table) and self.focused.id == "gpus" and self.focused.rows:
            return " ".join(text for _, text in self.focused.rows[self.focused.cursor].cells)
        incident = self._current()
        return None if incident is None else report_text(self.triage.facts, incident)

    def exported(self, form: str) -> str | None:
        """Return the whole report."""
        facts = self.triage.facts
        if facts is None:
            return None
        return to_json(facts.raw) if form == "json" else report_text(facts, None)


def status_line(facts: Facts) -> Line:
    """Return how the node stands: the status, what was found, and what could not be read."""
    still = [incident.severity for incident in facts.incidents if incident.state == "open"]
    counts = [f"{count} {name}" for name in SEVERITIES if (count := still.count(name))]
    if facts.incidents and not still:
        counts = [f"{len(facts.incidents)} no longer open"]
    spans: list[Span] = [(f"{facts.status} strong", f" {facts.status.upper()} ")]
    spans.append(("", f" {', '.join(counts) or ('no fault found' if facts.status == 'ok' else 'nothing can be said')}"))
    unread = [source for source in facts.sources if not source.readable]
    read = [source for source in facts.sources if source.readable]
    spans.append(("", f"   read: {', '.join(dict.fromkeys(source.kind for source in read)) or 'nothing'}"))
    if unread:
        spans.append(("unknown strong", f"   NOT READ: {', '.join(dict.fromkeys(source.kind for source in unread))}"))
    if not facts.complete:
        spans.append(("unknown strong", "   INTERRUPTED: more may be wrong"))
    return tuple(spans)


def _none(facts: Facts) -> str:
    if facts.status == "ok":
        return "none: no source that was read shows a fault"
    return "none found, but not everything could be read: see below"


def incident_row(incident: Incident, n: int, now: float, look: Look) -> Row:
    """Return an incident as a row; what a filter may ask of it stands in its fields."""
    last = since(incident)
    old = None if last is None else now - last
    verdict = verdict_short(incident.verdict)
    closed = incident.state != "open"
    where = place(incident.gpu, short=True)
    sev = severity(incident.severity)
    cells: tuple[Span, ...] = (
        ("", str(n)),
        ("", age(old)),
        ("faint" if closed else sev[0], sev[1]),
        ("", incident.state),
        ("", where),
        ("faint" if closed else "", incident.title),
        ("faint", incident.rule),
        verdict,
        bars.sure(incident.verdict, look),
        ("", str(incident.seen)),
    )
    fields = {
        "n": n,
        "age": old,
        "sev": f"{sev[1]} {incident.severity}",
        "state": incident.state,
        "where": f"{where} {place(incident.gpu)}",
        "what": f"{incident.title} {incident.summary}",
        "rule": incident.rule,
        "verdict": f"{incident.verdict.family} {incident.verdict.lead_leaf or ''} {verdict[1]}",
        "sure": incident.verdict.confidence,
        "times": incident.seen,
    }
    return Row(incident.key, cells, fields, badness(incident.severity, incident.state))


def gpu_row(own: GpuFacts, read: bool) -> Row:
    """Return a GPU as a row; a value that is not known is `?`, and the GPU keeps its line whatever happened to it."""
    gpu, state = own.gpu, own.state
    words = {"critical": "CRIT", "warning": "WARN", "ok": "ok"}.get(state, "?")
    if own.told is not None and not own.incidents:
        words = own.told.upper()
    faults = ", ".join(dict.fromkeys(f"{i.rule}{'' if i.state == 'open' else ' (closed)'}" for i in own.incidents))
    bus = gpu.pci if gpu.pci and is_address(gpu.pci) else (gpu.uuid or gpu.serial or "?")[:12]
    head: tuple[Span, ...] = (
        ("", "?" if gpu.index is None else str(gpu.index)),
        ("" if words == "?" else state, words),
        ("", bus),
    )
    fields: dict[str, str | int | float | None] = {"g": gpu.index, "state": words, "bus": bus, "faults": faults}
    if not read:
        fields |= {"serial": gpu.serial, "name": gpu.name}
        return Row(
            gpu.key, (*head, ("", gpu.serial or "?"), ("", gpu.name or "?"), ("", faults or "-")), fields, own.rank
        )
    names = {
        "temp": "gpu.temperature",
        "power": "gpu.power",
        "util": "gpu.utilization",
        "mem": "gpu.memory.used",
        "eccu": "gpu.ecc.uncorrected.volatile",
        "rows": "gpu.rows.uncorrected",
        "pcie": "gpu.pcie.width",
        "replays": "gpu.pcie.replays",
        "clock": "gpu.clock.sm",
        "memtemp": "gpu.temperature.memory",
        "eccc": "gpu.ecc.corrected.volatile",
        "nvlink": "gpu.nvlink.links",
        "procs": "gpu.processes",
    }
    cells = []
    for name, reading_name in names.items():
        reading = own.readings.get(reading_name)
        value = value_words(reading).replace(" GiB", "G").replace(" MiB", "M").replace(" MHz", "").replace(" ", "")
        if name == "pcie" and value != "?":
            value = f"{value_words(own.readings.get('gpu.pcie.generation'))}x{value}"
        cells.append(("unknown" if value == "?" else "", value))
        fields[name] = number_of(reading)
    return Row(gpu.key, (*head, *cells, ("", faults or "-")), fields, own.rank)


def event_rows(facts: Facts, width: int, look: Look, changed: Sequence[PageRow] = ()) -> list[PageRow]:
    """Return what was and was not read, the notices, what changed, and the lines that count of all incidents."""
    rows: list[PageRow] = []
    unread = [source for source in facts.sources if not source.readable]
    if unread or facts.notices:
        listed = [row for n, source in enumerate(unread) for row in _unread(source, n, width, look)]
        for n, notice in enumerate(facts.notices):
            listed += [PageRow(line, f"notice {n}") for line in wrap([("", f"  {notice}")], width, look, 4, most=2)]
        rows += section("not read, and notices", listed, width, look)
    if changed:
        rows += section("changed lately", changed, width, look)
    lines = timeline_rows(facts.incidents, width, look)
    if lines:
        rows += section("lines that count", lines, width, look, "of all incidents, in order; UTC")
    rows += section("read", [row for n, s in enumerate(facts.sources) if s.readable for row in _read(s, n, width, look)]
                    or [PageRow((("faint", "  nothing"),))], width, look)  # fmt: skip
    return rows


def _unread(source: SourceRead, n: int, width: int, look: Look) -> list[PageRow]:
    origin = "" if source.origin in ("?", "-") else f" {source.origin}"
    words = [("unknown strong", "  NOT READ"), ("", f" {source.kind}{origin}: {source.reason or 'no reason given'}")]
    return [PageRow(line, f"source {n}") for line in wrap(words, width, look, 4, most=2)]


def _read(source: SourceRead, n: int, width: int, look: Look) -> list[PageRow]:
    span = "" if source.start is None else f", {clock(source.start, day=True)} to {clock(source.end, day=True)}Z"
    count = "?" if source.records is None else f"{source.records:,}"
    reason = f"; {source.reason}" if source.reason else ""
    words = f"  {source.kind} {source.origin}: {count} records{span}{reason}"
    return [PageRow(line, f"source {n}") for line in wrap([("", words)], width, look, 4, most=2)]


def named(incidents: Sequence[Incident], text: str) -> Incident | None:
    """Return the incident that a person means by its number, its rule or its fingerprint."""
    if text.isdecimal() and 0 < int(text) <= len(incidents):
        return incidents[int(text) - 1]
    return next((each for each in incidents if text in (each.rule, each.key)), None)
