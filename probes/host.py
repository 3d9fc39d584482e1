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
from typing import NamedTuple, Optional, Union

from probes.model import NO_PERMISSION, NODE, NOT_SUPPORTED, Entity, Missing, Reading, Source, Value

MAX_BLOCKED = 64  # processes in uninterruptible sleep that are looked at more closely
MAX_FILES = 1024  # open files looked at for each
_NVIDIA = "0x10de"
_DISPLAY, _BRIDGE = "0x03", "0x0680"  # PCI classes: a GPU of any kind; what NVSwitches call themselves
_MODULES = ("nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm", "nvidia_peermem", "nouveau", "gdrdrv")
_SERVICES = {
    "nvidia-persiste": "persistenced", "nv-fabricmanage": "fabricmanager", "nvidia-imex": "imex",
    "nv-hostengine": "dcgm",
}  # fmt: skip
"""NVIDIA's daemons by the name that the kernel keeps of each."""
_TAINTS = "PFSRMBUDAWCIOELKXTN"  # Documentation/admin-guide/tainted-kernels.rst, bit 0 first

Read = Union[str, Missing]


def probe(deadline: float, root: Path = Path("/")) -> tuple[list[Reading], Source]:
    """Read the host within `deadline` seconds; `root` is where its file system stands.

    The deadline is looked at between files.
    """
    started, until = time.time(), time.monotonic() + deadline
    readings: list[Reading] = []
    reason = None
    for part in (_kernel, _memory, _driver, _pci, _edac, _processes):
        if time.monotonic() >= until:
            reason = f"time was up before {part.__name__[1:]} was read"
            break
        at = time.time()
        readings += [Reading(found.entity, found.name, found.value, found.unit, at) for found in part(root, until)]
    return readings, Source("host", str(root), bool(readings), started, time.time(), len(readings), reason=reason)


def node_name(root: Path = Path("/")) -> str:
    """The host name; where that says nothing, one made of the machine id (not the id itself, which is confidential)."""
    name = _text(root / "proc/sys/kernel/hostname")
    if isinstance(name, str) and name not in ("", "localhost", "localhost.localdomain", "(none)"):
        return name
    machine = _text(root / "etc/machine-id")
    if isinstance(machine, Missing) or not machine:
        return "localhost"
    import hashlib

    return "machine-" + hashlib.sha256(b"gpu-triage node" + machine.encode()).hexdigest()[:12]


class _Found(NamedTuple):
    entity: Entity
    name: str
    value: Value
    unit: str


def _text(path: Path) -> Read:
    """The first line of a small file."""
    try:
        with path.open("rb") as file:
            data = file.read(4096)
    except PermissionError:
        return Missing(NO_PERMISSION)
    except FileNotFoundError:
        return Missing(NOT_SUPPORTED)
    except OSError as failure:
        return Missing(f"error:{failure.strerror}")
    line = data.partition(b"\n")[0].decode("utf-8", "replace").strip()
    return "".join(sign if sign.isprintable() else "?" for sign in line)


def _number(path: Path) -> Value:
    text = _text(path)
    if isinstance(text, Missing):
        return text
    try:
        return _whole(text)
    except ValueError:
        return Missing("error:not-a-number")


def _whole(text: Union[str, bytes]) -> int:
    """A whole number, of a size that a counter of the kernel can have."""
    number = int(text)
    if abs(number) >> 64:
        raise ValueError("larger than any counter")
    return number


def _names(path: Path) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _kernel(root: Path, _until: float) -> Iterator[_Found]:
    yield _Found(NODE, "host.name", node_name(root), "text")
    yield _Found(NODE, "kernel.release", _text(root / "proc/sys/kernel/osrelease"), "text")
    taint = _number(root / "proc/sys/kernel/tainted")
    yield _Found(NODE, "kernel.taint", _taint(taint), "text")
    boot = _stat(root, "btime")
    yield _Found(NODE, "host.boot-time", boot, "seconds")
    uptime = _text(root / "proc/uptime")
    yield _Found(NODE, "host.uptime", _first(uptime), "seconds")
    yield _Found(NODE, "host.load", _first(_text(root / "proc/loadavg")), "count")


def _taint(value: Value) -> Value:
    if isinstance(value, Missing):
        return value
    number = int(value)
    return "".join(letter for bit, letter in enumerate(_TAINTS) if number >> bit & 1) or "none"


def _first(text: Read) -> Value:
    if isinstance(text, Missing):
        return text
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        return Missing("error:not-a-number")


