"""What an input holds besides the lines of a kernel log: counters, facts, whose node it was, and when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from probes.model import Missing, Reading, Source

NOT_SHOWN = "error:not-in-nvidia-smi"
"""The reason of a value that nvidia-smi did not print: another part was asked for (-d), or it never prints it."""


class Found:
    """Filled by whoever reads the input.

    `origin` names the input.  `sources` are told besides that of the kernel
    log, or instead of it where `whole` is set.  `node` and `taken_at` (epoch
    seconds) say of which machine and moment the readings are, `rulebook` by which
    rules (their digest) they were judged then, `history` what was asked of the
    node's history and answered (`triage.recorded`), None if there was none.
    """

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.readings: list[Reading] = []
        self.sources: list[Source] = []
        self.notices: list[str] = []
        self.node: str | None = None
        self.taken_at: float | None = None
        self.rulebook: str | None = None
        self.history: dict[str, Any] | None = None
        self.whole = False

    def add(self, kind: str, readings: Sequence[Reading], reason: str | None = None) -> None:
        """Take readings of one kind, and tell of their source; without any, the reason why it is not readable."""
        self.readings += readings
        at = self.taken_at
        self.sources.append(
            Source(kind, self.origin, bool(readings), at, at, len(readings), reason=reason if not readings else None)
        )


def together(all_found: Sequence[Found]) -> tuple[list[Reading], list[str]]:
    """Return the readings of the one node that all are about, the newest of each, and what must be said.

    Readings of two nodes would speak of one GPU where there are two, so those
    of another node than the first are left out.
    """
    told = [found for found in all_found if found.readings]
    nodes = list(dict.fromkeys(found.node for found in told if found.node is not None))
    notices: list[str] = []
    if len(told) == 1:
        return told[0].readings, notices
    if len(nodes) > 1:
        others = ", ".join(found.origin for found in told if found.node not in (None, nodes[0]))
        notices.append(
            f"{others}: of another node than {nodes[0]}, so its readings were left out;"
            " explain it by itself, or ask `gpu-triage fleet report`"
        )
        told = [found for found in told if found.node in (None, nodes[0])]
    newest: dict[tuple[object, ...], Reading] = {}
    for found in told:
        for reading in found.readings:
            entity = reading.entity
            place: object = entity.pci or entity.uuid or entity.index
            if entity.kind == "mig":  # several at the address of one GPU
                place = (entity.pci, entity.index)
            key = (entity.kind, place, None if entity.pci else entity.name, reading.name)
            old = newest.get(key)
            if old is None or (reading.at >= old.at and not _says_less(reading, old)):
                newest[key] = reading
    return list(newest.values()), notices


def _says_less(reading: Reading, old: Reading) -> bool:
    """Whether a part of what a tool can print lacks what another part has."""
    return isinstance(reading.value, Missing) and reading.value.reason == NOT_SHOWN and reading.value != old.value
