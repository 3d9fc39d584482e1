"""What a watch is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from probes.named import NamedTuple
from triage.rulebook.model import Rulebook
from triage.watch import before


class Options(NamedTuple):
    """What a watch is asked for.

    `every` are the seconds between two readings of all counters, `often` between those of what shows a GPU in
    trouble; `listen` is where metrics are served; `events`
    whether NVML's events are listened to; `alerts` the file that says who is alerted.
    """

    directory: Path | None
    children: Path | None
    every: float
    often: float
    events: bool
    listen: tuple[str, int] | None
    load: Callable[[], Rulebook]
    check_rules: Callable[[], tuple[str, ...]]
    kmsg: str
    journal: tuple[str, ...] = ()
    pstore: tuple[Path, ...] = before.PSTORE
    alerts: Path | None = None
