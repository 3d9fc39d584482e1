"""What the host says without asking the driver: /proc and /sys only.

Nothing here opens a device file or a file that the nvidia driver serves while
it may be stuck, and no file of a process that needs that process to answer
(its command line does: reading it can hang on a task that sleeps in a driver).
A GPU that the PCI bus shows is named here even if NVML does not list it.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Optional, Union

from probes import pci_sysfs
from probes.model import NO_PERMISSION, NODE, NOT_SUPPORTED, Entity, Missing, Reading, Source, Value
from probes.sysfs import Found, data, empty, first_number, names, number, text, unseen, whole

MAX_BLOCKED = 64  # processes in uninterruptible sleep that are looked at more closely
MAX_FILES = 1024  # open files looked at for each
_MODULES = ("nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm", "nvidia_peermem", "nouveau", "gdrdrv")
_SERVICES = {
    "nvidia-persiste": "persistenced", "nv-fabricmanage": "fabricmanager", "nvidia-imex": "imex",
    "nv-hostengine": "dcgm",
}  # fmt: skip
"""NVIDIA's daemons by the name that the kernel keeps of each."""
_FLAGS = {
    ("pci", "noaer"): "pci.noaer", ("pci", "nomsi"): "pci.nomsi", ("pci", "realloc"): "pci.realloc",
    ("nomodeset", ""): "nomodeset",
}  # fmt: skip
_SETTINGS = ("pcie_aspm", "pcie_ports", "iommu", "intel_iommu", "amd_iommu")
_BLOCKED = ("nvidia", "nouveau")
"""Parameters of the kernel that bear on GPUs, and modules that it may be told to leave out."""
_TAINTS = "PFSRMBUDAWCIOELKXTN"  # Documentation/admin-guide/tainted-kernels.rst, bit 0 first


def probe(deadline: float, root: Path = Path("/")) -> tuple[list[Reading], Source]:
    """Read the host within `deadline` seconds; `root` is where its file system stands.

    The deadline is looked at between files.
    """
    started, until = time.time(), time.monotonic() + deadline
    readings: list[Reading] = []
    reasons: list[str] = []
    hidden = [name for name in ("proc", "sys") if empty(root / name)]
    for part in (_kernel, _memory, _driver, pci_sysfs.read, _edac, _processes):
        if time.monotonic() >= until:
            unread = "pci" if part is pci_sysfs.read else part.__name__.lstrip("_")
            reasons.append(f"time was up before {unread} was read")
            break
        at = time.time()
        readings += [Reading(found.entity, found.name, found.value, found.unit, at) for found in part(root, until)]
    if hidden:
        below = " and ".join(f"/{name}" for name in hidden)
        reasons.insert(0, f"nothing is to be seen below {below}; mount what is missing here")
    readable = bool(readings) and not hidden
    reason = "; ".join(reasons) or None
    return readings, Source("host", str(root), readable, started, time.time(), len(readings), reason=reason)


def node_name(root: Path = Path("/")) -> str:
    """The host name; where that says nothing, one made of the machine id (not the id itself, which is confidential)."""
    name = text(root / "proc/sys/kernel/hostname")
    if isinstance(name, str) and name not in ("", "localhost", "localhost.localdomain", "(none)"):
        return name
    machine = text(root / "etc/machine-id")
    if isinstance(machine, Missing) or not machine:
        return "localhost"
    import hashlib

    return "machine-" + hashlib.sha256(b"gpu-triage node" + machine.encode()).hexdigest()[:12]


def _kernel(root: Path, _until: float) -> Iterator[Found]:
    yield Found(NODE, "host.name", node_name(root), "text")
    yield Found(NODE, "kernel.release", text(root / "proc/sys/kernel/osrelease"), "text")
    taint = number(root / "proc/sys/kernel/tainted")
    yield Found(NODE, "kernel.taint", _taint(taint), "text")
    boot = _stat(root, "btime")
    yield Found(NODE, "host.boot-time", boot, "seconds")
    uptime = text(root / "proc/uptime")
    yield Found(NODE, "host.uptime", first_number(uptime), "seconds")
    yield from _parameters(text(root / "proc/cmdline"))
    yield Found(NODE, "host.load", first_number(text(root / "proc/loadavg")), "count")


