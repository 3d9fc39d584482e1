"""The files with which other programs run this one: printed with this installation's path, nothing installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.triage.cli.conftest import ROOT, Run
from triage.cli import install
from triage.cli.dispatch import main
from triage.cli.exits import Refused


@pytest.mark.parametrize("kit", sorted(install.KITS.keys() - {"man"}))
def test_each_kit_is_printed_with_the_path_of_this_program_and_what_comes_next(
    kit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == main(["install", kit, "--print"])

    text = capsys.readouterr().out
    assert [f"### {file.target}" for file in install.KITS[kit]] == [
        line.partition(" (mode")[0]
        for line in text.splitlines()
        if line.startswith("### /") or line.startswith("### gpu")
    ]
    assert text.splitlines()[-1].startswith("### then: ")
    assert "/usr/bin/gpu-triage" not in text
    if kit not in ("prometheus", "grafana"):
        assert install.program() in text


def test_files_are_written_once_with_their_mode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["install", "slurm", "--to", str(tmp_path / "lib")])

    assert {"slurm-health-check", "slurm-prolog", "slurm-epilog"} == set(os.listdir(tmp_path / "lib"))
    assert {0o755} == {path.stat().st_mode & 0o777 for path in (tmp_path / "lib").iterdir()}
    assert 2 == main(["install", "slurm", "--to", str(tmp_path / "lib")])
    assert "is there already" in capsys.readouterr().err


def test_nothing_is_done_without_a_word_for_what(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == main(["install", "systemd"])
    assert "--print" in capsys.readouterr().err
    assert 2 == main(["install", "windows", "--print"])


def test_they_come_with_the_wheel(tmp_path: Path) -> None:
    """A machine has the wheel and no source tree."""
    words = ["--no-deps", "--no-build-isolation", "--quiet", "-w", str(tmp_path), str(ROOT)]
    made = subprocess.run([sys.executable, "-m", "pip", "wheel", *words], capture_output=True, text=True, timeout=120)
    assert 0 == made.returncode, made.stderr
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")

    done = subprocess.run(
        [sys.executable, "-m", "triage", "install", "npd", "--print"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert 0 == done.returncode, done.stderr
    text = done.stdout.partition("\n")[2].rpartition("###")[0]
    assert "GpuProblem" == json.loads(text)["rules"][0]["condition"]
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if name.startswith(("tests/", "docs/", "contrib/"))]


def test_slurm_is_told_a_reason_only_where_the_machine_is_at_fault(run: Run, tmp_path: Path) -> None:
    """What is refused or not known is no reason: its words must never stand where the reason would."""
    well = run("check", "--format", "slurm", "--state-dir", str(tmp_path / "s"))
    assert "GPU-TRIAGE" not in well.stdout
    wrong = run("check", "--format", "slurm", "--deadline", "no")
    assert (3, "") == (wrong.returncode, wrong.stdout)
    wrong = run("check", "--format", "slurm", "--seen-since", "no")
    assert (3, "") == (wrong.returncode, wrong.stdout)


@pytest.mark.parametrize("path", ["/opt/my tools/gpu-triage", "/opt/$(id)/gpu-triage", "/opt/a%b/gpu-triage"])
def test_a_path_that_would_need_quotes_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that runs something else as root would be the worst of files."""
    monkeypatch.setattr(install, "program", lambda: path)
    with pytest.raises(Refused, match="plain name"):
        install.filled(install.KITS["slurm"][0])
