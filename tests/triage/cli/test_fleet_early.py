"""`fleet early` over captures of several days."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.generated_counters import BEGIN, DAY, captures, readings
from tests.triage.cli.conftest import Run
from tests.triage.fleet.places import rulebook
from triage.fleet.read import read_one
from triage.fleet.store import write
from triage.fleet.store.opened import Store
from triage.schema import EARLY

SICK = "GPU-00005"
NOW = "1795170000"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captures of six nodes in four sweeps, one board of them wearing out."""
    made = tmp_path_factory.mktemp("captures")
    captures(readings(6, {SICK: "corrected-errors"}, sweeps=4, seed=3), made)
    return made


def test_the_sick_board_is_named_with_its_node_and_counts(run: Run, folder: Path) -> None:
    done = run("fleet", "early", str(folder), "--now", NOW, "--format", "json")
    told = json.loads(done.stdout)
    jsonschema.Draft202012Validator(json.loads(EARLY.read_text())).validate(told)

    assert (0, "") == (done.returncode, done.stderr)
    assert [("corrected-errors", SICK, "gpu00000")] == [(s["id"], s["gpu"], s["node"]) for s in told["signs"]]
    assert (6, 48) == (told["nodes"], told["gpus"])


def test_a_store_tells_what_the_captures_of_its_sweeps_tell(run: Run, folder: Path, tmp_path: Path) -> None:
    store = ("--store", str(tmp_path / "fleet.db"))
    with Store(store[1]) as opened:
        for sweep in range(4):
            paths = sorted(folder.glob(f"*-{sweep}.tar.gz"))
            answers = [read_one(str(path), rulebook(), now=float(NOW), tz_offset=0.0) for path in paths]
            write.put(opened, write.Swept(f"sweep-{sweep}", BEGIN + sweep * DAY, "ssh", len(paths)), answers)
    words = ("--now", NOW, "--format", "json")
    told = json.loads(run("fleet", "early", *store, *words).stdout)

    assert json.loads(run("fleet", "early", str(folder), *words).stdout) == told
    assert 3 == run("fleet", "early", *store, *words, "--since", "2d").returncode


def test_either_captures_or_a_store(run: Run, folder: Path, tmp_path: Path) -> None:
    both = run("fleet", "early", str(folder), "--store", str(tmp_path / "fleet.db"))
    none = run("fleet", "early")

    assert [2, 2] == [both.returncode, none.returncode]
    assert "--store URL" in none.stderr


def test_text_says_that_a_sign_is_no_verdict(run: Run, folder: Path) -> None:
    done = run("fleet", "early", str(folder), "--now", NOW, "--fail-on", "warning")

    assert 1 == done.returncode
    assert "EARLY SIGNS (no verdicts" in done.stdout
    assert f"gpu00000 {SICK}" in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


def test_one_sweep_compares_no_rates_and_says_so(run: Run, folder: Path) -> None:
    first = [str(path) for path in sorted(folder.glob("*-0.tar.gz"))]
    done = run("fleet", "early", *first, "--now", NOW)

    assert 0 == done.returncode
    assert "NOT COMPARED" in done.stdout
    assert "fewer than two readings" in done.stdout


def test_where_nothing_could_be_compared_nobody_is_called_well(run: Run, tmp_path: Path) -> None:
    (tmp_path / "gpu1.log").write_text("[    1.000000] usb 1-1: new high-speed USB device number 2 using xhci_hcd\n")
    done = run("fleet", "early", str(tmp_path))

    assert "0 GPUs of 1 nodes; 0 comparisons" in done.stdout
    assert "nothing could be compared" in done.stdout
    assert "none that chance" not in done.stdout


def test_a_folder_of_noise_is_nothing_that_could_be_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "noise.log").write_bytes(b"\0\1\2" * 999)

    assert 3 == run("fleet", "early", str(tmp_path), "--now", NOW).returncode
