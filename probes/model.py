"""The values that probes yield: what was read, or why it could not be.

Unknown is never zero: a value that could not be read is a `Missing` with its
reason, and nothing downstream may turn it into a number.  All values are
named tuples, because probes must start fast and pickle to a child process.
"""

# No postponed annotations here: typing would compile each of them, which is half of what this module takes to load.

from typing import Optional, Union

from probes.named import NamedTuple

NOT_SUPPORTED = "not-supported"
NO_PERMISSION = "no-permission"
LOST = "lost"
TIMED_OUT = "timed-out"
NOT_INSTALLED = "not-installed"


class Missing(NamedTuple):
    """Why a value is unknown.

    `reason` is one of the constants above, or `error:<code>` with the code or
    text of the source that refused.
    """

    reason: str


class Entity(NamedTuple):
    """What a reading is about.

    `kind` is node, gpu, mig, link, switch, port, job or process.  A MIG device has
    the address of its GPU and an index there.  A GPU is known by
    `uuid`, `serial` and `pci` (normalised, `0000:4e:00.0`); `index` is only how
    it was listed this time and is never identity.
    """

    kind: str
    pci: Optional[str] = None
    uuid: Optional[str] = None
    serial: Optional[str] = None
    index: Optional[int] = None  # type: ignore[assignment]  # shadows tuple.index
    name: Optional[str] = None


NODE = Entity("node")

Value = Union[int, float, str, bool, Missing]


class Reading(NamedTuple):
    """One quantity at one moment.

    `name` is dotted and carries no unit (`gpu.temperature`); `unit` is the base
    unit (`celsius`, `watts`, `bytes`, `count`, `flag`, `text`); `at` is UTC
    epoch seconds.
    """

    entity: Entity
    name: str
    value: Value
    unit: str
    at: float


class LogRecord(NamedTuple):
    """One record of a log, its continuation lines joined by newlines.

    `message` is the text without any prefix.  `at` is UTC epoch seconds and
    `monotonic` seconds since boot; either may be unknown.  `boot` names the
    boot the record belongs to: the journal's boot id, or `#1`, `#2` for the
    boots told apart within a file.  `kernel` is true if the kernel wrote the
    record, as far as the source can prove it; a line pasted without any prefix
    proves nothing (`pasted`) and is taken at its word.  `injected` marks a
    /dev/kmsg record of another facility, which only root can write.
    `line` is the 1-based number of the first line in `origin` (for a live
    source the sequence number), `text` that first line as it stood, shortened.
    """

    message: str
    at: Optional[float] = None
    monotonic: Optional[float] = None
    boot: Optional[str] = None
    level: Optional[int] = None
    identifier: Optional[str] = None
    pid: Optional[int] = None
    host: Optional[str] = None
    kernel: bool = True
    pasted: bool = False
    injected: bool = False
    origin: str = "-"
    line: int = 0
    text: str = ""


OURS = frozenset({"bmc-sel", "dcgm", "redfish"})
"""Identifiers of the records that probes make; a program that calls itself so in a log is not believed."""

BESIDE = frozenset({"jobs", "infiniband", "dcgm", "dcgm-diag", "bmc", "bmc-sensors", "redfish"})
"""Kinds of sources that tell more where they are, and without which a node can be called well."""


class Source(NamedTuple):
    """One source that was read, or could not be.

    `kind` is kernel-log, nvml, host ... ; `origin` names the file or device.
    `start` and `end` bound the interval it could read, in epoch seconds.
    `from_boot` says that it reaches back to the start of the boot.  `reason`
    says why it was not (fully) readable, and with what remedy, in one line.
    """

    kind: str
    origin: str
    readable: bool
    start: Optional[float] = None
    end: Optional[float] = None
    records: int = 0
    from_boot: bool = False
    reason: Optional[str] = None
