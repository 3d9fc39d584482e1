"""When and in which life of the node something was read: wall clock, boot, and load of the driver.

Wall clocks jump, so a moment also keeps the clock that does not, which tells
how much time passed within one boot.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Optional

from probes.named import NamedTuple


class Moment(NamedTuple):
    """A moment.

    `at` is UTC epoch seconds and `monotonic` seconds of CLOCK_MONOTONIC, which
    is the clock of the kernel log.  `boot` is the id of the boot as the journal
    writes it; `load` names the load of the nvidia module within that boot, and
    is empty if it is not loaded.  Either is empty where it cannot be told.
    """

    at: float
    monotonic: float
    boot: str
    load: str


def moment(root: Path = Path("/"), at: Optional[float] = None) -> Moment:
    """Return this moment; `at` overrides the wall clock, `root` is where the file system stands."""
    return Moment(time.time() if at is None else at, time.clock_gettime(time.CLOCK_MONOTONIC), _boot(root), _load(root))


def elapsed(earlier: Moment, later: Moment) -> float:
    """Return the seconds between two moments, never negative; only across boots the wall clock has to be believed."""
    if earlier.boot and earlier.boot == later.boot:
        return max(0.0, later.monotonic - earlier.monotonic)
    return max(0.0, later.at - earlier.at)


def _boot(root: Path) -> str:
    try:
        return (root / "proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    except (OSError, ValueError):
        return ""


def _load(root: Path) -> str:
    """The inode number of the module's folder: sysfs gives each folder a new one (kernfs ids are never used again)."""
    try:
        return str(os.stat(root / "sys/module/nvidia").st_ino)
    except OSError:
        return ""
