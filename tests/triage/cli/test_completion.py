"""Words are completed by the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.needed import missing
from triage.cli.dispatch import VERBS, main


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Path:
    """The script for the shell that a test is for."""
    shell = str(request.param)
    if shutil.which(shell) is None:
        missing(f"{shell} is missing; install the Debian package of that name")
    assert 0 == main(["completion", shell])
    path = tmp_path / ("_gpu-triage" if shell == "zsh" else "gpu-triage")
    path.write_text(capsys.readouterr().out)
    return path


def run(*words: str, cwd: Path) -> list[str]:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout.split()


@pytest.mark.parametrize("script", ["bash"], indirect=True)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gpu-triage che", {"check"}),
        ("gpu-triage check --form", {"--format"}),
        ("gpu-triage check --format js", {"json"}),
        ("gpu-triage fleet swe", {"sweep", "sweeps"}),
        ("gpu-triage rules li", {"list", "lint"}),
        ("gpu-triage explain --cont", {"--context"}),
        ("gpu-triage explain ker", {"kern.log"}),
        ("gpu-triage explain --rules ker", {"kern.log"}),
        ("gpu-triage nonsense --x", set()),
    ],
)
def test_bash(script: Path, line: str, expected: set[str], tmp_path: Path) -> None:
    (tmp_path / "kern.log").touch()
    words = " ".join(f"'{word}'" for word in line.split())
    told = run("bash", "-c", f'source {script}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); '
               '_gpu_triage; printf "%s\\n" "${COMPREPLY[@]}"', cwd=tmp_path)  # fmt: skip

    assert expected == set(told)


@pytest.mark.parametrize("script", ["fish"], indirect=True)
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gpu-triage che", {"check"}),
        ("gpu-triage check --format ", {"text", "json", "ndjson", "nagios"}),
        ("gpu-triage check --quie", {"--quiet"}),
        ("gpu-triage install sy", {"systemd"}),
    ],
)
def test_fish(script: Path, line: str, expected: set[str], tmp_path: Path) -> None:
    told = run("fish", "--no-config", "-c", f"source {script}; complete -C '{line}'", cwd=tmp_path)

    assert expected <= set(told)


@pytest.mark.parametrize("script", ["zsh"], indirect=True)
def test_zsh_takes_the_script(script: Path, tmp_path: Path) -> None:
    words = "autoload -U compinit; compinit -D -u; whence -w _gpu-triage"

    assert ["_gpu-triage:", "function"] == run("zsh", "-f", "-c", f"fpath=({tmp_path} $fpath); {words}", cwd=tmp_path)
    run("zsh", "-f", "-n", str(script), cwd=tmp_path)


@pytest.mark.parametrize("script", ["bash", "zsh", "fish"], indirect=True)
def test_every_verb_is_in_it(script: Path) -> None:
    text = script.read_text()

    assert [] == [verb.name for verb in VERBS if verb.name not in text]
