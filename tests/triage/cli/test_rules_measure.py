"""`rules evaluate`, `fit`, `calibrate` and `replay` as commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.triage.cli.conftest import ROOT, Run

OFF_BUS = "NVRM: Xid (PCI:0000:{bus:02x}:00): 79, GPU has fallen off the bus."
OVERLAY = "schema: 1\nextends: gpu-off-bus\nwhy: Tried here.\nset: {trigger: {supports: {hardware.power: strong}}}\n"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Eight GPUs that were lost for want of power."""
    path = tmp_path / "corpus.jsonl"
    rows = [
        {
            "id": f"case-{letter}",
            "url": f"https://x.org/{letter}",
            "log": f"{OFF_BUS.format(bus=number + 1)}\nword {letter * 3}",
            "cause": "power-thermal",
            "basis_grade": "A",
        }
        for number, letter in enumerate("abcdefgh")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "power.yaml").write_text(OVERLAY)
    return folder


@pytest.fixture
def lost(tmp_path: Path) -> Path:
    """One line, about which the points of the trigger alone decide."""
    path = tmp_path / "lost.log"
    path.write_text(OFF_BUS.format(bus=0x4E) + "\n")
    return path


def test_several_corpora_are_evaluated_beside_a_plain_lookup(run: Run, corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(corpus.read_text().replace("case-a", "case-z"))
    done = run("rules", "evaluate", str(corpus), str(other), "--baseline")

    assert (0, "") == (done.returncode, done.stderr)
    assert [f"{corpus}: 8 cases", f"{other}: 8 cases", "all: 9 cases"] == [
        line.partition(",")[0] for line in done.stdout.splitlines() if " cases, " in line
    ]
    assert 3 == done.stdout.count("    rules   vendor     gpud     dcgm    group\n")


def test_an_evaluation_is_given_as_json(run: Run, corpus: Path) -> None:
    done = run("rules", "evaluate", str(corpus), "--baseline", "--format", "json")
    report = json.loads(done.stdout)

    assert (1, "evaluation") == (report["schema_version"], report["kind"])
    (found,) = report["corpora"]
    assert ["rules", "vendor", "gpud", "dcgm", "group"] == list(found["figures"])
    assert (8, 8) == (found["figures"]["rules"]["known"], len(found["outcomes"]))


def test_a_fit_prints_figures_and_changes_and_writes_nothing(run: Run, corpus: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = run("rules", "fit", str(corpus), "--folds", "4")

    assert (0, "") == (done.returncode, done.stderr)
    assert ["fold 1", "fold 2", "fold 3", "fold 4", "all held out", "fitted to all"] == [
        line[:18].strip() for line in done.stdout.splitlines() if line.startswith(("fold ", "all held", "fitted to"))
    ]
    assert "rules/gpu-off-bus.yaml:2: trigger: " in done.stdout
    assert before == sorted(tmp_path.rglob("*"))


def test_what_a_fit_writes_is_applied_as_site_rules(run: Run, corpus: Path, tmp_path: Path) -> None:
    """And replay tells what it changes."""
    fitted = tmp_path / "fitted"
    done = run("rules", "fit", str(corpus), "--write", str(fitted))
    assert (0, ["fitted-gpu-off-bus.yaml"]) == (done.returncode, [file.name for file in fitted.iterdir()])

    lint = run("rules", "lint", "--rules-overlay", str(fitted))
    assert 0 == lint.returncode, lint.stdout + lint.stderr
    replay = run("rules", "replay", "--from", str(corpus), "--rules-overlay", str(fitted), "--all")
    assert "case-a: gpu-off-bus on 0000:01:00.0: " in replay.stdout
    assert "8 logs: 8 verdicts differ" in replay.stderr
    assert "site rules: " in replay.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--folds", "1"], "--folds is 1; it must be from 2 to the number of cases, 8"),
        (["--folds", "9"], "--folds is 9"),
        (["--least", "1"], "one incident must not decide"),
    ],
)
def test_a_fit_that_could_not_be_trusted_is_refused(words: list[str], message: str, run: Run, corpus: Path) -> None:
    done = run("rules", "fit", str(corpus), *words)

    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert message in done.stderr


def test_calibrating_writes_only_what_is_better(run: Run, corpus: Path, tmp_path: Path) -> None:
    """No verdict is decided here, so there is nothing to fit a curve to."""
    done = run("rules", "calibrate", str(corpus), "--write", str(tmp_path / "calibration.yaml"))

    assert 0 == done.returncode
    assert "wrong verdicts are needed" in done.stdout
    assert "nothing written" in done.stderr
    assert not (tmp_path / "calibration.yaml").exists()


def test_a_calibration_in_the_rulebook_sets_the_confidence_that_is_shown(run: Run, tmp_path: Path) -> None:
    """The file is named, linted and followed."""
    root = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", root)
    table = "schema: 1\nsource: a test\ntable: [{raw: 0.0, shown: 0.11}, {raw: 1.0, shown: 0.11}]\n"
    (root / "calibration.yaml").write_text(table)
    done = run("explain", "-", "--format", "json", "--rules", str(root), stdin=OFF_BUS.format(bus=1))
    assert 0.11 == json.loads(done.stdout)["incidents"][0]["verdict"]["confidence"]

    (root / "calibration.yaml").write_text(table.replace("raw: 1.0", "raw: 0.0"))
    wrong = run("rules", "lint", "--rules", str(root))
    assert 2 == wrong.returncode
    assert "rules/calibration.yaml:3:34: the table must rise" in wrong.stderr


def test_a_replay_lists_what_differs_and_names_what_it_could_not_read(run: Run, lost: Path, site: Path) -> None:
    done = run("rules", "replay", "--from", str(lost), str(lost) + ".gone", "--rules-overlay", str(site), "--all")

    assert 4 == done.returncode
    assert f"{lost}: gpu-off-bus on 0000:4e:00.0: critical undetermined (" in done.stdout
    assert "trigger: seen; hardware.power +1 -> +4" in done.stdout
    assert f"not read: {lost}.gone: no such file" in done.stderr


def test_a_replay_of_nothing_readable_says_so(run: Run, lost: Path) -> None:
    assert 3 == run("rules", "replay", "--from", str(lost) + ".gone").returncode


def test_a_replay_is_given_as_json(run: Run, lost: Path, site: Path) -> None:
    done = run("rules", "replay", "--from", str(lost), "--rules-overlay", str(site), "--format", "json")
    report = json.loads(done.stdout)

    assert ("replay", 1, []) == (report["kind"], report["logs"], report["unread"])
    assert report["old"] != report["new"]
    assert "gpu-off-bus" in {difference["rule"] for difference in report["differences"]}