def _stat(root: Path, wanted: str) -> Value:
    try:
        with (root / "proc/stat").open("rb") as file:
            for line in file:
                name, _, number = line.partition(b" ")
                if name == wanted.encode():
                    return _whole(number)
    except (OSError, ValueError) as failure:
        return Missing(f"error:{failure}")
    return Missing(NOT_SUPPORTED)


def _memory(root: Path, _until: float) -> Iterator[_Found]:
    """As the kernel says; what an old one does not say psutil works out, which is slow to load and may not be there."""
    said = list(_meminfo(root))
    known = all(isinstance(found.value, int) for found in said)
    yield from said if known else _worked_out(root) or said


def _worked_out(root: Path) -> list[_Found]:
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
    return [_Found(NODE, name, value, "bytes") for name, value in values.items()]


def _meminfo(root: Path) -> Iterator[_Found]:
    found: dict[str, int] = {}
    missing = Missing(NOT_SUPPORTED)
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                found[name] = _whole(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError) as failure:
        missing = Missing(f"error:{failure}")
    yield _Found(NODE, "host.memory.total", found.get("MemTotal", missing), "bytes")
    yield _Found(NODE, "host.memory.available", found.get("MemAvailable", missing), "bytes")


def _driver(root: Path, _until: float) -> Iterator[_Found]:
    for module in _MODULES:
        folder = root / "sys/module" / module
        version = _text(folder / "version")
        loaded = version if isinstance(version, str) else "loaded"
        yield _Found(NODE, f"module.{module}", loaded if folder.is_dir() else "absent", "text")
    yield _Found(NODE, "driver.module-version", _text(root / "sys/module/nvidia/version"), "text")
    yield _Found(NODE, "driver.flavour", _flavour(root), "text")
    devices = [name for name in _names(root / "dev") if re.fullmatch(r"nvidia[0-9]+", name)]
    yield _Found(NODE, "driver.devices", len(devices), "count")
    for name in ("nvidiactl", "nvidia-uvm"):
        yield _Found(NODE, f"driver.device.{name}", (root / "dev" / name).exists(), "flag")


def _flavour(root: Path) -> Value:
    """`open` or `proprietary`, as the kernel itself noted when it loaded the module (taint P: not free)."""
    taint = _text(root / "sys/module/nvidia/taint")
    return taint if isinstance(taint, Missing) else "proprietary" if "P" in taint else "open"


def _pci(root: Path, until: float) -> Iterator[_Found]:
    bus = root / "sys/bus/pci/devices"
    gpus = 0
    ports: set[str] = set()
    for address in _names(bus):
        device = bus / address
        if _text(device / "vendor") != _NVIDIA:
            continue
        kind = str(_text(device / "class"))
        if not kind.startswith((_DISPLAY, _BRIDGE)):
            continue  # audio, USB and other functions of the same board
        if time.monotonic() >= until:
            return
        gpu = kind.startswith(_DISPLAY)
        gpus += gpu
        yield from _pci_device(device, Entity("gpu" if gpu else "switch", pci=address))
        port = device.resolve().parent
        if re.fullmatch(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]", port.name):
            yield _Found(Entity("gpu" if gpu else "switch", pci=address), "pci.port", port.name, "text")
            if port.name not in ports:
                ports.add(port.name)
                yield from _link_and_errors(port, Entity("port", pci=port.name))
    if bus.is_dir():
        yield _Found(NODE, "pci.gpus", gpus, "count")
    else:
        yield _Found(NODE, "pci.gpus", Missing(NOT_SUPPORTED), "count")


def _pci_device(device: Path, entity: Entity) -> Iterator[_Found]:
    yield _Found(entity, "pci.device-id", _text(device / "device"), "text")
    driver = device / "driver"
    yield _Found(entity, "pci.driver", driver.resolve().name if driver.exists() else "none", "text")
    node = _number(device / "numa_node")
    yield _Found(entity, "pci.numa-node", Missing(NOT_SUPPORTED) if node == -1 else node, "count")
    yield _Found(entity, "pci.power-state", _text(device / "power_state"), "text")
    yield _Found(entity, "pci.bars.unassigned", _unassigned(device / "resource"), "count")
    yield from _link_and_errors(device, entity)


