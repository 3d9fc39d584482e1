"""One GPU: every reading beside its peers and its limit, what stands apart first, and the incidents on it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tui.facts import WORDS
from tui.gpus import Check, GpuFacts, checks, gpus_of, number_of, peers_of
from tui.screens.base import TriageScreen
from tui.screens.node import INCIDENTS, incident_row
from tui.text import Line, Span, wrap
from tui.widgets.banner import Banner
from tui.widgets.lines import Lines
from tui.widgets.rows import Row
from tui.widgets.table import Column, Table

ROOMY = 110
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
    Column("note", "BESIDE ITS PEERS, OR WHY UNKNOWN", 0),
)


class GpuScreen(TriageScreen):
    """Shows the GPU with one key (its PCI address, where it has one)."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", id="table.filter"),
        Binding("left_square_bracket", "other(-1)", "GPU before", id="gpu.previous", show=False),
        Binding("right_square_bracket", "other(1)", "next GPU", id="gpu.next"),
    ]

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key
        self.own: GpuFacts | None = None

    @property
    def crumb(self) -> str:  # type: ignore[override]
        """Name it by its index and address."""
        return f"GPU {self.key}"

    def body(self) -> ComposeResult:
        """Make the headline and the two tables."""
        yield Banner(self._headline, id="headline")
        yield Table("incidents on this GPU", INCIDENTS, id="incidents", empty="none")
        yield Table("readings", CHECKS, id="checks", empty="this source has no readings; `gpu-triage` on the node does")

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
        columns = CHECKS if self.size.width >= ROOMY else _NARROW
        table.put([_row(check, own) for check in found], columns)
        self.query_one("#headline").refresh()

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


def _row(check: Check, own: GpuFacts) -> Row:
    style = "warning" if check.apart and check.known else ""
    cells: tuple[Span, ...] = (
        ("strong" if check.apart else "", check.name.removeprefix("gpu.")),
        (style if check.known else "unknown", check.now),
        ("", check.peers),
        ("", check.limit),
        (style if check.known else "faint", check.note),
    )
    number = number_of(own.readings.get(check.name))
    fields = {
        "check": check.name,
        "now": check.now if number is None else number,
        "peers": check.peers,
        "limit": check.limit,
        "note": check.note,
    }
    return Row(check.name, cells, fields)
