"""The application as a whole: data coming in, keys, copies, exports, the way between screens."""

from __future__ import annotations

import asyncio
import base64
import json
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.events import Key
from textual.pilot import Pilot
from textual.widgets import Input

from tests.patience import WITHIN
from tests.tui import samples
from tests.tui.conftest import settled, text_of, until
from tui.app import FASTEST, Arrived, TriageApp
from tui.commands import COMMANDS
from tui.facts import facts
from tui.look import Look
from tui.screens.base import TriageScreen
from tui.screens.gpu import GpuScreen
from tui.screens.help import HelpScreen
from tui.screens.incident import IncidentScreen
from tui.screens.log import LogScreen
from tui.screens.node import NodeScreen
from tui.screens.rules import RulesScreen
from tui.source import Failed, LogText, Snapshot
from tui.sources import ReportSource
from tui.widgets.page import Page
from tui.widgets.table import Table

Drive = Callable[..., TriageApp]


def arrive(app: TriageApp, value: Snapshot | Failed) -> None:
    """Let a value come in as the thread would."""
    known = facts(dict(value.report)) if isinstance(value, Snapshot) else None
    app.post_message(Arrived(value, known))


async def type_in(pilot: Pilot[None], text: str) -> None:
    """Put text into the prompt, as a paste does, and press Enter."""
    await pilot.pause()
    pilot.app.screen.query_one(Input).insert_text_at_cursor(text)
    await pilot.press("enter")
    await pilot.pause()


# Data coming in -----------------------------------------------------------------------------------------------------