def _unassigned(path: Path) -> Value:
    """How many of the first six resources (BARs) of a device were given no address: flags, or a size, but no start."""
    try:
        lines = path.read_text().splitlines()[:6]
        ranges = [[int(word, 16) for word in line.split()] for line in lines]
    except FileNotFoundError:
        return Missing(NOT_SUPPORTED)
    except (OSError, ValueError) as failure:
        return Missing(f"error:{failure}")
    if any(len(each) != 3 for each in ranges):
        return Missing("error:not-a-resource")
    return sum(not start and bool(end or flags) for start, end, flags in ranges)


def _link_and_errors(device: Path, entity: Entity) -> Iterator[_Found]:
    """The PCIe link of a device, and the errors that AER counted on it.

    A device that no longer answers reads as all ones: 63 lanes of unknown speed.
    """
    width = _number(device / "current_link_width")
    if isinstance(width, int):
        yield _Found(entity, "pci.answers", width != 63, "flag")
    gone = Missing("lost")
    yield _Found(entity, "pci.link.width", gone if width == 63 else width, "count")
    yield _Found(entity, "pci.link.width.max", _number(device / "max_link_width"), "count")
    yield _Found(entity, "pci.link.speed", _speed(_text(device / "current_link_speed")), "transfers-per-second")
    yield _Found(entity, "pci.link.speed.max", _speed(_text(device / "max_link_speed")), "transfers-per-second")
    for kind in ("correctable", "nonfatal", "fatal"):
        yield _Found(entity, f"pci.aer.{kind}", _aer_total(device / f"aer_dev_{kind}"), "count")


def _speed(text: Read) -> Value:
    """`16.0 GT/s PCIe` as transfers a second."""
    if isinstance(text, Missing):
        return text
    match = re.match(r"([0-9.]+) GT/s", text)
    return float(match[1]) * 1e9 if match else Missing("lost" if text.startswith("Unknown") else "error:not-a-speed")


def _aer_total(path: Path) -> Value:
    """The last line, `TOTAL_ERR_COR 7`."""
    try:
        words = path.read_text().split()
        return _whole(words[-1]) if len(words) > 1 and words[-2].startswith("TOTAL") else Missing("error:no-total")
    except FileNotFoundError:
        return Missing(NOT_SUPPORTED)
    except (OSError, ValueError) as failure:
        return Missing(f"error:{failure}")


def _edac(root: Path, _until: float) -> Iterator[_Found]:
    memory = root / "sys/devices/system/edac/mc"
    controllers = [name for name in _names(memory) if re.fullmatch(r"mc[0-9]+", name)]
    for kind, name in (("ce", "corrected"), ("ue", "uncorrected")):
        counts = [_number(memory / controller / f"{kind}_count") for controller in controllers]
        numbers = [count for count in counts if isinstance(count, int)]
        value: Value = sum(numbers) if numbers else (counts[0] if counts else Missing(NOT_SUPPORTED))
        yield _Found(NODE, f"edac.{name}", value, "count")


def _processes(root: Path, until: float) -> Iterator[_Found]:
    """Who sleeps uninterruptibly, and which of them in or around the GPU driver."""
    blocked = []
    running: set[str] = set()
    proc = root / "proc"
    for name in _names(proc):
        if not name.isdigit():
            continue
        if time.monotonic() >= until:
            yield _Found(NODE, "host.processes.blocked", Missing("timed-out"), "count")
            return
        state = _state(proc / name)
        if state is not None and state[1] in _SERVICES:
            running.add(state[1])
        if state is not None and state[0] == "D":
            blocked.append((int(name), state[1]))
    for program, service in _SERVICES.items():
        yield _Found(NODE, f"service.{service}", "running" if program in running else "not-running", "text")
    yield _Found(NODE, "host.processes.blocked", len(blocked), "count")
    with_gpu = 0
    for pid, command in sorted(blocked)[:MAX_BLOCKED]:
        holds = _holds_gpu(proc / str(pid))
        in_driver = _in_driver(proc / str(pid))
        with_gpu += holds is True or in_driver is True
        process = Entity("process", index=pid, name=command)
        yield _Found(process, "process.state", "blocked", "text")
        yield _Found(process, "process.gpu-open", holds, "flag")
        yield _Found(process, "process.in-driver", in_driver, "flag")
    yield _Found(NODE, "host.processes.blocked.gpu", with_gpu, "count")


def _state(process: Path) -> Optional[tuple[str, str]]:
    """State letter and name; the name may hold anything, parentheses too."""
    try:
        stat = (process / "stat").read_bytes()[:512]
    except OSError:
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
        where = _text(process / "wchan")
        return where if isinstance(where, Missing) else where.startswith(("nv", "_nv", "uvm_", "rm_"))
    return "[nvidia" in stack
