"""`incidents` and the life of an incident through `check`, in processes of their own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.triage.cli.conftest import Run
from tests.triage.cli.test_check import LOST, READ, SCHEMA, WELL

FINGERPRINT = "gpu-off-bus"


def report(done: Any) -> Any:
    found = json.loads(done.stdout)
    jsonschema.validate(found, SCHEMA)
    return found


def check(run_with_node: Run, state: Path, body: str, *words: str) -> Any:
    return run_with_node(body, "check", "--state-dir", str(state), *words)


def test_a_fault_goes_from_open_to_acknowledged_to_resolved(run: Run, run_with_node: Run, tmp_path: Path) -> None:
    """Each step as an on-call engineer takes it, and the exit code of check follows."""
    state = tmp_path / "s"

    def incidents(*words: str) -> Any:
        return run("incidents", *words, "--state-dir", str(state))

    opened = check(run_with_node, state, LOST)
    listed = incidents("list")
    acknowledged = incidents("ack", FINGERPRINT, "--reason", "ticket 4711", "--until", "7d")
    known = check(run_with_node, state, LOST)
    shown = incidents("show", FINGERPRINT)
    resolved = incidents("resolve", FINGERPRINT, "--reason", "riser reseated")
    after = check(run_with_node, state, LOST, "--format", "json")
    over = incidents("list", "--all", "--format", "json")

    assert [2, 0, 0, 0, 0, 0, 0, 0] == [
        done.returncode for done in (opened, listed, acknowledged, known, shown, resolved, after, over)
    ]
    assert "CRITICAL open" in listed.stdout
    assert known.stdout.startswith("GPU-TRIAGE OK: no open fault on 1 GPU, 1 acknowledged")
    assert "ticket 4711" in known.stdout
    assert "acknowledged: ticket 4711" in shown.stdout
    (incident,) = report(after)["incidents"]
    assert ("resolved", "riser reseated") == (incident["state"], incident["history"]["resolved_why"])
    assert ["resolved"] == [i["state"] for i in json.loads(over.stdout)["incidents"]]


def test_what_the_log_has_lost_is_still_reported(run_with_node: Run, tmp_path: Path) -> None:
    """The node is as broken as before, and the report says which sweep saw it."""
    check(run_with_node, tmp_path / "s", LOST)
    later = check(run_with_node, tmp_path / "s", WELL, "--format", "json")
    text = check(run_with_node, tmp_path / "s", WELL)

    assert (2, "critical", False) == (
        later.returncode,
        report(later)["status"],
        report(later)["incidents"][0]["history"]["present"],
    )
    assert "seen by earlier sweeps, not by this one" in text.stdout


def test_without_history_every_sweep_stands_alone(run_with_node: Run, tmp_path: Path) -> None:
    """And nothing is written."""
    check(run_with_node, tmp_path / "s", LOST, "--no-history")
    done = check(run_with_node, tmp_path / "s", WELL, "--no-history", "--format", "json")

    assert (0, []) == (done.returncode, report(done)["incidents"])
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("damage", ["corrupt", "directory", "link"])
def test_a_history_that_cannot_be_used_is_a_notice_and_check_goes_on(
    run_with_node: Run, tmp_path: Path, damage: str
) -> None:
    """The verdict does not depend on it."""
    state = tmp_path / "s"
    state.mkdir(mode=0o700)
    if damage == "corrupt":
        (state / "history.db").write_bytes(b"garbage" * 999)
    elif damage == "directory":
        (state / "history.db").mkdir()
    else:
        (tmp_path / "link").symlink_to(state)
        state = tmp_path / "link"
    done = check(run_with_node, state, LOST, "--format", "json")

    assert (2, "") == (done.returncode, done.stderr)
    assert 1 == len(report(done)["notices"])


def test_a_disk_that_is_full_is_a_notice(run_with_node: Run, tmp_path: Path) -> None:
    """On a file system of one page: a tmpfs, where one can be mounted."""
    state = tmp_path / "s"
    state.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24k,mode=0700", "tmpfs", str(state)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here; run as root")
    try:
        done = check(run_with_node, state, LOST, "--format", "json")
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)

    assert (2, "") == (done.returncode, done.stderr)
    assert any("full" in notice for notice in report(done)["notices"]), report(done)["notices"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["list"], 3, "there is no history"),
        (["show"], 2, "which incident?"),
        (["ack", "x"], 2, "--reason"),
        (["ack", "x", "--reason", " "], 2, "it is empty"),
        (["resolve", "x"], 2, "say why, in one way"),
        (["resolve", "x", "--reason", "a", "--replaced-serial", "1=2"], 2, "say why, in one way"),
        (["resolve", "--replaced-serial", "1=1"], 2, "is not OLD=NEW"),
        (["list", "--until", "7d"], 2, "belongs to `incidents ack`"),
        (["frobnicate"], 2, "invalid choice"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_remedy(
    run: Run, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    """In one line, without a traceback."""
    done = run("incidents", *words, "--state-dir", str(tmp_path / "s"))

    assert (code, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n"))
    assert said in done.stderr


def test_an_incident_that_is_not_there_is_named(run: Run, run_with_node: Run, tmp_path: Path) -> None:
    """Nor is one guessed where several are meant."""
    two = f"""
