"""The PCIe side of the GPUs as sysfs shows it: driver, links, errors, power state, and every port above.

A GPU that the driver does not list is named here too.  Of each device the link
now and at its best is told, of each port up to the root what AER counted, by
kind, and whether DPC has cut off what is below.  For DPC a few words of a
port's configuration are read, which only root may, and of no port that sleeps.
"""

from __future__ import annotations

import os
import re
import struct
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Optional, Union

from probes.model import LOST, NO_PERMISSION, NODE, NOT_SUPPORTED, Entity, Missing, Value
from probes.sysfs import Found, Place, data, names, number, text, whole

NVIDIA = "0x10de"
DISPLAY, BRIDGE = "0x03", "0x0680"  # PCI classes: a GPU of any kind; what NVSwitches call themselves
DEEPEST = 16
"""Ports that are followed upwards."""
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z")
_KINDS = ("correctable", "nonfatal", "fatal")
_PATHS = {
    "receiver": ("RxErr",),
    "packets": ("BadTLP", "BadDLLP"),
    "replays": ("Rollover", "Timeout"),
    "surprise-down": ("SDES",),
    "completion-timeouts": ("CmpltTO",),
}
"""What the ports between root and GPU counted together, by the names that the kernel's AER driver gives the kinds."""
_DPC = 0x1D
_CAPABILITIES = 64

Counted = dict[str, int]
"""How often each kind of error was counted; nothing where AER counts none."""


def read(root: Path, until: float) -> Iterator[Found]:
    """Yield what is told of every NVIDIA GPU and NVSwitch and the ports above them, until `until` (monotonic)."""
    bus = f"{root}/sys/bus/pci/devices"
    gpus = 0
    counted: dict[str, Counted] = {}
    links: dict[str, dict[str, Value]] = {}
    dpc: dict[str, Value] = {}
    compared: list[tuple[Entity, Value, dict[str, Value], Optional[str]]] = []
    for address in names(bus):
        device = f"{bus}/{address}"
        if text(f"{device}/vendor") != NVIDIA:
            continue
        kind = str(text(f"{device}/class"))
        if not kind.startswith((DISPLAY, BRIDGE)):
            continue  # audio, USB and other functions of the same board
        if time.monotonic() >= until:
            return
        gpu = kind.startswith(DISPLAY)
        gpus += gpu
        entity = Entity("gpu" if gpu else "switch", pci=address)
        model = text(f"{device}/device")
        yield Found(entity, "pci.device-id", model, "text")
        yield from _device(device, entity)
        links[address], counted[address] = _link(device), {}
        yield from _told(entity, links[address], counted[address], device)
        ports = _above(device)
        if ports:
            yield Found(entity, "pci.port", os.path.basename(ports[0]), "text")
        for port in ports:
            name = os.path.basename(port)
            if name not in links:
                links[name], counted[name] = _link(port), {}
                yield from _told(Entity("port", pci=name), links[name], counted[name], port)
                dpc[name] = _contained(port)
                yield Found(Entity("port", pci=name), "pci.dpc", dpc[name], "text")
        path = [os.path.basename(port) for port in ports]
        yield from _path(entity, [counted[name] for name in (address, *path)], [dpc[name] for name in path])
        if gpu:
            compared.append((entity, model, links[address], path[0] if path else None))
    yield Found(NODE, "pci.gpus", gpus if os.path.isdir(bus) else Missing(NOT_SUPPORTED), "count")
    yield from _cut_off(root, dpc)
    yield from beside(
        (entity, model, link, links.get(port, {}) if port else {}) for entity, model, link, port in compared
    )


