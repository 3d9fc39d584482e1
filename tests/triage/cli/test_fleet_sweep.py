"""`fleet sweep` over real sshd, of which some are dead, hang, lie or never stop talking."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import ssh_fleet
from tests.patience import until
from tests.ssh_fleet import SshFleet
from tests.triage.cli.conftest import ROOT, Run, environment

NAMES = [f"n{number:02}" for number in range(1, 25)]
ODD = {
    "n01": ssh_fleet.DEAD,
    "n02": ssh_fleet.DEAD,
    "n03": ssh_fleet.STOPPED,
    "n04": ssh_fleet.FORGED,
    "n05": ssh_fleet.BARE,
    "n06": ssh_fleet.INSTALLED,
    "n07": "hangs",
    "n08": "closes",
    "n09": "floods",
    "n10": "babbles",
    "n11": "garbage",
    "n12": "cut",
    "n13": "forges",
    "n14": "fails",
    "n15": "greets",
}
STATES = {
    "n01": "unreachable",
    "n02": "unreachable",
    "n03": "timed-out",
    "n04": "host-key",
    "n05": "no-python",
    "n07": "timed-out",
    "n08": "timed-out",
    "n09": "too-much-output",
    "n10": "too-much-output",
    "n11": "garbage",
    "n12": "garbage",
    "n13": "garbage",
    "n14": "failed",
}
"""What becomes of the question to those that give no answer."""
HANG = ("n03", "n07", "n08")
"""Those that are waited for until the deadline; of the others each says something, or is known to say nothing."""
SPEAK = {node: state for node, state in STATES.items() if node not in HANG}
DEADLINE = 20


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    ssh_fleet.need()
    with SshFleet(tmp_path_factory.mktemp("fleet"), NAMES, ODD) as up:
        yield up


class Swept:
    """One sweep: how it ended, how long it took, what it left."""

    def __init__(self, fleet: SshFleet, folder: Path, *nodes: str, deadline: float) -> None:
        self.folder = folder
        words = [*nodes, "--ssh-config", str(fleet.config), "--deadline", str(deadline), "-o", str(folder)]
        began = time.monotonic()
        self.done = subprocess.run(
            [sys.executable, "-m", "triage", "fleet", "sweep", *words, "--format", "json"],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        self.took = time.monotonic() - began
        self.report: dict[str, Any] = json.loads(self.done.stdout)
        self.silent = {each["node"]: each for each in self.report["nodes"]["silent"]}


@pytest.fixture(scope="module")
def swept(fleet: SshFleet, tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """All but those that hang, with time enough for a machine that is busy."""
    folder = tmp_path_factory.mktemp("swept") / "out"
    return Swept(fleet, folder, "-w", "n[01-24]", "-x", ",".join(HANG), deadline=120)


def test_every_node_is_a_result_with_its_reason(swept: Swept) -> None:
    """And a sweep of which some nodes said nothing is a partial one."""
    assert SPEAK == {node: each["state"] for node, each in swept.silent.items()}
    assert all(each["reason"] for each in swept.silent.values())
    assert 4 == swept.done.returncode
    assert len(NAMES) - len(STATES) == swept.report["nodes"]["told"]


def test_a_changed_host_key_is_refused_even_where_the_configuration_does_not_want_it(swept: Swept) -> None:
    """The configuration of this fleet says StrictHostKeyChecking no."""
    assert "its host key is not the known one" in swept.silent["n04"]["reason"]


def test_nodes_that_hang_do_not_keep_the_sweep_beyond_their_deadline(fleet: SshFleet, tmp_path: Path) -> None:
    """Some seconds for the report of the one that answered; they would hang for ten minutes."""
    swept = Swept(fleet, tmp_path / "out", "-w", ",".join(("n16", *HANG)), deadline=DEADLINE)

    assert {node: STATES[node] for node in HANG} == {node: each["state"] for node, each in swept.silent.items()}
    assert (4, 1) == (swept.done.returncode, swept.report["nodes"]["told"])
    assert swept.took < DEADLINE + 90


def test_what_a_node_prints_reaches_the_terminal_cleaned(swept: Swept) -> None:
    assert r"it sent no capture, but: hello\x1b[31m operator" == swept.silent["n11"]["reason"]


def test_what_came_is_kept_and_read_again(swept: Swept, run: Run) -> None:
    """Each capture under the name by which its node was asked, and nothing half written beside them."""
    again = run("fleet", "report", str(swept.folder), "--format", "json")
    told = {node for node in NAMES if node not in STATES}

    assert {f"{node}.tar.gz" for node in told} | {"sweep.json"} == set(os.listdir(swept.folder))
    assert 4 == again.returncode
    assert SPEAK == {each["node"]: each["state"] for each in json.loads(again.stdout)["nodes"]["silent"]}


def test_a_capture_of_a_node_is_one_that_explain_reads(swept: Swept, run: Run) -> None:
    """With the host name and the kernel log of the node."""
    told = json.loads(run("explain", str(swept.folder / "n16.tar.gz"), "--format", "json").stdout)

    assert "n16" == told["node"]
    assert {"kernel-log", "nvml", "host"} == {source["kind"] for source in told["sources"]}
    assert any(source["readable"] for source in told["sources"])


def test_where_gpu_triage_is_installed_it_is_asked_instead(swept: Swept) -> None:
    """What it wrote names the rules of the node; the probes that travel know none."""
    assert "" == manifest(swept.folder / "n16.tar.gz")["rulebook"]
    assert len(manifest(swept.folder / "n06.tar.gz")["rulebook"]) > 10


def test_nothing_is_left_on_a_node(fleet: SshFleet, swept: Swept, tmp_path: Path) -> None:
    """Neither a file where files are usually left, nor a process."""
    look = "ls -A /tmp /var/tmp /dev/shm /root /run | sort; ps -e -o comm="
    said = [
        subprocess.run(
            ["ssh", "-F", str(fleet.config), "n20", look], capture_output=True, text=True, check=True, timeout=120
        ).stdout
    ]
    subprocess.run(sweep_words(fleet, "n20", tmp_path / "out"), env=environment(), cwd=ROOT, check=True, timeout=120)
    said.append(
        subprocess.run(
            ["ssh", "-F", str(fleet.config), "n20", look], capture_output=True, text=True, check=True, timeout=120
        ).stdout
    )

    assert "gpu-triage-node" not in said[1]
    assert [] == [line for line in said[1].splitlines() if "gpu-triage" in line and line not in said[0]]


def sweep_words(fleet: SshFleet, nodes: str, folder: Path, *more: str) -> list[str]:
    words = ["-w", nodes, "--ssh-config", str(fleet.config), "-o", str(folder), *more]
    return [sys.executable, "-m", "triage", "fleet", "sweep", *words]


def test_an_interrupt_keeps_what_came(fleet: SshFleet, tmp_path: Path) -> None:
    """And says of the others that they were not waited for."""
    folder = tmp_path / "out"
    words = sweep_words(fleet, "n[07,16-17]", folder, "--deadline", "300", "--format", "json")
    process = subprocess.Popen(words, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: all((folder / f"{node}.tar.gz").exists() for node in ("n16", "n17")))
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=120)

    assert 130 == process.returncode, errors
    report = json.loads(out)
    assert (False, 2) == (report["complete"], report["nodes"]["told"])
    assert [("n07", "skipped")] == [(each["node"], each["state"]) for each in report["nodes"]["silent"]]


def test_a_sweep_that_is_killed_leaves_what_came(fleet: SshFleet, tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "out"
    words = sweep_words(fleet, "n[07,16]", folder, "--deadline", "300")
    process = subprocess.Popen(words, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until((folder / "n16.tar.gz").exists)
    process.kill()
    process.wait()
    report = json.loads(run("fleet", "report", str(folder), "--format", "json").stdout)

    assert 1 == report["nodes"]["told"]
    assert [("n07", "skipped")] == [(each["node"], each["state"]) for each in report["nodes"]["silent"]]


def test_nodes_are_reached_through_gateways(fleet: SshFleet, tmp_path: Path) -> None:
    """A gateway needs ClusterShell for its Python; the nodes behind it still need nothing."""
    (tmp_path / "topology.conf").write_text(
        f"[routes]\n{os.uname().nodename.split('.')[0]}: n16\nn16: n[17-19]\n", encoding="ascii"
    )
    words = sweep_words(
        fleet, "n[17-19]", tmp_path / "out", "--topology", str(tmp_path / "topology.conf"), "--format", "json"
    )
    more = {"CLUSTERSHELL_GW_PYTHON_EXECUTABLE": sys.executable}
    done = subprocess.run(words, cwd=ROOT, env=environment(**more), capture_output=True, text=True, timeout=120)

    assert (0, 3) == (done.returncode, json.loads(done.stdout)["nodes"]["told"]), done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "which nodes?"),
        (("-w", "n[1-"), "n[1-"),
        (("-w", "@nosuchgroup"), "nosuchgroup"),
        (("-w", "n1,-oProxyCommand=touch"), "is no name of a node"),
        (("-w", "n1", "-x", "n1"), "no node is left"),
        (("-w", "n1", "--python", "python3;reboot"), "is no plain name"),
        (("-w", "n1", "--fanout", "0"), "is not a number of nodes"),
        (("-w", "n1", "--topology", "/nonexistent"), "/nonexistent"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(
    run: Run, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    done = run("fleet", "sweep", *words, "-o", str(tmp_path / "out"))

    assert 2 == done.returncode
    assert says in done.stderr
    assert 1 == len(done.stderr.splitlines())


def test_a_folder_that_holds_something_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    done = run("fleet", "sweep", "-w", "n1", "-o", str(tmp_path))

    assert (2, ["mine"]) == (done.returncode, os.listdir(tmp_path))


def manifest(capture: Path) -> dict[str, Any]:
    import tarfile

    with tarfile.open(capture) as archive:
        file = archive.extractfile("manifest.json")
        assert file is not None
        told: dict[str, Any] = json.load(file)
        return told
