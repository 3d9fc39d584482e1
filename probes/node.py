"""Everything that can be read of this node, under one deadline.

NVML is asked first and in the background, because it may take all the time
there is; the kernel log and the host are read meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Optional

from probes import around, host, kernel_log, nvml
from probes.model import NO_PERMISSION, Entity, LogRecord, Missing, Reading, Source, Value
from probes.named import NamedTuple
from probes.pci import without_address

_LOG_SHARE = 0.5  # of the deadline; reading the journal of a long boot takes seconds
_HOST_SHARE = 0.9


def probe(
    deadline: float,
    *,
    root: Path = Path("/"),
    kmsg: str = kernel_log.KMSG,
    library_env: Optional[Mapping[str, str]] = None,
    state_dir: Optional[Path] = None,
) -> tuple[list[Reading], Iterator[LogRecord], list[Source]]:
    """Read the node within `deadline` seconds: readings, kernel records of this boot, and what was read.

    No source that fails keeps the others from being read; it says why in its
    `reason`.  A GPU has one entity in all readings.  `root`, `kmsg` and
    `library_env` are for tests; `state_dir` is that of `probes.nvml.sweep`.
    """
    probing = begin(deadline, root=root, kmsg=kmsg, library_env=library_env, state_dir=state_dir)
    records = [*probing.records, *probing.later()]
    readings, sources = probing.result()
    return readings, iter(records), sources


def begin(
    deadline: float,
    *,
    root: Path = Path("/"),
    kmsg: str = kernel_log.KMSG,
    library_env: Optional[Mapping[str, str]] = None,
    state_dir: Optional[Path] = None,
    started: Optional[nvml.Started] = None,
    grace: Optional[float] = None,
) -> Probing:
    """Read all but NVML, which may take longest; the kernel's records can be looked at meanwhile.

    The arguments are those of `probe`; `started` is what `nvml.begin` returned,
    if it was called before.  `grace` is how many seconds the sources beside it
    are waited for once all else is read; as long as there is time if None.
    """
    began = time.monotonic()
    if started is None and library_env is None:
        started = nvml.begin(deadline, state_dir=state_dir)  # here, because a second thread forbids a copy of this one
    asked = _Background(deadline, library_env, state_dir, started)
    beside = around.begin(began + deadline * _HOST_SHARE, root, patient=grace is None)
    records, log = kernel_log.read_boot(deadline * _LOG_SHARE, kmsg=kmsg)
    readings, machine = host.probe(max(0.0, began + deadline * _HOST_SHARE - time.monotonic()), root)

    told_beside: list[around.Told] = []

    def aside() -> around.Told:
        if not told_beside:
            asked.result(began + deadline)  # they need wait for nothing while the driver is waited for
            until = began + deadline
            told_beside.append(beside.result(until if grace is None else min(until, time.monotonic() + grace)))
        return told_beside[0]

    def later() -> Iterator[LogRecord]:
        yield from aside()[1]

    def result() -> tuple[list[Reading], list[Source]]:
        more, _, others = aside()
        told, gpus, sources = asked.result(began + deadline)
        return _merged(told, gpus, [*readings, *more], sources), [log, *sources, machine, *others]

    return Probing(records, result, later)


def counters(
    deadline: float,
    *,
    root: Path = Path("/"),
    library_env: Optional[Mapping[str, str]] = None,
    state_dir: Optional[Path] = None,
    started: Optional[nvml.Started] = None,
) -> tuple[list[Reading], list[Source]]:
    """All readings and no log, for whoever follows the log already; the arguments are those of `begin`."""
    began = time.monotonic()
    asked = _Background(deadline, library_env, state_dir, started)
    readings, machine = host.probe(deadline * _HOST_SHARE, root)
    told, gpus, sources = asked.result(began + deadline)
    return _merged(told, gpus, readings, sources), [*sources, machine]


class Probing(NamedTuple):
    """A node being read: the kernel's records, and what waits for the rest and returns readings and sources.

    `later` waits too, and yields the records of other logs.
    """

    records: list[LogRecord]
    result: Callable[[], tuple[list[Reading], list[Source]]]
    later: Callable[[], Iterator[LogRecord]]


class _Background:
    """A sweep of NVML in a thread of its own."""

    def __init__(
        self,
        deadline: float,
        library_env: Optional[Mapping[str, str]],
        state_dir: Optional[Path],
        started: Optional[nvml.Started],
    ) -> None:
        self._told: Optional[tuple[list[Reading], list[Entity], list[Source]]] = None
        self._failure = "it did not end in time"
        self._started = time.time()
        self._thread = threading.Thread(
            target=self._sweep, args=(deadline, library_env, state_dir, started), name="nvml", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError as failure:  # too many processes for a further one, or no memory for it
            self._failure = str(failure)
            if started is not None:
                nvml.stop(started, state_dir)

    def _sweep(
        self,
        deadline: float,
        library_env: Optional[Mapping[str, str]],
        state_dir: Optional[Path],
        started: Optional[nvml.Started],
    ) -> None:
        try:
            self._told = nvml.sweep(deadline, library_env=library_env, state_dir=state_dir, started=started)
        except Exception as failure:  # whatever is wrong with it, the other sources still answer
            self._failure = f"{type(failure).__name__}: {failure}"
            if started is not None:
                nvml.stop(started, state_dir)

    def result(self, until: float) -> tuple[list[Reading], list[Entity], list[Source]]:
        if self._thread.ident is not None:
            self._thread.join(max(0.0, until - time.monotonic()) + 0.1)
        if self._told is not None:
            return self._told
        reason = f"the NVML probe failed: {self._failure}"
        return [], [], [Source("nvml", "libnvidia-ml.so.1", False, self._started, time.time(), reason=reason)]


def _merged(told: list[Reading], gpus: list[Entity], readings: list[Reading], sources: list[Source]) -> list[Reading]:
    """All readings, each GPU under the one entity that says most about it."""
    bound = {reading.entity.pci for reading in readings if reading.name == "pci.driver" and reading.value == "nvidia"}
    on_bus = [reading.entity for reading in readings if reading.name == "pci.driver" and reading.entity.kind == "gpu"]
    known = {gpu.pci for gpu in gpus}
    nameless = [gpu for gpu in gpus if gpu.pci is None]
    unlisted = [entity for entity in on_bus if entity.pci not in known and entity.pci in bound]
    names: dict[Entity, Entity] = {}
    if len(nameless) == 1 and len(unlisted) == 1:
        # NVML could not open one GPU, and the bus has one that NVML did not name: it is that one.
        names[nameless[0]] = nameless[0]._replace(pci=unlisted[0].pci)
    elif len(gpus) > 1:  # what a lone one says is told of whichever GPU the log names
        names.update((gpu, placed(gpu)) for gpu in nameless)
    full: dict[Optional[str], Entity] = {
        gpu.pci: gpu for gpu in (names.get(gpu, gpu) for gpu in gpus) if gpu.pci is not None
    }
    for entity in on_bus:
        names[entity] = full.get(entity.pci, entity)
    for reading in readings:
        if reading.entity.kind == "gpu" and reading.entity not in names:  # what DCGM says
            names[reading.entity] = full.get(reading.entity.pci, reading.entity)
    now = time.time()
    merged = [
        reading if reading.entity not in names else reading._replace(entity=names[reading.entity])
        for reading in (*told, *readings)
    ]
    if gpus or any(source.readable for source in sources):
        # In a container NVML lists only the GPUs whose device files are there; the bus shows them all.
        devices = next((reading.value for reading in readings if reading.name == "driver.devices"), 0)
        hidden = isinstance(devices, int) and devices < len(bound)
        unseen: Value = Missing(NO_PERMISSION) if hidden else False
        merged += [
            Reading(names[entity], "gpu.listed", True if entity.pci in full else unseen, "flag", now)
            for entity in on_bus
        ]
    return _with_driver_version(merged)


def placed(gpu: Entity) -> Entity:
    """A GPU with a place of its own, though it told no address: else what it says would be the node's, or another's."""
    return gpu if gpu.pci or gpu.index is None else gpu._replace(pci=without_address(gpu.index))


def _with_driver_version(readings: list[Reading]) -> list[Reading]:
    """Where NVML could not say it, the version of the module that is loaded is the driver's."""
    loaded = next((reading.value for reading in readings if reading.name == "driver.module-version"), None)
    if not isinstance(loaded, str):
        return readings
    return [
        reading._replace(value=loaded)
        if reading.name == "driver.version" and isinstance(reading.value, Missing)
        else reading
        for reading in readings
    ]
