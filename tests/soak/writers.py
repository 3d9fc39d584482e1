"""Processes that write and acknowledge what they wrote on a pipe, until they are killed."""

from __future__ import annotations

import os
import select
import signal
import struct
import time
from collections.abc import Callable, Sequence

ACK = struct.Struct("<qq")
"""What a writer puts on its pipe for each thing it has written: two numbers."""

Acks = list[tuple[int, int]]


def killed(works: Sequence[Callable[[int], None]], seconds: float) -> list[Acks]:
    """Let each work in a process of its own, told its pipe, until all are killed; return what each acknowledged."""
    children: list[tuple[int, int]] = []
    for work in works:
        reader, ack = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            try:
                work(ack)
            finally:
                os._exit(1)
        os.close(ack)
        children.append((pid, reader))
    time.sleep(seconds)
    for pid, _ in children:
        os.kill(pid, signal.SIGKILL)
    acks: list[Acks] = []
    for pid, reader in children:
        os.waitpid(pid, 0)
        data = b""
        while select.select([reader], [], [], 0)[0] and (more := os.read(reader, 65536)):
            data += more
        os.close(reader)
        acks.append(list(ACK.iter_unpack(data[: len(data) // ACK.size * ACK.size])))
    return acks
