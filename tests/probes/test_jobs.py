"""Whose the processes on the GPUs are, from a tree of files that stands for /proc."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from probes import jobs
from probes.model import NODE, Entity, Missing, Source, Value

CONTAINER = "0123456789abcdef" * 4
POD = "6f1d7a52-90c4-4c5e-8b0e-1234567890ab"


@pytest.mark.parametrize(
    ("groups", "owner"),
    [
        ("0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0\n",
         jobs.Owner("slurm", "4711", "0", unit="slurmstepd.scope")),
        ("0::/system.slice/node042_slurmstepd.scope/job_4711/step_batch/user/task_special\n",
         jobs.Owner("slurm", "4711", "batch", unit="node042_slurmstepd.scope")),
        ("9:devices:/slurm/uid_1000/job_4711/step_0\n4:cpuset:/slurm/uid_1000/job_4711/step_0\n",
         jobs.Owner("slurm", "4711", "0")),
        ("9:memory:/slurm_node042/uid_1000/job_4711/step_extern/task_0\n", jobs.Owner("slurm", "4711", "extern")),
        (f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD.replace('-', '_')}.slice/"
         f"cri-containerd-{CONTAINER}.scope\n",
         jobs.Owner("kubernetes", pod=POD, container=CONTAINER, runtime="containerd",
                    unit=f"cri-containerd-{CONTAINER}.scope")),
        (f"0::/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/crio-{CONTAINER}.scope\n",
         jobs.Owner("kubernetes", pod=POD, container=CONTAINER, runtime="cri-o", unit=f"crio-{CONTAINER}.scope")),
        (f"11:memory:/kubepods/besteffort/pod{POD}/{CONTAINER}\n",
         jobs.Owner("kubernetes", pod=POD, container=CONTAINER)),
        (f"0::/kubelet.slice/kubelet-kubepods.slice/kubepods-pod{POD.replace('-', '')}.slice/"
         f"cri-containerd:x:{CONTAINER}\n",
         jobs.Owner("kubernetes", pod=POD, container=CONTAINER, runtime="containerd")),
        (f"0::/system.slice/docker-{CONTAINER}.scope\n",
         jobs.Owner("container", container=CONTAINER, runtime="docker", unit=f"docker-{CONTAINER}.scope")),
        (f"5:devices:/docker/{CONTAINER}\n", jobs.Owner("container", container=CONTAINER, runtime="docker")),
        (f"0::/machine.slice/libpod-{CONTAINER}.scope/container\n",
         jobs.Owner("container", container=CONTAINER, runtime="podman", unit=f"libpod-{CONTAINER}.scope")),
        ("0::/system.slice/ollama.service\n", jobs.Owner("systemd", unit="ollama.service")),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.x.scope\n",
         jobs.Owner("systemd", unit="app-org.x.scope")),
        ("0::/\n", jobs.Owner()),
        ("", jobs.Owner()),
        ("nonsense\n:::\n", jobs.Owner()),
        ("0::/slurm/uid_1/job_" + "9" * 4000 + "\n", jobs.Owner()),
    ],
)  # fmt: skip
def test_the_control_group_tells_whose_a_process_is(groups: str, owner: jobs.Owner) -> None:
    assert owner == jobs.owner_of(groups)


def process(root: Path, pid: int, name: str, group: str, environment: str = "", opens: str = "/dev/nvidia0") -> None:
    place = root / "proc" / str(pid)
    (place / "fd").mkdir(parents=True)
    (place / "fd/3").symlink_to("/dev/null")
    (place / "fd/4").symlink_to(opens)
    (place / "comm").write_text(f"{name}\n")
    (place / "cgroup").write_text(f"0::{group}\n")
    (place / "environ").write_text(environment)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sys/module/nvidia").mkdir(parents=True)
    (tmp_path / "sys/module/nvidia/refcnt").write_text("5\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/1/fd").mkdir(parents=True)
    return tmp_path


def read(root: Path, seconds: float = 10.0) -> tuple[dict[tuple[Entity, str], Value], Source]:
    told = jobs.probe(time.monotonic() + seconds, root)
    assert told is not None
    found = {(reading.entity, reading.name): reading.value for reading in told[0]}
    assert len(found) == len(told[0])  # nothing is said twice
    return found, told[1]


SLURM = "/system.slice/slurmstepd.scope/job_{}/step_0/user/task_0"


def test_a_job_that_has_the_node_is_its_fact(root: Path) -> None:
    secret = "AWS_KEY=x\0SLURM_JOB_ID=4711\0SLURM_JOB_USER=alice\0SLURM_JOB_NAME=train\nSLURM_JOB_ID=1\0"
    for pid in (100, 101):
        process(root, pid, "python", SLURM.format(4711), secret)
    process(root, 102, "bash", SLURM.format(9), opens="/dev/pts/0")
    process(root, 103, "nvidia-persiste", "/system.slice/nvidia-persistenced.service", opens="/dev/nvidia1")
    process(root, 104, "tool", "/", opens="/dev/nvidiactl")
    found, source = read(root)
    of_node = {name: value for (entity, name), value in found.items() if entity == NODE}

    assert {"job.processes": 2, "job.id": "4711", "job.user": "alice", "job.program": "python"} == of_node
    one = Entity("process", index=100, name="python")
    assert ("slurm", "4711", "0", "alice") == tuple(
        found[one, f"process.{name}"] for name in ("scheduler", "job-id", "step", "user")
    )
    assert "train?SLURM_JOB_ID=1" == found[one, "process.job-name"]
    assert "nvidia-persistenced.service" == found[Entity("process", index=103, name="nvidia-persiste"), "process.unit"]
    assert not any("AWS" in str(value) for value in found.values())
    assert source.readable
    assert source.reason is None


def test_of_several_jobs_none_is_the_node_s(root: Path) -> None:
    process(root, 100, "python", SLURM.format(1))
    process(root, 101, "python", SLURM.format(2))
    found, _ = read(root)

    assert Missing("error:several") == found[NODE, "job.id"]
    assert "python" == found[NODE, "job.program"]


def test_a_job_may_be_told_by_the_environment_alone(root: Path) -> None:
    process(root, 100, "python", "/", "SLURM_JOB_ID=77\0")
    found, _ = read(root)

    assert "77" == found[NODE, "job.id"]
    assert "slurm" == found[Entity("process", index=100, name="python"), "process.scheduler"]


def test_an_environment_cannot_speak_against_the_control_group(root: Path) -> None:
    process(root, 100, "python", SLURM.format(1), "SLURM_JOB_ID=999\0")

    assert "1" == read(root)[0][NODE, "job.id"]


def test_an_environment_that_hangs_is_left_alone(root: Path) -> None:
    import os

    process(root, 100, "python", SLURM.format(1))
    (root / "proc/100/environ").unlink()
    os.mkfifo(root / "proc/100/environ")
    began = time.monotonic()
    found, _ = read(root, 0.7)

    assert time.monotonic() - began < 30
    assert "1" == found[NODE, "job.id"]


def test_a_pod_is_a_job(root: Path) -> None:
    group = f"/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-{CONTAINER}.scope"
    process(root, 100, "python", group)
    found, _ = read(root)

    assert (POD, POD) == (found[NODE, "job.id"], found[NODE, "job.pod"])


def test_an_idle_node_has_no_job_and_that_is_known(root: Path) -> None:
    found, _ = read(root)

    assert {(NODE, "job.processes"): 0} == found


def test_a_container_that_sees_only_itself_does_not_call_the_node_idle(root: Path) -> None:
    (root / "proc/self/ns").mkdir(parents=True)
    (root / "proc/self/ns/pid").symlink_to("pid:[4026532501]")
    found, _ = read(root)

    assert Missing("error:only the processes of this container are seen") == found[NODE, "job.processes"]


def test_where_no_time_was_left_nothing_is_called_idle(root: Path) -> None:
    process(root, 100, "python", SLURM.format(1))
    found, source = read(root, -1.0)

    assert Missing("timed-out") == found[NODE, "job.processes"]
    assert source.reason == "time was up before all processes were looked at"


def test_without_the_driver_nobody_is_looked_at(tmp_path: Path, root: Path) -> None:
    (root / "sys/module/nvidia/refcnt").write_text("0\n")

    assert jobs.probe(time.monotonic() + 1, root) is None
    assert jobs.probe(time.monotonic() + 1, tmp_path / "elsewhere") is None
