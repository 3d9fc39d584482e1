"""What `nvidia-smi -q` says of a GPU, as the readings that the live probe would have given.

Text and XML come here as the same thing: one mapping for the node and one for
each GPU, from a path of lower-case words (`ecc errors/volatile/dram
uncorrectable`) to the value as it stood.  The table below knows every spelling
since driver 340; what it does not find is owed, and missing with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from probes.model import LOST, NODE, NOT_SUPPORTED, Entity, Missing, Reading, Value
from probes.named import NamedTuple
from probes.nvml_owed import OWED
from probes.pci import normal_address
from triage.sections.smi_values import (
    NOT_SHOWN,
    as_text,
    convert,
    flag,
    missing,
    number,
    recovery,
    switch,
    words,
)

Fields = Mapping[str, str]

_DRIVER_REFUSALS = (
    (re.compile(r"Failed to initialize NVML: Driver/library version mismatch"), "version-mismatch"),
    (re.compile(r"couldn't communicate with the NVIDIA driver|Failed to initialize NVML: Driver Not Loaded", re.I),
     "driver-not-loaded"),
    (re.compile(r"Failed to initialize NVML: (?:Insufficient Permissions|GPU access blocked)"), "no-permission"),
    (re.compile(r"couldn't find libnvidia-ml\.so|Failed to initialize NVML: NVML library not found", re.I),
     "library-not-found"),
    (re.compile(r"Failed to initialize NVML: (?:Unknown Error|.*)"), "unknown"),
)  # fmt: skip
_NO_HANDLE = re.compile(
    r"Unable to determine the device handle for (?:GPU|gpu)\s?(\d{0,3})[: ]{0,3}([0-9A-Fa-f:.]{7,16}): (.{1,120})"
)


class Row(NamedTuple):
    """A reading, how its text becomes a value, and where it may stand, the newest spelling first."""

    name: str
    of: Callable[[str], Value]
    paths: tuple[str, ...]


def _reason(*names: str) -> tuple[str, ...]:
    text = ("clocks event reasons", "clocks throttle reasons")
    xml = ("clocks event reason", "clocks throttle reason")
    spelled = [f"{group}/{name}" for name in names for group in text]
    return (*spelled, *(f"{group}s/{group} {name}" for name in names for group in xml))


def _hw(name: str) -> tuple[str, ...]:
    nested = [f"{group}/hw slowdown/{name}" for group in ("clocks event reasons", "clocks throttle reasons")]
    return (*nested, *_reason(name))


def _link(what: str, most: str, *xml: str) -> tuple[str, ...]:
    return (f"pci/gpu link info/{what}/{most}", *(f"pci/pci gpu link info/{path}" for path in xml))


ROWS: tuple[Row, ...] = (
    Row("gpu.name", as_text, ("product name",)),
    Row("gpu.vbios", as_text, ("vbios version",)),
    Row("gpu.inforom", as_text, ("inforom version/image version", "inforom version/img version")),
    Row("gpu.gsp-firmware", as_text, ("gsp firmware version",)),
    Row("gpu.ecc.mode", switch, ("ecc mode/current", "ecc mode/current ecc")),
    Row("gpu.ecc.mode.pending", switch, ("ecc mode/pending", "ecc mode/pending ecc")),
    Row(
        "gpu.sram.threshold-exceeded",
        flag,
        ("ecc errors/aggregate/sram threshold exceeded", "ecc errors/sram threshold exceeded"),
    ),
    Row("gpu.rows.corrected", number, ("remapped rows/correctable error", "remapped rows/remapped row corr")),
    Row("gpu.rows.uncorrected", number, ("remapped rows/uncorrectable error", "remapped rows/remapped row unc")),
    Row("gpu.rows.pending", flag, ("remapped rows/pending", "remapped rows/remapped row pending")),
    Row("gpu.rows.failure", flag, ("remapped rows/remapping failure occurred", "remapped rows/remapped row failure")),
    Row(
        "gpu.rows.banks.low",
        number,
        (
            "remapped rows/bank remap availability histogram/low",
            "remapped rows/row remapper histogram/row remapper histogram low",
        ),
    ),
    Row(
        "gpu.rows.banks.none",
        number,
        (
            "remapped rows/bank remap availability histogram/none",
            "remapped rows/row remapper histogram/row remapper histogram none",
        ),
    ),
    Row("gpu.repair.channel-pending", flag, ("ecc errors/channel repair pending", "channel repair pending")),
    Row("gpu.repair.tpc-pending", flag, ("ecc errors/tpc repair pending", "tpc repair pending")),
    Row("gpu.memory.unrepairable", flag, ("ecc errors/unrepairable memory", "unrepairable memory")),
    Row("gpu.temperature", number, ("temperature/gpu current temp", "temperature/gpu temp", "temperature/gpu")),
    Row("gpu.temperature.slowdown", number, ("temperature/gpu slowdown temp", "temperature/gpu temp slow threshold")),
    Row("gpu.temperature.shutdown", number, ("temperature/gpu shutdown temp", "temperature/gpu temp max threshold")),
    Row("gpu.temperature.memory", number, ("temperature/memory current temp", "temperature/memory temp")),
    Row(
        "gpu.temperature.memory.max",
        number,
        ("temperature/memory max operating temp", "temperature/gpu temp max mem threshold"),
    ),
    Row(
        "gpu.power",
        number,
        tuple(
            f"{group}/{name}"
            for group in ("gpu power readings", "power readings")
            for name in ("power draw", "instantaneous power draw", "instant power draw", "average power draw")
        ),
    ),
    Row(
        "gpu.power.limit",
        number,
        (
            "gpu power readings/current power limit",
            "gpu power readings/enforced power limit",
            "power readings/enforced power limit",
            "power readings/current power limit",
            "power readings/power limit",
        ),
    ),
    Row("gpu.clock.sm", number, ("clocks/sm", "clocks/sm clock")),
    Row("gpu.clock.sm.max", number, ("max clocks/sm", "max clocks/sm clock")),
    Row("gpu.idle", flag, _reason("idle", "gpu idle")),
    Row("gpu.slowdown.sw-power-cap", flag, _reason("sw power cap")),
    Row("gpu.slowdown.hw", flag, _reason("hw slowdown")),
    Row("gpu.slowdown.sw-thermal", flag, _reason("sw thermal slowdown")),
    Row("gpu.slowdown.hw-thermal", flag, _hw("hw thermal slowdown")),
    Row("gpu.slowdown.power-brake", flag, _hw("hw power brake slowdown")),
    Row("gpu.utilization", number, ("utilization/gpu", "utilization/gpu util")),
    Row("gpu.memory.total", number, ("fb memory usage/total", "memory usage/total")),
    Row("gpu.memory.used", number, ("fb memory usage/used", "memory usage/used")),
    Row("gpu.pcie.replays", number, ("pci/replays since reset", "pci/replay counter")),
    Row("gpu.pcie.replay-rollovers", number, ("pci/replay number rollovers", "pci/replay rollover counter")),
    Row("gpu.pcie.generation", number, _link("pcie generation", "current", "pcie gen/current link gen")),
    Row("gpu.pcie.generation.max", number, _link("pcie generation", "max", "pcie gen/max link gen")),
    Row("gpu.pcie.width", number, _link("link width", "current", "link widths/current link width")),
    Row("gpu.pcie.width.max", number, _link("link width", "max", "link widths/max link width")),
    Row("gpu.fabric.state", words, ("fabric/state",)),
    Row("gpu.fabric.status", words, ("fabric/status",)),
    Row("gpu.fabric.health", words, ("fabric/health/summary", "fabric/health/health summary")),
    Row("gpu.persistence", flag, ("persistence mode",)),
    Row("gpu.mig.mode", switch, ("mig mode/current", "mig mode/current mig")),
    Row("gpu.mig.mode.pending", switch, ("mig mode/pending", "mig mode/pending mig")),
    Row(
        "gpu.pages.retired.single-bit",
        number,
        ("retired pages/single bit ecc", "retired pages/multiple single bit retirement/retired count"),
    ),
    Row(
        "gpu.pages.retired.double-bit",
        number,
        ("retired pages/double bit ecc", "retired pages/double bit retirement/retired count"),
    ),
    Row(
        "gpu.pages.pending",
        flag,
        (
            "retired pages/pending page blacklist",
            "retired pages/pending retirement",
            "retired pages/pending blacklist",
            "retired pages/pending",
        ),
    ),
    *(
        Row(
            name,
            number,
            (
                f"clocks event reasons counters/{text}",
                f"clocks event reasons counters/clocks event reasons counters {xml}",
            ),
        )
        for name, text, xml in (
            # NVML gives these counters the ids of the violation times.
            ("gpu.violation.power", "sw power capping", "sw power cap"),
            ("gpu.violation.hw-thermal", "hw thermal slowdown", "hw therm slowdown"),
            ("gpu.violation.power-brake", "hw power braking", "hw power brake"),
        )
    ),
)


def look(fields: Fields, paths: Sequence[str], of: Callable[[str], Value] = number) -> Value:
    """The value at the first of these paths that is there.

    A spelling that was deprecated gives way to the next.  Where a whole section
    is not there (`Remapped Rows : N/A`), that is said of what would be in it.
    """
    best: Value = NOT_SHOWN
    for path in paths:
        if path in fields:
            value = convert(fields[path], of)
            if not isinstance(value, Missing):
                return value
        else:
            value = missing(fields.get(path.rpartition("/")[0], "")) or NOT_SHOWN
        best = value if best == NOT_SHOWN else best
    return best


def _sum(values: Sequence[Value]) -> Value:
    """The sum, where every part that the device has could be read."""
    there = [
        value for value in values if not (isinstance(value, Missing) and value in (NOT_SHOWN, Missing(NOT_SUPPORTED)))
    ]
    numbers = [value for value in there if isinstance(value, int)]
    if there and len(numbers) == len(there):
        return sum(numbers)
    unread = [value for value in there if isinstance(value, Missing)]
    return unread[0] if unread else values[0] if all(value == NOT_SHOWN for value in values) else Missing(NOT_SUPPORTED)


def _ecc(fields: Fields, lifetime: str) -> dict[str, Value]:
    """The four counts of one lifetime, in the spelling since Ampere or in the one before."""
    at = f"ecc errors/{lifetime}"

    def of(*names: str) -> Value:
        return look(fields, [f"{at}/{name}" for name in names])

    sram = [
        of("sram uncorrectable"),
        of("sram uncorrectable parity"),
        of("sram uncorrectable sec-ded", "sram uncorrectable secded"),
    ]
    dram = of("dram uncorrectable", "double bit/device memory")
    before = of("double bit/total")
    uncorrected = _sum([*sram, of("dram uncorrectable")])
    corrected = _sum([of("sram correctable"), of("dram correctable")])
    return {
        f"gpu.ecc.corrected.{lifetime}": of("single bit/total") if corrected == NOT_SHOWN else corrected,
        f"gpu.ecc.uncorrected.{lifetime}": before if uncorrected == NOT_SHOWN else uncorrected,
        f"gpu.ecc.dram.uncorrected.{lifetime}": dram,
        f"gpu.ecc.sram.uncorrected.{lifetime}": _sum(sram),
    }


def _thermal_limits(fields: Fields) -> dict[str, Value]:
    """Limits that are printed as distances to a slowdown (T.Limit), as temperatures."""
    now = look(fields, ("temperature/gpu current temp", "temperature/gpu temp"))
    margin = look(fields, ("temperature/gpu t.limit temp", "temperature/gpu temp tlimit"))
    found: dict[str, Value] = {}
    for name, text, xml in (
        ("gpu.temperature.slowdown", "gpu slowdown t.limit temp", "gpu temp slow tlimit threshold"),
        ("gpu.temperature.shutdown", "gpu shutdown t.limit temp", "gpu temp max tlimit threshold"),
    ):
        distance = look(fields, (f"temperature/{text}", f"temperature/{xml}"))
        if isinstance(now, int) and isinstance(margin, int) and isinstance(distance, int):
            found[name] = now + margin - distance
        elif distance != NOT_SHOWN:
            found[name] = distance if isinstance(distance, Missing) else NOT_SHOWN
    return found


def _recovery(fields: Fields) -> Value:
    action = look(fields, ("gpu recovery action",), recovery)
    if action != NOT_SHOWN:
        return action
    # Drivers before 565 say the same in two lines.
    reset = look(fields, ("gpu reset status/reset required",), flag)
    drain = look(fields, ("gpu reset status/drain and reset recommended",), flag)
    if reset is True or drain is True:
        return "gpu-reset" if reset is True else "drain-and-reset"
    return "none" if reset is False and drain is False else reset


def gpu_readings(fields: Fields, address: str | None, index: int, processes: int | None, at: float) -> list[Reading]:
    """Return all that a GPU owes, from its fields.

    Args:
        fields: by path.
        address: its PCI address as printed.
        index: its place in the output.
        processes: how many were listed; None if that could not be told.
        at: epoch seconds.
    """
    values: dict[str, Value] = {row.name: look(fields, row.paths, row.of) for row in ROWS}
    values |= _ecc(fields, "volatile") | _ecc(fields, "aggregate")
    values |= {name: value for name, value in _thermal_limits(fields).items() if isinstance(values[name], Missing)}
    values["gpu.recovery-action"] = _recovery(fields)
    values["gpu.processes"] = convert(fields.get("processes", ""), number) if processes is None else processes
    if processes is None and "processes" not in fields:
        values["gpu.processes"] = NOT_SHOWN
    if isinstance(values["gpu.fabric.state"], Missing):
        values["gpu.fabric.status"] = values["gpu.fabric.health"] = values["gpu.fabric.state"]
    state = _state(fields)
    values["gpu.state"] = state
    values["gpu.responsive"] = Missing(LOST) if state == "lost" else True
    rest = Missing(state) if state in ("lost", "reset-required") else NOT_SHOWN

    def known(*paths: str) -> str | None:
        value = look(fields, paths, as_text)
        return value if isinstance(value, str) and value not in ("0", "") else None

    entity = Entity(
        "gpu",
        normal_address(address or "") or normal_address(fields.get("pci/bus id", fields.get("pci/pci bus id", ""))),
        known("gpu uuid", "uuid"),
        known("serial number", "serial"),
        index,
        known("product name"),
    )
    readings = []
    for name, unit in OWED:
        value = values.get(name, NOT_SHOWN)
        if value == NOT_SHOWN and isinstance(rest, Missing):
            value = rest
        readings.append(Reading(entity, name, value, unit, at))
    return readings


def _state(fields: Fields) -> str:
    """`lost` or `reset-required` where any value says so: the rest is then not to be trusted."""
    reasons = {found.reason for found in map(missing, fields.values()) if found is not None}
    return "lost" if LOST in reasons else "reset-required" if "error:RESET_REQUIRED" in reasons else "ok"


def node_readings(fields: Fields, at: float) -> list[Reading]:
    """Return what stands above the first GPU."""
    readings = []
    for name, path, of, unit in (
        ("driver.version", "driver version", as_text, "text"),
        ("cuda.version", "cuda version", as_text, "text"),
        ("gpu.count", "attached gpus", number, "count"),
    ):
        if path in fields:
            readings.append(Reading(NODE, name, convert(fields[path], of), unit, at))
    return readings


def refusals(text: str, at: float) -> list[Reading]:
    """Return what nvidia-smi said instead of an answer: that NVML failed, or that one GPU has no handle."""
    readings = []
    for pattern, word in _DRIVER_REFUSALS:
        if pattern.search(text):
            readings.append(Reading(NODE, "nvml.error", word, "text", at))
            break
    if not readings and re.search(r"^No devices were found", text, re.M):
        readings.append(Reading(NODE, "gpu.count", 0, "count", at))
    for found in _NO_HANDLE.finditer(text):
        index, address, said = found.groups()
        why = missing(said.strip()) or Missing("error:UNKNOWN")
        entity = Entity("gpu", normal_address(address), index=int(index) if index else None)
        value: Value = "lost" if why.reason == LOST else why
        readings.append(Reading(entity, "gpu.state", value, "text", at))
        readings.append(Reading(entity, "nvml.nvmlDeviceGetHandleByIndex", why, "text", at))
    return readings
