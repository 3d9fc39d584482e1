"""`gpu-triage tui` before any screen is drawn."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui import samples
from triage.cli import tui
from triage.cli.exits import Refused
from tui.fleet.source import FleetSource
from tui.look import Look
from tui.sources import LogSource, NodeSource, ReportSource

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the streams pass for a terminal."""
    monkeypatch.setattr("triage.cli.output.is_terminal", lambda stream: True)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-"], "save the log to a file"),
        (["no-such.log"], "no such file: no-such.log"),
        (["--replay", "no-such.json"], "no such file: no-such.json"),
        (["README", "--replay", "README"], "give either"),
        (["--refresh", "0"], "not above 0 and at most"),
        (["--color", "pink"], "invalid choice"),
        (["--fleet"], "--fleet goes with FILE alone"),
        (["--inventory", "racks.csv"], "--inventory is for a fleet"),
        (["--at", "03:10"], "--at is for a recording or a fleet"),
    ],
)
def test_what_cannot_be_opened_is_refused_before_the_screen_is_taken(words: list[str], says: str) -> None:
    with pytest.raises(Refused, match=says):
        tui.main(words)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("term", ["dumb", "", "unknown"])
def test_a_terminal_that_cannot_place_its_cursor_is_refused(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)

    with pytest.raises(Refused, match="set TERM"):
        tui.main([])


@pytest.mark.parametrize("words", [["tui"], ["tui", "README.md"], []])
def test_without_a_terminal_it_says_what_to_use_instead(words: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "triage", *words], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip

    assert (2, "") == (ran.returncode, ran.stdout)
    assert 1 == ran.stderr.count("\n")
    assert "terminal" in ran.stderr


def test_the_kind_of_source_follows_from_what_is_named(tmp_path: Path) -> None:
    report, log = tmp_path / "report.json", tmp_path / "kern.log"
    report.write_text(json.dumps(samples.REPORT))
    log.write_text(samples.LOG)
    opened = [
        ([], NodeSource),
        ([str(report)], ReportSource),
        (["--replay", str(report)], ReportSource),
        ([str(log)], LogSource),
        ([str(log), str(report)], LogSource),
    ]
    for words, kind in opened:
        assert isinstance(tui.source(tui.parser().parse_args(words), tmp_path), kind), words
    assert 60 == tui.source(tui.parser().parse_args(["--refresh", "60"]), tmp_path).period


def test_a_folder_is_a_fleet_unless_it_is_one_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shapes = {
        "fleet": ["gpu-1.tar.gz", "gpu-2.tar.gz"],
        "logs": ["kern.log", "kern.log.1", "bmc.log"],
        "sos": ["sos_commands/x", "var/log/x"],
        "single": ["gpu-1.tar.gz"],
    }
    for folder, names in shapes.items():
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x")

    def kind(*words: str) -> type:
        return type(tui.source(tui.parser().parse_args(list(words)), tmp_path))

    expected = {"fleet": FleetSource, "logs": LogSource, "sos": LogSource, "single": LogSource}
    assert expected == {name: kind(str(tmp_path / name)) for name in shapes}
    assert FleetSource is kind("--fleet", str(tmp_path / "logs"))
    assert FleetSource is kind("--fleet", str(tmp_path / "fleet" / "gpu-1.tar.gz"))
    assert LogSource is kind("--one-node", str(tmp_path / "fleet"))


@pytest.mark.parametrize(
    ("words", "environ", "expected"),
    [
        ([], {}, Look("sixteen", False)),
        ([], {"NO_COLOR": "1"}, Look("plain", False)),
        ([], {"NO_COLOR": ""}, Look("sixteen", False)),
        (["--color", "always"], {"NO_COLOR": "1"}, Look("sixteen", False)),
        (["--color", "never"], {"GPU_TRIAGE_THEME": "safe"}, Look("plain", False)),
        ([], {"GPU_TRIAGE_THEME": "safe"}, Look("safe", False)),
        (["--ascii"], {}, Look("sixteen", True)),
    ],
)
def test_colour_and_letters_are_as_the_flags_and_the_environment_say(
    words: list[str], environ: dict[str, str], expected: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.look.speaks_utf8", lambda: True)
    for name in ("NO_COLOR", "FORCE_COLOR", "GPU_TRIAGE_THEME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert expected == tui.look(tui.parser().parse_args(words))


def test_an_unknown_theme_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPU_TRIAGE_THEME", "pink")

    with pytest.raises(Refused, match="one of plain, sixteen, safe"):
        tui.look(tui.parser().parse_args([]))


def test_a_locale_without_utf8_gets_ascii() -> None:
    script = "from tui.look import speaks_utf8; print(speaks_utf8())"
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    strict = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for environ, expected in (
        ({"LC_ALL": "C", **strict}, "False"),
        ({"LC_ALL": "C"}, "False"),  # Python itself goes on in UTF-8 then
        ({"LANG": "C"}, "False"),
        ({"LC_ALL": "C.UTF-8", **strict}, "True"),
        ({"LANG": "C.UTF-8"}, "True"),
    ):
        ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=bare | environ,
                             capture_output=True, text=True, check=True)  # fmt: skip
        assert expected == ran.stdout.strip(), environ


def test_keys_of_the_config_are_checked_before_the_screen_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    monkeypatch.setenv("GPU_TRIAGE_CONFIG", str(path))
    path.write_text('tui:\n  keymap: {incident.rule: R, app.pause: "ctrl+n f2", log.find: ","}\n')
    assert {"incident.rule": "R", "app.pause": "ctrl+n,f2", "log.find": "comma"} == tui.keys()
    for wrong, told in (("incident.rle: R", "no action 'incident.rle'; did you mean 'incident.rule'"),
                        ("app.pause: control-n", "'control-n' is no key")):  # fmt: skip
        path.write_text(f"tui:\n  keymap: {{{wrong}}}\n")
        with pytest.raises(Refused, match=re.escape(told)):
            tui.keys()
