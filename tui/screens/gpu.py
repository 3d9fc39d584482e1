"""One GPU: every reading beside its own past, its peers, the fleet and its limit, and the incidents on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from probes.model import Reading
from tui.facts import WORDS
from tui.fleet.picture import Spread
from tui.gpus import APART, Check, GpuFacts, checks, gpus_of, number_of, peers_of, range_words, value_words
from tui.plot import DAY, HOUR, SCALE, columns, line, plot
from tui.screens.base import TriageScreen
from tui.screens.node import INCIDENTS, incident_row
from tui.text import Line, Span, age, clean, heading, width_of
from tui.trend import PERIOD, WEEK, Course, Lay, remembered, spark
from tui.widgets.banner import Banner
from tui.widgets.lines import Lines
from tui.widgets.rows import Row
from tui.widgets.table import Column, Table

ROOMY = 110
LEAST = 2
"""Points from which there is something to draw."""
HEIGHTS = ((45, 10), (30, 6), (0, 3))
"""From so many lines of the screen on, the lines of a plot."""
_NARROW = (
    Column("check", "READING", 15),
    Column("now", "NOW", 9, True),
    Column("past", "{days} DAYS", 13, True),
    Column("fleet", "FLEET 90%", 13, True),
    Column("peers", "PEERS", 11, True),
    Column("limit", "LIMIT", 8, True),
    Column("note", "WHY", 0),
)
CHECKS = (
    Column("check", "READING", 26),
    Column("now", "NOW", 18, True),
    Column("past", "ITS {days} DAYS", 14, True),
    Column("course", "HOW IT WENT", 28, False, 170),
    Column("peers", "PEERS", 14, True),
    Column("fleet", "FLEET, 90 %", 14, True),
    Column("limit", "LIMIT", 9, True),
    Column("note", "WHY IT STANDS OUT, OR IS UNKNOWN", 0),
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
        self._asked: tuple[str, float | None] = ("", None)
        self._past: dict[str, Course] = {}

    @property
    def _days(self) -> int:
        """For so long the past is known: a node's own history tells of a week, a fleet's store of its sweeps."""
        return round((WEEK if self.triage.is_live else PERIOD) / DAY)

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
        self._remember(own)
        fleet = self.triage.spreads(own.gpu.name)
        roomy = self.size.width >= ROOMY
        without = {"past", "course"} if not self._past else set() if roomy else {"fleet"}
        without |= set() if fleet else {"fleet"}
        columns = [
            each._replace(title=each.title.format(days=self._days))
            for each in (CHECKS if roomy else _NARROW)
            if each.name not in without
        ]
        table.put([self._row(check, own, columns, fleet) for check in found], columns)
        self.query_one("#headline").refresh()
        self.query_one("#course", Banner).renew()

    def _headline(self, width: int, height: int) -> list[Line]:
        own = self.own
        if own is None:
            return [(("unknown", " this GPU is in no report yet"),)]
        gpu = own.gpu
        state = (own.told or WORDS[own.state]).upper() if own.state != "unknown" else "?"
        state = "ok" if own.state == "ok" else state
        lines: list[list[Span]] = [
            [(own.state, f" {state}"), ("strong", f"  {clean(gpu.name or 'GPU of unknown name', self.look)}")]
        ]
        for name, value in (("index", gpu.index), ("bus", gpu.pci), ("serial", gpu.serial), ("uuid", gpu.uuid)):
            named: list[Span] = [("faint", f"  {name} "), ("", clean("?" if value is None else str(value), self.look))]
            if width_of(lines[-1]) + width_of(named) > width and len(lines) == 1:
                lines.append([])
            lines[-1] += named
        return [tuple(line) for line in lines]

    def _course(self, width: int, height: int) -> list[Line]:
        """How the reading under the cursor went: by the history where it is kept, else in the sweeps seen here."""
        own, name = self.own, self.query_one("#checks", Table).key
        if own is None or name is None or width <= SCALE + 3:  # before it has its place it has no width
            return []
        reading = own.readings[name]
        if number_of(reading) is None and name not in self._past:
            return []
        title = f"course of {name.removeprefix('gpu.')}"
        went, seen = self._went(own, name), self.triage.trend.of(own.gpu.key, name)
        if went is None or len(went.lays) < LEAST:
            known = [value for _, value in seen if value is not None]
            if len(seen) < LEAST or not known:
                why = "read once here; more sweeps will show how it goes" if self.triage.is_live else "read once"
                return [heading(title, why, width, self.look)]
            note = (
                f"{len(seen)} sweeps in {age(seen[-1][0] - seen[0][0])}; {range_words(min(known), max(known), reading)}"
            )
            note += "; ? was not known" if len(known) < len(seen) else ""
            return [heading(title, note, width, self.look), (("", f"   {spark(seen, width - 4, self.look)}"),)]
        start, end = went.lays[0].at, self.triage.now()
        cells = columns(went, start, end, width - SCALE - 3)
        lines = next(lines for least, lines in HEIGHTS if self.size.height >= least)
        drawn = plot(cells, lines, (start, end), lambda value: value_words(like(reading, value)), self.look)
        by = "the history" if self.triage.is_live else "the fleet's store"
        note = f"{age(end - start + HOUR)} by {by}; {_past(name, reading, self._past[name])[1]}"
        return [heading(title, note, width, self.look), *drawn]

    def _went(self, own: GpuFacts, name: str) -> Course | None:
        """How a reading went by the history, and in the sweeps seen here since."""
        went = self._past.get(name)
        if went is None or went.counts:
            return went
        last, reading = went.lays[-1].at, own.readings[name]
        seen = self.triage.trend.of(own.gpu.key, name) if self.triage.is_live else [(reading.at, number_of(reading))]
        since = [(at, v) for at, v in seen if v is not None and at > last]
        return went._replace(lays=(*went.lays, *(Lay(at, at, v, v, v) for at, v in since)))

    def _remember(self, own: GpuFacts) -> None:
        """Have a thread ask the history for the past of this GPU, once for each sweep; what a store knew is there."""
        people, gpu = self.triage.people, own.gpu
        subject = gpu.uuid or (f"serial:{gpu.serial}" if gpu.serial else gpu.pci) or ""
        if not self.triage.is_live:
            past = {} if self.triage.snapshot is None else self.triage.snapshot.past
            self._past = dict(past.get(subject, {}))
        asked = subject, None if self.triage.snapshot is None else self.triage.snapshot.at
        if people is None or not self.triage.is_live or asked == self._asked:
            return
        if subject != self._asked[0]:
            self._past = {}
        self._asked = asked
        directory, now = people.directory, self.triage.now()

        def ask() -> None:
            past = remembered(directory, subject, now)
            self.app.call_from_thread(self._know, asked, past)

        self.run_worker(ask, thread=True, exclusive=True, group="past")

    def _know(self, asked: tuple[str, float | None], past: dict[str, Course]) -> None:
        if asked == self._asked and past != self._past:
            self._past = past
            self.show()

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Show how the reading under the cursor went."""
        if event.lines.id == "checks":
            self.query_one("#course", Banner).renew()

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

    def _row(self, check: Check, own: GpuFacts, shown: Sequence[Column], fleet: Mapping[str, Spread]) -> Row:
        reading, went = own.readings[check.name], self._past.get(check.name)
        number = number_of(reading)
        note = check.note or _beside_past(number, went, self._days)
        style = "warning" if check.apart and check.known else ""
        drawn = ""
        if went is not None and any(column.name == "course" for column in shown):
            width = next(column.width for column in shown if column.name == "course")
            end = self.triage.now()
            still = went.counts and not any(lay.most for lay in went.lays)
            drawn = "" if still else line(columns(went, end - self._days * DAY, end, width), self.look)
        cells: dict[str, Span] = {
            "check": ("strong" if check.apart else "", check.name.removeprefix("gpu.")),
            "now": (style if check.known else "unknown", check.now),
            "past": _past(check.name, reading, went),
            "course": ("", drawn),
            "peers": ("", check.peers),
            "fleet": _fleet(check.name, reading, fleet),
            "limit": ("", check.limit),
            "note": (style or ("strong" if check.known else "faint"), note),
        }
        fields = {name: text for name, (_, text) in cells.items()} | {"check": check.name}
        return Row(
            check.name,
            tuple(cells[column.name] for column in shown),
            fields | ({} if number is None else {"now": number}),
            0 if style else 1,
        )

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


