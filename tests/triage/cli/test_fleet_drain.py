"""`fleet sweep --via slurm`, `fleet drain` and `fleet resume` on a real Slurm."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import slurm_cluster
from tests.patience import until
from tests.slurm_cluster import SlurmCluster
from tests.triage.cli.conftest import Run

OFF_BUS = (
    "2026-11-20T10:00:00+00:00 {} kernel: NVRM: Xid (PCI:0000:4e:00): 79, pid=1, name=x, GPU has fallen off the bus.\n"
)
NOW = "1795170000"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    slurm_cluster.need()
    folder = tmp_path_factory.mktemp("slurm")
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)  # munged looks at who may reach its socket
    with SlurmCluster(folder / "s", 4) as up:
        yield up


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Logs of three nodes that lost a GPU, and of one that is well."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for node in ("g1", "g2", "g3"):
        (folder / f"{node}.log").write_text(OFF_BUS.format(node))
    (folder / "g4.log").write_text("2026-11-20T10:00:00+00:00 g4 kernel: usb 1-1: new high-speed USB device\n")
    return folder


@pytest.fixture
def all_idle(slurm: SlurmCluster) -> Iterator[None]:
    """No node is still about a job of the test before; whatever a test drained is given back."""
    until(lambda: "4" == slurm.run("sinfo", "-h", "-p", "all", "-t", "idle", "-o", "%D").strip())
    yield

    def back() -> bool:
        slurm.run("scontrol", "update", "NodeName=g[1-4]", "State=RESUME", check=False)
        return slurm.run("sinfo", "-h", "-t", "drain", "-o", "%D").strip() in ("", "0")

    until(back)


def drained(slurm: SlurmCluster) -> dict[str, str]:
    """The reason of each node that is out."""
    lines = slurm.run("sinfo", "-h", "-N", "-p", "all", "-t", "drain", "-o", "%N|%E").splitlines()
    return dict(line.strip().split("|", 1) for line in lines)


def test_a_partition_is_swept_by_jobs(slurm: SlurmCluster, run: Run, tmp_path: Path) -> None:
    """Each node once, and no job is left."""
    words = ("--slurm-partition", "left", "--via", "slurm", "-o", str(tmp_path / "out"), "--format", "json")
    done = run("fleet", "sweep", *words, env=slurm.environment)

    assert 0 == done.returncode, done.stderr
    assert 2 == json.loads(done.stdout)["nodes"]["told"]
    assert {"g1.tar.gz", "g2.tar.gz", "sweep.json"} == set(os.listdir(tmp_path / "out"))
    assert "" == slurm.run("squeue", "--noheader", "--states=PENDING,RUNNING,SUSPENDED")


@pytest.mark.usefixtures("all_idle")
def test_a_node_on_which_slurm_starts_nothing_is_a_result(slurm: SlurmCluster, run: Run, tmp_path: Path) -> None:
    slurm.run("scontrol", "update", "NodeName=g2", "State=DRAIN", "Reason=somebody's")
    words = ("-w", "g[1-2]", "--via", "slurm", "-o", str(tmp_path / "out"), "--format", "json")
    done = run("fleet", "sweep", *words, env=slurm.environment)
    (silent,) = json.loads(done.stdout)["nodes"]["silent"]

    assert 4 == done.returncode
    assert ("g2", "skipped") == (silent["node"], silent["state"])
    assert "Slurm starts no job on it (drained: somebody's)" == silent["reason"]


def test_a_full_node_is_not_waited_for(slurm: SlurmCluster, run: Run, tmp_path: Path) -> None:
    slurm.run("sbatch", "-w", "g1", "--exclusive", "-J", "full", "-o", "/dev/null", "--wrap", "sleep 600")
    try:
        until(lambda: "R" in slurm.run("squeue", "-h", "-o", "%t"))
        words = ("-w", "g[1-2]", "--via", "slurm", "--deadline", "30", "-o", str(tmp_path / "out"), "--format", "json")
        done = run("fleet", "sweep", *words, env=slurm.environment)
    finally:
        slurm.run("scancel", "--name=full")

    assert 4 == done.returncode
    assert [("g1", "refused")] == [(each["node"], each["state"]) for each in json.loads(done.stdout)["nodes"]["silent"]]


@pytest.mark.usefixtures("all_idle")
def test_nothing_is_drained_unless_it_is_told_to(slurm: SlurmCluster, run: Run, logs: Path) -> None:
    done = run("fleet", "drain", str(logs), "--now", NOW, env=slurm.environment)

    assert 0 == done.returncode
    first, second, third = done.stdout.splitlines()
    assert first.startswith("scontrol update 'NodeName=g[1-3]' State=DRAIN 'Reason=gpu-triage: gpu-off-bus")
    assert "kubectl cordon g1 g2 g3" == third
    assert second.startswith("kubectl annotate --overwrite node g1 g2 g3 'gpu-triage/reason=gpu-triage: gpu-off-bus")
    assert {} == drained(slurm)


@pytest.mark.usefixtures("all_idle")
def test_more_nodes_than_are_allowed_means_none(slurm: SlurmCluster, run: Run, logs: Path) -> None:
    done = run("fleet", "drain", str(logs), "--now", NOW, "--apply", "--max-nodes", "2", env=slurm.environment)

    assert 2 == done.returncode
    assert "3 nodes, and at most 2 are allowed at once; nothing was done" in done.stderr
    assert {} == drained(slurm)


@pytest.mark.usefixtures("all_idle")
def test_nodes_are_drained_with_the_reason_and_given_back(slurm: SlurmCluster, run: Run, logs: Path) -> None:
    """One that somebody else took out keeps that reason, and is not given back."""
    slurm.run("scontrol", "update", "NodeName=g3", "State=DRAIN", "Reason=somebody's")
    applied = run("fleet", "drain", str(logs), "--now", NOW, "--apply", env=slurm.environment)
    out = drained(slurm)
    back = run("fleet", "resume", "-w", "g[1-4]", "--apply", env=slurm.environment)

    assert (0, 0) == (applied.returncode, back.returncode), applied.stderr + back.stderr
    assert {"g1", "g2", "g3"} == out.keys()
    assert out["g1"].startswith("gpu-triage: gpu-off-bus")
    assert "somebody's" == out["g3"]
    assert {"g3": "somebody's"} == drained(slurm)


def test_a_controller_that_is_gone_is_told_in_one_line(slurm: SlurmCluster, run: Run, tmp_path: Path) -> None:
    conf = (Path(slurm.environment["SLURM_CONF"])).read_text()
    lines = ["SlurmctldPort=1" if line.startswith("SlurmctldPort=") else line for line in conf.splitlines()]
    lines.append("MessageTimeout=2")  # seconds for which Slurm's commands try
    (tmp_path / "slurm.conf").write_text("\n".join(lines) + "\n")
    elsewhere = {"SLURM_CONF": str(tmp_path / "slurm.conf")}
    words = ("--slurm-partition", "all", "--via", "slurm", "-o", str(tmp_path / "out"))
    done = run("fleet", "sweep", *words, env=elsewhere)

    assert 3 == done.returncode
    assert "Unable to contact slurm controller" in done.stderr
    assert 1 == len(done.stderr.splitlines())
