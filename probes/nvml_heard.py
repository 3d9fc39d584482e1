"""What a child that asks NVML has told: which GPUs there are, what each said, what it was asked last."""

from __future__ import annotations

import json
from typing import Optional

from probes.model import NOT_SUPPORTED, Entity, Missing, Value
from probes.named import NamedTuple
from probes.nvml_owed import OWED
from probes.nvml_process import asked

UNKNOWN = Missing(NOT_SUPPORTED)
_decoded = json.JSONDecoder().raw_decode


class Gpu(NamedTuple):
    """What has been heard of one GPU; `migs` are the UUIDs and names of its MIG devices."""

    entity: Entity
    values: dict[str, tuple[Value, str, float]]
    migs: dict[int, tuple[Optional[str], Optional[str]]]


class Heard:
    """What the children of one sweep have said so far."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.node: dict[str, tuple[Value, str, float]] = {}
        self.gpus: dict[int, Gpu] = {}
        self.count: Optional[int] = None
        self.done: set[int] = set()
        self.fatal: Optional[tuple[str, str]] = None
        self.start()

    def start(self) -> None:
        """Another child begins."""
        self.ended = False
        self._asked = b"? start-up"

    @property
    def asking(self) -> tuple[Optional[int], str]:
        """Which GPU (None: the node) was asked last, and what."""
        return asked(self._asked)

    def gpu(self, index: int) -> Gpu:
        """Return what was heard of a GPU, by its index."""
        return self.gpus.setdefault(index, Gpu(Entity("gpu", index=index), {}, {}))

    def entity(self, index: Optional[int]) -> Optional[Entity]:
        """Return a GPU as far as it was named; None is for the node."""
        return None if index is None else self.gpu(index).entity

    def take(self, line: bytes) -> bool:
        """Take in one line; true if it opened a new call."""
        if line.startswith(b"?"):  # half of them
            self._asked = line
            return True
        (kind, *words), _ = _decoded(line.decode())  # `loads` looks for an encoding and for blanks besides
        if kind == "read":
            index, at, readings = words
            values = self.node if index is None else self.gpu(index).values
            for reading in readings:
                told = reading[1]
                value = UNKNOWN if told is None else Missing(str(told["missing"])) if isinstance(told, dict) else told
                name, unit = OWED[reading[0]] if len(reading) == 2 else (reading[0], reading[2])
                values[name] = (value, unit, at)
        elif kind == "gpu":
            index, pci, uuid, serial, name = words
            self.gpus[index] = self.gpu(index)._replace(entity=Entity("gpu", pci, uuid, serial, index, name))
        elif kind == "mig":
            gpu, index, uuid, name = words
            self.gpu(gpu).migs[index] = (uuid, name)
        elif kind == "count":
            self.count = int(words[0])
        elif kind == "done":
            self.done.add(words[0])
        elif kind == "fatal":
            self.fatal = (str(words[0]), str(words[1]))
        elif kind == "end":
            self.ended = True
        return False