lost = [LogRecord(f"NVRM: Xid (PCI:0000:{{n}}:00): 79, GPU has fallen off the bus.", 9.0) for n in ("4e", "9d")]
return (), lost, ({READ})
"""
    check(run_with_node, tmp_path / "s", two)
    state = ["--state-dir", str(tmp_path / "s")]
    none = run("incidents", "show", "nonesuch", *state)
    many = run("incidents", "show", FINGERPRINT, *state)
    past = run("incidents", "ack", "4e", "--reason", "x", "--until", "2001-01-01", *state)

    assert (2, 2, 2) == (none.returncode, many.returncode, past.returncode)
    assert "no incident 'nonesuch'" in none.stderr
    assert "is not one incident but 2" in many.stderr
    assert "2001-01-01 00:00 UTC is past" in past.stderr


def test_a_reason_is_shown_without_its_control_characters(run: Run, run_with_node: Run, tmp_path: Path) -> None:
    """Whoever types it may not own the terminal of whoever reads it."""
    state = ["--state-dir", str(tmp_path / "s")]
    check(run_with_node, tmp_path / "s", LOST)
    run("incidents", "ack", FINGERPRINT, "--reason", "a\x1b[2Jb", *state)
    shown = run("incidents", "show", FINGERPRINT, *state)

    assert 0 == shown.returncode
    assert "\x1b" not in shown.stdout
    assert "[2Jb" in shown.stdout


def test_a_disputed_verdict_is_counted_against_its_rule(run: Run, run_with_node: Run, tmp_path: Path) -> None:
    state = tmp_path / "s"
    check(run_with_node, state, LOST)

    bare = run("incidents", "dispute", FINGERPRINT, "--state-dir", str(state))
    disputed = run(
        "incidents", "dispute", FINGERPRINT, "--was", "driver.module", "--reason", "gone with the new driver",
        "--state-dir", str(state),
    )  # fmt: skip
    shown = run("incidents", "show", FINGERPRINT, "--state-dir", str(state))
    counted = run("rules", "evaluate", "--history", str(state), "--format", "json")
    nothing = run("rules", "evaluate")

    assert [2, 0, 0, 0, 2] == [done.returncode for done in (bare, disputed, shown, counted, nothing)]
    assert "say why" in bare.stderr
    assert "was driver.module: gone with the new driver" in " ".join(shown.stdout.split())
    (rule,) = json.loads(counted.stdout)["disputed"]
    assert (FINGERPRINT, 1, 1) == (rule["rule"], rule["incidents"], rule["disputed"])
    assert [("driver.module", "gone with the new driver")] == [(said["was"], said["reason"]) for said in rule["said"]]
    assert "labelled incidents, or --history" in nothing.stderr
