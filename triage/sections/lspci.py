"""`lspci -vvv`: the PCIe link of each NVIDIA device and of the port above it, as sysfs would have told.

The readings have the names and units of `probes.host`.  A device that no longer
answers reads as all ones: revision ff, an unknown header type.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from probes.model import LOST, NO_PERMISSION, Entity, Missing, Reading, Value
from probes.pci import normal_address
from probes.pci_sysfs import beside
from probes.records_text import clean

MOST_DEVICES = 10_000
MOST_LINES = 2_000

_HEAD = re.compile(
    r"((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) ([^:\[]{3,60}?)(?: \[([0-9a-f]{4})\])?: (.{1,400})\Z"
)
BEGINS = re.compile(
    rb"^(?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7] [A-Z0-9][^:\n]{2,60}: [^\n]+\r?\n"
    rb"(?:[^\n]*\n){0,2}[\t ]+(?:DeviceName|Subsystem|Control|Flags):",
    re.M,
)
_IDS = re.compile(r"\[10de:([0-9a-f]{4})\]")
_LINK = re.compile(r"(LnkCap|LnkSta):[^\n]*?Speed ([0-9.]{1,8}GT/s|unknown|Unknown)[^,]*, Width (x\d{1,2})", re.I)
_SECONDARY = re.compile(r"Bus: primary=[0-9a-f]{2}, secondary=([0-9a-f]{2}),")
_GPU_CLASSES = ("VGA compatible controller", "3D controller", "Display controller")
_SWITCH_CLASSES = ("Bridge",)


class _Device:
    def __init__(self, address: str, kind: str, text: str) -> None:
        self.address = address
        self.kind = kind
        self.text = text
        self.answers = "(rev ff)" not in text
        self.driver: str | None = None
        self.verbose = False
        self.denied = False
        self.links: dict[str, tuple[str, str]] = {}
        self.secondary: str | None = None

    def take(self, line: str) -> None:
        bare = line.strip()
        if bare.startswith("!!! Unknown header type"):
            self.answers = False
        elif bare.startswith("Kernel driver in use: "):
            self.driver = clean(bare.partition(": ")[2][:64])
        elif bare.startswith("Capabilities: <access denied>"):
            self.denied = True
        elif bare.startswith("Bus: "):
            found = _SECONDARY.match(bare)
            self.secondary = found[1] if found else None
        elif bare.startswith("Lnk"):
            link = _LINK.match(bare)
            if link:
                self.links.setdefault(link[1].lower(), (link[2], link[3]))
        self.verbose = self.verbose or bare.startswith(("Control:", "Flags:"))


def devices(raw: Iterable[str]) -> Iterator[_Device]:
    """The devices of the output, each with what was said of it."""
    current: _Device | None = None
    number = lines = 0
    for line in raw:
        head = _HEAD.match(line.rstrip()) if line[:1].strip() else None
        if head:
            if current is not None:
                yield current
            number += 1
            if number > MOST_DEVICES:
                return
            current, lines = _Device(normal_address(head[1]) or head[1], head[2].strip(), head[4]), 0
        elif current is not None and line[:1] in (" ", "\t"):
            lines += 1
            if lines < MOST_LINES:
                current.take(line)
    if current is not None:
        yield current


def readings(raw: Iterable[str], at: float) -> list[Reading]:
    """Return the readings of every NVIDIA GPU and switch, and of the ports right above them."""
    found = list(devices(raw))
    by_bus = {(device.address[:4], device.secondary): device for device in found if device.secondary is not None}
    out: list[Reading] = []
    ports: set[str] = set()
    for device in found:
        kind = _kind(device)
        if kind is None:
            continue
        entity = Entity(kind, pci=device.address)
        ids = _IDS.search(device.text)
        if ids:
            out.append(Reading(entity, "pci.device-id", f"0x{ids[1]}", "text", at))
        if device.verbose:
            out.append(Reading(entity, "pci.driver", device.driver or "none", "text", at))
        out += _link(device, entity, at)
        domain, bus = device.address[:4], device.address.split(":")[-2]
        port = by_bus.get((domain, bus))
        if port is not None:
            out.append(Reading(entity, "pci.port", port.address, "text", at))
            if port.address not in ports:
                ports.add(port.address)
                out += _link(port, Entity("port", pci=port.address), at)
    gpus = [device for device in found if _kind(device) == "gpu"]
    compared = (
        (
            Entity("gpu", pci=device.address),
            ids[1] if (ids := _IDS.search(device.text)) else device.text,
            _values(device),
            _values(by_bus.get((device.address[:4], device.address.split(":")[-2]))),
        )
        for device in gpus
    )
    return out + [Reading(told.entity, told.name, told.value, told.unit, at) for told in beside(compared)]


def _kind(device: _Device) -> str | None:
    if "NVIDIA" not in device.text and "[10de:" not in device.text and "nVidia" not in device.text:
        return None
    if device.kind.startswith(_GPU_CLASSES):
        return "gpu"
    return "switch" if device.kind in _SWITCH_CLASSES else None


def _link(device: _Device, entity: Entity, at: float) -> list[Reading]:
    out = []
    if device.links or not device.answers:
        out.append(Reading(entity, "pci.answers", device.answers, "flag", at))
    if not (device.links or device.denied or not device.answers):
        return out  # a short listing says nothing of links
    for name, value in _values(device).items():
        unit = "count" if name.startswith("width") else "transfers-per-second"
        out.append(Reading(entity, f"pci.link.{name}", value, unit, at))
    return out


def _values(device: _Device | None) -> dict[str, Value]:
    """The link now and at its best; nothing of a device that was listed without its links."""
    if device is None or not (device.links or device.denied or not device.answers):
        return {}
    unread = Missing(NO_PERMISSION if device.denied else LOST)
    found: dict[str, Value] = {}
    for suffix, key in (("", "lnksta"), (".max", "lnkcap")):
        speed, width = device.links.get(key, (None, None))
        found[f"width{suffix}"] = unread if width is None else _lanes(width)
        found[f"speed{suffix}"] = unread if speed is None else _speed(speed)
    return found


def _lanes(text: str) -> Value:
    lanes = int(text[1:])
    return Missing(LOST) if lanes == 63 else lanes


def _speed(text: str) -> Value:
    try:
        return float(text[: -len("GT/s")]) * 1e9
    except ValueError:
        return Missing(LOST)
