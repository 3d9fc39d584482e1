"""Files of /proc as a bug report copies them: the driver's version and flavour, its GPUs, the modules, the host."""

from __future__ import annotations

import re
from collections.abc import Mapping

from probes.model import NODE, Entity, Reading
from probes.pci import normal_address
from probes.records_text import clean, shorten

_VERSION = re.compile(r"NVRM version: NVIDIA UNIX (?:(Open) )?(?:\S+ ){0,2}?Kernel Module(?: for \S+)?\s+(\d+\.[\d.]+)")
_MODULES = ("nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm", "nvidia_peermem", "nouveau", "gdrdrv")
_GPU = re.compile(r"/proc/driver/nvidia/(?:\./|\d+/)?gpus/([0-9a-fA-F:.]{10,16})/information\Z")


def driver(text: str, at: float) -> list[Reading]:
    """`/proc/driver/nvidia/version`."""
    found = _VERSION.search(text)
    if not found:
        return []
    return [
        Reading(NODE, "driver.version", found[2], "text", at),
        Reading(NODE, "driver.module-version", found[2], "text", at),
        Reading(NODE, "driver.flavour", "open" if found[1] else "proprietary", "text", at),
    ]


def gpu(path: str, text: str, at: float) -> list[Reading]:
    """`/proc/driver/nvidia/gpus/ADDRESS/information`: name, UUID and firmware of a GPU that the driver bound."""
    where = _GPU.search(path)
    fields = _fields(text)
    address = normal_address((where[1] if where else "") or fields.get("bus location", ""))
    if address is None:
        return []
    uuid = fields.get("gpu uuid", "")
    # Until a GPU was brought up, its UUID is printed as question marks.
    entity = Entity("gpu", address, uuid if uuid and "?" not in uuid else None, None, None, fields.get("model"))
    readings = [Reading(entity, "pci.driver", "nvidia", "text", at)]
    for name, key in (("gpu.name", "model"), ("gpu.vbios", "video bios"), ("gpu.gsp-firmware", "gpu firmware")):
        value = fields.get(key, "")
        if value and "?" not in value and value != "N/A":
            readings.append(Reading(entity, name, value, "text", at))
    return readings


def modules(text: str, at: float) -> list[Reading]:
    """`/proc/modules`."""
    loaded = {line.partition(" ")[0] for line in text.splitlines()}
    if not loaded:
        return []
    return [Reading(NODE, f"module.{name}", "loaded" if name in loaded else "absent", "text", at) for name in _MODULES]


def memory(text: str, at: float) -> list[Reading]:
    """`/proc/meminfo`."""
    fields = _fields(text)
    readings = []
    for name, key in (("host.memory.total", "memtotal"), ("host.memory.available", "memavailable")):
        number = fields.get(key, "").partition(" ")[0]
        if number.isdecimal() and len(number) < 19:
            readings.append(Reading(NODE, name, int(number) * 1024, "bytes", at))
    return readings


def uname(text: str, at: float) -> tuple[str | None, list[Reading]]:
    """`Linux HOST RELEASE ...`, as `uname -a` prints it: the host, and the kernel's release."""
    words = text.split()
    if len(words) < 3 or words[0] != "Linux":
        return None, []
    host = clean(shorten(words[1], 255))
    release = clean(shorten(words[2], 128))
    return host, [
        Reading(NODE, "host.name", host, "text", at),
        Reading(NODE, "kernel.release", release, "text", at),
    ]


def _fields(text: str) -> Mapping[str, str]:
    fields: dict[str, str] = {}
    for line in text.splitlines()[:500]:
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), clean(shorten(value.strip(), 200)))
    return fields
