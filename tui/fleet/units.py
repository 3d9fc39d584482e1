"""In what a number of a GPU is told: a store keeps numbers by name, and names tell what is measured."""

from __future__ import annotations

import re

from probes.model import Value

_UNITS: tuple[tuple[str, str], ...] = (
    (r"gpu\.(slowdown|repair)\..+", "flag"),
    (r"gpu\.(responsive|idle|persistence|listed|memory\.unrepairable|inforom\.valid|clock\.fault)", "flag"),
    (r"gpu\.((pages|rows|banks)\.pending|rows\.failure|sram\.threshold-exceeded)|pci\.answers", "flag"),
    (r"gpu\.(nvlink|c2c)\.(.+\.)?active|gpu\.fabric\..+", "flag"),
    (r"gpu\.(utilization|power\.(peak-share|smoothing\.life)|fan\.(.+\.)?speed|nvlink\.(.+\.)?ber\..+)", "ratio"),
    (r"gpu\.temperature(\..+)?", "celsius"),
    (r"gpu\.power(\..+)?", "watts"),
    (r"gpu\.clock\..+", "hertz"),
    (r"gpu\.(memory\.(total|used)|pcie\.(sent|received))", "bytes"),
    (r"gpu\.(violation\..+|lifetime)", "seconds"),
    (r"gpu\.nvlink\.(.+\.)?speed", "bytes-per-second"),
    (r"pci\.link\.speed(\.max)?", "transfers-per-second"),
)
"""The first that fits; whatever fits none is a count."""


def unit_of(name: str) -> str:
    """Return the unit of a number by its name."""
    return next((unit for pattern, unit in _UNITS if re.fullmatch(pattern, name)), "count")


def value_of(number: float, unit: str) -> Value:
    """Return a number that was kept as the probe told it: a flag is yes or no, a whole number is whole."""
    if unit == "flag":
        return number != 0.0
    return int(number) if number.is_integer() and unit != "ratio" else number
