"""The last sweeps: those that this machine's history knows, or those of a fleet by their folders."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from probes.moment import moment
from triage.fleet.sweep import entries, manifest
from triage.history.place import Unavailable
from triage.history.store import FILE, open_store, said
from tui.fleet.nodesets import folded

MOST = 500
"""Sweeps that are shown, the latest ones."""
MOST_FOLDERS = 2000
PATIENCE = 0.5
"""Seconds for which another that is writing the history is waited for."""


class Pass(NamedTuple):
    """One sweep: when (epoch seconds), how it went, over how many seconds, what it did not get, and what it told."""

    key: str
    at: float | None
    status: str
    took: float | None
    asked: int | None
    silent: int | None
    says: str
    lines: tuple[str, ...]


def of_history(directory: Path) -> list[Pass]:
    """Return the sweeps of this machine, the latest first.

    Raises:
        Unavailable: if the history cannot be read; with why.
    """
    if not os.path.lexists(directory / FILE):
        return []
    with open_store(directory, now=moment().at, patience=PATIENCE, create=False) as store, said():
        sweeps = store.db.execute("SELECT seq, at, status FROM sweep ORDER BY seq DESC LIMIT ?", (MOST,)).fetchall()
        least = sweeps[-1][0] if sweeps else 0
        told: dict[int, list[tuple[str, str]]] = defaultdict(list)
        for seq, kind, says in store.db.execute(
            "SELECT sweep, kind, says FROM event WHERE sweep >= ? ORDER BY id", (least,)
        ):
            told[seq].append((str(kind), str(says)))
    found = []
    for seq, at, status in sweeps:
        events = told.get(seq, [])
        lines = tuple(f"{kind}: {says}" for kind, says in events) or ("nothing opened, changed or ended",)
        says = "; ".join(says for _, says in events)
        found.append(Pass(f"sweep {seq}", float(at), str(status), None, None, None, says, lines))
    return found


def of_folders(paths: Sequence[str]) -> list[Pass]:
    """Return the sweeps whose folders these are or hold, the latest first; one that cannot be read says why."""
    found = []
    for folder in _folders(paths):
        try:
            told = manifest(folder)
        except ValueError as error:
            found.append(Pass(str(folder), None, "unknown", None, None, None, "cannot be read", (str(error),)))
            continue
        if told is not None:
            found.append(_of(folder, told))
    return sorted(found, key=lambda each: (-(each.at or 0.0), each.key))[:MOST]


def _folders(paths: Sequence[str]) -> Iterable[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            yield path
            inside = sorted(each.path for each in os.scandir(path) if each.is_dir(follow_symlinks=False))
            yield from map(Path, inside[:MOST_FOLDERS])


def _of(folder: Path, told: dict[str, Any]) -> Pass:
    states: dict[tuple[str, str], list[str]] = defaultdict(list)
    slowest: tuple[float, str] | None = None
    for each in entries(told.get("nodes")):
        node, state, reason, took = each["node"], each.get("state"), each.get("reason"), each.get("took")
        if state == "answered":
            if isinstance(took, (int, float)) and (slowest is None or took > slowest[0]):
                slowest = (took, str(node))
        else:
            states[str(state), str(reason or "")].append(str(node))
    asked = told.get("asked")
    number = len(asked) if isinstance(asked, list) else None
    silent = sum(map(len, states.values()))
    begun, ended = told.get("began_at"), told.get("ended_at")
    took = ended - begun if isinstance(begun, (int, float)) and isinstance(ended, (int, float)) else None
    complete = told.get("complete") is True
    lines = [f"{state} {folded(nodes)}: {reason}" for (state, reason), nodes in sorted(states.items())]
    if slowest is not None:
        lines.append(f"the slowest answer: {slowest[1]}, {slowest[0]:.1f} s")
    lines.append("asked with: " + json.dumps({name: told[name] for name in ("via", "deadline", "set") if name in told}))
    status = "interrupted" if not complete else "partial" if silent else "ok"
    says = str(told.get("set") or folder.name)
    at = float(begun) if isinstance(begun, (int, float)) else None
    return Pass(str(folder), at, status, took, number, silent, says, tuple(lines))


def passes(directory: Path | None, given: Sequence[str]) -> tuple[list[Pass], str]:
    """Return the sweeps of a fleet's folders or, without any, of this machine's history; and why there are none."""
    if given:
        return of_folders(given), "no folder here is of a sweep; gpu-triage fleet sweep makes one"
    if directory is None:
        return [], "no history is kept or shown here"
    try:
        return of_history(directory), "no sweep is remembered; gpu-triage check makes one"
    except Unavailable as error:
        return [], str(error)
