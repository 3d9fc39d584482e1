"""A fleet by the store of its sweeps: the same picture, made of what the last weeks' sweeps said."""

from __future__ import annotations

import argparse
import gc
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from triage.cli.exits import UNREACHABLE, Refused
from triage.fleet import hypotheses
from triage.fleet.changed import Changed, changed
from triage.fleet.model import ANSWERED, Answer
from triage.rulebook.model import Rulebook
from tui.fleet import compose
from tui.fleet.source import FleetSource
from tui.fleet.stored_node import courses
from tui.source import Failed, Snapshot
from tui.sources import Child, readings_in
from tui.trend import PERIOD

Json = dict[str, Any]
EVERY = 60.0
"""Seconds between two looks whether a sweep was added."""


class StoreSource(FleetSource):
    """What is in a store; `address` is None where the environment names it."""

    def __init__(self, address: str | None, shown: str, folder: Path, **more: Any) -> None:
        super().__init__((shown,), folder, every=EVERY, **more)
        self.title = os.path.basename(shown) or shown
        self._address = address

    def asked_with(self) -> list[str]:
        """Return the words that say what a sweep reads; a password stays in the environment."""
        return ["--stored", *([] if self._address is None else [f"--kept-in={self._address}"])]

    def _state(self) -> tuple[str, ...]:
        return (str(int(time.monotonic() // self._every)),)

    def read(self, node: str, paths: Sequence[str], stop: threading.Event) -> Snapshot | Failed:
        """Read what the store knows of a node's GPUs, now and before."""
        until = [] if self.until is None else [f"--until={self.until}"]
        told = Child().run(["stored", *self._common, f"--node={node}", *until, *self.asked_with()], None, stop)
        if isinstance(told, str):
            return Failed(told, time.time())
        return Snapshot(told["report"], time.time(), None, readings_in(told), (), courses(told["past"]))


def sweep(args: argparse.Namespace, rulebook: Rulebook, places: compose.Places, now: float) -> Json:
    """Read the store, write the picture to `args.store`, and return what to print.

    Raises:
        Refused: if the store cannot be read.
    """
    from triage.fleet.condense import condense_for
    from triage.fleet.gather import gather_nodes
    from triage.fleet.store import address, look, read
    from triage.fleet.store.opened import Store
    from triage.fleet.store.trouble import Unusable
    from triage.fleet.testify import find
    from tui.fleet.sweep import mark, show

    guesses = hypotheses.load(rulebook)
    last: dict[str, Answer] = {}
    changes: list[Changed] = []

    def work(connection: Any) -> Any:
        last.clear()
        changes.clear()

        def said() -> Iterator[tuple[str, list[Answer]]]:
            window = read.Window(now - PERIOD, args.until)
            for node, told in read.by_node(connection, window, numbers=True):
                answers = [each.answer for each in told]
                last[node] = next((each for each in reversed(answers) if each.state == ANSWERED), answers[-1])
                changes.extend(changed(answers))
                yield node, [_light(each) for each in answers]

        return gather_nodes(said(), places, condense_for(guesses))

    gc.disable()  # this process ends when the picture is written
    try:
        with Store(address.given(args.kept_in) or "") as store:
            census = look.asked(store, work)
            shown = store.shown
    except Unusable as error:
        raise Refused(str(error), UNREACHABLE) from None
    if not last:
        raise Refused(f"{shown}: no sweep of the last 30 days is in it; gpu-triage fleet sweep --store writes one")
    findings = find(census, guesses)
    changes.sort(key=lambda change: (-change.at, change.node))
    answers = sorted(last.values(), key=lambda answer: answer.node)
    try:
        show(args.store, findings, answers, last, changes, {}, (), rulebook, places, now, mark(rulebook, args.timezone))
    except OSError as error:
        raise Refused(f"the picture of the fleet cannot be written: {error}; set XDG_CACHE_HOME") from error
    return {"nodes": len(last)}


def _light(answer: Answer) -> Answer:
    """An answer without its numbers, which no comparison asks for."""
    return answer._replace(gpus=tuple(part._replace(numbers={}) for part in answer.gpus))
