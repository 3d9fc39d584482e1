"""The log screen: found, filtered, folded, marked, followed."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui import samples
from tests.tui.conftest import text_of, until
from tui.app import TriageApp
from tui.screens.log import LogScreen
from tui.source import LogText

Drive = Callable[..., TriageApp]


async def at_log(app: TriageApp, pilot: Pilot[None]) -> LogScreen:
    """Open the log from its first line and wait until it is known."""
    app.open_log_at("1")
    await until(app, pilot, lambda: isinstance(app.screen, LogScreen) and app.screen.view.signals is not None)
    assert isinstance(app.screen, LogScreen)
    return app.screen


async def enter(pilot: Pilot[None], key: str, text: str) -> None:
    """Answer the prompt that a key opens."""
    await pilot.press(key)
    await pilot.pause()
    typed = pilot.app.screen.query_one(Input)
    typed.value = text
    await pilot.press("enter")
    await pilot.pause()


def test_a_search_goes_to_the_next_hit_and_counts_them(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        screen = await at_log(app, pilot)
        await enter(pilot, "slash", "xid.*(79|119)")
        await until(app, pilot, lambda: screen.view.number == 22)
        await until(app, pilot, lambda: "(1 of 2)" in text_of(app))
        await pilot.press("n")
        await until(app, pilot, lambda: screen.view.number == 36)
        await pilot.press("n")
        await until(app, pilot, lambda: "no 'xid.*(79|119)' below" in text_of(app))
        await pilot.press("N")
        await until(app, pilot, lambda: screen.view.number == 22)

    drive(story)


def test_a_search_that_is_no_regular_expression_is_taken_as_text(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        screen = await at_log(app, pilot)
        await enter(pilot, "slash", "[7361.0")
        await until(app, pilot, lambda: screen.view.number == 36)
        assert "it is taken as text" in app.said

    drive(story)


def test_a_filter_shows_only_what_matches_and_stays_on_the_line(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        screen = await at_log(app, pilot)
        screen.view.go_to(36)
        await enter(pilot, "ampersand", "NVRM")
        await until(app, pilot, lambda: screen.view.total == 14 and screen.view.number == 36)
        assert "14 of 40 lines" in text_of(app)
        assert "link becomes ready" not in text_of(app)
        await enter(pilot, "ampersand", "")
        await until(app, pilot, lambda: screen.view.total == 40)
        assert 36 == screen.view.number

    drive(story)


def test_repeats_are_folded_into_one_line_that_says_how_many_and_evidence_never_is(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        screen = await at_log(app, pilot)
        screen.view.go_to(30)
        await pilot.press("z")
        await until(app, pilot, lambda: screen.view.folds is not None and screen.view.total < 20)
        shown = text_of(app)

        assert "Ch 000000~ x12 alike" in shown
        assert " *    ! 14:02:29.000 pcieport" in shown
        assert 23 == screen.view.number  # the first of the lines into which row 30 is folded
        await pilot.press("z")
        await until(app, pilot, lambda: screen.view.total == 40)

    drive(story)


def test_signals_and_evidence_are_one_key_away(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        screen = await at_log(app, pilot)
        await pilot.press("right_square_bracket")
        await until(app, pilot, lambda: screen.view.number == 20)
        await pilot.press("right_square_bracket")
        await until(app, pilot, lambda: screen.view.number == 22)
        await pilot.press("left_square_bracket")
        await until(app, pilot, lambda: screen.view.number == 20)
        await pilot.press("left_square_bracket")
        await until(app, pilot, lambda: "no signal above" in text_of(app))
        await pilot.press("v", "v", "v")
        assert 36 == screen.view.number
        await pilot.press("v")
        assert "no evidence line below" in app.said
        await pilot.press("V")
        assert 22 == screen.view.number

    drive(story)


def test_the_log_of_a_live_node_opens_at_its_newest_line(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        app.open_log_at("")
        await until(app, pilot, lambda: isinstance(app.screen, LogScreen) and app.screen.view.number == 39)

    drive(story)


def test_one_minute_on_is_a_key(drive: Drive) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        screen = await at_log(app, pilot)
        await pilot.press("m")
        assert 20 == screen.view.number
        await pilot.press("O")
        assert 0 == screen.view.number

    drive(story)


def test_a_followed_log_shows_what_is_appended(drive: Drive, log: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        screen = await at_log(app, pilot)
        await pilot.press("F")
        with log.open("a") as more:
            more.write("2026-08-22T14:03:00.000000+00:00 gpu-0417 kernel: [7380.000000] the newest\n")
        await until(app, pilot, lambda: screen.view.total == 41)
        await until(app, pilot, lambda: "the newest" in text_of(app))
        assert "FOLLOW" in text_of(app)

    drive(story)


def test_the_line_as_it_stands_is_copied(drive: Drive, log: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        screen = await at_log(app, pilot)
        screen.view.go_to(22)

        assert log.read_text().splitlines()[22] == screen.copied()

    drive(story)


def test_the_lines_that_are_shown_are_exported(drive: Drive, log: Path) -> None:
    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        screen = await at_log(app, pilot)
        await enter(pilot, "ampersand", "slurmd")
        await until(app, pilot, lambda: screen.view.total == 1)

        assert log.read_text().splitlines()[35] + "\n" == screen.exported("text")

    drive(story)


def test_several_logs_are_gone_through(drive: Drive, log: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.log.gz"
    other.write_bytes(gzip.compress(b"[    1.000000] the other log\n" * 3))
    gone = LogText("gone.log", str(tmp_path / "gone.log"))
    logs = (LogText(samples.KERN_LOG, str(log)), LogText("other.log.gz", str(other)), gone)

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        screen = await at_log(app, pilot)
        assert "log kern.log" in text_of(app)
        await pilot.press("b")
        await until(app, pilot, lambda: "the other log" in text_of(app))
        assert 3 == screen.view.total
        await pilot.press("b")
        await until(app, pilot, lambda: "cannot be opened: No such file" in text_of(app))
        await pilot.press("b")
        await until(app, pilot, lambda: screen.view.total == 40)

    drive(story, source=samples.Fixed(samples.snapshot()._replace(logs=logs)), size=(120, 30))


def test_a_hostile_log_is_shown_as_text(drive: Drive, log: Path) -> None:
    """Escapes, markup, NULs, bytes that are no text and a line of a megabyte."""
    lines = [b"\x1b[2J\x1b]0;evil\x07 [bold]x[/bold]", b"a\x00b", b"\xff\xfe\x80", b"y" * (1 << 20), b"\r\x9b31m", b""]
    log.write_bytes(b"\n".join(lines))

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        screen = await at_log(app, pilot)
        for _ in lines:
            shown = text_of(app)
            assert shown.replace("\n", "").isprintable()
            assert shown.isascii()
            await pilot.press("j")
            await pilot.pause()
        await pilot.press("g")
        await pilot.pause()
        assert "\\x1b[2J\\x1b]0;evil\\x07 [bold]x[/bold]" in text_of(app)
        assert 5 == screen.view.total

    drive(story)


def test_the_whole_of_a_long_line_is_shown_when_asked(drive: Drive, log: Path) -> None:
    log.write_text("start " + "word " * 200 + "the end\n")

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        await at_log(app, pilot)
        assert "the end" not in text_of(app)
        await pilot.press("enter")
        await pilot.pause()
        assert "the end" in text_of(app)

    drive(story)


def test_all_logs_are_shown_by_time_with_the_evidence_marked_and_one_again(drive: Drive, tmp_path: Path) -> None:
    other = tmp_path / "bmc.log"
    other.write_text("2026-08-22T14:02:30.500+00:00 bmc sel[1]: PSU 2 lost its input\n")

    async def story(app: TriageApp, pilot: Pilot[None]) -> None:
        assert app.snapshot is not None
        app.snapshot = app.snapshot._replace(logs=(*app.snapshot.logs, LogText("bmc", str(other))))
        app.open_log_of(app.facts.incidents[0] if app.facts else None)
        await until(app, pilot, lambda: isinstance(app.screen, LogScreen) and app.screen.view.signals is not None)
        screen = app.screen
        assert isinstance(screen, LogScreen)
        await pilot.press("B")
        await until(app, pilot, lambda: "sel: PSU 2 lost its input" in text_of(app))
        shown = text_of(app).splitlines()
        (lost,) = [n for n, line in enumerate(shown) if "PSU 2" in line]
        assert "[3]" in shown[lost - 1]
        assert "T " in shown[lost + 1]
        assert "14:02:31.000 NVRM: Xid (PCI:0000:4e:00): 79" in shown[lost + 1]
        assert not list(Path("/tmp").glob("gpu-triage-merged-*")) or not Path(screen.log_text.path).exists()
        await pilot.press("b")
        await until(app, pilot, lambda: "PSU" not in text_of(app))

    drive(story)
