"""Copying and writing files, for a person on the far side of SSH.

A copy goes to the terminal as OSC 52, which most terminals and tmux hand on to
the clipboard, though none says whether it did.  So the text is also kept in a
private file, and its path is told.
"""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path

MOST_OSC52 = 74_994
"""Bytes that may be copied through the terminal; xterm and tmux take 100,000 characters of base64 and no more."""


def osc52(text: str) -> str | None:
    """Return the sequence that puts text on the terminal's clipboard, None if it is too long for that."""
    data = text.encode("utf-8", "replace")
    if len(data) > MOST_OSC52:
        return None
    return f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}\a"


def keep(text: str) -> Path:
    """Write text to a private file of this user and return its path; the next copy replaces it.

    Raises:
        OSError: if it cannot be written, or the folder is not this user's own.
    """
    root = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(root) / f"gpu-triage-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or not folder.is_dir() or folder.is_symlink():
        raise OSError(f"{folder} is not a private folder of this user")
    path = folder / "copied.txt"
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(opened, "w", encoding="utf-8", errors="replace") as file:
        file.write(text if text.endswith("\n") else text + "\n")
    return path


def write_new(path: Path, text: str) -> None:
    """Write text to a file that is not there yet.

    Raises:
        OSError: if it cannot be written or is there.
    """
    with open(path, "x", encoding="utf-8", errors="replace") as file:
        file.write(text)
