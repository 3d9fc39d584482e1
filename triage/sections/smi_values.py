"""The values that nvidia-smi prints, with their units, and what it prints where there is none."""

from __future__ import annotations

import re
from collections.abc import Callable

from probes.model import LOST, NO_PERMISSION, NOT_SUPPORTED, TIMED_OUT, Missing, Value
from probes.records_text import clean, shorten
from triage.found import NOT_SHOWN as NOT_PRINTED

NOT_SHOWN = Missing(NOT_PRINTED)
NOT_UNDERSTOOD = Missing("error:not-understood")

_REASONS = {
    "n/a": NOT_SUPPORTED,
    "not supported": NOT_SUPPORTED,
    "not available": NOT_SUPPORTED,
    "requested functionality has been deprecated": NOT_SUPPORTED,
    "function not found": NOT_SUPPORTED,
    "insufficient permissions": NO_PERMISSION,
    "no permission": NO_PERMISSION,
    "gpu is lost": LOST,
    "timeout": TIMED_OUT,
    "gpu requires reset": "error:RESET_REQUIRED",
    "unknown error": "error:UNKNOWN",
    "err!": "error:UNKNOWN",
    "error": "error:UNKNOWN",
    "system is not in ready state": "error:NOT_READY",
    "not found": "error:NOT_FOUND",
    "corrupted": "error:CORRUPTED_INFOROM",
    "inforom is corrupted": "error:CORRUPTED_INFOROM",
}
_MULTIPLES = {
    "": 1, "c": 1, "w": 1, "x": 1, "bank(s)": 1, "%": 1e-2, "mhz": 1e6, "us": 1e-6, "ms": 1e-3, "ns": 1e-9,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "mb": 1 << 20,
}  # fmt: skip
_NUMBER = re.compile(r"(-?\d{1,20}(?:\.\d{1,9})?)\s*([a-z%()]*)\Z", re.I)
_RECOVERY = {
    "none": "none", "reset": "gpu-reset", "gpu reset": "gpu-reset", "reboot": "node-reboot",
    "node reboot": "node-reboot", "drain p2p": "drain-p2p", "drain and reset": "drain-and-reset",
    "recover imex domain": "recover-imex-domain", "bus reset": "bus-reset", "system reboot": "system-reboot",
}  # fmt: skip


def missing(text: str) -> Missing | None:
    """Return why there is no value where this stands, or None if it is a value."""
    bare = text.strip().strip("[]").rstrip(".").lower()
    reason = _REASONS.get(bare)
    if reason is None and bare.startswith("gpu is lost"):
        reason = LOST
    return None if reason is None else Missing(reason)


def number(text: str) -> Value:
    """`41 C`, `81559 MiB`, `16x`, `0 bank(s)`, `38610 us` in the base unit."""
    match = _NUMBER.match(text)
    scale = None if match is None else _MULTIPLES.get(match[2].lower())
    if match is None or scale is None:
        return NOT_UNDERSTOOD
    value = float(match[1]) * scale
    if match[2].lower() in ("", "x", "bank(s)", "mib", "kib", "gib", "mb", "mhz", "c") and value.is_integer():
        return int(value)
    return round(value, 9)


def flag(text: str) -> Value:
    """`Yes`, `Active`, `Enabled` and their opposites."""
    word = text.lower()
    if word in ("yes", "active", "enabled", "true"):
        return True
    return False if word in ("no", "not active", "disabled", "false") else NOT_UNDERSTOOD


def switch(text: str) -> Value:
    """`Enabled` as `on`, `Disabled` as `off`."""
    value = flag(text)
    return value if isinstance(value, Missing) else "on" if value else "off"


def words(text: str) -> Value:
    """`In Progress` as `in-progress`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or NOT_UNDERSTOOD


def recovery(text: str) -> Value:
    """The recovery action in the words of the live probe; one that has no word yet is kept."""
    spelled = words(text)
    return _RECOVERY.get(str(spelled).replace("-", " "), spelled)


def as_text(text: str) -> Value:
    """The text itself, bounded and printable."""
    return clean(shorten(text, 200))


def convert(text: str, of: Callable[[str], Value]) -> Value:
    """The value of a text, or why there is none."""
    text = text.strip()
    return missing(text) or of(text)
