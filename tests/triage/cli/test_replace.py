"""`--output` replaces a file in one step, whatever stands in its place."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from tests.triage.cli.conftest import Run
from tests.triage.cli.test_check import LOST, WELL
from triage.cli.exits import Refused
from triage.cli.replace import replace


def test_the_metrics_of_a_sweep_stand_in_the_file(run_with_node: Run, tmp_path: Path) -> None:
    """Readable by the collector, nothing on standard output for cron to mail, the exit code as ever."""
    file = tmp_path / "gpu-triage.prom"
    done = run_with_node(LOST, "check", "--format", "prometheus", "--output", str(file))

    assert (2, "", "") == (done.returncode, done.stdout, done.stderr)
    assert 'gpu_triage_gpu_incident{gpu="0000:4e:00.0",rule="gpu-off-bus"} 1' in file.read_text()
    assert 0o644 == stat.S_IMODE(file.stat().st_mode)
    assert ["gpu-triage.prom"] == os.listdir(tmp_path)


def test_a_file_that_cannot_be_written_is_unknown(run_with_node: Run, tmp_path: Path) -> None:
    """Monitoring hears of it although the file says nothing."""
    done = run_with_node(WELL, "check", "--format", "prometheus", "--output", str(tmp_path / "none" / "x.prom"))

    assert 3 == done.returncode
    assert done.stdout.startswith("GPU-TRIAGE UNKNOWN: cannot write")
    assert "No such file or directory; make its folder first, or name another" in done.stdout


def test_the_root_is_no_file() -> None:
    with pytest.raises(Refused, match="it is a folder; name a file in it"):
        replace(Path("/"), "new\n")


def test_a_link_is_replaced_and_what_it_points_to_is_left_alone(tmp_path: Path) -> None:
    """Another user of the folder cannot make root overwrite a file elsewhere."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    file = tmp_path / "out.prom"
    file.symlink_to(victim)
    replace(file, "new\n")

    assert ("precious", "new\n") == (victim.read_text(), file.read_text())
    assert not file.is_symlink()


def test_a_pipe_or_a_folder_is_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(Refused, match="no plain file"):
            replace(tmp_path / name, "new\n")

    assert {"pipe", "folder"} == set(os.listdir(tmp_path))


def test_who_reads_it_finds_the_old_text_or_the_new_one(tmp_path: Path) -> None:
    """Never a part of either."""
    file = tmp_path / "out.prom"
    texts = {letter * 200_000 + "\n" for letter in "ab"}
    replace(file, min(texts))
    done = threading.Event()
    found: set[str] = set()

    def look() -> None:
        while not done.is_set():
            found.add(file.read_text())

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(10):
        for text in sorted(texts):
            replace(file, text)
    done.set()
    reader.join()

    assert found <= texts