def beside(
    gpus: Iterable[tuple[Entity, Value, Mapping[str, Value], Mapping[str, Value]]],
) -> Iterator[Found]:
    """Yield how each GPU's link stands beside what its ends can do, and beside the other GPUs of its model.

    Of each GPU its entity, model, link and the link of the port above are given.
    The speed falls on an idle GPU to save power, so it says less than the width.
    """
    listed = list(gpus)
    for entity, model, link, port in listed:
        width = link.get("width")
        ends = [best for best in (link.get("width.max"), port.get("width.max")) if isinstance(best, int) and best]
        if isinstance(width, int) and ends:
            yield Found(entity, "pci.link.narrow", width < min(ends), "flag")
        peers = [other for place, kind, other, _ in listed if kind == model and place != entity]
        for what, name in (("width", "narrower"), ("speed", "slower")):
            mine, theirs = _figure(link, what), [value for other in peers if (value := _figure(other, what))]
            if mine is None or len(theirs) < 2:
                continue
            usual, many = Counter(theirs).most_common(1)[0]
            if what == "width":
                yield Found(entity, "pci.link.width.siblings", usual, "count")
            # one that is unlike most others; where the others differ among themselves nothing is usual
            below = mine < usual and many * 3 >= len(theirs) * 2
            yield Found(entity, f"pci.link.{name}-than-siblings", below, "flag")


def _figure(link: Mapping[str, Value], what: str) -> Optional[float]:
    value = link.get(what)
    return value if isinstance(value, (int, float)) else None


def _device(device: str, entity: Entity) -> Iterator[Found]:
    try:
        driver = os.path.basename(os.readlink(f"{device}/driver"))
    except OSError:
        driver = "none"
    yield Found(entity, "pci.driver", driver, "text")
    node = number(f"{device}/numa_node")
    yield Found(entity, "pci.numa-node", Missing(NOT_SUPPORTED) if node == -1 else node, "count")
    yield Found(entity, "pci.power-state", text(f"{device}/power_state"), "text")
    yield Found(entity, "pci.bars.unassigned", _unassigned(f"{device}/resource"), "count")


def _unassigned(path: Place) -> Value:
    """How many of a device's memory windows (BARs) were given no address: flags, or a size, but no start.

    A window of I/O ports does not count: there are too few of those for many GPUs, and none needs one.
    """
    found = data(path)
    if isinstance(found, Missing):
        return found
    try:
        ranges = [[int(word, 16) for word in line.split()] for line in found.decode().splitlines()[:6]]
    except ValueError as failure:
        return Missing(f"error:{failure}")
    if any(len(each) != 3 for each in ranges):
        return Missing("error:not-a-resource")
    return sum(not start and bool(end or flags) and not flags & 0x100 for start, end, flags in ranges)


def _link(device: str) -> dict[str, Value]:
    """The link of a device.  One that no longer answers reads as all ones: 63 lanes of unknown speed."""
    width = number(f"{device}/current_link_width")
    return {
        "width": Missing(LOST) if width == 63 else width,
        "width.max": number(f"{device}/max_link_width"),
        "speed": _speed(text(f"{device}/current_link_speed")),
        "speed.max": _speed(text(f"{device}/max_link_speed")),
    }


def _told(entity: Entity, link: Mapping[str, Value], counted: Counted, device: str) -> Iterator[Found]:
    """The link of a device, and the errors that AER counted on it; `counted` is filled with those by kind."""
    if link["width"] == Missing(LOST) or isinstance(link["width"], int):
        yield Found(entity, "pci.answers", link["width"] != Missing(LOST), "flag")
    for name, value in link.items():
        yield Found(entity, f"pci.link.{name}", value, "transfers-per-second" if "speed" in name else "count")
    for kind in _KINDS:
        total, kinds = _aer(f"{device}/aer_dev_{kind}")
        yield Found(entity, f"pci.aer.{kind}", total, "count")
        if isinstance(total, int):
            for name, count in kinds.items():
                counted[name] = counted.get(name, 0) + count
            counted[kind] = total
        for name, count in kinds.items():
            if count:  # where the total is zero each is
                yield Found(entity, f"pci.aer.{kind}.{name.lower()}", count, "count")


def _speed(told: Union[str, Missing]) -> Value:
    """`16.0 GT/s PCIe` as transfers a second."""
    if isinstance(told, Missing):
        return told
    match = re.match(r"([0-9.]+) GT/s", told)
    return float(match[1]) * 1e9 if match else Missing(LOST if told.startswith("Unknown") else "error:not-a-speed")