def _parameters(said: Union[str, Missing]) -> Iterator[Found]:
    """What the kernel was told at its start, as far as it bears on GPUs; the rest may be confidential."""
    if isinstance(said, Missing):
        for name in (*_FLAGS.values(), *_SETTINGS, *(f"{module}.blocked" for module in _BLOCKED)):
            yield Found(NODE, f"kernel.parameter.{name.replace('_', '-')}", said, "text")
        return
    told: dict[str, list[str]] = {}
    for word in said.split():
        name, _, value = word.partition("=")
        told.setdefault(name.replace("-", "_"), []).extend(value.strip('"').split(","))
    for (name, value), reading in _FLAGS.items():
        set_so = name in told and (not value or value in told[name])
        yield Found(NODE, f"kernel.parameter.{reading}", set_so, "flag")
    for name in _SETTINGS:
        value = ",".join(told.get(name, ["default"]))[:60]
        yield Found(NODE, f"kernel.parameter.{name.replace('_', '-')}", value, "text")
    lists = ("modprobe.blacklist", "module_blacklist", "rd.driver.blacklist")
    blocked = {module for name in lists for module in told.get(name, [])}
    for module in _BLOCKED:
        yield Found(NODE, f"kernel.parameter.{module}.blocked", module in blocked, "flag")


def _taint(value: Value) -> Value:
    if isinstance(value, Missing):
        return value
    number = int(value)
    return "".join(letter for bit, letter in enumerate(_TAINTS) if number >> bit & 1) or "none"


def _stat(root: Path, wanted: str) -> Value:
    try:
        with (root / "proc/stat").open("rb") as file:
            for line in file:
                name, _, number = line.partition(b" ")
                if name == wanted.encode():
                    return whole(number)
    except (OSError, ValueError) as failure:
        return Missing(f"error:{failure}")
    return Missing(NOT_SUPPORTED)


def _memory(root: Path, _until: float) -> Iterator[Found]:
    """As the kernel says; what an old one does not say psutil works out, which is slow to load and may not be there."""
    said = list(_meminfo(root))
    known = all(isinstance(found.value, int) for found in said)
    yield from said if known else _worked_out(root) or said


def _worked_out(root: Path) -> list[Found]:
    try:
        import psutil
    except ImportError:
        return []
    before, psutil.PROCFS_PATH = psutil.PROCFS_PATH, str(root / "proc")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of fields that an old or strange kernel does not have
            memory = psutil.virtual_memory()
    except Exception:  # psutil raises what it meets: OSError, KeyError, ValueError
        return []
    finally:
        psutil.PROCFS_PATH = before
    values = {"host.memory.total": memory.total, "host.memory.available": memory.available}
    return [Found(NODE, name, value, "bytes") for name, value in values.items()]


def _meminfo(root: Path) -> Iterator[Found]:
    found: dict[str, int] = {}
    missing = Missing(NOT_SUPPORTED)
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                found[name] = whole(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError) as failure:
        missing = Missing(f"error:{failure}")
    yield Found(NODE, "host.memory.total", found.get("MemTotal", missing), "bytes")
    yield Found(NODE, "host.memory.available", found.get("MemAvailable", missing), "bytes")


def _driver(root: Path, _until: float) -> Iterator[Found]:
    unknown = Missing(NOT_SUPPORTED)
    absent: Value = unknown if empty(root / "sys/module") else "absent"
    for module in _MODULES:
        folder = root / "sys/module" / module
        version = text(folder / "version")
        loaded = version if isinstance(version, str) else "loaded"
        yield Found(NODE, f"module.{module}", loaded if folder.is_dir() else absent, "text")
    yield Found(NODE, "driver.module-version", text(root / "sys/module/nvidia/version"), "text")
    yield Found(NODE, "driver.flavour", _flavour(root), "text")
    devices = [name for name in names(root / "dev") if name[:6] == "nvidia" and name[6:].isdecimal()]
    dark = empty(root / "dev")
    yield Found(NODE, "driver.devices", unknown if dark else len(devices), "count")
    for name in ("nvidiactl", "nvidia-uvm"):
        yield Found(NODE, f"driver.device.{name}", unknown if dark else (root / "dev" / name).exists(), "flag")