def like(reading: Reading, value: float) -> Reading:
    """Return another value of the same reading."""
    return reading._replace(value=int(value) if isinstance(reading.value, int) else value)


def _past(name: str, reading: Reading, went: Course | None) -> Span:
    """How a reading went: by how much it grew if it counts, else between what it lay."""
    if went is None:
        return "faint", "-"
    if went.counts:
        rose = sum(lay.most for lay in went.lays)
        return "strong" if rose else "", f"+{rose:g}"
    return "", range_words(*went.usual, reading)


def _beside_past(mine: float | None, went: Course | None, days: int) -> str:
    """Say whether a level lies outside of all that it was in so many days."""
    if mine is None or went is None or went.counts or len(went.lays) < LEAST:
        return ""
    low, high = went.usual
    if mine > high + APART * abs(high):
        return f"above its {days} days"
    return f"below its {days} days" if mine < low - APART * abs(low) else ""


def _fleet(name: str, reading: Reading, known: Mapping[str, Spread]) -> Span:
    """Between what the middle nine tenths of the fleet's GPUs of this model lie."""
    spread, mine = known.get(name), number_of(reading)
    if spread is None or isinstance(reading.value, bool):  # between yes and no lies nothing
        return "faint", "-"
    outside = mine is not None and not spread.low <= mine <= spread.high
    return "strong" if outside else "", range_words(spread.low, spread.high, reading)
