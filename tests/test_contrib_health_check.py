"""Slurm's health check where Slurm or this program does not answer as it should."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "contrib" / "slurm" / "health-check"
REASON = "echo 'gpu-triage: xid.79, hardware'; exit 2"
IDLE = "echo 'NodeName=g1 State=IDLE'"


@pytest.mark.parametrize(
    ("sweep", "shown", "code", "drained"),
    [
        (REASON, IDLE, 0, True),
        (REASON, "echo 'NodeName=g1 State=IDLE+DRAIN'", 0, False),
        (REASON, "exit 1", 1, False),  # an operator's reason may stand there, unseen
        ("exit 0", IDLE, 0, False),
        ("echo 'GPU-TRIAGE UNKNOWN: no driver'; exit 3", IDLE, 0, False),
        ("exit 127", IDLE, 1, False),  # not installed: Slurm's log should say so
    ],
)
def test_a_node_is_drained_only_for_a_reason_and_where_none_stands(
    sweep: str, shown: str, code: int, drained: bool, tmp_path: Path
) -> None:
    """What cannot be seen is not written over, and a sweep that did not run is not a healthy node."""
    for name, body in (
        ("gpu-triage", sweep),
        ("scontrol", f'[ "$1" = update ] || {{ {shown}; exit; }}\necho "$@" >> {tmp_path}/updates'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    text = SCRIPT.read_text().replace("/usr/bin/gpu-triage", f"{tmp_path}/gpu-triage")
    text = text.replace('export PATH="', f'export PATH="{tmp_path}:')
    done = subprocess.run(
        ["sh", "-c", text], env={"SLURMD_NODENAME": "g1"}, capture_output=True, text=True, timeout=120
    )

    updates = tmp_path / "updates"
    assert code == done.returncode, done.stderr
    assert drained == updates.exists()
    if drained:
        assert "update NodeName=g1 State=DRAIN Reason=gpu-triage: xid.79, hardware\n" == updates.read_text()
