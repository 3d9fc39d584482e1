"""The scripts for Slurm, run by a real slurmd: the node is taken out with the verdict, and nobody gives it back."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import kernel_ring, slurm_cluster
from tests.fake_nvml import Scenario
from tests.patience import until
from tests.slurm_cluster import SlurmCluster

ROOT = Path(__file__).parent.parent


class Site:
    """Two nodes whose GPUs are the fake driver's; each node is well until a test says otherwise."""

    def __init__(self, slurm: SlurmCluster, scenarios: dict[str, Scenario], folder: Path) -> None:
        self.slurm, self.scenarios = slurm, scenarios
        self.unheard = folder / "no-health-check"
        self._ended = folder / "ended"

    def reason(self, node: str) -> str:
        """Why a node is out; empty if it is not."""
        state, _, reason = (
            self.slurm.run("sinfo", "-h", "-N", "-n", node, "-o", "%T|%E").partition("\n")[0].partition("|")
        )
        return reason if state.startswith("drain") else ""

    def ended(self, script: str, node: str) -> int:
        """How often a script has ended on a node, whatever it found."""
        ended = self._ended.read_text().splitlines() if self._ended.exists() else []
        return ended.count(f"{script} {node}")

    def checked(self, node: str) -> None:
        """Wait until a health check that begins from now on has ended; they come one after another."""
        before = self.ended("health-check", node)
        until(lambda: self.ended("health-check", node) >= before + 2)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, fake_nvml: Path) -> Iterator[Site]:
    slurm_cluster.need()
    kernel_ring.flush()
    folder = tmp_path_factory.mktemp("site")
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    scenarios = {node: Scenario(folder / f"scenario-{node}", 2) for node in ("g1", "g2")}
    program = folder / "gpu-triage"
    # The kernel log of this machine is everybody's; the GPUs of a node are its own.
    program.write_text(
        "#!/bin/sh\n"
        f"export LD_LIBRARY_PATH={fake_nvml} FAKE_NVML_SCENARIO={folder}/scenario-$SLURMD_NODENAME\n"
        f'export GPU_TRIAGE_STATE_DIR="{folder}/state-$SLURMD_NODENAME" PYTHONPATH={ROOT} GPU_TRIAGE_CONFIG=\n'
        f'case "$*" in *--seen-since*) ;; *) [ ! -e {folder}/no-health-check ] || exit 0 ;; esac\n'
        f'exec {sys.executable} -m triage "$@"\n'
    )
    program.chmod(0o755)
    for name in ("health-check", "prolog", "epilog"):
        script = (ROOT / "contrib" / "slurm" / name).read_text().replace("/usr/bin/gpu-triage", str(program))
        path = folder / name
        note = f"trap 'echo {name} $SLURMD_NODENAME >> {folder}/ended' EXIT"
        path.write_text(script.replace("\n", f"\nexport SLURM_CONF={folder}/s/slurm.conf\n{note}\n", 1))
        path.chmod(0o755)
    more = [
        f"HealthCheckProgram={folder}/health-check", "HealthCheckInterval=3", "HealthCheckNodeState=ANY",
        f"Prolog={folder}/prolog", f"Epilog={folder}/epilog",
    ]  # fmt: skip
    with SlurmCluster(folder / "s", 2, more) as slurm:
        yield Site(slurm, scenarios, folder)


@pytest.fixture(autouse=True)
def all_well(site: Site) -> Iterator[None]:
    yield
    for scenario in site.scenarios.values():
        scenario.clear("gpu.1.do.*")
    site.unheard.unlink(missing_ok=True)
    for node in site.scenarios:
        # The node is another: what is open in its history would take it out again.
        shutil.rmtree(site.unheard.with_name(f"state-{node}"), ignore_errors=True)
        site.slurm.run("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)


def test_a_health_check_takes_out_the_node_that_lost_a_gpu_and_not_the_other(site: Site) -> None:
    site.scenarios["g1"].gpu(1).lost()

    until(lambda: site.reason("g1"))

    assert site.reason("g1").startswith("gpu-triage: ")
    assert "" == site.reason("g2")


def test_who_took_a_node_out_before_keeps_his_reason(site: Site) -> None:
    site.slurm.run("scontrol", "update", "NodeName=g2", "State=DRAIN", "Reason=new fans")
    site.scenarios["g2"].gpu(1).lost()
    site.checked("g2")

    assert "new fans" == site.reason("g2")


def test_the_job_during_which_a_gpu_was_lost_is_named(site: Site, tmp_path: Path) -> None:
    """The epilog takes the node out before the next job can start."""
    site.unheard.touch()  # else the health check may be first
    scenario = site.scenarios["g1"].path
    job = tmp_path / "job.sh"
    job.write_text(f"#!/bin/sh\nprintf 'gpus = 2\\ngpu.1.do.* = GPU_IS_LOST\\n' > {scenario}\n")
    number = site.slurm.run("sbatch", "--parsable", "-w", "g1", "-o", "/dev/null", "-D", "/", str(job)).strip()

    until(lambda: site.reason("g1"))

    assert site.reason("g1").startswith("gpu-triage: ")
    assert site.reason("g1").endswith(f"; seen during job {number}")
    assert not Path(f"/run/gpu-triage-job-{number}").exists()


def test_a_job_on_a_node_that_is_well_takes_nobody_out(site: Site) -> None:
    before = site.ended("epilog", "g2")
    site.slurm.run("srun", "-w", "g2", "-D", "/", "true")
    until(lambda: site.ended("epilog", "g2") > before)

    assert "" == site.reason("g2")
