"""The fleet: what its nodes say together, the incidents gathered by what they are, and every node, worst first."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from triage.render.words import number
from tui.facts import facts
from tui.fleet.lists import GROUPS, NODES, STATE_WORDS, Groups, Nodes, map_lines
from tui.fleet.picture import GroupRow, NodeRow, Picture, Said, named
from tui.look import Look
from tui.screens.base import TriageScreen
from tui.screens.changes import changed_rows
from tui.screens.incident import summary_rows
from tui.screens.node import NodeScreen
from tui.text import Line, Span, heading, wrap
from tui.widgets.banner import Banner
from tui.widgets.evidence import section
from tui.widgets.lines import Lines
from tui.widgets.page import Page, PageRow
from tui.widgets.table import Table
from tui.words import risk

WIDE = 150
"""Columns from which the incident under the cursor is shown beside the lists."""
TALL = 32
FEW = 16
"""Nodes below which a map says no more than the list."""


class FleetScreen(TriageScreen):
    """What is wrong in the fleet, and from there to every node."""

    crumb = "fleet"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "filter", id="table.filter", priority=True),
        Binding("n", "nodes", "nodes", id="fleet.nodes"),
        Binding("i", "groups", "incidents", id="fleet.incidents", show=False),
        Binding("a", "everything", "all", id="fleet.all"),
        Binding("r", "rules", "rules", id="fleet.rules"),
        Binding("c", "changes", "changes", id="fleet.changes", show=False),
        Binding("q", "back", "quit", id="screen.quit"),
        Binding("escape", "back", "quit", id="screen.back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._picture: Picture | None = None

    def body(self) -> ComposeResult:
        """Make the status, the map, the sentences and the two lists."""
        yield Banner(self._status, id="status")
        yield Banner(self._map, id="map")
        with Horizontal():
            with Vertical(id="left"):
                yield Page(id="said")
                yield Table("incidents", GROUPS, id="groups", empty="none")
                yield Banner(self._answer, id="answer")
                yield Table("nodes", NODES, id="nodes", empty="none is read yet")
            with Vertical(id="right"):
                yield Page(id="preview")

    def on_screen_resume(self) -> None:
        """Come back from a node."""
        self.triage.leave_node()
        super().on_screen_resume()

    def on_resize(self) -> None:
        """Show the preview only where there is room for it."""
        wide = self.size.width >= WIDE
        self.query_one("#right").display = wide
        self.query_one("#answer").display = not wide
        self._sentences()
        self._preview()

    def show(self) -> None:
        """Take the newest picture; without one say what is waited for."""
        app = self.triage
        picture = app.picture
        self.query_one("#status", Banner).renew()
        groups, nodes = self.query_one("#groups", Table), self.query_one("#nodes", Table)
        if picture is None:
            groups.empty = nodes.empty = app.failed or app.waiting()
            groups.put(())
            nodes.put(())
            return
        if picture is not self._picture:
            self._picture = picture
            known = not picture.counts.states["unread"] and not picture.counts.states["unknown"]
            groups.empty = "none: no node shows a fault" if known else "none in what could be read"
            nodes.empty = "none"
            groups.put(Groups(picture, app.now))
            nodes.put(Nodes(picture, app.now), [c for c in NODES if picture.counts.placed or c.name != "rack"])
            self.query_one("#map", Banner).renew()
            self._sentences()
        groups.refresh()
        nodes.refresh()
        self._preview()

    # What is drawn --------------------------------------------------------------------------------------------------

    def _status(self, width: int, height: int) -> list[Line]:
        app, picture = self.triage, self._picture
        if picture is None:
            return [(("unknown", f" {app.failed or app.waiting()}"),)]
        spans: list[Span] = [("", " ")]
        for state, word in {**STATE_WORDS, "stale": "STALE"}.items():
            count = picture.counts.states[state]
            style = state if state in ("critical", "warning", "ok") else "unknown"
            if count or style != "unknown":
                spans += [(f"{style} strong" if count else "faint", f"{word.upper()} {count:,}"), ("", "  ")]
        gpus, bad = picture.counts.gpus, picture.counts.bad
        spans.append(("", f" {len(picture.nodes):,} nodes, {gpus:,} GPUs, {bad:,} bad"))
        lines: list[Line] = [tuple(spans)]
        if app.failed:
            lines += wrap([("unknown strong", f" reading again failed: {app.failed}")], width, self.look, 2, most=2)
        for notice in picture.notices[:2]:
            lines += wrap([("unknown", f" {notice}")], width, self.look, 2, most=1)
        return lines

    def _map(self, width: int, height: int) -> list[Line]:
        picture = self._picture
        if picture is None or len(picture.map) < FEW:
            return []
        each, signs = map_lines(picture.map, width - 2, 4 if self.size.height >= TALL else 2)
        what = "each node" if each == 1 else f"worst of {each} nodes"
        note = f"{what}, by name   . ok  w warn  C crit  ? unknown"
        return [heading("map", note, width, self.look), *(_painted(line) for line in signs)]

    def _sentences(self) -> None:
        """Put what the nodes say together at the top, as many lines as there is room for."""
        page, picture = self.query_one("#said", Page), self._picture
        if picture is None:
            page.display = False
            return
        page.display = True
        tall = self.size.height >= TALL

        def build(width: int, height: int) -> list[PageRow]:
            rows = said_rows(picture, width, self.look, brief=not tall)
            most, lines = (3, 2) if tall else (1, 1)
            changed = changed_rows(self.triage.fleet_changes[:most], self.triage.now(), width, self.look, most, lines)
            note = "" if len(picture.changes) <= most else "c lists all"
            title = f"changed lately  {len(picture.changes)}"
            return [*rows, *(section(title, changed, width, self.look, note) if changed else ())]

        width = self.size.width * 3 // 5 if self.size.width >= WIDE else self.size.width - 1
        page.styles.height = min(len(build(width, 0)), 12 if tall else 5)
        page.put(build)

    def _answer(self, width: int, height: int) -> list[Line]:
        """What the cursor is on, in two lines: whose fault, how sure and why; what to do, at which risk, by whom."""
        on = self._on()
        if isinstance(on, GroupRow):
            return group_lines(on, width, self.look)
        if isinstance(on, NodeRow):
            return [_node_line(on)]
        return []

    def _on(self) -> GroupRow | NodeRow | None:
        """What the cursor of the list with the focus is on."""
        if self._picture is None:
            return None
        nodes, groups = self.query_one("#nodes", Table), self.query_one("#groups", Table)
        table, rows = (nodes, self._picture.nodes) if self.focused is nodes else (groups, self._picture.groups)
        # A thread may not have put the newest rows in order yet; then the cursor is still on one of those before.
        number = table.number
        found = rows[number] if number is not None and number < len(rows) else None
        return found if found is not None and found[0] == table.key else None

    def _preview(self) -> None:
        self.query_one("#answer", Banner).renew()
        page, on = self.query_one("#preview", Page), self._on()
        if self.size.width < WIDE or self._picture is None or on is None:
            page.put(lambda width, height: [])
            return
        picture, look = self._picture, self.look
        raw = picture.example(on) if isinstance(on, GroupRow) else _worst_of(picture, on)
        known = None if raw is None else facts({"incidents": [raw]}).incidents[0]

        def build(width: int, height: int) -> list[PageRow]:
            rows: list[PageRow] = []
            if isinstance(on, NodeRow):
                rows += [PageRow(line) for line in wrap(_node_line(on), width, look, 3)]
            else:
                rows += [PageRow(line) for line in wrap([("strong", f" {on.nodes}")], width, look, 2, most=3)]
                if on.why:
                    said = [PageRow(line) for line in wrap([("", f"  {on.why}")], width, look, 2)]
                    rows += section("what the fleet says", said, width, look)
            return rows if known is None else [*rows, *summary_rows(known, width, look, brief=True)]

        page.put(build)

    # What a person asks for -----------------------------------------------------------------------------------------

    def on_lines_moved(self, event: Lines.Moved) -> None:
        """Show what the cursor is on."""
        if event.lines.id in ("groups", "nodes"):
            self.call_after_refresh(self._preview)  # the cursor first

    def on_descendant_focus(self) -> None:
        """The other list has the cursor now."""
        self._preview()

    def on_lines_chosen(self, event: Lines.Chosen) -> None:
        """Open a node; a kind of incident on several nodes narrows the list to them."""
        lines = event.lines
        if isinstance(lines, Page):
            if lines.id == "said" and lines.key is not None and lines.key.startswith("said"):
                self._narrow("#groups", f"rule:{lines.key.split()[2]}")
            return
        on = self._on() if lines is self.focused else None
        if isinstance(on, NodeRow):
            self.triage.open_node(on.node)
        elif isinstance(on, GroupRow):
            self.open_group(on)

    def open_group(self, group: GroupRow) -> None:
        """Open the node of an incident, or narrow the list to its nodes."""
        if group.wide == 1:
            self.triage.open_node(group.nodes, group.rule)
        else:
            quoted = f'"{group.nodes}"' if " " in group.nodes else group.nodes
            self._narrow("#nodes", f"node:{quoted}")

    def _narrow(self, which: str, text: str) -> None:
        table = self.query_one(which, Table)
        table.ask(text)
        table.focus()

    def action_everything(self) -> None:
        """Show all rows again."""
        for table in self.query(Table):
            table.ask("")

    def action_nodes(self) -> None:
        """Go to the nodes."""
        self.query_one("#nodes").focus()

    def action_groups(self) -> None:
        """Go to the incidents."""
        self.query_one("#groups").focus()

    def action_changes(self) -> None:
        """Open what changed lately."""
        self.triage.open_changes()

    def action_rules(self) -> None:
        """Open the rules, at that of what the cursor is on."""
        on = self._on()
        self.triage.open_rules(None if on is None else on.rule or None)

    def copied(self) -> str | None:
        """Return the folded names of what the cursor is on, and what is wrong there."""
        on = self._on()
        if isinstance(on, GroupRow):
            lines = [f"{on.nodes}: {on.title}; {named(on.family, on.leaf, on.lead)}", on.why, on.do]
            return "\n".join(filter(None, lines))
        return None if on is None else f"{on.node}: {on.what or STATE_WORDS[on.state]}"

    def exported(self, form: str) -> str | None:
        """Return the rows that are shown, as text or as JSON."""
        picture = self._picture
        if picture is None:
            return None
        if form == "json":
            from triage.render.machine import to_json

            return to_json({
                "kind": "fleet-picture",
                "said": [each._asdict() for each in picture.said],
                "groups": [each._asdict() for each in picture.groups],
                "nodes": [{**each._asdict(), "stale": picture.stale(each)} for each in picture.nodes],
            })  # fmt: skip
        said = [f"{each.rule}: {each.says}\n" for each in picture.said]
        tables = ["\t".join(text for _, text in row.cells) + "\n" for table in self.query(Table) for row in table.rows]
        return "".join([*said, *tables])


class NodeOfFleetScreen(NodeScreen):
    """One node of a fleet: the screen of a node, and the way back."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape", "back", "back", id="screen.back"),
    ]

    def __init__(self, node: str, rule: str = "") -> None:
        super().__init__()
        self.node = node
        self._rule = rule

    @property
    def crumb(self) -> str:  # type: ignore[override]
        """Name the node."""
        return self.node

    def on_mount(self) -> None:
        """Put the cursor on the incident that led here."""
        super().on_mount()
        known = () if self.triage.facts is None else self.triage.facts.incidents
        key = next((each.key for each in known if each.rule == self._rule), None)
        if key is not None:
            self.query_one("#incidents", Table).go_to(key)


