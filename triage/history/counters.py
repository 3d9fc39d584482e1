"""Which readings are kept from sweep to sweep, and what sets each of them back to zero."""

from __future__ import annotations

from functools import lru_cache

LOAD, BOOT, NEVER, LEVEL = "load", "boot", "never", "level"
"""A counter starts anew with the driver, with the boot, or not at all; a level may go either way."""

_EXACT = {
    "gpu.pcie.replays": LOAD,
    "gpu.pcie.replay-rollovers": LOAD,
    "gpu.pcie.recoveries": LOAD,
    "gpu.rows.corrected": NEVER,
    "gpu.rows.uncorrected": NEVER,
    "gpu.pages.retired.single-bit": NEVER,
    "gpu.pages.retired.double-bit": NEVER,
    "gpu.rows.banks.low": LEVEL,
    "gpu.rows.banks.none": LEVEL,
    "gpu.power.limit": LEVEL,
    "gpu.pcie.width": LEVEL,
    "gpu.pcie.width.max": LEVEL,
    "gpu.pcie.generation.max": LEVEL,
    "gpu.memory.total": LEVEL,
    "gpu.nvlink.links": LEVEL,
    "gpu.count": LEVEL,
    "pci.gpus": LEVEL,
    "pci.link.width": LEVEL,
    "host.memory.total": LEVEL,
}
# nvidia-smi calls them volatile (since the driver was loaded) and aggregate (kept in the InfoROM).
_ENDINGS = ((".volatile", LOAD), (".aggregate", NEVER))
_BEGINNINGS = (
    ("gpu.pcie.errors.", LOAD),
    ("gpu.nvlink.errors.", LOAD),
    ("gpu.violation.", LOAD),
    ("pci.aer.", BOOT),
    ("pci.path.aer.", BOOT),
    ("edac.", BOOT),
)
FACTS = frozenset(
    {
        "driver.version",
        "driver.flavour",
        "kernel.release",
        "gpu.name",
        "gpu.vbios",
        "gpu.inforom",
        "gpu.gsp-firmware",
        "gpu.ecc.mode",
        "gpu.mig.mode",
    }
)
"""Readings of text of which it is kept since when they stand."""


@lru_cache(maxsize=4096)
def kind(name: str) -> str | None:
    """Return what resets a reading of this name, or None if it is not kept."""
    if name in _EXACT:
        return _EXACT[name]
    if name.startswith("gpu.ecc."):
        return next((what for ending, what in _ENDINGS if name.endswith(ending)), None)
    return next((what for beginning, what in _BEGINNINGS if name.startswith(beginning)), None)
