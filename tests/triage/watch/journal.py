"""Journal files as journald writes them, made from text by systemd's own program."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.needed import missing

REMOTE = "/lib/systemd/systemd-journal-remote"


def write(folder: Path, boot: str, texts: Sequence[str], *, since: float) -> None:
    """Write kernel records of one boot, a second apart."""
    if not os.access(REMOTE, os.X_OK):
        missing(f"{REMOTE} is missing; install the Debian package systemd-journal-remote")
    folder.mkdir(exist_ok=True)
    entries = [
        "\n".join(
            (
                f"__REALTIME_TIMESTAMP={int((since + number) * 1e6)}",
                f"__MONOTONIC_TIMESTAMP={int((100 + number) * 1e6)}",
                f"_BOOT_ID={boot}",
                "_TRANSPORT=kernel",
                "PRIORITY=3",
                "SYSLOG_FACILITY=0",
                "SYSLOG_IDENTIFIER=kernel",
                f"_SOURCE_MONOTONIC_TIMESTAMP={int((100 + number) * 1e6)}",
                "_HOSTNAME=gpu-node-001",
                f"_MACHINE_ID={uuid.UUID(int=7).hex}",
                f"MESSAGE={text}",
            )
        )
        for number, text in enumerate(texts)
    ]
    made = folder / f"{boot}.journal"
    subprocess.run([REMOTE, "-o", made, "-"], input="\n\n".join(entries) + "\n\n", text=True, check=True)


def yesterday() -> float:
    """Return when the last boot ended."""
    return time.time() - 3600
