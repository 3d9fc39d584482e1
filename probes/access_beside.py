"""The sources beside the driver, the log and the host: jobs, network ports, NVIDIA's services, DCGM, the BMC, Slurm.

Each is tried the way `probes.around` reads it, but only to the first record.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from probes import bounded
from probes.access_node import ABSENT, PARTLY, READABLE, UNREADABLE, Access, Node, count, few, is_device, names, says
from probes.around import DIAG_KEPT, REDFISH


def jobs(node: Node) -> Iterator[Access]:
    """Whether a process's control group can be read, by which its job is told; process 1 is root's."""
    failure = node.refused("proc/self/cgroup") if (node.root / "proc/self").exists() else None
    if failure is not None:
        remedy = "mount procfs on /proc"
        yield Access("jobs", UNREADABLE, False, "/proc/*/cgroup", says(failure), remedy)
        return
    hidden = node.refused("proc/1/environ")
    what = "the owner of each process on a GPU"
    if hidden is None or hidden.errno == errno.ENOENT:
        yield Access("jobs", READABLE, False, what)
    else:
        why = "of other users' processes neither the open files nor the environment may be read"
        yield Access("jobs", PARTLY, False, what, why, "run as root or grant CAP_SYS_PTRACE")


def network(node: Node) -> Iterator[Access]:
    """Whether there are ports of InfiniBand or RoCE."""
    folder = node.root / "sys/class/infiniband"
    cards = names(folder) or []
    if not cards:
        yield Access("infiniband", ABSENT, False, "/sys/class/infiniband", "no InfiniBand or RoCE card is driven")
    elif node.program("grep") is None and bounded.find_program("grep") is None:
        yield Access("infiniband", UNREADABLE, False, few(cards), "there is no grep to read it aside", "install grep")
    else:
        ports = sum(len(names(folder / card / "ports") or ()) for card in cards)
        yield Access("infiniband", READABLE, False, f"{count(len(cards), 'card')}, {count(ports, 'port')}")


def services(node: Node) -> Iterator[Access]:
    """Which of NVIDIA's daemons run."""
    bus = node.root / "sys/bus/pci/devices"
    switches = [name for name in names(bus) or () if is_device(bus / name, "0x10de", ("0x0680",))]
    for source, program, needs, start in (
        ("persistence-daemon", "nvidia-persistenced", False, "systemctl enable --now nvidia-persistenced"),
        ("fabric-manager", "nv-fabricmanager", bool(switches), "systemctl enable --now nvidia-fabricmanager"),
        ("imex", "nvidia-imex", False, "systemctl enable --now nvidia-imex"),
        ("dcgm", "nv-hostengine", False, "systemctl enable --now nvidia-dcgm"),
    ):
        installed = node.program(program) or (source == "dcgm" and node.program("dcgmi")) or None
        if node.runs(program) and source == "dcgm" and node.program("dcgmi") is None:
            yield Access(
                source, PARTLY, needs, f"{program} runs", "dcgmi, which asks it, is not in the path", "install dcgmi"
            )
        elif node.runs(program):
            yield Access(source, READABLE, needs, f"{program} runs")
        elif installed is not None:
            yield Access(source, UNREADABLE, needs, program, "it is installed but does not run", start)
        elif needs:
            why = f"{count(len(switches), 'NVSwitch', 'es')}, and it is not installed"
            yield Access(source, ABSENT, True, program, why, "install the fabric manager of the driver's version")
        else:
            yield Access(source, ABSENT, False, program, "it is not installed")


def management(node: Node) -> Iterator[Access]:
    """Whether the management controller can be asked through IPMI."""
    devices = [path for path in ("dev/ipmi0", "dev/ipmi/0", "dev/ipmidev/0") if (node.root / path).exists()]
    tool = node.program("ipmitool")
    if not devices:
        why = "there is no IPMI device: no management controller, or its driver is not loaded"
        yield Access("ipmi", ABSENT, False, "/dev/ipmi0", why, "modprobe ipmi_si ipmi_devintf")
    elif tool is None:
        yield Access("ipmi", UNREADABLE, False, f"/{devices[0]}", "ipmitool is not installed", "install ipmitool")
    else:
        failure = node.refused(devices[0])
        if failure is None:
            yield Access("ipmi", READABLE, False, f"/{devices[0]} through ipmitool")
            # they take too long for a check
            yield Access("bmc-sensors", READABLE, False, "ipmitool sdr, by gpu-triage collect")
        else:
            yield Access("ipmi", UNREADABLE, False, f"/{devices[0]}", says(failure), "run as root")


def redfish(node: Node) -> Iterator[Access]:
    """Whether the account of the management controller can be used: its systems are asked for, which need one."""
    from probes import redfish_http

    place = f"/{REDFISH}"
    try:
        account = redfish_http.account(node.root, None if node.root == Path("/") else {})
        if account is not None:
            until = min(node.until, time.monotonic() + account.wait)
            with redfish_http.Session(account, until) as session:
                session.get("/redfish/v1/Systems")
            yield Access("redfish", READABLE, False, f"the management controller at {account.host}")
            return
    except redfish_http.Refused as refused:
        why, _, remedy = str(refused).partition("; ")
        yield Access("redfish", UNREADABLE, False, place, why, remedy or "curl -u USER https://HOST/redfish/v1/")
        return
    # SMBIOS type 42 describes the management controller's host interface (DSP0270).
    if (node.root / "sys/firmware/dmi/entries/42-0").exists():
        why = "the management controller offers it, but no account is configured"
        yield Access("redfish", UNREADABLE, False, "host interface", why, f"write url, user and password to {place}")
    else:
        why = "no account of a management controller is configured"
        yield Access("redfish", ABSENT, False, place, why, f"write url, user and password to {place}")


def diagnostic(node: Node) -> Iterator[Access]:
    """Whether a result of DCGM's diagnostic was kept."""
    from probes import dcgm_diag

    path = dcgm_diag.kept(node.root)
    how = f"on a drained node: dcgmi diag -r 1 --json > /{DIAG_KEPT}"
    if path is None:
        yield Access("dcgm-diag", ABSENT, False, f"/{DIAG_KEPT}", "no result of dcgmi diag was kept", how)
        return
    source = dcgm_diag.probe(path, {})[2]
    if source.readable:
        yield Access("dcgm-diag", READABLE, False, source.origin)
    else:
        why, _, remedy = str(source.reason).partition("; ")
        yield Access("dcgm-diag", UNREADABLE, False, source.origin, why, remedy or how)


def scheduler(node: Node) -> Iterator[Access]:
    """Whether Slurm is here."""
    tool, runs = node.program("scontrol"), node.runs("slurmd")
    if runs and tool is not None:
        yield Access("slurm", READABLE, False, "slurmd runs; scontrol is there")
    elif runs:
        yield Access("slurm", PARTLY, False, "slurmd runs", "scontrol is not in the path", "add Slurm's bin to PATH")
    elif tool is not None:
        yield Access("slurm", PARTLY, False, "scontrol is there", "slurmd does not run here", "systemctl start slurmd")
    else:
        yield Access("slurm", ABSENT, False, "slurmd", "it is not installed")


PARTS: tuple[Callable[[Node], Iterator[Access]], ...] = (
    jobs,
    network,
    services,
    diagnostic,
    management,
    redfish,
    scheduler,
)