def _aer(path: Place) -> tuple[Value, dict[str, int]]:
    """The total and each kind: lines like `RxErr 5`, the last of them `TOTAL_ERR_COR 7`."""
    found = data(path)
    if isinstance(found, Missing):
        return found, {}
    words = found.decode("utf-8", "replace").split()
    try:
        counts = {name: whole(count) for name, count in zip(words[::2], words[1::2])}
    except ValueError as failure:
        return Missing(f"error:{failure}"), {}
    last = next(reversed(counts), "")
    if not last.startswith("TOTAL"):
        return Missing("error:no-total"), {}
    total = counts.pop(last)
    return total, {name: count for name, count in counts.items() if re.match(r"[A-Za-z]{2,24}\Z", name)}


def _above(device: str) -> list[str]:
    """The ports above a device, the nearest first, up to the root port."""
    ports: list[str] = []
    place = os.path.dirname(os.path.realpath(device))
    while _ADDRESS.match(os.path.basename(place)) and len(ports) < DEEPEST:
        ports.append(place)
        place = os.path.dirname(place)
    return ports


def _path(entity: Entity, counted: Sequence[Counted], dpc: Sequence[Value]) -> Iterator[Found]:
    """What was counted between root and device, and whether a port there has cut it off."""
    known = [each for each in counted if each]
    for name, kinds in _PATHS.items():
        total: Value = sum(each.get(kind, 0) for each in known for kind in kinds) if known else Missing(NOT_SUPPORTED)
        yield Found(entity, f"pci.path.aer.{name}", total, "count")
    if dpc:
        told = [state for state in dpc if isinstance(state, str)]
        first = next((state for state in ("triggered", "armed", "off") if state in told), dpc[0])
        yield Found(entity, "pci.path.dpc", first, "text")


def _cut_off(root: Path, known: Mapping[str, Value]) -> Iterator[Found]:
    """How many ports have cut off what is below; the device there is gone from sysfs, so all that can are asked."""
    states = dict(known)
    for service in names(f"{root}/sys/bus/pci_express/devices"):
        port, _, kind = service.rpartition(":pcie")
        if kind[-2:] == "08" and port not in states and _ADDRESS.match(port):
            states[port] = _contained(f"{root}/sys/bus/pci/devices/{port}")
    told = [state for state in states.values() if isinstance(state, str)]
    cut = [port for port, state in sorted(states.items()) if state == "triggered"]
    if told:
        yield Found(NODE, "pci.dpc.triggered", len(cut), "count")
    elif states:
        yield Found(NODE, "pci.dpc.triggered", next(iter(states.values())), "count")
    if cut:
        yield Found(NODE, "pci.dpc.which", " ".join(cut)[:200], "text")


def _contained(port: str) -> Value:
    """`triggered` if Downstream Port Containment has cut off what is below a port, else `armed` or `off`."""
    if text(f"{port}/power/runtime_status") == "suspended":
        return Missing("error:asleep")
    try:
        opened = os.open(f"{port}/config", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return Missing(NOT_SUPPORTED)
    except OSError as failure:
        return Missing(NO_PERMISSION if isinstance(failure, PermissionError) else f"error:{failure.strerror}")
    try:
        place = 0x100
        for _ in range(_CAPABILITIES):
            raw = os.pread(opened, 4, place)
            if len(raw) < 4:
                return Missing(NO_PERMISSION) if place == 0x100 else Missing(NOT_SUPPORTED)
            (head,) = struct.unpack("<I", raw)
            if head in (0, 0xFFFFFFFF):
                return Missing(LOST) if head else Missing(NOT_SUPPORTED)
            if head & 0xFFFF == _DPC:
                control, status = struct.unpack("<HH", os.pread(opened, 4, place + 6))
                if status == 0xFFFF:
                    return Missing(LOST)
                return "triggered" if status & 1 else "armed" if control & 3 else "off"
            place = head >> 20
            if place < 0x100:
                return Missing(NOT_SUPPORTED)
    except (OSError, struct.error) as failure:
        return Missing(f"error:{failure}")
    finally:
        os.close(opened)
    return Missing("error:not-a-list")
