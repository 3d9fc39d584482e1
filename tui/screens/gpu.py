"""One GPU: every reading beside its peers and its limit, what stands apart first, and the incidents on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from triage.history.counters import LEVEL, kind
from tui.facts import WORDS
from tui.fleet.picture import Spread
from tui.gpus import Check, GpuFacts, checks, gpus_of, number_of, peers_of, range_words, value_words
from tui.screens.base import TriageScreen
from tui.screens.node import INCIDENTS, incident_row
from tui.text import Line, Span, age, heading, wrap
from tui.trend import Point, remembered, spark
from tui.widgets.banner import Banner
from tui.widgets.lines import Lines
from tui.widgets.rows import Row
from tui.widgets.table import Column, Table

ROOMY = 110
LEAST = 2
"""Points from which there is something to draw."""
_NARROW = (
    Column("check", "READING", 22),
    Column("now", "NOW", 16, True),
    Column("peers", "PEERS", 16, True),
    Column("limit", "LIMIT", 9, True, 200),
    Column("note", "WHY", 0),
)
CHECKS = (
    Column("check", "READING", 32),
    Column("now", "NOW", 24, True),
    Column("peers", "PEERS", 24, True),
    Column("limit", "LIMIT", 9, True),
    Column("past", "ITS 7 DAYS", 16, True, 150),
    Column("fleet", "FLEET, 90 %", 20, True, 150),
    Column("note", "BESIDE ITS PEERS, OR WHY UNKNOWN", 0),
)


class GpuScreen(TriageScreen):
    """Shows the GPU with one key (its PCI address, where it has one)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", id="table.filter", priority=True),
        Binding("left_square_bracket", "other(-1)", "GPU before", id="gpu.previous", show=False),
        Binding("right_square_bracket", "other(1)", "next GPU", id="gpu.next"),
    ]

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.own: GpuFacts | None = None
        self._past: tuple[tuple[str, float | None], dict[str, list[Point]]] = (("", None), {})

    @property
    def crumb(self) -> str:  # type: ignore[override]
        """Name it by its index and address."""
        return f"GPU {self.key}"

    def body(self) -> ComposeResult:
        """Make the headline and the two tables."""
        yield Banner(self._headline, id="headline")
        yield Table("incidents on this GPU", INCIDENTS, id="incidents", empty="none")
        yield Table("readings", CHECKS, id="checks", empty="this source has no readings; `gpu-triage` on the node does")
        yield Banner(self._course, id="course")

    def on_resize(self) -> None:
        """Use the columns that fit."""
        self.show()

    def show(self) -> None:
        """Put the readings beside those of the other GPUs."""
        facts = self.triage.facts
        if facts is None:
            return
        known = gpus_of(facts, self.triage.readings)
        self.own = next((own for own in known if own.gpu.key == self.key), self.own)
        if self.own is None:
            return
        own, now = self.own, self.triage.now()
        incidents = self.query_one("#incidents", Table)
        incidents.put([incident_row(each, n, now, self.look) for n, each in enumerate(own.incidents, 1)])
        table = self.query_one("#checks", Table)
        found = checks(own, known)
        apart = sum(check.apart for check in found)
        peers = len(peers_of(own, known))
        unknown = sum(not check.known for check in found)
        notes = [f"{apart} apart from {peers} peers"] * bool(peers and found) + [f"{unknown} not known"] * bool(unknown)
        table.note = ", ".join(notes)
        past, fleet = self._remembered(own), self.triage.spreads(own.gpu.name)
        without = {name for name, known in (("past", past), ("fleet", fleet)) if not known}
        columns = [each for each in CHECKS if each.name not in without] if self.size.width >= ROOMY else _NARROW
        table.put(
            [_row(check, own, columns, _past(check, own, past), _fleet(check, own, fleet)) for check in found], columns
        )
        self.query_one("#headline").refresh()
        self.query_one("#course").refresh(layout=True)

    def _headline(self, width: int, height: int) -> list[Line]:
        own = self.own
        if own is None:
            return [(("unknown", " this GPU is in no report yet"),)]
        gpu = own.gpu
        state = (own.told or WORDS[own.state]).upper() if own.state != "unknown" else "?"
        state = "ok" if own.state == "ok" else state
        known: list[Span] = [(own.state, f" {state}"), ("strong", f"  {gpu.name or 'GPU of unknown name'}  ")]
        for name, value in (("index", gpu.index), ("bus", gpu.pci), ("serial", gpu.serial), ("uuid", gpu.uuid)):
            known += [("faint", f"  {name} "), ("", "?" if value is None else str(value))]
        return wrap(known, width, self.look, 1, most=2)

    def _course(self, width: int, height: int) -> list[Line]:
        """How the reading under the cursor went: by the history where it is kept, else in the sweeps seen here."""
        own, name = self.own, self.query_one("#checks", Table).key
        if own is None or name is None:
            return []
        points, counts = self._remembered(own).get(name, []), kind(name) not in (LEVEL, None)
        what = "of it in 7 days, by the history"
        if len(points) < LEAST:
            points, counts = self.triage.trend.of(own.gpu.key, name), False
            what = f"{len(points)} sweeps in {age(points[-1][0] - points[0][0])}" if points else ""
        title = f"course of {name.removeprefix('gpu.')}"
        known = [value for _, value in points if value is not None]
        if len(points) < LEAST or not known:
            why = "read once here; more sweeps will show how it goes" if self.triage.is_live else "read once"
            return [heading(title, why, width, self.look)] if number_of(own.readings[name]) is not None else []
        reading = own.readings[name]
        low, high = (value_words(reading._replace(value=value)) for value in (min(known), max(known)))
        span = f"{'+' if counts else ''}{low}" if low == high else f"{low} to {high}"
        unknown = "; ? was not known" if len(known) < len(points) else ""
        note = f"{'increase ' if counts else ''}{what}; {span}{unknown}"
        line = spark(points, width - 4, self.look)
        return [heading(title, note, width, self.look), (("", f"   {line}"),)]

    def _remembered(self, own: GpuFacts) -> dict[str, list[Point]]:
        people = self.triage.people
        if people is None or not self.triage.is_live:
            return {}
        gpu = own.gpu
        subject = gpu.uuid or (f"serial:{gpu.serial}" if gpu.serial else gpu.pci) or ""
        asked = subject, None if self.triage.snapshot is None else self.triage.snapshot.at
        if self._past[0] != asked:
            self._past = asked, remembered(people.directory, subject, self.triage.now())
        return self._past[1]

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Show how the reading under the cursor went."""
        if event.lines.id == "checks":
            self.query_one("#course").refresh(layout=True)

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Open the incident under the cursor."""
        if event.lines.id == "incidents" and isinstance(event.lines, Table) and event.lines.key is not None:
            self.triage.open_incident(event.lines.key)

    def action_other(self, by: int) -> None:
        """Show the GPU before or after in the order of the bus."""
        facts = self.triage.facts
        keys = [] if facts is None else [own.gpu.key for own in gpus_of(facts, self.triage.readings)]
        if self.key in keys:
            self.key = keys[(keys.index(self.key) + by) % len(keys)]
            self.own = None
            self.show()
            self.tick()

    def copied(self) -> str | None:
        """Return the reading under the cursor."""
        table = self.query_one("#checks", Table)
        return None if not table.rows else " ".join(text for _, text in table.rows[table.cursor].cells if text)

    def exported(self, form: str) -> str | None:
        """Return the readings as a table of text."""
        rows = self.query_one("#checks", Table).rows
        if form != "text" or not rows:
            return None
        return "".join("\t".join(text for _, text in row.cells) + "\n" for row in rows)


