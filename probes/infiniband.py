"""InfiniBand and RoCE ports: their state, what they count, and which GPUs sit beside them.

The state and the counters of a port are asked of its card, whose firmware may
not answer; so each card is read aside.  GUIDs are read, for the switch at the
other end knows a port by nothing else.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Optional, Union

from probes import aside
from probes.model import NODE, NOT_SUPPORTED, TIMED_OUT, Entity, Missing, Reading, Source, Value
from probes.named import NamedTuple

MAX_CARDS = 64
MAX_PORTS = 16
"""Ports looked at of one card."""
COUNTERS = (
    "symbol_error", "link_error_recovery", "link_downed", "port_rcv_errors", "port_xmit_discards",
    "local_link_integrity_errors", "excessive_buffer_overrun_errors", "VL15_dropped",
)  # fmt: skip
"""Of `counters/`: Documentation/ABI/stable/sysfs-class-infiniband."""
HW_COUNTERS = (
    "out_of_sequence", "packet_seq_err", "local_ack_timeout_err", "rnr_nak_retry_err", "implied_nak_seq_err",
    "duplicate_request", "roce_slow_restart",
)  # fmt: skip
"""Of `hw_counters/`, which mlx5 has."""
_STATE = ("state", "phys_state", "rate", "link_layer")
_GPU = ("0x0300", "0x0302")
_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z")
_UNCOUNTED = (1 << 64) - 1

Found = tuple[Entity, str, Value, str]


class _Card(NamedTuple):
    name: str
    folder: Path
    pci: Optional[str]
    way: tuple[str, ...]  # from the root of the bus to the card
    ports: tuple[str, ...]


def probe(until: float, root: Path = Path("/")) -> Optional[tuple[list[Reading], Source]]:
    """Read every port until `until` (monotonic seconds); None where there is no card."""
    folder = root / "sys/class/infiniband"
    names = _names(folder)[:MAX_CARDS]
    if not names:
        return None
    began = time.time()
    cards = [_card(folder / name) for name in names]
    told = aside.first_lines([_files(card) for card in cards], until)
    at = time.time()
    readings = [
        Reading(entity, name, value, unit, at)
        for entity, name, value, unit in _found(cards, told, _gpus(root / "sys/bus/pci/devices"))
    ]
    late = [card.name for card in cards if any(told.get(path) == Missing(TIMED_OUT) for path in _files(card))]
    reason = f"{', '.join(late[:4])} did not answer in time; read devlink health of the card" if late else None
    readable = len(late) < len(cards)
    return readings, Source("infiniband", "/sys/class/infiniband", readable, began, at, len(readings), reason=reason)


def _card(folder: Path) -> _Card:
    device = (folder / "device").resolve()
    pci = device.name if _ADDRESS.match(device.name) else None
    ports = tuple(sorted(filter(str.isdecimal, _names(folder / "ports")), key=int)[:MAX_PORTS])
    return _Card(folder.name, folder, pci, _way(device), ports)


def _way(device: Path) -> tuple[str, ...]:
    return tuple(part for part in device.parts if _ADDRESS.match(part))


def _files(card: _Card) -> list[str]:
    """What never asks the firmware comes first, so that it is known even of a card that is dead."""
    paths = [card.folder / "node_guid", card.folder / "fw_ver"]
    for port in card.ports:
        place = card.folder / "ports" / port
        paths += [place / name for name in _STATE]
        paths += [place / "counters" / name for name in COUNTERS]
        paths += [place / "hw_counters" / name for name in HW_COUNTERS]
    return [str(path) for path in paths]


def _found(cards: list[_Card], told: Mapping[str, aside.Lines], gpus: Mapping[str, tuple[str, ...]]) -> Iterator[Found]:
    down: list[Union[bool, Missing]] = []
    active: list[Union[bool, Missing]] = []
    sums: dict[str, list[Value]] = {"symbol_error": [], "link_downed": [], "port_rcv_errors": []}
    for card in cards:
        yield from _of_card(card, told, gpus)
        for port in card.ports:
            place = card.folder / "ports" / port
            entity = Entity("port", pci=card.pci, name=f"{card.name}/{port}")
            read = {name: aside.single(told, str(place / name)) for name in _STATE}
            state, physical = _word(read["state"]), _word(read["phys_state"])
            yield entity, "ib.state", state, "text"
            yield entity, "ib.physical-state", physical, "text"
            yield entity, "ib.rate", _rate(read["rate"]), "bits-per-second"
            yield entity, "ib.link-layer", read["link_layer"], "text"
            counts: dict[str, Value] = {}
            for kind, names in (("counters", COUNTERS), ("hw_counters", HW_COUNTERS)):
                for name in names:
                    counts[name] = _number(aside.single(told, str(place / kind / name)))
                    yield entity, f"ib.{name.lower().replace('_', '-')}", counts[name], "count"
            active.append(state if isinstance(state, Missing) else state == "active")
            down.append(_lost(state, physical, counts["link_downed"]))
            for name, values in sums.items():
                values.append(counts[name])
    yield NODE, "network.ports", len(active), "count"
    yield NODE, "network.ports.active", _how_many(active), "count"
    yield NODE, "network.ports.lost", _how_many(down), "count"
    for name, values in sums.items():
        missing = next((value for value in values if isinstance(value, Missing)), None)
        numbers = [int(value) for value in values if not isinstance(value, Missing)]
        total: Value = sum(numbers) if numbers else missing or Missing(NOT_SUPPORTED)
        yield NODE, f"network.{name.replace('_', '-')}", total, "count"


def _of_card(card: _Card, told: Mapping[str, aside.Lines], gpus: Mapping[str, tuple[str, ...]]) -> Iterator[Found]:
    entity = Entity("port", pci=card.pci, name=card.name)
    driver = card.folder / "device/driver"
    yield entity, "ib.driver", driver.resolve().name if driver.exists() else "none", "text"
    yield entity, "ib.firmware", aside.single(told, str(card.folder / "fw_ver")), "text"
    yield entity, "ib.guid", aside.single(told, str(card.folder / "node_guid")), "text"
    # The ports of one switch share its upstream port: the first two bridges of the way.
    beside = [gpu for gpu, way in gpus.items() if len(card.way) > 2 and card.way[:2] == way[:2]]
    yield entity, "ib.gpus-beside", " ".join(sorted(beside)) or "none", "text"


def _lost(state: Value, physical: Value, downed: Value) -> Union[bool, Missing]:
    """Whether a port is down that was up since it counts, and that nobody has switched off."""
    if state in ("active", "armed", "init") or physical == "disabled":
        return False
    for value in (state, physical, downed):
        if isinstance(value, Missing):
            return value
    return int(downed) > 0  # type: ignore[arg-type]  # it is no Missing


def _how_many(answers: list[Union[bool, Missing]]) -> Value:
    """How many are so; unknown if one is unknown, unless that could not change that there are some."""
    count = sum(answer is True for answer in answers)
    missing = next((answer for answer in answers if isinstance(answer, Missing)), None)
    return count if count or missing is None else missing


def _word(text: Union[str, Missing]) -> Value:
    """`4: ACTIVE` as `active`, `5: LinkUp` as `linkup`."""
    if isinstance(text, Missing):
        return text
    return text.rpartition(": ")[2].lower().replace(" ", "-") or Missing("error:empty")


def _rate(text: Union[str, Missing]) -> Value:
    """`400 Gb/sec (4X NDR)` as bits a second."""
    if isinstance(text, Missing):
        return text
    match = re.match(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) Gb/sec", text)
    return float(match[1]) * 1e9 if match else Missing("error:not-a-rate")


def _number(text: Union[str, Missing]) -> Value:
    """A counter; the driver writes all ones, or says `N/A (no PMA)`, where it has none."""
    if isinstance(text, Missing):
        return text
    if not text.isdecimal() or len(text) > 20:
        return Missing(NOT_SUPPORTED if text.startswith("N/A") else "error:not-a-number")
    number = int(text)
    return Missing(NOT_SUPPORTED) if number >= _UNCOUNTED else number


def _gpus(bus: Path) -> dict[str, tuple[str, ...]]:
    found = {}
    for address in _names(bus):
        try:
            vendor = (bus / address / "vendor").read_text()[:16].strip()
            kind = (bus / address / "class").read_text()[:16]
        except (OSError, ValueError):
            continue
        if vendor == "0x10de" and kind.startswith(_GPU):
            found[address] = _way((bus / address).resolve())
    return found


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
