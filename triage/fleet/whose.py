"""Whether folders hold the captures of several nodes: told from how they begin, without reading them."""

from __future__ import annotations

import json
import os
import stat
import zlib
from collections.abc import Sequence

from triage.capture import begins_capture

MOST = 64 << 10
"""Unpacked bytes that are looked at; a manifest is far shorter."""


def of_several(paths: Sequence[str]) -> bool:
    """Return whether these files and folders hold captures of more than one node."""
    nodes: set[str] = set()
    for path in paths:
        try:
            entries = [os.path.join(path, name) for name in sorted(os.listdir(path))] if os.path.isdir(path) else [path]
        except OSError:
            continue  # whoever reads it says why
        for entry in entries:
            node = node_of(entry)
            if node is not None:
                nodes.add(node)
                if len(nodes) > 1:
                    return True
    return False


def node_of(path: str) -> str | None:
    """Return the node that a capture was taken of, None if it is none or does not say."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as file:
            first = file.read(MOST)
        if first[:2] == b"\x1f\x8b":
            first = zlib.decompressobj(31).decompress(first, MOST)
        if not begins_capture(first):
            return None
        told = json.loads(first[512 : 512 + int(first[124:136].strip(b"\0 ") or b"0", 8)])
    except (OSError, ValueError, zlib.error, RecursionError):
        return None
    node = told.get("node") if isinstance(told, dict) else None
    return node if isinstance(node, str) and node else None