def _flavour(root: Path) -> Value:
    """`open` or `proprietary`, as the kernel itself noted when it loaded the module (taint P: not free)."""
    taint = text(root / "sys/module/nvidia/taint")
    return taint if isinstance(taint, Missing) else "proprietary" if "P" in taint else "open"


def _edac(root: Path, _until: float) -> Iterator[Found]:
    memory = root / "sys/devices/system/edac/mc"
    controllers = [name for name in names(memory) if re.fullmatch(r"mc[0-9]+", name)]
    for kind, name in (("ce", "corrected"), ("ue", "uncorrected")):
        counts = [number(memory / controller / f"{kind}_count") for controller in controllers]
        numbers = [count for count in counts if isinstance(count, int)]
        value: Value = sum(numbers) if numbers else (counts[0] if counts else Missing(NOT_SUPPORTED))
        yield Found(NODE, f"edac.{name}", value, "count")


def _processes(root: Path, until: float) -> Iterator[Found]:
    """Who sleeps uninterruptibly, and which of them in or around the GPU driver."""
    blocked = []
    running: set[str] = set()
    proc = root / "proc"
    for name in names(proc):
        if not name.isdigit():
            continue
        if time.monotonic() >= until:
            yield Found(NODE, "host.processes.blocked", Missing("timed-out"), "count")
            return
        state = _state(f"{proc}/{name}")
        if state is not None and state[1] in _SERVICES:
            running.add(state[1])
        if state is not None and state[0] == "D":
            blocked.append((int(name), state[1]))
    hidden = unseen(proc)
    for program, service in _SERVICES.items():
        yield Found(NODE, f"service.{service}", "running" if program in running else hidden or "not-running", "text")
    yield Found(NODE, "host.processes.blocked", len(blocked) or hidden or 0, "count")
    with_gpu = 0
    for pid, command in sorted(blocked)[:MAX_BLOCKED]:
        holds = _holds_gpu(proc / str(pid))
        in_driver = _in_driver(proc / str(pid))
        with_gpu += holds is True or in_driver is True
        process = Entity("process", index=pid, name=command)
        yield Found(process, "process.state", "blocked", "text")
        yield Found(process, "process.gpu-open", holds, "flag")
        yield Found(process, "process.in-driver", in_driver, "flag")
    yield Found(NODE, "host.processes.blocked.gpu", with_gpu or hidden or 0, "count")


def _state(process: Union[str, Path]) -> Optional[tuple[str, str]]:
    """State letter and name; the name may hold anything, parentheses too."""
    stat = data(f"{process}/stat", 512)
    if isinstance(stat, Missing):
        return None  # it ended while we looked
    head, _, tail = stat.rpartition(b") ")
    name = head.partition(b"(")[2].decode("utf-8", "replace")
    return tail[:1].decode("ascii", "replace"), "".join(sign if sign.isprintable() else "?" for sign in name)


def _holds_gpu(process: Path) -> Value:
    try:
        files = os.listdir(process / "fd")[:MAX_FILES]
    except PermissionError:
        return Missing(NO_PERMISSION)
    except OSError as failure:
        return Missing(f"error:{failure.strerror}")
    for file in files:
        try:
            if os.readlink(process / "fd" / file).startswith("/dev/nvidia"):
                return True
        except OSError:
            continue
    return False


def _in_driver(process: Path) -> Value:
    """Whether its kernel stack (or, for want of permission, where it sleeps) lies in an nvidia module."""
    try:
        stack = (process / "stack").read_text(errors="replace")
    except OSError:
        where = text(process / "wchan")
        return where if isinstance(where, Missing) else where.startswith(("nv", "_nv", "uvm_", "rm_"))
    return "[nvidia" in stack
