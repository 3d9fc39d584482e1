"""`nvidia-smi -q` as text, alone or with other text around it.

The output is a tree by indentation.  What stands around it is not lost: those
lines are handed on, so that a paste of `nvidia-smi -q` and `dmesg` is both.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterable, Iterator

from probes.model import Reading
from probes.named import NamedTuple
from probes.pci import normal_address
from triage.sections import smi

MOST_GPUS = 256
MOST_FIELDS = 4000
"""Fields of one GPU; supported clocks and processes make it long."""
MOST_LINES = 500_000

BANNER = re.compile(rb"^[ \t>|]*={4,}NVSMI LOG={4,}\s*$", re.M)
_GPU = re.compile(r"GPU ((?:[0-9A-Fa-f]{4,8}:)[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])\s*\Z")
_TOP = re.compile(r"[A-Z][A-Za-z ]{2,80} : ?")
_STAMP = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d) (\d{4})\Z")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Gpu(NamedTuple):
    """One GPU's block: its address as printed, its fields by path, and how many processes were listed."""

    address: str
    fields: dict[str, str]
    processes: list[int]


class Log:
    """The blocks that were read so far: feed lines, then ask for the readings.

    Of a GPU that is printed again (`nvidia-smi -q -l`) the last counts.
    """

    def __init__(self) -> None:
        self.node: dict[str, str] = {}
        self.gpus: dict[str, Gpu] = {}
        self.repeated = 0
        self.inside = False
        self._indent = 0
        self._gpu: Gpu | None = None
        self._stack: list[tuple[int, str]] = []
        self._lines = 0

    def feed(self, raw: bytes) -> bool:
        """Take a line; false if it does not belong to the output."""
        if BANNER.match(raw):
            self.inside, self._gpu, self._stack = True, None, []
            self._indent = len(raw) - len(raw.lstrip(b" \t>|"))
            return True
        if not self.inside:
            return False
        line = raw[self._indent : 4096].decode("utf-8", "replace").expandtabs(4).rstrip()
        if not line:
            return True
        self._lines += 1
        found = _GPU.match(line)
        if found:
            self._open(found[1])
            return True
        if (line[0] != " " and not _TOP.match(line)) or self._lines > MOST_LINES:
            self.inside = False
            return False
        self._take(line)
        return True

    def taken_at(self, tz_offset: float) -> float | None:
        """When it was printed, in epoch seconds; its stamp names no zone."""
        return stamp(self.node.get("timestamp", ""), tz_offset)

    def readings(self, at: float) -> list[Reading]:
        """All readings of the node and its GPUs."""
        readings = smi.node_readings(self.node, at)
        for index, gpu in enumerate(self.gpus.values()):
            known = gpu.processes[0] if gpu.processes[0] or gpu.fields.get("processes") == "None" else None
            readings += smi.gpu_readings(gpu.fields, gpu.address, index, known, at)
        return readings

    def _open(self, address: str) -> None:
        key = normal_address(address) or address
        self._stack = []
        if key in self.gpus:
            self.repeated += 1
        elif len(self.gpus) >= MOST_GPUS:
            self._gpu = None
            return
        self._gpu = self.gpus[key] = Gpu(address, {}, [0])

    def _take(self, line: str) -> None:
        indent = len(line) - len(line.lstrip(" "))
        name, colon, value = line.strip().partition(" :")
        name = " ".join(name.lower().split())
        while self._stack and self._stack[-1][0] >= indent:
            self._stack.pop()
        path = "/".join([*(section for _, section in self._stack), name])
        if len(self._stack) < 16:
            self._stack.append((indent, name))
        gpu = self._gpu
        if gpu is None:
            if colon and len(self.node) < MOST_FIELDS:
                self.node[path] = value.strip()
            return
        if name == "process id" and path.startswith("processes"):
            gpu.processes[0] += 1
        elif colon and len(gpu.fields) < MOST_FIELDS and not path.startswith("processes/"):
            gpu.fields.setdefault(path, value.strip())


def stamp(text: str, tz_offset: float) -> float | None:
    """`Tue Nov 12 09:48:31 2024` as epoch seconds, `tz_offset` seconds east of UTC."""
    found = _STAMP.match(text.strip())
    if not found or found[1] not in _MONTHS:
        return None
    month, day, *clock = found.groups()
    hour, minute, second, year = map(int, clock)
    if hour > 23 or minute > 59 or second > 60 or not 0 < int(day) < 32 or year < 1970:
        return None
    return timegm((year, _MONTHS.index(month) + 1, int(day), hour, minute, second)) - tz_offset


def around(raw: Iterable[bytes], log: Log) -> Iterator[bytes]:
    """Yield the lines with those of the output made empty, so that line numbers stay right."""
    for line in raw:
        yield b"" if log.feed(line) else line
