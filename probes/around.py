"""The sources beside the driver, the log and the host, read while those are: jobs, network ports, DCGM, the BMC.

Each is looked for first, and what is not there costs nothing.  Each that is has
a thread of its own, and asks other programs, so that none can hold up the sweep.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

from probes import bounded
from probes.model import LogRecord, Reading, Source
from probes.named import NamedTuple

DIAG_PLACE, DIAG_KEPT = "GPU_TRIAGE_DCGM_DIAG", "var/lib/gpu-triage/dcgm-diag.json"
"""Where a result of DCGM's diagnostic is looked for: the file that the variable names, else this one below the root."""
REDFISH = "etc/gpu-triage/redfish"
"""Where the account of the management controller stands, below the root."""
LATE = "it did not answer in time; gpu-triage collect waits longer"

Told = tuple[list[Reading], list[LogRecord], list[Source]]


class Looking(NamedTuple):
    """What is being read: `result` waits for it until a moment (monotonic seconds) and returns what came."""

    result: Callable[[float], Told]


def begin(until: float, root: Path = Path("/"), *, patient: bool = True) -> Looking:
    """Start to read every source that is there, until `until` (monotonic seconds).

    Those that take many seconds are read only by who is `patient`.
    """
    asked = [_Asked(kind, origin, read) for kind, origin, read in _there(until, root, patient)]
    if os.environ.get("GPU_TRIAGE_REDFISH") or os.environ.get("GPU_TRIAGE_REDFISH_URL") or _exists(root, REDFISH):
        # Whoever configured it wants it waited for; it takes no longer than that account says.
        asked.append(_Asked("redfish", "redfish", lambda: _redfish(until, root), until))
    for each in asked:
        each.start()

    def result(patience: float) -> Told:
        readings: list[Reading] = []
        records: list[LogRecord] = []
        sources: list[Source] = []
        for each in asked:
            told = each.told(patience)
            readings += told[0]
            records += told[1]
            sources += told[2]
        return readings, records, sources

    return Looking(result)


def _there(until: float, root: Path, patient: bool) -> list[tuple[str, str, Callable[[], Optional[Told]]]]:
    """The sources that are there: kind, origin, and what reads each."""
    found: list[tuple[str, str, Callable[[], Optional[Told]]]] = []
    if os.path.isdir(root / "sys/module/nvidia"):
        found.append(("jobs", "/proc/*/cgroup", lambda: _jobs(until, root)))
    if os.path.isdir(root / "sys/class/infiniband"):
        found.append(("infiniband", "/sys/class/infiniband", lambda: _ports(until, root)))
    if any(os.path.exists(root / name) for name in ("dev/ipmi0", "dev/ipmi/0", "dev/ipmidev/0")):
        tool = _program("ipmitool", root)
        if tool is not None:
            found.append(("bmc", "ipmitool sel list", lambda: _bmc(until, root, [tool], patient)))
    dcgmi = _program("dcgmi", root)
    if dcgmi is not None or DIAG_PLACE in os.environ or _exists(root, DIAG_KEPT):
        found.append(("dcgm", "dcgmi health -c", lambda: _dcgm(until, root, [dcgmi] if dcgmi else [])))
    return found


def _program(name: str, root: Path) -> Optional[str]:
    if root == Path("/"):
        return bounded.find_program(name)
    path = root / "usr/bin" / name
    return str(path) if os.access(path, os.X_OK) else None


def _jobs(until: float, root: Path) -> Optional[Told]:
    from probes import jobs

    told = jobs.probe(until, root)
    return None if told is None else (told[0], [], [told[1]])


def _ports(until: float, root: Path) -> Optional[Told]:
    from probes import infiniband

    told = infiniband.probe(until, root)
    return None if told is None else (told[0], [], [told[1]])


def _bmc(until: float, root: Path, ask: Sequence[str], patient: bool) -> Optional[Told]:
    from probes import bmc

    told = bmc.probe(until, root, ask)
    if told is None:
        return None
    if not patient or not told.source.readable:
        return told.readings, told.records, [told.source]
    from probes import bmc_sensors

    sensors = bmc_sensors.probe(until, root, ask)
    return (
        (told.readings, told.records, [told.source])
        if sensors is None
        else ([*told.readings, *sensors[0]], told.records, [told.source, sensors[1]])
    )


def _redfish(until: float, root: Path) -> Optional[Told]:
    from probes import redfish

    told = redfish.probe(until, root)
    return None if told is None else (told.readings, told.records, told.sources)


def _exists(root: Path, name: str) -> bool:
    return os.path.exists(root / name)


def _dcgm(until: float, root: Path, ask: Sequence[str]) -> Optional[Told]:
    from probes import dcgm

    told = dcgm.probe(until, root, ask)
    return None if told is None else (told.readings, told.records, told.sources)


class _Asked:
    """One source in a thread of its own."""

    def __init__(
        self, kind: str, origin: str, read: Callable[[], Optional[Told]], patience: Optional[float] = None
    ) -> None:
        """Take what reads it; `patience` is until when it is waited for at least."""
        self._patience = patience
        self._kind, self._origin, self._read = kind, origin, read
        self._told: Optional[Told] = None
        self._nothing = False
        self._failure = LATE
        self._began = time.time()
        self._thread = threading.Thread(target=self._run, name=kind, daemon=True)

    def start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as failure:  # too many processes for a further one, or no memory for it
            self._failure = str(failure)

    def _run(self) -> None:
        try:
            told = self._read()
            self._nothing = told is None
            self._told = told
        except Exception as failure:  # whatever is wrong with it, the other sources still answer
            self._failure = f"{type(failure).__name__}: {failure}"

    def told(self, until: float) -> Told:
        if self._thread.ident is not None:
            self._thread.join(max(0.0, max(until, self._patience or 0.0) - time.monotonic()))
        if self._told is not None:
            return self._told
        if self._nothing:
            return [], [], []
        reason = self._failure
        return [], [], [Source(self._kind, self._origin, False, self._began, time.time(), reason=reason)]
