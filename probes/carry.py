"""What a node on which nothing is installed runs: read all, print one capture, leave nothing behind.

The capture goes to standard output in base64 between two marks, so that what
a login shell prints around it does no harm.  It has a process name of its own,
which its child that asks NVML keeps: where such a child of an earlier run still
hangs in the driver, NVML is not asked, so that none joins it.
"""

from __future__ import annotations

import base64
import io
import os
import sys
import time
from typing import BinaryIO

from probes import captured, host, kernel_log, node, raw
from probes.model import NODE, TIMED_OUT, LogRecord, Missing, Reading, Source

BEGIN = "GPU-TRIAGE-CAPTURE"
END = "GPU-TRIAGE-END"
FAILED = "GPU-TRIAGE-FAILED"
"""The marks: each stands alone on its line, `FAILED` with a word and a reason behind it."""

COMM = "gpu-triage-node"
"""At most 15 bytes, which is what the kernel keeps of a process name (TASK_COMM_LEN)."""
MOST_RECORDS = 32 << 20
"""Bytes of kernel records that travel; of more the newest do.  They pack 10 to 40 times smaller."""
FILES_SHARE = 0.1
"""Share of the time that copying small files may take."""
LINE = 6000
"""Bytes of a capture on a line: a multiple of three, so that the lines can be decoded together."""


def main(seconds: float, version: str, out: BinaryIO) -> None:
    """Read this node for at most so many seconds and print its capture.

    Args:
        seconds: time there is.
        version: that of the program that asks.
        out: where it is printed.
    """
    began = time.time()
    hanging = _hanging()
    _be_called(COMM)
    if hanging:
        readings, records, sources = _without_nvml(seconds, hanging)
    else:
        told, log, sources = node.probe(seconds * (1 - FILES_SHARE))
        readings, records = told, list(log)
    devices = {reading.entity.pci for reading in readings if reading.entity.pci is not None}
    capture = captured.Capture(
        taken_at=began,
        node=host.node_name(),
        tool_version=version,
        rulebook="",  # there are none here
        readings=readings,
        records=records,
        sources=sources,
        files=raw.copies(devices, seconds * FILES_SHARE),
        private=raw.private_names(),
    )
    packed = io.BytesIO()
    captured.write(capture, packed, most=MOST_RECORDS)
    out.write(framed(packed.getvalue()))
    out.flush()


def framed(capture: bytes) -> bytes:
    """Return a capture as it travels."""
    lines = (base64.b64encode(capture[at : at + LINE]) for at in range(0, len(capture), LINE))
    return b"\n".join((BEGIN.encode(), *lines, END.encode(), b""))


def _be_called(name: str) -> None:
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as file:
            file.write(name)
    except OSError:
        print(f"gpu-triage: the process could not be named {name}", file=sys.stderr)


def _hanging() -> list[int]:
    """The children of earlier runs that sleep uninterruptibly; reading their name and state waits for none."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                stat = file.read(512)
        except OSError:
            continue
        name, _, rest = stat.partition(b"(")[2].rpartition(b") ")
        if name == COMM.encode() and rest[:1] == b"D":
            found.append(int(pid))
    return found


def _without_nvml(seconds: float, hanging: list[int]) -> tuple[list[Reading], list[LogRecord], list[Source]]:
    records, log = kernel_log.read_boot(seconds / 2)
    readings, machine = host.probe(seconds / 2)
    now = time.time()
    reason = (
        f"process {hanging[0]} of an earlier sweep still hangs in the driver; no other was started beside it; "
        "reset the GPU or reboot the node"
    )
    readings.append(Reading(NODE, "nvml.sweep", Missing(TIMED_OUT), "text", now))
    return readings, records, [log, Source("nvml", "libnvidia-ml.so.1", False, now, now, reason=reason), machine]
