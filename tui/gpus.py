"""What is known of each GPU: its readings, its incidents, and how it differs from the GPUs beside it.

A difference is told, never judged: what it means is the rules' business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from string import ascii_letters
from typing import NamedTuple

from probes.model import Entity, Missing, Reading
from tui.facts import SEVERITIES, Facts, Gpu, Incident
from tui.words import place

APART = 0.10
"""Share by which a number must differ from the middle of peers to be called apart; less is spread of the parts."""
_LIMITS = {
    "gpu.temperature": "gpu.temperature.slowdown",
    "gpu.temperature.memory": "gpu.temperature.memory.max",
    "gpu.power": "gpu.power.limit",
    "gpu.clock.sm": "gpu.clock.sm.max",
    "gpu.memory.used": "gpu.memory.total",
    "gpu.pcie.generation": "gpu.pcie.generation.max",
    "gpu.pcie.width": "gpu.pcie.width.max",
    "pci.link.width": "pci.link.width.max",
    "pci.link.speed": "pci.link.speed.max",
}
_NAMES = frozenset(
    {"gpu.module-id", "gpu.irq", "gpu.platform.slot", "gpu.platform.tray", "gpu.platform.host", "gpu.listed"}
)
"""Numbers that tell GPUs apart and measure nothing."""
_FIRST = (
    "gpu.state", "gpu.responsive", "gpu.temperature", "gpu.power", "gpu.clock.", "gpu.utilization", "gpu.memory.",
    "gpu.fan", "gpu.slowdown.", "gpu.ecc.", "gpu.sram.", "gpu.rows.", "gpu.pages.", "gpu.pcie.", "pci.link.",
    "gpu.nvlink.", "gpu.violation.", "gpu.processes",
)  # fmt: skip
"""Beginnings of what a person asks about, in this order; whatever else was read stands below."""
_UNITS = "%/ " + ascii_letters
_SCALES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class GpuFacts(NamedTuple):
    """One GPU with its readings by name and the incidents on it, worst first."""

    gpu: Gpu
    readings: Mapping[str, Reading]
    incidents: tuple[Incident, ...]

    @property
    def told(self) -> str | None:
        """What its driver says of it if that is not well: `lost`, `timed-out`; None if it is well or says nothing."""
        reading = self.readings.get("gpu.state")
        value = None if reading is None else reading.value
        return value if isinstance(value, str) and value != "ok" else None

    @property
    def state(self) -> str:
        """The worst severity of its open incidents; `ok` only if it answered, else `unknown`."""
        still = [incident.severity for incident in self.incidents if incident.state == "open"]
        worst = next((severity for severity in SEVERITIES[:2] if severity in still), None)
        if worst is not None:
            return worst
        if self.told is not None:
            return "critical"
        answers = self.readings.get("gpu.responsive")
        return "ok" if answers is not None and answers.value is True else "unknown"

    @property
    def rank(self) -> int:
        """How bad that is: the worst has the least."""
        return ("critical", "warning", "unknown", "ok").index(self.state)


class Check(NamedTuple):
    """One reading of one GPU beside peers, in words.  `apart` says that it differs from them."""

    name: str
    now: str
    peers: str
    limit: str
    note: str
    apart: bool
    known: bool


def gpus_of(facts: Facts, readings: Sequence[Reading]) -> list[GpuFacts]:
    """Return every GPU that the report or a reading names, in the order of the bus."""
    found = list(facts.gpus)
    for entity in dict.fromkeys(reading.entity for reading in readings if reading.entity.kind == "gpu"):
        gpu = gpu_of(entity)
        at = next((number for number, known in enumerate(found) if known.same(gpu)), None)
        if at is None:
            found.append(gpu)
        else:
            found[at] = _merged(found[at], gpu)
    listed = sorted(found, key=lambda gpu: (gpu.index is None, gpu.index or 0, gpu.pci or "~", gpu.key))
    return [
        GpuFacts(
            gpu,
            {r.name: r for r in readings if r.entity.kind == "gpu" and gpu.same(gpu_of(r.entity))},
            tuple(i for i in facts.incidents if i.gpu is not None and i.gpu.same(gpu)),
        )
        for gpu in listed
    ]


def _merged(old: Gpu, new: Gpu) -> Gpu:
    return old._replace(**{name: value for name, value in new._asdict().items() if value is not None})


def gpu_of(entity: Entity) -> Gpu:
    """Return the GPU that a reading is about."""
    return Gpu(entity.pci, entity.uuid, entity.serial, entity.index, entity.name)


def value_words(reading: Reading | None) -> str:
    """Return a reading as a person says it; `?` for whatever is not known."""
    if reading is None or isinstance(reading.value, Missing):
        return "?"
    value, unit = reading.value, reading.unit
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value or "?"
    if unit == "ratio":
        return f"{value * 100:.0f}%"
    if unit == "bytes":
        return f"{value / 2**30:.1f} GiB" if value >= 2**30 else f"{value / 2**20:.0f} MiB"
    if unit == "celsius":
        return f"{value:.0f} C"
    if unit == "watts":
        return f"{value:.0f} W"
    if unit == "seconds":
        return f"{value:.1f} s"
    if unit == "hertz":
        return f"{value / 1e6:.0f} MHz"
    if unit == "transfers-per-second":
        return _scaled(float(value), "T/s")
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def why_unknown(reading: Reading | None) -> str:
    """Return why a reading is not known, empty if it is."""
    if reading is None:
        return "not read"
    return reading.value.reason if isinstance(reading.value, Missing) else ""


def number_of(reading: Reading | None) -> float | None:
    """Return a reading as a number, None if it is none."""
    value = None if reading is None else reading.value
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def peers_of(own: GpuFacts, others: Iterable[GpuFacts]) -> list[GpuFacts]:
    """Return the other GPUs of the node that have readings."""
    return [each for each in others if each.gpu.key != own.gpu.key and each.readings]


def checks(own: GpuFacts, others: Iterable[GpuFacts]) -> list[Check]:
    """Return every reading of a GPU beside peers: what stands apart first, what is not known last."""
    peers = peers_of(own, others)
    found = [_check(own, name, [peer.readings.get(name) for peer in peers]) for name in own.readings]
    return sorted(found, key=lambda check: (not check.apart, not check.known, _rank(check.name)))


def _rank(name: str) -> int:
    """Limits stand beside what they limit, so that they come last."""
    found = (place for place, start in enumerate(_FIRST) if name.startswith(start) and name not in _LIMITS.values())
    return next(found, len(_FIRST))


def _check(own: GpuFacts, name: str, others: Sequence[Reading | None]) -> Check:
    reading = own.readings[name]
    limit = own.readings.get(_LIMITS.get(name, ""))
    known = not isinstance(reading.value, Missing)
    words = [value_words(other) for other in others if other is not None and not isinstance(other.value, Missing)]
    if not words:
        return Check(
            name, value_words(reading), "?" if others else "-", _limit(limit), why_unknown(reading), False, known
        )
    numbers = [number for other in others if (number := number_of(other)) is not None]
    mine = number_of(reading)
    if len(numbers) == len(words) and (mine is not None or not known):
        middle = median(numbers)
        comparable = mine is not None and name not in _NAMES and len(words) > 1
        apart = mine is not None and comparable and abs(mine - middle) > APART * max(abs(middle), abs(mine))
        peers = _range(numbers, reading._replace(value=numbers[0]) if not known else reading)
        note = _beside(mine, middle) if mine is not None and apart else ""
    else:
        common, count = Counter(words).most_common(1)[0]
        apart = known and len(words) > 1 and count > len(words) / 2 and common != value_words(reading)
        peers = common if count == len(words) else f"{common} ({count} of {len(words)})"
        note = "differs" if apart else ""
    return Check(name, value_words(reading), peers, _limit(limit), why_unknown(reading) or note, apart, known)


def range_words(low: float, high: float, like: Reading) -> str:
    """Return a range of numbers as a person says values of this reading."""
    return _range((low, high), like)


def _limit(reading: Reading | None) -> str:
    return "-" if reading is None else value_words(reading)


def _range(numbers: Sequence[float], like: Reading) -> str:
    whole = isinstance(like.value, int)
    low, high = (value_words(like._replace(value=int(n) if whole else n)) for n in (min(numbers), max(numbers)))
    if low == high:
        return low
    if like.unit == "bytes" and high.endswith("GiB"):
        low = f"{min(numbers) / 2**30:.1f} GiB"
    (first, unit), (last, same) = (_split(words) for words in (low, high))
    return f"{first}-{last}{unit}" if unit == same and min(numbers) >= 0 else f"{low} to {high}"


def _split(words: str) -> tuple[str, str]:
    """Part a value from its unit."""
    bare = words.rstrip(_UNITS)
    return bare, words[len(bare) :]


def _beside(mine: float, middle: float) -> str:
    if middle == 0 or mine == 0:
        return "above peers" if mine > middle else "below peers"
    share = (mine - middle) / abs(middle)
    if abs(share) >= 1:
        return f"{mine / middle:.0f}x peers"
    return f"{abs(share):.0%} {'above' if share > 0 else 'below'} peers"


def _scaled(value: float, unit: str) -> str:
    for size, prefix in _SCALES:
        if value >= size:
            return f"{value / size:g} {prefix}{unit}"
    return f"{value:g} {unit}"


def label(own: GpuFacts) -> str:
    """Return the name of a GPU for titles."""
    return place(own.gpu, short=True)