def said_rows(picture: Picture, width: int, look: Look, *, brief: bool) -> list[PageRow]:
    """Return what the nodes say together, each sentence a block: what a fault goes with is what makes it."""
    rows: list[PageRow] = []
    for place, said in enumerate(picture.said):
        rows += [PageRow(line, f"said {place} {said.rule}") for line in _sentence(said, width, look, brief)]
    if not rows:
        why = "nothing that chance would not do as often" if picture.groups else "no incident to compare"
        rows = [PageRow((("faint", f"  {why}"),))]
    note = "counted over all nodes, against chance" if picture.said else ""
    return section(f"what faults go with  {len(picture.said)}", rows, width, look, note)


def _sentence(said: Said, width: int, look: Look, brief: bool) -> list[Line]:
    often = f", {said.lift:g} times as often" if said.lift is not None else ""
    chance = "" if said.chance is None else f"; by chance {said.chance:.1g}"
    doubt = f" (cannot be told from {said.doubt})" if said.doubt else ""
    spans: list[Span] = [("strong", f"  {said.rule}"), ("", f"  {said.says}{often}{chance}"), ("unknown", doubt)]
    return wrap(spans, width, look, 4, most=1 if brief else 2)


def group_lines(group: GroupRow, width: int, look: Look) -> list[Line]:
    """Return a kind of incident in two lines: the verdict and what speaks for it, and the first step."""
    sure = "?" if group.sure is None else number(group.sure)
    decided = group.family != "undetermined"
    words = f"{group.family.upper()}, {group.words} ({sure})" if decided else f"UNDETERMINED, {group.lead} {sure}"
    why = f"  {group.why}" if group.why else f"  {group.title}"
    judged = wrap([("", "   "), ("strong" if decided else "unknown strong", words), ("", why)], width, look, 3, most=1)
    if not group.do:
        return [*judged, (("faint", "   the rule names no step for this verdict"),)]
    todo: list[Span] = [("strong", "   do first "), ("", f"[{risk(group.risk)[1]}; {group.owner}] {group.do}")]
    return [*judged, tuple(todo)]


def _node_line(row: NodeRow) -> Line:
    if row.state == "unread":
        return (("unknown strong", f"   {row.node} COULD NOT BE READ: "), ("", row.what))
    sure = "" if row.sure is None else f" {number(row.sure)}"
    what = f"{row.what}: {row.verdict}{sure}" if row.what else "no open incident"
    more = f", and {row.incidents - 1} more" if row.incidents > 1 else ""
    return (("strong", f"   {row.node} "), ("", f"{what}{more}"))


def _worst_of(picture: Picture, row: NodeRow) -> dict[str, object] | None:
    detail = picture.detail(row.node)
    incidents = [] if detail is None else detail["report"]["incidents"]
    still = [each for each in incidents if each.get("state") == "open"]
    return next(iter(still or incidents), None)


def _painted(signs: str) -> Line:
    """Return a line of the map, each run of one sign in its style."""
    styles = {"C": "critical", "w": "warning", "?": "unknown", ".": "ok"}
    spans: list[Span] = [("", " ")]
    for sign in signs:
        if spans[-1][0] == styles[sign]:
            spans[-1] = (styles[sign], spans[-1][1] + sign)
        else:
            spans.append((styles[sign], sign))
    return tuple(spans)
