"""What can be read here and what cannot, why, and what would make it readable.

Each source is tried the way the probes read it, but only to the first record;
nothing is written or started but the programs that the probes start too.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Optional

from probes import access_beside, bounded, nvml
from probes.access_node import (
    ABSENT,
    PARTLY,
    READABLE,
    UNREADABLE,
    Access,
    Attempt,
    Node,
    count,
    few,
    is_device,
    names,
    processes,
    says,
)
from probes.model import Missing

PROGRAM_BUDGET = 3.0  # seconds that journalctl or dmesg may take for its first line


def look(
    deadline: float,
    *,
    root: Path = Path("/"),
    attempt: Attempt = os.open,
    library_env: Optional[Mapping[str, str]] = None,
    state_dir: Optional[Path] = None,
) -> list[Access]:
    """Try every source within `deadline` seconds.

    `root`, `attempt` (how a file is opened) and `library_env` (for NVML) are for
    tests; `state_dir` is that of `probes.nvml.sweep`, so that no child is started
    beside one that hangs.
    """
    until = time.monotonic() + deadline
    node = Node(root, attempt, until, frozenset(processes(root)), library_env, state_dir)
    found: list[Access] = []
    for part in (
        _nvml,
        _kernel_log,
        _pci,
        _edac,
        _process_files,
        *access_beside.PARTS,
    ):
        if time.monotonic() >= until:
            name = part.__name__.lstrip("_").replace("_", "-")
            found.append(Access(name, UNREADABLE, False, "not looked at", "time was up", "a longer --deadline"))
            continue
        try:
            found += part(node)
        except OSError as failure:
            name = part.__name__.lstrip("_").replace("_", "-")
            found.append(Access(name, UNREADABLE, False, "not looked at", says(failure)))
    return found


def _nvml(node: Node) -> Iterator[Access]:
    left = max(0.5, (node.until - time.monotonic()) * 0.6)
    readings, gpus, sources = nvml.sweep(left, library_env=node.library_env, state_dir=node.state_dir)
    source = sources[0]
    refused = sorted({r.name for r in readings if isinstance(r.value, Missing) and r.value.reason == "no-permission"})
    if not source.readable and not gpus:
        why, _, remedy = (source.reason or "").rpartition("; ")
        yield Access("nvml", UNREADABLE, True, source.origin, why or source.reason, remedy if why else None)
        return
    what = f"{source.origin}, {count(len(gpus), 'GPU')}"
    if source.reason:
        yield Access("nvml", PARTLY, True, what, source.reason, "see the kernel log: gpu-triage check")
    elif refused:
        yield Access("nvml", PARTLY, True, what, f"no permission to read {few(refused)}", "run as root")
    else:
        yield Access("nvml", READABLE, True, what)


def _kernel_log(node: Node) -> Iterator[Access]:
    ways = [_kmsg(node), _program_log(node, "journalctl", ["-k", "-b", "-n", "1", "-o", "json", "--no-pager"])]
    ways.append(_program_log(node, "dmesg", ["--raw"]))
    best = next((way for way in ways if way.state == READABLE), None)
    if best is None:
        why = "; ".join(f"{way.source}: {way.why}" for way in ways)
        remedy = "run as root, or grant CAP_SYSLOG (setcap cap_syslog=ep on a Python of its own)"
        yield Access("kernel-log", UNREADABLE, True, "/dev/kmsg, journalctl, dmesg", why, remedy)
    else:
        yield Access("kernel-log", READABLE, True, f"through {best.source}")
    yield from ways


def _kmsg(node: Node) -> Access:
    path = str(node.root / "dev/kmsg")
    try:
        opened = node.attempt(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as failure:
        return Access("kmsg", _state(failure), False, "/dev/kmsg", says(failure), _log_remedy(failure))
    try:
        os.read(opened, 8192)
    except BlockingIOError:
        return Access("kmsg", UNREADABLE, False, "/dev/kmsg", "it holds no record", "read the journal instead")
    except BrokenPipeError:
        pass  # overrun: there are records
    except OSError as failure:
        return Access("kmsg", _state(failure), False, "/dev/kmsg", says(failure), _log_remedy(failure))
    finally:
        os.close(opened)
    return Access("kmsg", READABLE, False, "/dev/kmsg")


def _log_remedy(failure: OSError) -> str:
    if failure.errno in (errno.EPERM, errno.EACCES):
        return "run as root, grant CAP_SYSLOG, or sysctl kernel.dmesg_restrict=0"
    return "in a container: pass the device in, with --device /dev/kmsg"


def _program_log(node: Node, name: str, words: list[str]) -> Access:
    program = node.program(name)
    if program is None:
        package = {"journalctl": "systemd", "dmesg": "util-linux"}[name]
        return Access(name, ABSENT, False, name, "it is not installed", f"install {package}")
    run = bounded.Run([program, *words], min(node.until, time.monotonic() + PROGRAM_BUDGET), 64 << 20)
    lines = run.lines()
    first = next((line for line in lines if line.strip()), None)
    lines.close()
    if first is not None:
        return Access(name, READABLE, False, _on_node(node, program))
    said = " ".join(run.errors.decode("utf-8", "replace").split())[-200:]
    why = run.cut or said or "it tells no record of the kernel"
    return Access(name, UNREADABLE, False, _on_node(node, program), why, _program_remedy(name))


def _program_remedy(name: str) -> str:
    if os.geteuid() == 0:
        return "start systemd-journald" if name == "journalctl" else "read /dev/kmsg instead"
    return "add the user to the group systemd-journal or adm, or run as root" if name == "journalctl" else "run as root"


def _on_node(node: Node, program: str) -> str:
    """Return the path of a program as it stands on the node."""
    return program if node.root == Path("/") else "/" + os.path.relpath(program, node.root)


def _pci(node: Node) -> Iterator[Access]:
    bus = node.root / "sys/bus/pci/devices"
    addresses = names(bus)
    if addresses is None:
        yield Access("pci", UNREADABLE, True, "/sys/bus/pci/devices", "it is not there", "mount sysfs on /sys")
        return
    gpus = [name for name in addresses if is_device(bus / name, "0x10de", ("0x03",))]
    switches = [name for name in addresses if is_device(bus / name, "0x10de", ("0x0680",))]
    what = f"{count(len(gpus), 'NVIDIA GPU')}, {count(len(switches), 'NVSwitch', 'es')} on the bus"
    if gpus:
        yield Access("pci", READABLE, True, what)
    else:
        yield Access("pci", READABLE, True, what, "no NVIDIA GPU is on the bus", "lspci -d 10de: shows what is there")
    counted = [name for name in (gpus or addresses) if (bus / name / "aer_dev_correctable").exists()]
    if counted:
        yield Access("aer", READABLE, False, f"error counters of {count(len(counted), 'device')}")
    else:
        why = "the kernel keeps no AER counters: it has no CONFIG_PCIEAER, or the firmware keeps AER for itself"
        yield Access("aer", ABSENT, False, "/sys/bus/pci/devices/*/aer_dev_*", why, "boot with pcie_ports=native")
    short = [name for name in gpus if _size(bus / name / "config") <= 64]
    if short:
        why = "only the first 64 bytes of the configuration space may be read, so whether DPC cut a link off is unknown"
        yield Access("pci-config", PARTLY, False, few(short), why, "run as root or grant CAP_SYS_ADMIN")


def _edac(node: Node) -> Iterator[Access]:
    controllers = [
        n for n in names(node.root / "sys/devices/system/edac/mc") or () if n[:2] == "mc" and n[2:].isdigit()
    ]
    if controllers:
        yield Access("edac", READABLE, False, count(len(controllers), "memory controller"))
    else:
        why = "no EDAC driver is loaded (virtual machines have none)"
        yield Access(
            "edac", ABSENT, False, "/sys/devices/system/edac/mc", why, "modprobe amd64_edac, skx_edac or i10nm_edac"
        )


def _process_files(node: Node) -> Iterator[Access]:
    """Whether the open files of other users' processes may be listed; process 1 is root's."""
    failure = None
    try:
        os.listdir(node.root / "proc/1/fd")
        failure = node.refused("proc/1/stack")
    except OSError as refused:
        failure = refused
    if failure is None or failure.errno == errno.ENOENT:
        yield Access("processes", READABLE, False, "which process holds a GPU, and where in the driver it sleeps")
    else:
        yield Access(
            "processes",
            PARTLY,
            False,
            "only the processes of this user",
            says(failure),
            "run as root or grant CAP_SYS_PTRACE",
        )


def _size(path: Path) -> int:
    """How much of a file can be read, at most 256 bytes; a large number if it is none."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return 1 << 30
        with path.open("rb") as file:
            return len(file.read(256))
    except OSError:
        return 1 << 30


def _state(failure: OSError) -> str:
    return ABSENT if failure.errno in (errno.ENOENT, errno.ENXIO) else UNREADABLE