def _past(check: Check, own: GpuFacts, known: Mapping[str, Sequence[Point]]) -> Span:
    """How a reading went in seven days: by how much it grew if it counts, else between what it lay."""
    points = [value for _, value in known.get(check.name, ()) if value is not None]
    if not points:
        return "faint", "-"
    if kind(check.name) not in (LEVEL, None):
        return "strong" if sum(points) else "", f"+{sum(points):g}"
    return "", range_words(min(points), max(points), own.readings[check.name])


def _fleet(check: Check, own: GpuFacts, known: Mapping[str, Spread]) -> Span:
    """Between what the middle nine tenths of the fleet's GPUs of this model lie."""
    spread, mine = known.get(check.name), number_of(own.readings[check.name])
    if spread is None:
        return "faint", "-"
    outside = mine is not None and not spread.low <= mine <= spread.high
    return "strong" if outside else "", range_words(spread.low, spread.high, own.readings[check.name])


def _row(check: Check, own: GpuFacts, columns: Sequence[Column], past: Span, fleet: Span) -> Row:
    style = "warning" if check.apart and check.known else ""
    cells: Mapping[str, Span] = {
        "check": ("strong" if check.apart else "", check.name.removeprefix("gpu.")),
        "now": (style if check.known else "unknown", check.now),
        "peers": ("", check.peers),
        "limit": ("", check.limit),
        "past": past,
        "fleet": fleet,
        "note": (style if check.known else "faint", check.note),
    }
    number = number_of(own.readings.get(check.name))
    fields = {
        "check": check.name,
        "now": check.now if number is None else number,
        "peers": check.peers,
        "limit": check.limit,
        "past": past[1],
        "fleet": fleet[1],
        "note": check.note,
    }
    return Row(check.name, tuple(cells[column.name] for column in columns), fields)
