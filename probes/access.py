"""What can be read here and what cannot, why, and what would make it readable.

Each source is tried the way the probes read it, but only to the first record;
nothing is written or started but the programs that the probes start too.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Optional

from probes import bounded, nvml
from probes.model import Missing

READABLE, PARTLY, UNREADABLE, ABSENT = "readable", "partly", "unreadable", "absent"
PROGRAM_BUDGET = 3.0  # seconds that journalctl or dmesg may take for its first line
_LISTED = 6  # names told of a list
_COMM = 15  # the kernel keeps so much of a program's name

Attempt = Callable[[str, int], int]


class Access(NamedTuple):
    """One source: its state, what there is, why it is not (fully) readable, and the command or permission that helps.

    `needed` says that a verdict suffers without it; the others are used where they are.
    """

    source: str
    state: str
    needed: bool
    what: str
    why: Optional[str] = None
    remedy: Optional[str] = None


class _Node(NamedTuple):
    """Where the node's file system stands, how its files are opened, and when time is up."""

    root: Path
    attempt: Attempt
    until: float
    running: frozenset[str]
    library_env: Optional[Mapping[str, str]]
    state_dir: Optional[Path]

    def program(self, name: str) -> Optional[str]:
        """Return the path of a program of this node."""
        if self.root == Path("/"):
            return bounded.find_program(name)
        places = (self.root / folder / name for folder in ("usr/sbin", "usr/bin", "sbin", "bin"))
        return next((str(path) for path in places if os.access(path, os.X_OK)), None)

    def refused(self, path: str) -> Optional[OSError]:
        """Return why a file cannot be opened for reading, or None."""
        try:
            os.close(self.attempt(str(self.root / path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as failure:
            return failure
        return None

    def runs(self, program: str) -> bool:
        """Return whether a process of this name is there."""
        return program[:_COMM] in self.running


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
    node = _Node(root, attempt, until, frozenset(_processes(root)), library_env, state_dir)
    found: list[Access] = []
    for part in (
        _nvml,
        _kernel_log,
        _pci,
        _edac,
        _process_files,
        _jobs,
        _network,
        _services,
        _management,
        _scheduler,
    ):
        if time.monotonic() >= until:
            name = part.__name__[1:].replace("_", "-")
            found.append(Access(name, UNREADABLE, False, "not looked at", "time was up", "a longer --deadline"))
            continue
        try:
            found += part(node)
        except OSError as failure:
            name = part.__name__[1:].replace("_", "-")
            found.append(Access(name, UNREADABLE, False, "not looked at", _says(failure)))
    return found


def _nvml(node: _Node) -> Iterator[Access]:
    left = max(0.5, (node.until - time.monotonic()) * 0.6)
    readings, gpus, sources = nvml.sweep(left, library_env=node.library_env, state_dir=node.state_dir)
    source = sources[0]
    refused = sorted({r.name for r in readings if isinstance(r.value, Missing) and r.value.reason == "no-permission"})
    if not source.readable and not gpus:
        why, _, remedy = (source.reason or "").rpartition("; ")
        yield Access("nvml", UNREADABLE, True, source.origin, why or source.reason, remedy if why else None)
        return
    what = f"{source.origin}, {_count(len(gpus), 'GPU')}"
    if source.reason:
        yield Access("nvml", PARTLY, True, what, source.reason, "see the kernel log: gpu-triage check")
    elif refused:
        yield Access("nvml", PARTLY, True, what, f"no permission to read {_few(refused)}", "run as root")
    else:
        yield Access("nvml", READABLE, True, what)


def _kernel_log(node: _Node) -> Iterator[Access]:
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


def _kmsg(node: _Node) -> Access:
    path = str(node.root / "dev/kmsg")
    try:
        opened = node.attempt(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as failure:
        return Access("kmsg", _state(failure), False, "/dev/kmsg", _says(failure), _log_remedy(failure))
    try:
        os.read(opened, 8192)
    except BlockingIOError:
        return Access("kmsg", UNREADABLE, False, "/dev/kmsg", "it holds no record", "read the journal instead")
    except BrokenPipeError:
        pass  # overrun: there are records
    except OSError as failure:
        return Access("kmsg", _state(failure), False, "/dev/kmsg", _says(failure), _log_remedy(failure))
    finally:
        os.close(opened)
    return Access("kmsg", READABLE, False, "/dev/kmsg")


def _log_remedy(failure: OSError) -> str:
    if failure.errno in (errno.EPERM, errno.EACCES):
        return "run as root, grant CAP_SYSLOG, or sysctl kernel.dmesg_restrict=0"
    return "in a container: pass the device in, with --device /dev/kmsg"


def _program_log(node: _Node, name: str, words: list[str]) -> Access:
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


def _on_node(node: _Node, program: str) -> str:
    """Return the path of a program as it stands on the node."""
    return program if node.root == Path("/") else "/" + os.path.relpath(program, node.root)


def _pci(node: _Node) -> Iterator[Access]:
    bus = node.root / "sys/bus/pci/devices"
    names = _names(bus)
    if names is None:
        yield Access("pci", UNREADABLE, True, "/sys/bus/pci/devices", "it is not there", "mount sysfs on /sys")
        return
    gpus = [name for name in names if _is(bus / name, "0x10de", ("0x03",))]
    switches = [name for name in names if _is(bus / name, "0x10de", ("0x0680",))]
    what = f"{_count(len(gpus), 'NVIDIA GPU')}, {_count(len(switches), 'NVSwitch', 'es')} on the bus"
    if gpus:
        yield Access("pci", READABLE, True, what)
    else:
        yield Access("pci", READABLE, True, what, "no NVIDIA GPU is on the bus", "lspci -d 10de: shows what is there")
    counted = [name for name in (gpus or names) if (bus / name / "aer_dev_correctable").exists()]
    if counted:
        yield Access("aer", READABLE, False, f"error counters of {_count(len(counted), 'device')}")
    else:
        why = "the kernel keeps no AER counters: it has no CONFIG_PCIEAER, or the firmware keeps AER for itself"
        yield Access("aer", ABSENT, False, "/sys/bus/pci/devices/*/aer_dev_*", why, "boot with pcie_ports=native")
    short = [name for name in gpus if _size(bus / name / "config") <= 64]
    if short:
        why = "only the first 64 bytes of the configuration space may be read"
        yield Access("pci-config", PARTLY, False, _few(short), why, "run as root or grant CAP_SYS_ADMIN")


def _edac(node: _Node) -> Iterator[Access]:
    controllers = [
        n for n in _names(node.root / "sys/devices/system/edac/mc") or () if n[:2] == "mc" and n[2:].isdigit()
    ]
    if controllers:
        yield Access("edac", READABLE, False, _count(len(controllers), "memory controller"))
    else:
        why = "no EDAC driver is loaded (virtual machines have none)"
        yield Access(
            "edac", ABSENT, False, "/sys/devices/system/edac/mc", why, "modprobe amd64_edac, skx_edac or i10nm_edac"
        )


def _process_files(node: _Node) -> Iterator[Access]:
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
            _says(failure),
            "run as root or grant CAP_SYS_PTRACE",
        )


def _jobs(node: _Node) -> Iterator[Access]:
    """Whether a process's control group can be read, by which its job is told; process 1 is root's."""
    failure = node.refused("proc/self/cgroup") if (node.root / "proc/self").exists() else None
    if failure is not None:
        remedy = "mount procfs on /proc"
        yield Access("jobs", UNREADABLE, False, "/proc/*/cgroup", _says(failure), remedy)
        return
    hidden = node.refused("proc/1/environ")
    what = "the owner of each process on a GPU"
    if hidden is None or hidden.errno == errno.ENOENT:
        yield Access("jobs", READABLE, False, what)
    else:
        why = "of other users' processes neither the open files nor the environment may be read"
        yield Access("jobs", PARTLY, False, what, why, "run as root or grant CAP_SYS_PTRACE")


def _network(node: _Node) -> Iterator[Access]:
    folder = node.root / "sys/class/infiniband"
    cards = _names(folder) or []
    if not cards:
        yield Access("infiniband", ABSENT, False, "/sys/class/infiniband", "no InfiniBand or RoCE card is driven")
    elif node.program("grep") is None and bounded.find_program("grep") is None:
        yield Access("infiniband", UNREADABLE, False, _few(cards), "there is no grep to read it aside", "install grep")
    else:
        ports = sum(len(_names(folder / card / "ports") or ()) for card in cards)
        yield Access("infiniband", READABLE, False, f"{_count(len(cards), 'card')}, {_count(ports, 'port')}")


def _services(node: _Node) -> Iterator[Access]:
    bus = node.root / "sys/bus/pci/devices"
    switches = [name for name in _names(bus) or () if _is(bus / name, "0x10de", ("0x0680",))]
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
            why = f"{_count(len(switches), 'NVSwitch', 'es')}, and it is not installed"
            yield Access(source, ABSENT, True, program, why, "install the fabric manager of the driver's version")
        else:
            yield Access(source, ABSENT, False, program, "it is not installed")


def _management(node: _Node) -> Iterator[Access]:
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
        else:
            yield Access("ipmi", UNREADABLE, False, f"/{devices[0]}", _says(failure), "run as root")
    # SMBIOS type 42 describes the management controller's host interface (DSP0270).
    if (node.root / "sys/firmware/dmi/entries/42-0").exists():
        why = "the management controller offers it, but it asks for an account"
        yield Access(
            "redfish", UNREADABLE, False, "host interface", why, "its address and account, from who runs the site"
        )
    else:
        yield Access("redfish", ABSENT, False, "host interface", "the firmware names none")


def _scheduler(node: _Node) -> Iterator[Access]:
    tool, runs = node.program("scontrol"), node.runs("slurmd")
    if runs and tool is not None:
        yield Access("slurm", READABLE, False, "slurmd runs; scontrol is there")
    elif runs:
        yield Access("slurm", PARTLY, False, "slurmd runs", "scontrol is not in the path", "add Slurm's bin to PATH")
    elif tool is not None:
        yield Access("slurm", PARTLY, False, "scontrol is there", "slurmd does not run here", "systemctl start slurmd")
    else:
        yield Access("slurm", ABSENT, False, "slurmd", "it is not installed")


def _processes(root: Path) -> Iterator[str]:
    for name in _names(root / "proc") or ():
        if name.isdigit():
            yield _text(root / "proc" / name / "comm")


def _is(device: Path, vendor: str, kinds: tuple[str, ...]) -> bool:
    return _text(device / "vendor") == vendor and _text(device / "class").startswith(kinds)


def _text(path: Path) -> str:
    """The first line of a small file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(256).partition(b"\n")[0].decode("utf-8", "replace")
    except OSError:
        return ""


def _names(path: Path) -> Optional[list[str]]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return None


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


def _says(failure: OSError) -> str:
    return (failure.strerror or str(failure)).lower()


def _count(number: int, noun: str, many: str = "s") -> str:
    return f"{number} {noun}{'' if number == 1 else many}"


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more
