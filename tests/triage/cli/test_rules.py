"""`rules` lists, shows, lints, tests and measures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.triage.cli.conftest import ROOT, Run
from triage.cli.rules import SCHEMAS


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A copy of the rulebook with a mistake in one rule."""
    root = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", root)
    rule = root / "gpu-off-bus.yaml"
    rule.write_text(rule.read_text().replace("severity: critical", "severity: dreadful", 1))
    return root


def test_every_rule_is_listed(run: Run) -> None:
    """By its id."""
    done = run("rules", "list")

    assert (0, "") == (done.returncode, done.stderr)
    assert all(
        path.stem in done.stdout
        for path in (ROOT / "rules").glob("*.yaml")
        if path.stem not in ("causes", "calibration")
    )


def test_the_list_is_also_told_to_programs(run: Run) -> None:
    """The same rules, as JSON."""
    listed = json.loads(run("rules", "list", "--format", "json").stdout)
    lines = run("rules", "list").stdout.splitlines()[1:]

    assert [line.split()[:2] for line in lines] == [[rule["id"], str(rule["version"])] for rule in listed["rules"]]


def test_a_rule_is_shown(run: Run) -> None:
    """With what it asks."""
    done = run("rules", "show", "gpu-off-bus")

    assert (0, "") == (done.returncode, done.stderr)
    assert "gpu-off-bus" in done.stdout


def test_a_rule_that_does_not_exist_is_answered_with_the_nearest(run: Run) -> None:
    """Exit 2, one line."""
    done = run("rules", "show", "gpu-of-bus")

    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert "did you mean 'gpu-off-bus'?" in done.stderr


def test_what_lint_finds_is_listed_and_decides_the_exit_code(run: Run, tmp_path: Path) -> None:
    """Each with its place and severity; the count goes to standard error."""
    root = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", root)
    rule = root / "gpu-off-bus.yaml"
    rule.write_text(rule.read_text().partition("\ntests:")[0] + "\n")
    done = run("rules", "lint", "--rules", str(root))
    errors = sum(": error: " in line for line in done.stdout.splitlines())

    assert 1 == done.returncode
    assert any(
        line.startswith("rules/gpu-off-bus.yaml:") and line.endswith("[tests]") for line in done.stdout.splitlines()
    )
    assert f" {errors} errors, " in done.stderr


@pytest.mark.parametrize("words", [["rules", "lint"], ["rules", "test"], ["rules", "list"], ["xid", "79"]])
def test_a_rulebook_with_a_mistake_is_refused_with_the_place(words: list[str], run: Run, broken: Path) -> None:
    """File, line and column; exit 2."""
    done = run(*words, "--rules", str(broken))

    assert (2, "") == (done.returncode, done.stdout)
    assert "gpu-off-bus.yaml:" in done.stderr
    assert "dreadful" in done.stderr
    assert "Traceback" not in done.stderr


LINE = "NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus."


@pytest.mark.parametrize(
    ("code", "line", "expected"),
    [
        (0, "usb 1-1: new high-speed USB device", "1 tests of 1 rules: 0 failed\n"),
        (1, LINE, "FAILED gpu-off-bus: tried here (rules/gpu-off-bus.yaml:"),
    ],
)
def test_the_tests_of_a_rule_are_run(code: int, line: str, expected: str, run: Run, tmp_path: Path) -> None:
    """Exit 1 if one fails, with its place and what was expected."""
    root = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", root)
    rule = root / "gpu-off-bus.yaml"
    test = f'\ntests:\n  - name: tried here\n    given: [{{at: 0s, line: "{line}"}}]\n    expect: {{verdict: none}}\n'
    rule.write_text(rule.read_text().partition("\ntests:")[0] + test)
    done = run("rules", "test", "gpu-off-bus", "--rules", str(root))

    assert code == done.returncode, done.stdout + done.stderr
    assert done.stdout.startswith(expected)
    assert ("expected no incident, got: GPU stopped answering" in done.stdout) == bool(code)


def test_no_test_is_no_success(run: Run, tmp_path: Path) -> None:
    """What was not tried has not passed."""
    root = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", root)
    rule = root / "gpu-off-bus.yaml"
    rule.write_text(rule.read_text().partition("\ntests:")[0] + "\n")

    assert 1 == run("rules", "test", "gpu-off-bus", "--rules", str(root)).returncode


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_of_rule_files_are_printed(name: str, run: Run) -> None:
    """For editors."""
    done = run("rules", "schema", name)

    assert (0, "") == (done.returncode, done.stderr)
    jsonschema.Draft7Validator.check_schema(json.loads(done.stdout))


def test_a_corpus_is_evaluated(run: Run, tmp_path: Path, log: Path) -> None:
    """Labelled incidents give figures."""
    case = {
        "id": "one",
        "log": log.read_text(),
        "cause": "platform",
        "secondary_causes": ["hardware"],
        "basis_grade": "A",
    }
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text(json.dumps(case) + "\n")
    done = run("rules", "evaluate", str(corpus))

    assert (0, "") == (done.returncode, done.stderr)
    assert "accuracy" in done.stdout.lower()


@pytest.mark.parametrize(("expected", "content"), [("cannot read", None), (":1: not a JSON object", "no json\n")])
def test_a_corpus_that_is_none_is_refused(expected: str, content: str | None, run: Run, tmp_path: Path) -> None:
    """With file and line."""
    corpus = tmp_path / "corpus.jsonl"
    if content is not None:
        corpus.write_text(content)
    done = run("rules", "evaluate", str(corpus))

    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert expected in done.stderr


def test_site_rules_are_marked_in_the_list_and_left_out_on_demand(run: Run, tmp_path: Path) -> None:
    """Those of the user apply without being asked for; another rulebook takes only those that are named."""
    folder = tmp_path / "gpu-triage" / "rules"
    folder.mkdir(parents=True)
    (folder / "ours.yaml").write_text("schema: 1\nextends: gpu-off-bus\nwhy: Ours.\nset: {severity: info}\n")
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    marked = f"[changed by {folder}/ours.yaml]"

    assert marked in run("rules", "list", env=env).stdout
    assert marked not in run("rules", "list", "--no-overlays", env=env).stdout
    assert marked not in run("rules", "list", "--rules", str(ROOT / "rules"), env=env).stdout
    assert marked in run("rules", "list", "--no-overlays", "--rules-overlay", str(folder), env=env).stdout
    assert marked.strip("[]") in run("rules", "show", "gpu-off-bus", env=env).stdout


def test_a_report_tells_which_site_rules_were_in_force(run: Run, tmp_path: Path, log: Path) -> None:
    """Of every surface: the notice stands in the JSON."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "ours.yaml").write_text("schema: 1\nextends: gpu-off-bus\nwhy: Ours.\nset: {severity: info}\n")
    done = run("explain", str(log), "--format", "json", "--rules-overlay", str(tmp_path / "site"))
    report = json.loads(done.stdout)

    assert "info" == report["incidents"][0]["severity"]
    assert any(notice.endswith("ours.yaml changes rule gpu-off-bus: Ours.") for notice in report["notices"])
