"""What a node sends is data: whatever it is, it becomes one outcome with a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.carry import BEGIN, END, FAILED, framed
from triage.fleet import model, sweep
from triage.fleet.sweep import Folder, Outcome, judge, kept
from triage.fleet.ways import Raw


def raw(output: bytes = b"", errors: bytes = b"", status: int | None = 0) -> Raw:
    return Raw(output, errors, status, False, False, 1.0)


@pytest.mark.parametrize(
    ("errors", "state"),
    [
        (b"ssh: connect to host n1 port 22: Connection refused", model.UNREACHABLE),
        (b"ssh: Could not resolve hostname n1: Name or service not known", model.UNREACHABLE),
        (b"ssh: connect to host n1 port 22: Connection timed out", model.UNREACHABLE),
        (b"Connection timed out during banner exchange", model.TIMED_OUT),
        (b"@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", model.HOST_KEY),
        (b"No ED25519 host key is known for n1 and you have requested strict checking.", model.HOST_KEY),
        (b"root@n1: Permission denied (publickey).", model.REFUSED),
        (b"srun: error: Unable to allocate resources: Requested nodes are busy", model.REFUSED),
        (b"\xff\xfe something else", model.FAILED),
    ],
)
def test_what_ssh_and_srun_say_is_told_apart(errors: bytes, state: str) -> None:
    assert state == judge("n1", raw(errors=errors, status=255), 10.0).state


def test_what_srun_said_counts_though_it_had_not_ended_when_it_was_given_up() -> None:
    """On a busy machine a command may close its output and take a while to end."""
    said = b"srun: error: Unable to allocate resources: Requested nodes are busy"

    assert model.REFUSED == judge("n1", raw(errors=said, status=None), 10.0).state
    assert model.UNREACHABLE == judge("n1", raw(status=None), 10.0).state


@given(st.binary(max_size=300), st.sampled_from([b"", BEGIN.encode(), END.encode(), FAILED.encode()]), st.binary())
def test_no_bytes_are_an_answer_or_a_mistake_of_ours(one: bytes, mark: bytes, two: bytes) -> None:
    outcome = judge("n1", raw(one + b"\n" + mark + b"\n" + two, two, len(one) % 3), 10.0)

    assert outcome.state in model.STATES
    assert model.ANSWERED != outcome.state
    assert "internal error" not in str(outcome.reason)
    assert str(outcome.reason).isprintable()


@given(st.binary(max_size=200))
def test_a_frame_around_anything_but_a_capture_is_garbage(content: bytes) -> None:
    assert model.GARBAGE == judge("n1", raw(framed(content)), 10.0).state


def test_a_sweep_that_never_ended_names_whom_it_did_not_hear(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "s", ["n1", "n2"], {"began_at": 1.0})
    folder.add(Outcome("n1", model.ANSWERED, None, 1.0, b"x"))
    found = kept(tmp_path / "s")

    assert found is not None
    assert {"n1": str(tmp_path / "s" / "n1.tar.gz")} == found.captures
    assert [("n2", model.SKIPPED)] == [(each.node, each.state) for each in found.silent]
    assert not found.complete


def test_a_manifest_leads_nowhere_else(tmp_path: Path) -> None:
    """It names nodes, not files: none of them can be a path."""
    told = {"kind": "sweep", "schema_version": 1, "asked": ["../../etc/passwd", 7, "n1"], "nodes": [{"node": 1}, 2]}
    (tmp_path / sweep.FILE).write_text(json.dumps(told))
    found = kept(tmp_path)

    assert found is not None
    assert ["n1"] == [each.node for each in found.silent]
    assert {} == found.captures


def test_a_folder_without_a_manifest_is_no_sweep(tmp_path: Path) -> None:
    assert kept(tmp_path) is None
