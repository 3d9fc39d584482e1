"""The values of a decision, from the signal to the incident.

Everything here is immutable and carries no behaviour beyond what its name
says.  `triage.report` turns it into the one versioned JSON object.
"""

# No postponed annotations here: typing would compile each of them, which is half of what this module takes to load.

from collections.abc import Mapping

from probes.model import LogRecord, Reading, Source
from probes.named import NamedTuple

UNDETERMINED = "undetermined"
SEVERITIES = ("info", "warning", "critical")


class Device(NamedTuple):
    """A GPU or another PCI device, as far as it is known.  `pci` is normalised (`0000:4e:00.0`)."""

    pci: str | None = None
    uuid: str | None = None
    serial: str | None = None
    index: int | None = None  # type: ignore[assignment]  # shadows tuple.index
    name: str | None = None


class Signal(NamedTuple):
    """A named fact found in a log record or a reading, on a device, at a time.

    `fields` are the named groups of the pattern, as text.  `order` is the place
    on the time axis (0, 1, 2 ...): it is total even where clocks are missing.
    `count` is how many equal signals in a row this one stands for; `last_at`,
    `last_order` and `last_monotonic` (seconds since boot) are those of the last of them.
    `processes` (number, blank, name) and `addresses` are those that they name, as they came;
    with `many` there were more.
    """

    name: str
    pci: str | None
    fields: Mapping[str, str]
    record: LogRecord
    order: int = 0
    count: int = 1  # type: ignore[assignment]  # shadows tuple.count
    last_at: float | None = None
    last_order: int = 0
    last_monotonic: float | None = None
    processes: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    many: bool = False


class Evidence(NamedTuple):
    """One question a rule asked, and its answer.

    `state` is seen, quiet or unknown.  `points` are what the answer moved, per
    cause (for unknown: nothing); `would_be` is what it would move if seen.
    `counted` is false where a stronger member of the same group stood for it.
    `settle` is how a person can answer what is unknown, `do` what ends a fault that was recognised.
    """

    id: str
    group: str
    state: str
    points: Mapping[str, int]
    would_be: Mapping[str, int]
    why: str
    reason: str | None = None
    at: float | None = None
    record: LogRecord | None = None
    reading: Reading | None = None
    count: int = 1  # type: ignore[assignment]  # shadows tuple.count
    counted: bool = True
    settle: str | None = None
    do: str | None = None


class Verdict(NamedTuple):
    """What the evidence says.

    `family` is the decided family or `undetermined`; `leaf` the named cause, or
    None while undetermined.  `confidence` is that of the leading family, capped
    as the rulebook says.  `by_family` and `by_leaf` hold every cause, most
    probable first, and sum to one.
    """

    family: str
    leaf: str | None
    confidence: float
    by_family: Mapping[str, float]
    by_leaf: Mapping[str, float]


class Step(NamedTuple):
    """Something to do next.  `risk` is none, restarts-job, resets-gpu, reboots-node or needs-hands."""

    do: str
    risk: str
    owner: str


class Repeats(NamedTuple):
    """The lines that opened an incident: how many, over how many seconds, of how many processes and addresses.

    `seconds` is None where no clock tells.  Where `exact` is false there were more processes or addresses than were
    told apart, and the numbers are the least.
    """

    lines: int
    seconds: float | None
    processes: int
    addresses: int
    exact: bool

    @property
    def per_second(self) -> float | None:
        """How many lines came in a second, on average."""
        return self.lines / self.seconds if self.seconds else None


class Incident(NamedTuple):
    """One thing that went wrong, on one GPU or on the node, with its verdict.

    `boot` and `last_monotonic` (seconds since boot) say of the last line that opened it when that was, for wall
    clocks jump; None where no line did, or it does not tell.
    """

    fingerprint: str
    rule: str
    rule_version: int
    title: str
    summary: str
    severity: str
    state: str
    device: Device | None
    opened_at: float | None
    last_seen_at: float | None
    opened_order: int
    seen: int
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    explains: tuple[str, ...]
    settle: tuple[str, ...]
    next: tuple[Step, ...]
    boot: str | None = None
    last_monotonic: float | None = None
    repeats: Repeats | None = None


class Assessment(NamedTuple):
    """All that was concluded from one set of sources.  Incidents come worst first.

    `facts` are those of the node: text readings, and what log lines say of versions.
    """

    node: str | None
    status: str
    sources: tuple[Source, ...]
    incidents: tuple[Incident, ...]
    gpus: tuple[Device, ...]
    notices: tuple[str, ...]
    facts: Mapping[str, str] = {}
    processes: tuple[Mapping[str, str | int | bool | None], ...] = ()
