"""The screens from the first to the last: set up once, run until they are left, and what went wrong is raised."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress

from tui.app import Rulebooks, TriageApp
from tui.look import Look
from tui.people import People
from tui.source import Source

SETTLED = 2.0
"""Seconds after which the first screen stands."""


def run(
    source: Source,
    look: Look,
    load: Rulebooks,
    people: People | None = None,
    keymap: Mapping[str, str] | None = None,
) -> None:
    """Open the screens and return when they are left.

    Raises:
        Exception: what went wrong in them, if anything did; the terminal is as it was before.
    """
    app = TriageApp(source, look, load, people=people, keymap=keymap)

    async def until_left() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            with suppress(NotImplementedError, ValueError):
                loop.add_signal_handler(number, app.exit)
        loop.call_later(SETTLED, gc.freeze)  # of the first screen most stays too
        await app.run_async()

    # What is loaded by now stays; looking through it again and again for garbage would hold up a key by 50 ms.
    gc.freeze()
    # A key waits for whatever thread computes to give way, several times; usually that is 5 ms each.
    sys.setswitchinterval(0.0005)
    asyncio.run(until_left())
    if app.fault is not None:
        raise app.fault
