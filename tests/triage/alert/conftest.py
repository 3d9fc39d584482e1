"""Peers for the tests, each closed at the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.needed import missing
from tests.triage.alert.peers import Alertmanager, Peer
from tests.triage.cli.conftest import run, run_with_node
from tests.triage.watch.conftest import kernel_log, nodes, packets, start

__all__ = ["kernel_log", "nodes", "packets", "run", "run_with_node", "start"]


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


@pytest.fixture
def alertmanager(tmp_path: Path, peer: Peer) -> Iterator[Alertmanager]:
    """A real Alertmanager, not started yet, that tells `peer`."""
    program = shutil.which("prometheus-alertmanager")
    if program is None:
        missing("prometheus-alertmanager is missing; install the Debian package of that name")
    made = Alertmanager(str(program), tmp_path, peer.url)
    yield made
    made.stop()


Configure = Callable[..., Path]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Writes a file of targets, given as YAML."""

    def write(*targets: str) -> Path:
        path = tmp_path / "alerts.yaml"
        path.write_text("targets:\n" + "".join(f"  - {target}\n" for target in targets))
        return path

    return write
