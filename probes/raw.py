"""Copies of the small files behind the host's readings, and the names that a copy for others must not hold.

Only files that the host probe reads anyway are copied: none that the nvidia
driver serves, because reading one can hang while the driver does.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

MAX_FILE = 64 << 10
MAX_FILES = 4000
MAX_BYTES = 8 << 20
MAX_NAMES = 20_000
"""Host and user names that are looked for; a site with more has them in a directory service, where none is asked."""

_PROC = (
    "sys/kernel/hostname", "sys/kernel/osrelease", "sys/kernel/version", "sys/kernel/tainted", "uptime", "loadavg",
    "meminfo", "cmdline", "modules", "version",
)  # fmt: skip
_MODULES = ["nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm", "nvidia_peermem", "nouveau", "gdrdrv"]
_DEVICE = (
    "vendor", "device", "class", "subsystem_vendor", "subsystem_device", "revision", "numa_node", "current_link_width",
    "max_link_width", "current_link_speed", "max_link_speed", "aer_dev_correctable", "aer_dev_nonfatal",
    "aer_dev_fatal", "power_state", "enable", "resource",
)  # fmt: skip
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z")
_ORDINARY_USER = range(1000, 65534)
"""User ids of people; below stand the system's, above `nobody`."""
_NOBODYS = frozenset({"root", "nobody", "localhost", "localdomain", "(none)", "none", "uninitialized", ""})


def copies(devices: Iterable[str], deadline: float, root: Path = Path("/")) -> dict[str, bytes]:
    """Return the content of these files by their path under `root`, each cut to 64 KiB.

    Args:
        devices: PCI addresses whose files are wanted.
        deadline: seconds; it is looked at between files.
        root: where the file system stands.
    """
    until = time.monotonic() + deadline
    names = [f"proc/{name}" for name in _PROC]
    for module in _MODULES:
        names += [f"sys/module/{module}/{name}" for name in ("version", "taint", "refcnt", "initstate")]
    for address in sorted(filter(_ADDRESS.match, devices)):
        names += [f"sys/bus/pci/devices/{address}/{name}" for name in _DEVICE]
    memory = "sys/devices/system/edac/mc"
    for controller in _listed(root / memory):
        names += [f"{memory}/{controller}/{name}" for name in ("ce_count", "ue_count", "mc_name")]
    found: dict[str, bytes] = {}
    size = 0
    for name in names[:MAX_FILES]:
        if time.monotonic() >= until or size >= MAX_BYTES:
            break
        try:
            with (root / name).open("rb") as file:
                content = file.read(MAX_FILE)
        except OSError:
            continue
        found[name] = content
        size += len(content)
    return found


def private_names(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> dict[str, list[str]]:
    """Return the names by which this machine and its people are known: `hosts`, `domains`, `users`, `serials`, `ids`.

    Local files alone are asked, because a directory service may not answer.
    """
    hosts = _words(root / "proc/sys/kernel/hostname") + _words(root / "etc/hostname")
    domains = _words(root / "proc/sys/kernel/domainname")
    for words in _lines(root / "etc/hosts"):
        hosts += words[1:]
    for words in _lines(root / "etc/resolv.conf"):
        if words[0] in ("search", "domain"):
            domains += words[1:]
    users = [environment.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")]
    for words in _lines(root / "etc/passwd", ":"):
        if len(words) > 5 and words[2].isdecimal() and int(words[2]) in _ORDINARY_USER:
            users += [words[0], os.path.basename(words[5].rstrip("/"))]
    users += _listed(root / "home")
    identity = root / "sys/class/dmi/id"
    serials = [word for kind in ("product", "board", "chassis") for word in _words(identity / f"{kind}_serial")]
    boot = [word for word in _words(root / "proc/sys/kernel/random/boot_id") if len(word) == 36]
    ids = [*_words(root / "etc/machine-id"), *_words(identity / "product_uuid"), *boot]
    ids += [word.replace("-", "") for word in boot]
    kinds = {"hosts": hosts, "domains": domains, "users": users, "serials": serials, "ids": ids}
    return {
        kind: [name for name in dict.fromkeys(names) if name.lower() not in _NOBODYS][:MAX_NAMES]
        for kind, names in kinds.items()
    }


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))[:MAX_NAMES]
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return [word for words in _lines(path)[:1] for word in words]


def _lines(path: Path, separator: str = " ") -> list[list[str]]:
    """The words of each line that is neither empty nor a comment."""
    try:
        with path.open("rb") as file:
            text = file.read(4 << 20).decode("utf-8", "replace")
    except OSError:
        return []
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line.split() if separator == " " else line.split(separator) for line in lines if line]
