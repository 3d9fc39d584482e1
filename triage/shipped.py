"""Files that travel with the program and are no part of it: units, logs of the demo."""

from __future__ import annotations

from pathlib import Path


def shipped(name: str) -> Path:
    """Return where a folder of such files stands: within the package, or beside it in a checkout."""
    installed = Path(__file__).resolve().parent / name
    return installed if installed.is_dir() else installed.parents[1] / name
