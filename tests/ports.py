"""Ports for those that cannot be told to choose one themselves."""

from __future__ import annotations

import contextlib
import random
import socket
from pathlib import Path

LOWEST = 10_000
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_given: set[int] = set()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port on which nobody listens, at no address, and which is none that the kernel gives to who connects.

    Of those one may be given away before it is used, or to the very one who tries whether somebody listens there.
    """
    given_away = int(_RANGE.read_text().split()[0])
    for _ in range(1000):
        port = random.randrange(LOWEST, max(given_away, LOWEST + 1000))
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, kind) as probe:
            probe.bind(("", port))
            if port not in _given:
                _given.add(port)
                return port
    raise AssertionError("no port is free")