def test_the_cursor_stays_on_its_incident_when_others_come_before_it(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        table = app.screen.query_one("#incidents", Table)
        await pilot.press("j")
        assert "gpu-0417/0000:1b:00.0/gsp-fault" == table.key
        more = [{**samples.OFF_BUS, "fingerprint": f"new-{n}"} for n in range(3)]
        arrive(app, samples.snapshot(incidents=[*more, samples.OFF_BUS, samples.GSP_TIMEOUT]))
        await until(app, pilot, lambda: 5 == len(table.rows))

        assert ("gpu-0417/0000:1b:00.0/gsp-fault", 4) == (table.key, table.cursor)

    drive(story)


def test_what_is_worse_and_out_of_sight_is_counted_above_and_below(drive: Drive) -> None:
    """A list keeps to its row; what came since, and is worse, must not go unseen for that."""

    def rows(severity: str, number: int, state: str = "open") -> list[dict[str, Any]]:
        name = f"{severity}-{state}"
        told = {**samples.GSP_TIMEOUT, "severity": severity, "state": state}
        return [{**told, "fingerprint": f"{name}-{n}"} for n in range(number)]

    mild = [*rows("warning", 30), *rows("critical", 4, "resolved")]

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        table = app.screen.query_one("#incidents", Table)
        await until(app, pilot, lambda: 34 == len(table.rows))
        assert "worse" not in text_of(app)
        arrive(app, samples.snapshot(incidents=[*rows("critical", 3), *mild]))
        await until(app, pilot, lambda: 37 == len(table.rows))
        assert "warning-open-0" == table.key
        await until(app, pilot, lambda: "at 4  3 worse above" in text_of(app))
        assert "CRITICAL  3 critical, 30 warning  " in text_of(app)
        await pilot.press("S", "g")
        await until(app, pilot, lambda: "sort: as found reversed  at 1  30 worse below" in text_of(app))

    drive(story, source=samples.Fixed(samples.snapshot(incidents=mild)))


def test_data_is_drawn_at_most_twice_a_second_and_the_newest_wins(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        drawn: list[float] = []
        draw = NodeScreen.show

        def counted(screen: NodeScreen) -> None:
            drawn.append(app._drawn)
            draw(screen)

        monkey = pytest.MonkeyPatch()
        monkey.setattr(NodeScreen, "show", counted)
        for n in range(200):
            arrive(app, samples.snapshot(node=f"node-{n}"))
            await asyncio.sleep(0.003)
        await until(app, pilot, lambda: app.facts is not None and app.facts.node == "node-199")
        monkey.undo()

        assert all(later - earlier > FASTEST * 0.9 for earlier, later in pairwise(drawn))

    drive(story)


def test_after_a_while_in_which_nothing_ran_it_is_not_drawn_twice_at_once(drive: Drive) -> None:
    """The timer of what waited then, and what has come since."""

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        app._drawn = time.monotonic()
        app.on_arrived(Arrived(samples.snapshot(node="node-1"), facts(dict(samples.REPORT))))
        await asyncio.sleep(0.05)  # so that its timer runs
        time.sleep(FASTEST * 1.5)
        app.on_arrived(Arrived(samples.snapshot(node="node-2"), facts(dict(samples.REPORT))))
        first = app._drawn
        app.on_arrived(Arrived(samples.snapshot(node="node-3"), facts(samples.REPORT | {"node": "node-3"})))
        await until(app, pilot, lambda: app.facts is not None and app.facts.node == "node-3")

        assert app._drawn - first > FASTEST * 0.9

    drive(story)


def test_a_frozen_picture_counts_what_it_holds_back(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("p")
        for n in range(3):
            arrive(app, samples.snapshot(node=f"node-{n}"))
        await until(app, pilot, lambda: "PAUSED +3" in text_of(app))
        assert "gpu-0417" in text_of(app)
        await pilot.press("p")
        await until(app, pilot, lambda: "node-2" in text_of(app))

        assert "PAUSED" not in text_of(app)

    drive(story)


def test_old_data_is_called_stale_and_a_failed_sweep_says_why(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        assert "STALE" not in text_of(app)
        app.now = lambda: samples.NOW + 60
        arrive(app, Failed("no answer within 30 s; the sweep was ended", samples.NOW))
        await until(app, pilot, lambda: bool(app.failed))
        shown = text_of(app)

        assert "SWEEP FAILED STALE 14:02:31Z, 1m ago" in shown
        assert "the newest sweep failed: no answer within 30 s; the sweep was ended" in shown
        assert "gpu-off-bus" in shown

    drive(story)


def test_ages_in_rows_go_on_between_sweeps(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        assert " 38s CRIT" in text_of(app)
        app.now = lambda: samples.NOW + 300
        await until(app, pilot, lambda: "  5m CRIT" in text_of(app))

    drive(story)


class Hanging(samples.Fixed):
    """A source that never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = threading.Event()

    def snapshots(self, stop: threading.Event, again: threading.Event) -> Iterator[Snapshot | Failed]:
        """Wait for the end."""
        stop.wait(3 * WITHIN)
        self.ended.set()
        yield Failed("stopped", 0.0)


def test_a_source_that_hangs_holds_up_no_key_and_ends_with_the_screens() -> None:
    source = Hanging()
    app = TriageApp(source, Look("plain", True), samples.rulebook)

    async def play() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            assert "sweeping this node" in text_of(app)
            await pilot.press("question_mark")
            await pilot.pause()
            assert isinstance(app.screen, HelpScreen)
            await pilot.press("escape", "q")

    asyncio.run(asyncio.wait_for(play(), WITHIN))

    assert source.ended.wait(WITHIN)


class Broken(samples.Fixed):
    """A source with a mistake in it."""

    def snapshots(self, stop: threading.Event, again: threading.Event) -> Iterator[Snapshot | Failed]:
        """Fail after the first snapshot."""
        yield samples.snapshot()
        raise RuntimeError("of all things")


def test_a_source_that_breaks_leaves_what_it_told(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await until(app, pilot, lambda: bool(app.failed))

        assert "the source broke off: RuntimeError: of all things" in text_of(app)
        assert app.facts is not None

    drive(story, source=Broken())


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"incidents": [{}], "sources": [{}], "gpus": [{}], "notices": [5]},
        {"incidents": [{"evidence": [{}], "next": [{}], "verdict": {"by_family": {"x": 2}}}], "future": [1]},
    ],
    ids=["empty", "hollow", "strange"],
)
def test_a_report_of_another_version_is_shown_as_far_as_it_goes(drive: Drive, report: dict[str, Any]) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press("y", "escape")
        await pilot.pause()

        assert "UNKNOWN" in text_of(app)

    drive(story, source=samples.Fixed(Snapshot(report, samples.SWEPT)))


HOSTILE = "\x1b]52;c;ZXZpbA==\a\x1b[2J[bold red]x[/] [@click=app.quit]quit[/] \u202egnp\x00 $(reboot)"


def test_foreign_text_reaches_the_screen_as_text(drive: Drive) -> None:
    """Names, summaries, notices, steps and log lines may hold anything; none of it is obeyed."""
    incident: dict[str, Any] = json.loads(json.dumps(samples.OFF_BUS))
    incident |= {"title": HOSTILE, "summary": HOSTILE, "explains": [HOSTILE], "settle": [HOSTILE]}
    incident["next"] = [{"do": HOSTILE, "risk": HOSTILE, "owner": HOSTILE, "command": HOSTILE}]
    for item in incident["evidence"]:
        item["why"] = item["reason"] = HOSTILE
        if item["source"] is not None and item["source"]["text"] is not None:
            item["source"]["text"] = HOSTILE
    report = samples.REPORT | {"incidents": [incident], "notices": [HOSTILE], "node": HOSTILE}

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        for size in ((80, 24), (200, 50)):
            await pilot.resize_terminal(*size)
            await settled(app, pilot, size)
            for keys in ((), ("enter",), ("z",), ("j",), ("escape",)):
                await pilot.press(*keys)
                await pilot.pause()
                shown = text_of(app).replace("\n", "")
                assert shown.isprintable()
                assert shown.isascii()
        assert "[bold red]x[/] [@click=app.quit]quit[/]" in text_of(app)

    drive(story, source=samples.Fixed(Snapshot(report, samples.SWEPT)))


# The way between the screens ----------------------------------------------------------------------------------------


def test_from_the_evidence_to_its_line_and_to_the_rule_that_said_so(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press("j", "enter")  # from the verdict to [1]
        await until(app, pilot, lambda: isinstance(app.screen, LogScreen) and app.screen.view.number == 20)
        log = app.screen
        assert isinstance(log, LogScreen)
        assert (["[1]"], ["T"]) == (log.view.marks[20], log.view.marks[22])
        await pilot.press("r")
        await pilot.pause()
        assert "item aer-fatal" == app.screen.query_one("#rule", Page).key
        await pilot.press("escape", "escape")
        await pilot.pause()
        assert "evidence 1" == app.screen.query_one("#main", Page).key

    drive(story)


def test_a_line_that_the_log_no_longer_has_is_said(drive: Drive, log: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        log.write_text("another log\n" * 30)
        await pilot.press("l")
        await until(app, pilot, lambda: "now reads otherwise" in text_of(app))
        await pilot.press("escape")
        log.write_text("short\n")
        await pilot.press("l")
        await until(app, pilot, lambda: "no longer in the log" in text_of(app))

    drive(story)


def test_a_log_that_is_elsewhere_is_said(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("l")
        await pilot.pause()

        assert "/var/log/kern.log is not here" in text_of(app)
        assert isinstance(app.screen, NodeScreen)

    drive(story, source=samples.Fixed(samples.snapshot()))


def test_evidence_that_is_in_no_log_says_where_it_is_from_and_the_log_opens_all_the_same(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        await pilot.pause()
        page = app.screen.query_one("#main", Page)
        for key, says in (("evidence 4", "not from a log"), ("evidence 5", "was not seen")):
            page.go_to(key)
            await pilot.press("enter")
            await pilot.pause()
            assert says in app.said
        await pilot.press("l")
        await until(app, pilot, lambda: isinstance(app.screen, LogScreen) and app.screen.view.number == 22)

    drive(story)


def test_an_incident_that_a_later_report_lacks_stays_and_says_so(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        arrive(app, samples.snapshot(incidents=[samples.GSP_TIMEOUT]))
        await until(app, pilot, lambda: "NOT IN THE NEWEST REPORT" in text_of(app))

        assert "HARDWARE, very likely" in text_of(app)

    drive(story)


def test_the_next_incident_is_one_key_away(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter", "right_square_bracket")
        await pilot.pause()
        assert "UNDETERMINED" in text_of(app)
        await pilot.press("right_square_bracket")
        await pilot.pause()
        assert "that was the last incident" in text_of(app)

    drive(story)


def test_q_goes_back_and_from_the_first_screen_out(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter", "q")
        await pilot.pause()
        assert isinstance(app.screen, NodeScreen)
        assert app.is_running
        await pilot.press("q")
        await pilot.pause()

    app = drive(story)

    assert not app.is_running
    assert (None, 0) == (app.fault, app.return_code or 0)


def test_a_mistake_of_ours_ends_the_screens_without_a_traceback(
    drive: Drive, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = asyncio.Event()

    def broken(screen: NodeScreen) -> None:
        drawn.set()
        raise RuntimeError("of all things")

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        monkey = pytest.MonkeyPatch()
        monkey.setattr(NodeScreen, "show", broken)
        try:
            arrive(app, samples.snapshot(node="other"))
            await drawn.wait()
        finally:
            monkey.undo()

    with pytest.raises(RuntimeError, match="of all things"):
        drive(story)

    assert "Traceback" not in "".join(capsys.readouterr())


def test_recorded_reports_are_stepped_through(drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "reports.json"
    path.write_text("\n".join(json.dumps(samples.REPORT | {"node": f"node-{n}"}) for n in range(3)))

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        assert "RECORDED 3/3 < > 2026-08-22 14:02:31Z, 38s ago" in text_of(app)
        await pilot.press("less_than_sign")
        await until(app, pilot, lambda: "node-1" in text_of(app))
        assert "RECORDED 2/3" in text_of(app)
        await pilot.press("greater_than_sign")
        await until(app, pilot, lambda: "node-2" in text_of(app))
        await pilot.press("greater_than_sign")
        await pilot.pause()
        assert "that was the last report" in text_of(app)

    drive(story, source=ReportSource(str(path)), size=(120, 40))


def test_a_recording_is_shown_as_it_was_known_at_a_moment(drive: Drive, tmp_path: Path) -> None:
    path = tmp_path / "reports.json"
    hours = [
        samples.REPORT | {"node": f"node-{n:02d}", "generated_at": f"2026-08-22T{n:02d}:00:00.000Z"} for n in range(15)
    ]
    path.write_text("\n".join(map(json.dumps, hours)))
    source = ReportSource(str(path))

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        app.command("at 03:10")
        await until(app, pilot, lambda: "node-03" in text_of(app))
        app.command("at 2026-08-22T11:59Z")
        await until(app, pilot, lambda: "node-11" in text_of(app))
        app.command("at noon")
        await pilot.pause()
        assert "'noon' is no time; write 03:10" in text_of(app)
        app.command("at now")
        await until(app, pilot, lambda: "node-14" in text_of(app))
        app.command("at 2020-01-01")
        await until(app, pilot, lambda: "node-00" in text_of(app))
        assert "no report is that old" in text_of(app)

    drive(story, source=source, size=(120, 40))


# Keys, commands, copies ---------------------------------------------------------------------------------------------


def test_keys_and_data_that_come_before_a_screen_has_its_widgets_do_no_harm(drive: Drive) -> None:
    """Whoever types quickly is ahead of the screen that the first key opened."""

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        ways: list[Callable[[], None]] = [
            lambda: app.open_rules(None),
            lambda: app.open_gpu("2"),
            lambda: app.open_log_at(""),
            lambda: app.open_incident("gpu-0417/0000:4e:00.0/gpu-off-bus"),
            app.action_keys,
        ]
        for opened in ways:
            opened()
            screen = app.screen
            assert isinstance(screen, TriageScreen)
            for key in ("e", "slash", "y", "colon", "z", "right_square_bracket", "escape", "n", "a", "d", "F", "B"):
                app.post_message(Key(key, None))
            app.draw_again()
            app.say("something")
            app.toggle_ascii()
            arrive(app, samples.snapshot())
            await pilot.pause()
            while len(app.screen_stack) > 2:
                app.pop_screen()
            await pilot.pause()
        assert isinstance(app.screen, NodeScreen)

    assert drive(story).fault is None


def test_the_help_names_every_key_that_works_on_every_screen(drive: Drive) -> None:
    """It is made from the bindings, and no key is one that a multiplexer eats."""
    never = {"ctrl+b", "ctrl+a", "ctrl+s", "ctrl+o", "ctrl+j", "ctrl+enter"}

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        for keys in ((), ("enter",), ("l",), ("escape", "escape", "r"), ("escape", "tab", "enter")):
            await pilot.press(*keys)
            await pilot.pause()
            active = [each.binding for each in app.screen.active_bindings.values() if each.binding.id]
            assert not never & {binding.key for binding in active if binding.id}
            await pilot.press("question_mark")
            await pilot.pause()
            assert isinstance(app.screen, HelpScreen)
            text = app.screen.copied() or ""
            assert all(binding.description in text for binding in active)
            await pilot.press("escape")
            await pilot.pause()

    drive(story)


def test_keys_can_be_bound_anew_by_the_id_of_the_action(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        app.set_keymap({"node.rules": "f5"})
        await pilot.press("r")
        await pilot.pause()
        assert isinstance(app.screen, NodeScreen)
        await pilot.press("f5")
        await pilot.pause()
        assert isinstance(app.screen, RulesScreen)

    drive(story)


def test_a_copy_goes_to_the_terminal_and_into_a_private_file(drive: Drive, tmp_path: Path) -> None:
    written: list[str] = []
    monkey = pytest.MonkeyPatch()

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        assert app._driver is not None
        monkey.setattr(app._driver, "write", written.append)
        await pilot.press("enter", "G")
        app.screen.query_one("#main", Page).go_to("step 1")
        await pilot.press("y")
        await pilot.pause()
        assert "copied 32 characters" in text_of(app)

    drive(story)

    command = "nvidia-bug-report.sh --safe-mode"
    (copied,) = [text for text in written if text.startswith("\x1b]52;")]
    assert command == base64.b64decode(copied.removeprefix("\x1b]52;c;").removesuffix("\a")).decode()
    (path,) = tmp_path.glob("gpu-triage-*/copied.txt")
    assert f"{command}\n" == path.read_text()
    assert 0o600 == path.stat().st_mode & 0o777


def test_other_keys_can_be_given_to_actions_and_the_help_names_both() -> None:
    app = TriageApp(samples.Fixed(samples.snapshot()), Look("plain", True), samples.rulebook,
                    now=lambda: samples.NOW, keymap={"node.rules": "ctrl+n,f2", "app.command": "!"})  # fmt: skip

    async def play() -> None:
        async with app.run_test(size=(120, 40)) as pilot:
            await until(app, pilot, lambda: app.facts is not None)
            await pilot.press("r")
            await pilot.pause()
            assert "> rules" not in text_of(app)
            await pilot.press("question_mark")
            await until(app, pilot, lambda: "keys of: node" in text_of(app))
            assert ["Ctrl+n", "f2", "rules", "node.rules"] in [line.split() for line in text_of(app).splitlines()]
            await pilot.press("escape", "f2")
            await until(app, pilot, lambda: "> rules" in text_of(app))
            await pilot.press("exclamation_mark", *"quit")
            await until(app, pilot, lambda: app.screen.query_one(Input).value == "quit")

    asyncio.run(asyncio.wait_for(play(), WITHIN))


def test_keys_that_are_typed_faster_than_they_are_read_are_in_the_prompt_in_order(drive: Drive) -> None:
    """A pasted command, or a hand that is faster than the line: the letters after `:` are no keys any more."""

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        for key in ("colon", *"export", "space", *"a:b/c&d"):
            name = {":": "colon", "/": "slash", "&": "ampersand"}.get(key, key)
            character = {"colon": ":", "space": " "}.get(key, key)
            app.post_message(events.Key(name, character))
        await until(app, pilot, lambda: app.screen.query_one(Input).value == "export a:b/c&d")
        assert "node" in text_of(app).splitlines()[0]

    drive(story)


def test_an_export_asks_where_to_and_spares_what_is_there(drive: Drive, tmp_path: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter", "e")
        await pilot.pause()
        assert "export text gpu-triage-incident-gpu-off-bus-20260822T140309Z.txt" in text_of(app)
        await pilot.press("enter")
        await until(app, pilot, lambda: "wrote" in app.said)
        await pilot.press("colon")
        await type_in(pilot, "export json out.json")
        await until(app, pilot, lambda: "out.json" in app.said)
        await pilot.press("colon")
        await type_in(pilot, "export text out.json")
        await until(app, pilot, lambda: "is there already" in app.said)

    drive(story)

    (text,) = tmp_path.glob("gpu-triage-incident*.txt")
    assert "EVIDENCE FOR HARDWARE" in text.read_text()
    assert samples.OFF_BUS["fingerprint"] == json.loads((tmp_path / "out.json").read_text())["fingerprint"]


def test_the_node_exports_the_report_as_it_came(drive: Drive, tmp_path: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("colon")
        await type_in(pilot, "export json all.json")
        await until(app, pilot, lambda: "wrote" in app.said)

    drive(story)

    assert samples.REPORT == json.loads((tmp_path / "all.json").read_text())


def test_a_capture_of_the_node_is_written_while_the_screens_go_on(drive: Drive, tmp_path: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("colon")
        await type_in(pilot, f"export redacted {tmp_path}/node.tar.gz")
        await until(app, pilot, lambda: "writing a capture" in app.said)
        await pilot.press("enter")
        await pilot.pause()
        assert "incident gpu-off-bus" in text_of(app)
        await until(app, pilot, lambda: app.said.startswith("wrote"))

    drive(story)

    with tarfile.open(tmp_path / "node.tar.gz") as archive:
        assert any(name.endswith("manifest.json") for name in archive.getnames())


def test_what_was_read_from_files_is_no_node_to_capture(drive: Drive, tmp_path: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        app.command("export capture node.tar.gz")
        assert "this is not the node itself" in app.said

    drive(story, source=samples.Fixed(samples.snapshot(), period=None))

    assert not (tmp_path / "node.tar.gz").exists()


def test_a_filter_hides_rows_and_its_mistakes_are_pointed_at(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        table = app.screen.query_one("#incidents", Table)
        await pilot.press("slash")
        await type_in(pilot, "sev:warn")
        assert ["gpu-0417/0000:1b:00.0/gsp-fault"] == [row.key for row in table.rows]
        assert "1 of 2  filter: sev:warn" in text_of(app)
        await pilot.press("slash")
        await type_in(pilot, " colour:red")
        assert "filter: column 10: no field 'colour' here" in text_of(app)
        await pilot.press("slash")
        typed = app.screen.query_one(Input)
        assert ("sev:warn colour:red", 9) == (typed.value, typed.cursor_position)  # to be mended, at the mistake
        await pilot.press("escape", "slash")
        assert "sev:warn" == typed.value
        await pilot.press("end", "ctrl+u")
        await type_in(pilot, "")
        assert 2 == len(table.rows)

    drive(story)


def test_the_rows_that_pass_the_filter_are_written_a_line_each(drive: Drive, tmp_path: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("slash")
        await type_in(pilot, "sev:warn")
        await pilot.press("colon")
        await type_in(pilot, f"export ndjson {tmp_path}/rows.ndjson")

    drive(story)
    (row,) = map(json.loads, (tmp_path / "rows.ndjson").read_text().splitlines())
    assert ("gpu-0417/0000:1b:00.0/gsp-fault", "gsp-fault") == (row["key"], row["rule"])


def test_escape_closes_the_prompt_and_not_the_screen(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter", "colon", "x", "escape")
        await pilot.pause()

        assert isinstance(app.screen, IncidentScreen)
        assert "? help" in text_of(app)
        await pilot.press("j")
        await pilot.pause()
        assert "evidence 1" == app.screen._key()

    drive(story)


WRONG = (
    ("incidnet 1", "did you mean :incident?"),
    ("frobnicate", "no command 'frobnicate'; ? lists them"),
    ("incident", "say which: :incident N|RULE"),
    ("incident 9", "no incident '9'"),
    ("gpu 99", "no GPU '99'"),
    ("log x", "'x' is no line number"),
    ("theme pink", "no theme 'pink'; one of plain, sixteen, safe"),
    ("theme safe", "started without colour"),
    ("export yaml", "wrote"),
)


def test_a_command_that_cannot_be_done_says_what_can(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        for typed, says in WRONG:
            await pilot.press("colon")
            await type_in(pilot, typed)
            assert says in app.said, typed

    drive(story)


NAMED: tuple[tuple[str, type], ...] = (
    ("incident 2", IncidentScreen),
    ("inc gpu-off-bus", IncidentScreen),
    ("gpu 3", GpuScreen),
    ("gpu 4e:00", GpuScreen),
    ("rule gsp-fault", RulesScreen),
    ("log 5", LogScreen),
    ("help", HelpScreen),
)


def test_a_command_opens_what_it_names(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        for typed, screen in NAMED:
            await pilot.press("colon")
            await type_in(pilot, typed)
            await until(app, pilot, lambda: isinstance(app.screen, screen))  # noqa: B023  # awaited at once
            await pilot.press("escape")
            await pilot.pause()

    drive(story)


def test_quit_is_a_command_too(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("enter", "colon")
        await type_in(pilot, "q")

    assert not drive(story).is_running


def test_the_palette_offers_every_command(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await pilot.press("ctrl+p")
        await until(app, pilot, lambda: all(each.usage in text_of(app) for each in COMMANDS))

    drive(story, size=(120, 50))


def test_a_screen_that_is_too_small_says_the_size_and_shows_the_incidents(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        shown = text_of(app)

        assert "60x12: made for 80x24 and more" in shown
        assert "CRIT g3 4e:00.0" in shown
        assert "GPUs" not in shown

    drive(story, size=(60, 12))


def test_a_big_table_shows_its_first_rows_at_once(drive: Drive) -> None:
    """Only rows in view are drawn, however many there are."""
    many = [{**samples.GSP_TIMEOUT, "fingerprint": f"f-{n}"} for n in range(4_000)]

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        table = app.screen.query_one("#incidents", Table)
        await until(app, pilot, lambda: 4_000 == len(table.rows))
        await pilot.press("G")
        await pilot.pause()
        assert ("f-3999", 3_999) == (table.key, table.cursor)
        assert "at 4,000" in text_of(app)

    drive(story, source=samples.Fixed(samples.snapshot(incidents=many)))


def test_a_log_can_be_looked_at_before_the_first_report(log: Path) -> None:
    source = Hanging()
    source.logs = (LogText("kern.log", str(log)),)
    app = TriageApp(source, Look("plain", True), samples.rulebook)

    async def play() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("l")
            await until(app, pilot, lambda: "40 lines" in text_of(app))

    asyncio.run(asyncio.wait_for(play(), WITHIN))


def test_the_text_of_a_rule_is_broken_for_the_screen_alone(drive: Drive) -> None:
    """It comes broken for a page; what was one sentence is one again, and two stay two."""
    from tui.screens.rules import rule_rows

    clause = "      signal " + "x" * 60 + " on the way to this GPU before it"
    sentence = "  " + "word " * 19 + "last\n  of them"
    rows = rule_rows(f"rule: title\n{clause}\n      The port above it.\n{sentence}", None, 200, Look("plain", True))
    lines = ["".join(text for _, text in row.line).strip() for row in rows]

    assert clause.strip() in lines
    assert "The port above it." in lines
    assert "word " * 19 + "last of them" in lines


def test_data_that_come_after_the_last_screen_has_gone_do_no_harm(drive: Drive) -> None:
    """A drawing that was put off for half a second may come due while the program ends."""

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        arrive(app, samples.snapshot())
        await pilot.pause()

    app = drive(story)
    app.draw_again()
    app.say("too late")
    app._tick()

    assert app.front is None
