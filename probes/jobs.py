"""Whose the processes on the GPUs are: the batch job, the pod, the container or the unit that each belongs to.

A process is told by the GPU device files that it has open, its owner by the
name of its control group, which the kernel keeps and no process can change.
Where that names no job, a process's environment may (`SLURM_JOB_ID`); that is
the process's own word, and is read aside because it can hang with the process.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Optional

from probes import aside, sysfs
from probes.model import NO_PERMISSION, NODE, TIMED_OUT, Entity, Missing, Reading, Source, Value
from probes.named import NamedTuple

MAX_PROCESSES = 64
"""Processes on GPUs that are told of."""
MAX_FILES = 1024
"""Open files looked at of each process."""
MAX_GROUP = 4096
"""Characters of a control group's name, of which a user can choose a part."""
_HELPERS = frozenset(
    {"nvidia-persiste", "nv-fabricmanage", "nv-hostengine", "dcgm-exporter", "nvidia-smi", "nvidia-imex"}
)
"""Programs that hold GPUs open and are nobody's job."""
_ENVIRONMENT = "^SLURM_JOB_\\(ID\\|USER\\|NAME\\)="

_SLURM = re.compile(
    r"^(?:/[\w.-]{1,64}\.slice)?/(?:slurm[\w.-]{0,64}|[\w.-]{1,64}_slurmstepd\.scope)/(?:uid_\d{1,10}/)?"
    r"job_(\d{1,12})(?:/step_(\w{1,32}))?(?=/|$)",
    re.M,
)
"""From its beginning: what stands below a user's own group that user may have named."""
_POD = re.compile(
    r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?:/|\Z)"
)
_CONTAINER = re.compile(r"(?:/|-|:)([0-9a-f]{64})(?:\.scope)?(?:/|\Z)")
_RUNTIMES = (
    ("cri-containerd", "containerd"), ("crio", "cri-o"), ("libpod", "podman"), ("docker", "docker"),
    ("containerd", "containerd"),
)  # fmt: skip
_UNIT = re.compile(r"/([^/]{1,200}\.(?:service|scope))(?:/|\Z)")


class Owner(NamedTuple):
    """Whose a process is, as far as its control group tells; `scheduler` is slurm, kubernetes, container or systemd."""

    scheduler: Optional[str] = None
    job: Optional[str] = None
    step: Optional[str] = None
    pod: Optional[str] = None
    container: Optional[str] = None
    runtime: Optional[str] = None
    unit: Optional[str] = None


class _Process(NamedTuple):
    pid: int
    name: str
    uid: int
    owner: Owner


def owner_of(groups: str) -> Owner:
    """Return whose a process is by its `/proc/PID/cgroup`, of version 1 or 2."""
    paths = [line.split(":", 2)[2][:MAX_GROUP] for line in groups.splitlines()[:32] if line.count(":") >= 2]
    text = "\n".join(paths)
    slurm, pod, container = _SLURM.search(text), _POD.search(text), _CONTAINER.search(text)
    runtime = next((name for word, name in _RUNTIMES if container is not None and word in text), None)
    # The innermost unit is the process's own; a session or the manager of a user is none.
    units = [unit for path in paths for unit in _UNIT.findall(path) if not unit.startswith(("user@", "init.scope"))]
    unit = units[-1] if units else None
    scheduler = "slurm" if slurm else "kubernetes" if pod else "container" if container else "systemd" if unit else None
    return Owner(
        scheduler,
        slurm[1] if slurm else None,
        slurm[2] if slurm else None,
        _uid(pod[1]) if pod else None,
        container[1] if container else None,
        runtime,
        unit,
    )


def _uid(text: str) -> str:
    """The uid of a pod as Kubernetes writes it: systemd has no dashes, and static pods none either."""
    bare = text.replace("_", "-")
    return bare if "-" in bare else "-".join((bare[:8], bare[8:12], bare[12:16], bare[16:20], bare[20:]))


def probe(until: float, root: Path = Path("/")) -> Optional[tuple[list[Reading], Source]]:
    """Read the owner of each process on a GPU until `until` (monotonic seconds); None where no GPU can be open.

    None where no module of NVIDIA's is loaded, or nobody uses it.
    """
    if not (root / "sys/module/nvidia").is_dir() or _first(root / "sys/module/nvidia/refcnt") == "0":
        return None
    began = time.time()
    found, hidden, cut = _holders(root / "proc", until)
    told = _environments(root / "proc", found, until)
    at = time.time()
    readings = [
        Reading(entity, name, value, "text", at) for process in found for entity, name, value in _of(process, told)
    ]
    others = [process for process in found if process.name not in _HELPERS]
    unseen = None if others else Missing(NO_PERMISSION) if hidden else sysfs.unseen(root / "proc")
    unknown = Missing(TIMED_OUT) if cut else unseen
    readings.append(Reading(NODE, "job.processes", unknown or len(others), "count", at))
    readings += [Reading(NODE, name, value, "text", at) for name, value in _of_node(others, told, unknown)]
    reasons = ["time was up before all processes were looked at"] if cut else []
    if hidden:
        reasons.append(f"the open files of {hidden} processes may not be listed; run as root or grant CAP_SYS_PTRACE")
    reason = "; ".join(reasons) or None
    return readings, Source("jobs", "/proc/*/cgroup", True, began, at, len(readings), reason=reason)


