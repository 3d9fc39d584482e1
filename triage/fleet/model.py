"""The values of a fleet: what each node answered in a sweep, and what is known of its parts and place.

A node that did not answer is a value too, with its reason: it is unknown, and
never well.  Facts are text (`driver.version`, `kernel.release`, `rack`), numbers
are counters and gauges; both are named as in `probes.model.Reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from probes.named import NamedTuple

Json = dict[str, Any]

ANSWERED = "answered"
TIMED_OUT = "timed-out"
UNREACHABLE = "unreachable"
REFUSED = "refused"
HOST_KEY = "host-key"
NO_PYTHON = "no-python"
TOO_MUCH = "too-much-output"
GARBAGE = "garbage"
FAILED = "failed"
SKIPPED = "skipped"
STATES = (ANSWERED, TIMED_OUT, UNREACHABLE, REFUSED, HOST_KEY, NO_PYTHON, TOO_MUCH, GARBAGE, FAILED, SKIPPED)
"""What can become of the question to a node; `skipped` is one that was not asked (interrupted, or down in Slurm)."""


class Part(NamedTuple):
    """One GPU as a sweep found it.

    `serial` or, where it is not told, `uuid` is who it is; `pci` is where it sits.
    `facts` are its text readings (`gpu.vbios`), `numbers` its numeric ones.
    """

    pci: str | None = None
    uuid: str | None = None
    serial: str | None = None
    index: int | None = None  # type: ignore[assignment]  # shadows tuple.index
    name: str | None = None
    facts: Mapping[str, str] = {}
    numbers: Mapping[str, float] = {}


class Answer(NamedTuple):
    """What one node said in one sweep.

    `state` is one of `STATES`, `reason` one line for all but `answered`.  `at` is UTC
    epoch seconds of the readings, `took` seconds.  `status` is that of the node's
    report (ok, warning, critical, unknown), `incidents` its incidents as in the
    report.  `heard` is the interval of kernel log that could be read: rates are per
    time heard, never per time passed.  `notices` are worth a person's eye.
    """

    node: str
    state: str
    reason: str | None = None
    at: float | None = None
    took: float = 0.0
    status: str = "unknown"
    facts: Mapping[str, str] = {}
    gpus: tuple[Part, ...] = ()
    incidents: tuple[Json, ...] = ()
    heard: tuple[float, float] | None = None
    notices: tuple[str, ...] = ()
