"""The command line that the modules of `make soak` share: `[TIMES] [SEED]`, a folder of their own, one line to say."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Work = Callable[[Path, int, int], str]
"""Does something so many times in a folder, by chance from a seed on, and returns what is to be said of it.

It raises AssertionError at the first thing that is not as it must be.
"""


def soak(what: str, work: Work, words: Sequence[str] | None = None, *, times: int = 1000) -> None:
    """Let it work as often as the command line says, and print the figures; `what` names what is done so often."""
    words = sys.argv[1:] if words is None else words
    times = int(words[0]) if words else times
    seed = int(words[1]) if len(words) > 1 else int(time.time())
    with tempfile.TemporaryDirectory(prefix="gpu-triage-soak-") as folder:
        began = time.monotonic()
        says = work(Path(folder), times, seed)
        print(f"{times:,} {what} (seed {seed}) in {time.monotonic() - began:.0f} s: {says}")