def _holders(proc: Path, until: float) -> tuple[list[_Process], int, bool]:
    """The processes that have a GPU open, of how many that cannot be told, and whether time was up."""
    found: list[_Process] = []
    hidden = 0
    for pid in sorted(int(name) for name in _names(proc) if name.isdecimal()):
        if time.monotonic() >= until:
            return found, hidden, True
        place = proc / str(pid)
        holds = _holds(place)
        if holds is None:
            hidden += 1
        elif holds and len(found) < MAX_PROCESSES:
            try:
                uid = place.stat().st_uid
                groups = (place / "cgroup").read_bytes()[: 16 * MAX_GROUP].decode("utf-8", "replace")
            except OSError:
                continue  # it ended while we looked
            found.append(_Process(pid, _first(place / "comm"), uid, owner_of(groups)))
    return found, hidden, False


def _holds(place: Path) -> Optional[bool]:
    """Whether a process has a GPU open; None if that is not for us to know."""
    folder = f"{place}/fd"
    try:
        files = os.listdir(folder)[:MAX_FILES]
    except PermissionError:
        return None
    except OSError:
        return False
    for file in files:
        try:
            target = os.readlink(f"{folder}/{file}")
        except OSError:
            continue
        if target.startswith("/dev/nvidia") and target[11:12].isdecimal():
            return True
    return False


def _environments(proc: Path, found: list[_Process], until: float) -> Mapping[int, Mapping[str, str]]:
    """What the environments of these processes say of a batch job."""
    asked = {str(proc / str(each.pid) / "environ"): each for each in found if each.name not in _HELPERS}
    if not asked:
        return {}
    lines = aside.first_lines([[path] for path in asked], until, _ENVIRONMENT)
    told: dict[int, dict[str, str]] = {}
    for path, process in asked.items():
        said = lines.get(path)
        if said is not None and not isinstance(said, Missing):
            pairs = (line.partition("=") for line in said)
            told[process.pid] = {name: value[:255] for name, _, value in pairs}
    return told


def _of(process: _Process, told: Mapping[int, Mapping[str, str]]) -> Iterator[tuple[Entity, str, Value]]:
    entity = Entity("process", index=process.pid, name=process.name)
    owner = process.owner
    said = told.get(process.pid, {})
    job = owner.job or _job_id(said)
    for name, value in (
        ("process.scheduler", owner.scheduler if owner.job or not job else "slurm"),
        ("process.user", _user(process, said)),
        ("process.job-id", job),
        ("process.step", owner.step),
        ("process.job-name", said.get("SLURM_JOB_NAME") if job else None),
        ("process.pod", owner.pod),
        ("process.container", owner.container),
        ("process.runtime", owner.runtime),
        ("process.unit", owner.unit),
    ):
        if value is not None:
            yield entity, name, value


def _of_node(
    others: list[_Process], told: Mapping[int, Mapping[str, str]], unknown: Optional[Missing]
) -> Iterator[tuple[str, Value]]:
    """The job of the node, if it is one: what a fault may follow from node to node."""
    facts: dict[str, set[str]] = {"job.id": set(), "job.user": set(), "job.program": set(), "job.pod": set()}
    for process in others:
        said = told.get(process.pid, {})
        pod = process.owner.pod
        job = process.owner.job or _job_id(said) or pod or process.owner.container
        for name, value in (("job.id", job), ("job.user", _user(process, said)), ("job.program", process.name)):
            facts[name].add(value or "")
        if pod is not None:
            facts["job.pod"].add(pod)
    for name, values in facts.items():
        values.discard("")
        if len(values) == 1 and unknown is None:
            yield name, next(iter(values))
        elif values and unknown is None:
            yield name, Missing("error:several")
        elif unknown is not None:
            yield name, unknown


def _job_id(said: Mapping[str, str]) -> Optional[str]:
    job = said.get("SLURM_JOB_ID", "")
    return job if job.isdecimal() and len(job) <= 12 else None


def _user(process: _Process, said: Mapping[str, str]) -> str:
    """The user of a job by name where it is told; the owner's number else, for asking a directory may hang."""
    return said.get("SLURM_JOB_USER") or f"uid-{process.uid}"


def _first(path: Path) -> str:
    try:
        with path.open("rb") as file:
            line = file.read(256).partition(b"\n")[0].decode("utf-8", "replace")
    except OSError:
        return ""
    return "".join(sign if sign.isprintable() else "?" for sign in line)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
