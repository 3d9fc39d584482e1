"""What is set once and for all, and who wins."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path

import pytest

from triage.cli import config, settings
from triage.cli.dispatch import main
from triage.cli.exits import Refused


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a config folder of the user and one of the system."""
    monkeypatch.setattr(settings, "SYSTEM", tmp_path / "etc" / "config.yaml")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    for variable in (settings.FILE, "GPU_TRIAGE_STATE_DIR"):
        monkeypatch.delenv(variable, raising=False)
    for folder in ("etc", "user/gpu-triage"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def of_user(home: Path, text: str) -> Path:
    path = home / "user" / "gpu-triage" / "config.yaml"
    path.write_text(text)
    return path


def of_system(home: Path, text: str) -> Path:
    settings.SYSTEM.write_text(text)
    return settings.SYSTEM


def zone_of(*words: str) -> float:
    return float(import_module("triage.cli.explain").parser().parse_args([*words, "x.log"]).timezone)


def test_nearer_wins_from_the_system_to_the_command_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0.0 == zone_of()
    of_system(home, 'timezone: "+01:00"\n')
    assert 3600.0 == zone_of()
    of_user(home, 'timezone: "+02:00"\n')
    assert 7200.0 == zone_of()
    of_user(home, 'timezone: "+02:00"\nexplain:\n  timezone: "+03:00"\n')
    assert 10800.0 == zone_of()
    monkeypatch.setenv("GPU_TRIAGE_TIMEZONE", "+04:00")
    assert 14400.0 == zone_of()
    assert 18000.0 == zone_of("--timezone", "+05:00")


def test_one_file_can_be_named_or_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_user(home, 'timezone: "+02:00"\n')
    (home / "other.yaml").write_text('timezone: "+06:00"\n')
    monkeypatch.setenv(settings.FILE, str(home / "other.yaml"))
    assert 21600.0 == zone_of()
    monkeypatch.setenv(settings.FILE, "")
    assert 0.0 == zone_of()
    monkeypatch.setenv(settings.FILE, str(home / "gone.yaml"))
    with pytest.raises(Refused, match=r"gone.yaml:1:1: cannot be read: no such file"):
        zone_of()


def test_flags_lists_and_numbers_are_set_as_the_option_takes_them(home: Path) -> None:
    of_user(home, "ascii: true\nrules-overlay: [/a, /b]\ncheck:\n  deadline: 7\n  quiet: false\n")

    args = import_module("triage.cli.check").parser().parse_args([])

    assert (True, [Path("/a"), Path("/b")], 7.0, False) == (args.ascii, args.rules_overlay, args.deadline, args.quiet)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("timezones: UTC\n", "config.yaml:1:1: no setting 'timezones'; did you mean 'timezone'?"),
        ("tui:\n  themes: safe\n", "config.yaml:2:3: no setting 'themes'; did you mean 'theme'?"),
        ("checks:\n  deadline: 3\n", "no setting 'checks'; did you mean 'check'?"),
        ("apply: true\n", "no setting 'apply'"),  # what acts is asked for each time
        ("timezone: mars\n", "config.yaml:1:11: timezone: 'mars' is not a zone"),
        ("timezone: [UTC]\n", "timezone is one value"),
        ("ascii: perhaps\n", "ascii is true or false"),
        ("color: pink\n", "color: invalid choice: 'pink'"),
        ("check: 3\n", "check holds settings, one a line"),
        ("- timezone\n", "holds settings, one a line"),
        ("timezone: &a UTC\n", "tags and anchors are not allowed"),
        ("tui:\n  keymap: R\n", "keymap holds actions and their keys"),
        ("timezone: UTC\ntimezone: UTC\n", "stands twice"),
        ("", "is empty"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_the_remedy(
    home: Path, text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    of_user(home, text)

    assert 2 == main(["explain", "x.log"])

    assert told in capsys.readouterr().err


def test_a_check_with_a_wrong_file_is_unknown_to_its_monitor(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_user(home, "deadlne: 3\n")

    assert 3 == main(["check"])

    assert capsys.readouterr().out.startswith("GPU-TRIAGE UNKNOWN: ")


def test_help_is_there_whatever_is_wrong(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_user(home, "nonsense: [\n")

    assert 0 == main(["explain", "--help"])

    assert "--timezone" in capsys.readouterr().out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is told by files of others")
def test_root_believes_no_file_that_others_can_change(home: Path) -> None:
    path = of_system(home, "timezone: UTC\n")
    path.chmod(0o664)
    with pytest.raises(Refused, match="chown root and chmod go-w"):
        zone_of()
    path.chmod(0o644)
    os.chown(path, 12345, -1)
    with pytest.raises(Refused, match="others than root"):
        zone_of()


def test_every_setting_is_an_option_of_some_verb_that_config_knows() -> None:
    options = {
        text.removeprefix("--")
        for module in config.PARSERS.values()
        for action in import_module(module).parser()._actions
        for text in action.option_strings
    }

    assert set() == settings.NAMES - options
    assert settings.ONE_WORD <= settings.NAMES


def test_config_show_tells_where_each_value_came_from(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = of_user(home, "tui:\n  theme: safe\n  keymap: {incident.rule: R}\n")
    monkeypatch.setenv("GPU_TRIAGE_COLOR", "never")

    assert 0 == main(["config", "show", "tui", "--format", "json"])

    told = {each["name"]: (each["value"], each["origin"]) for each in json.loads(capsys.readouterr().out)["settings"]}
    assert {
        "color": ("never", "GPU_TRIAGE_COLOR"),
        "theme": ("safe", f"{path}:2:10"),
        "keymap incident.rule": ("R", f"{path}:3:11 incident.rule"),
    } == told


def test_config_show_all_names_the_defaults_and_without_files_says_so(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == main(["config", "show"])
    assert "config files: none\nnothing is set; --all shows the defaults\n" == capsys.readouterr().out
    assert 0 == main(["config", "show", "check", "--all"])
    assert "check      deadline               20.0                     default" in capsys.readouterr().out
