"""What every process does first that works for another one: see to it that it does not outlive that one.

A worker of a pool waits for work on a pipe of which it holds both ends, so that it would
wait for ever once who gave it work was killed.
"""

from __future__ import annotations

import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """Have a thread end this process, whatever it is at, as soon as the one that started it is gone."""
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), name="parent", daemon=True).start()


def _watch(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
