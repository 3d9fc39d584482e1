"""The kernel log of this machine, emptied of what earlier tests wrote there."""

from __future__ import annotations

import os
import random

KMSG = "/dev/kmsg"
MOST = 200_000
_LINE = b"<6>usb 1-1: new high-speed USB device, a line that means nothing and fills the ring buffer of the kernel\n"


def address() -> str:
    """Return a PCI address that nobody else writes of to the kernel log."""
    return f"{random.randrange(0x1000, 0xFFFF):04x}:{random.randrange(256):02x}:{random.randrange(32):02x}"


def oldest() -> int:
    """Return the sequence number of the oldest record."""
    fd = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return int(os.read(fd, 8192).split(b",")[1])
    finally:
        os.close(fd)


def newest() -> int:
    """Write a line and return its sequence number."""
    fd = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.lseek(fd, 0, os.SEEK_END)
        write(_LINE)
        return int(os.read(fd, 8192).split(b",")[1])
    finally:
        os.close(fd)


def write(line: bytes) -> None:
    """Write one line; each by a descriptor of its own, for the kernel limits how many one may write at once."""
    fd = os.open(KMSG, os.O_WRONLY)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


def flush() -> None:
    """Push everything that is there now out of the ring."""
    until, written = newest(), 0
    while oldest() <= until and written < MOST:
        for _ in range(500):
            write(_LINE)
        written += 500
