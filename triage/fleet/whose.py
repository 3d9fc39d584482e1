"""Whether files and folders are of one node or of several: told from how they begin, without reading them.

A capture says whose it is, and so do most lines of syslog and the journal.  A
folder of logs that name no host is taken for one node's if a file in it is
called as the logs of one machine are, and for one log a node otherwise.
"""

from __future__ import annotations

import json
import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence

from triage.capture import begins_capture
from triage.folders import One, plan

MOST = 64 << 10
"""Unpacked bytes of a file that are looked at."""
SWEEP = "sweep.json"
"""The file by which the folder of a sweep is known (see `triage.fleet.sweep`)."""
LOOKED_AT = 200
"""Entries of a folder that are looked at."""
_OF_ONE = re.compile(r"(?:kern|syslog|messages|dmesg|journal|system|boot|console|vmcore|fabricmanager)\b")
"""How the logs of one machine are named: a folder with such is that machine's."""
_NOBODY = ("localhost", "")


def captures_of_several(paths: Sequence[str]) -> bool:
    """Return whether these files and folders hold captures of more than one node, or are what a sweep left.

    A sweep in which one node answered, or none, was of a fleet too: who was silent is what it tells.
    """
    if any(os.path.isfile(os.path.join(path, SWEEP)) for path in paths):
        return True
    return _differ(node_of(entry) for path in paths for entry in (_entries(path) if os.path.isdir(path) else [path]))


def logs_of_several(folder: str) -> bool:
    """Return whether a folder holds the logs of several nodes: a file, or a folder of files, for each."""
    entries = _entries(folder)
    names = [os.path.basename(entry) for entry in entries]
    if len(entries) < 2 or "sos_commands" in names:
        return False
    hosts = [host for entry in entries[:LOOKED_AT] if (host := _host_of_any(entry)) is not None]
    if hosts:
        return _differ(iter(hosts))
    try:
        alone = all(isinstance(item, One) for item in plan(folder)) and all(map(os.path.isfile, entries))
    except OSError:
        return False
    return alone and not any(map(_OF_ONE.match, names))


def node_of(path: str) -> str | None:
    """Return the node that a capture was taken of, None if it is none or does not say."""
    first = _beginning(path)
    if not begins_capture(first):
        return None
    try:
        told = json.loads(first[512 : 512 + int(first[124:136].strip(b"\0 ") or b"0", 8)])
    except (ValueError, RecursionError):
        return None
    node = told.get("node") if isinstance(told, dict) else None
    return node if isinstance(node, str) and node else None


def host_of(path: str) -> str | None:
    """Return the host that the first lines of a log name, without its domain; None if they name none."""
    from probes.records import parse_lines

    first = _beginning(path)
    if begins_capture(first):
        return node_of(path)
    for record in parse_lines(first.splitlines(), origin=path, year_hint=0.0):
        host = (record.host or "").partition(".")[0]
        if host not in _NOBODY:
            return host
    return None


def _host_of_any(entry: str) -> str | None:
    """Return the host of a file, or of the first file of a folder that names one."""
    files = [path for path in _entries(entry) if os.path.isfile(path)][:10] if os.path.isdir(entry) else [entry]
    return next((host for path in files if (host := host_of(path)) is not None), None)


def _entries(folder: str) -> list[str]:
    try:
        return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    except OSError:
        return []  # whoever reads it says why


def _differ(names: Iterator[str | None]) -> bool:
    known = (name for name in names if name is not None)
    first = next(known, None)
    return any(name != first for name in known)


def _beginning(path: str) -> bytes:
    """Return how a file begins, unpacked if it is gzip; nothing of what is no file or cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with open(path, "rb") as file:
            first = file.read(MOST)
        return zlib.decompressobj(31).decompress(first, MOST) if first[:2] == b"\x1f\x8b" else first
    except (OSError, zlib.error):
        return b""
