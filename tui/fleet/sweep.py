"""One reading of a fleet's captures in a process of its own: what changed is read, and a new picture is written.

What is read is what `gpu-triage fleet report` reads, by the same code.  Captures
that did not change since the picture before keep the answer they gave.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triage import __version__
from triage.cli.exits import Refused
from triage.cli.reports import load_rulebook
from triage.fleet import hypotheses, inventory
from triage.fleet.changed import Changed, changed
from triage.fleet.gather import gather
from triage.fleet.model import ANSWERED, Answer, Part
from triage.fleet.read import read_all
from triage.fleet.report import to_fleet_report
from triage.fleet.testify import Findings, find
from triage.report import iso
from triage.rulebook.model import Rulebook
from tui.fleet import compose, picture
from tui.fleet.paths import nodes_of, stamp

Json = dict[str, Any]
SAID_EVERY = 0.25
"""Seconds between two remarks of how far it is, at least."""


def main(args: argparse.Namespace, now: float) -> Json:
    """Read what `args.file` names, write the picture to `args.store`, and return what to print."""
    rulebook = load_rulebook(args.rules, args.overlay)
    places: compose.Places = {}
    if args.inventory is not None:
        try:
            places = inventory.load(args.inventory)
        except inventory.Unusable as error:
            raise Refused(str(error)) from error
    if args.stored:
        from tui.fleet import stored

        return stored.sweep(args, rulebook, places, now)
    paths = nodes_of(args.file)
    if not paths:
        raise Refused(f"{', '.join(args.file)}: nothing in it; give a folder of captures or logs, one for each node")
    answers, read = _read(paths, rulebook, args, now)
    if args.until is not None:
        known = [pair for pair in zip(answers, paths, strict=True) if (pair[0].at or 0.0) <= args.until]
        answers, paths = [answer for answer, _ in known], [path for _, path in known]
    _say(args.progress, f"comparing {len(answers):,} answers")
    try:
        put(args.store, answers, paths, read, rulebook, places, now, mark(rulebook, args.timezone))
    except OSError as error:
        raise Refused(f"the picture of the fleet cannot be written: {error}; set XDG_CACHE_HOME") from error
    return {"nodes": len(answers)}


def mark(rulebook: Rulebook, timezone: float) -> str:
    """Return what an answer depends on beside the capture: one made by other rules is not used again."""
    return f"{rulebook.digest} {__version__} {timezone:g}"


def _read(
    paths: Sequence[str], rulebook: Rulebook, args: argparse.Namespace, now: float
) -> tuple[list[Answer], list[tuple[str, str, bytes]]]:
    known = picture.answers(args.store, mark(rulebook, args.timezone))
    stamps = {path: stamp(path) for path in paths}
    found: dict[str, tuple[Answer, bytes]] = {}
    for path in paths:
        kept = known.get(path)
        if kept is not None and kept[0] == stamps[path]:
            answer = answer_from(kept[1])
            if answer is not None:
                found[path] = answer, kept[1]
    fresh = [path for path in paths if path not in found]
    told = time.monotonic()
    reading = read_all(fresh, rulebook, root=args.rules, overlays=args.overlay, now=now, tz_offset=args.timezone)
    for number, (path, answer) in enumerate(zip(fresh, reading, strict=True), 1):
        found[path] = answer, picture.packed([*answer[:-4], *_plain(answer)])
        if time.monotonic() - told > SAID_EVERY:
            told = time.monotonic()
            _say(args.progress, f"read {number:,} of {len(fresh):,}")
    return [found[path][0] for path in paths], [(path, stamps[path], found[path][1]) for path in paths]


def _plain(answer: Answer) -> list[Any]:
    return [[list(part) for part in answer.gpus], list(answer.incidents), answer.heard, list(answer.notices)]


def answer_from(body: bytes) -> Answer | None:
    """Return the answer that was kept, None if it is none."""
    try:
        *start, gpus, incidents, heard, notices = picture.unpacked(body)
        return Answer(*start)._replace(
            gpus=tuple(Part(*each) for each in gpus),
            incidents=tuple(incidents),
            heard=None if heard is None else (heard[0], heard[1]),
            notices=tuple(notices),
        )
    except (ValueError, TypeError, IndexError):
        return None


def put(
    store: Path,
    answers: Sequence[Answer],
    paths: Sequence[str],
    read: Sequence[tuple[str, str, bytes]],
    rulebook: Rulebook,
    places: compose.Places,
    now: float,
    rules: str,
) -> None:
    """Compare the answers and write the picture; `paths` are where each was read from.

    Raises:
        OSError: if it cannot be written.
    """
    findings = find(gather(answers, places), hypotheses.load(rulebook))
    own: dict[str, list[str]] = {}
    for answer, path in zip(answers, paths, strict=True):
        own.setdefault(answer.node, []).append(path)
    last = compose.latest(answers)
    show(store, findings, answers, last, changed(answers), own, read, rulebook, places, now, rules)


def show(
    store: Path,
    findings: Findings,
    answers: Sequence[Answer],
    last: Mapping[str, Answer],
    changes: Sequence[Changed],
    own: Mapping[str, Sequence[str]],
    read: Sequence[tuple[str, str, bytes]],
    rulebook: Rulebook,
    places: compose.Places,
    now: float,
    rules: str,
) -> None:
    """Write the picture of what was found; `last` is the last answer of each node, `own` the paths it was read from.

    Raises:
        OSError: if it cannot be written.
    """
    strange = sorted({a.node for a in answers if a.state == ANSWERED} - places.keys()) if places else []
    notices = [f"{len(strange)} nodes are not in the inventory: {', '.join(strange[:5])}"] if strange else []
    report = to_fleet_report(findings, answers, rulebook, generated_at=now, notices=notices)
    incidents = compose.by_node(report, last)
    rows = compose.node_rows(last, incidents, places)
    of_node: dict[str, list[Changed]] = {}
    for change in changes:
        of_node.setdefault(change.node, []).append(change)
    told = {
        "made_at": now,
        "newest": max((answer.at for answer in last.values() if answer.at is not None), default=None),
        "complete": report["complete"],
        "map": compose.mapped(rows),
        "notices": report["notices"],
    }
    generated = iso(now) or ""
    picture.write(
        store,
        rules=rules,
        told=told,
        read=read,
        nodes=rows,
        groups=compose.group_rows(incident for each in incidents.values() for incident in each),
        said=compose.said_rows(report),
        details=(
            (node, compose.detail(answer, incidents.get(node, ()), own.get(node, ()), generated, of_node.get(node, ())))
            for node, answer in last.items()
        ),
        changes=compose.change_rows(changes),
        spreads=compose.spread_rows(last.values()),
    )


def _say(path: Path | None, words: str) -> None:
    """Leave a remark where the screens look for it."""
    if path is None:
        return
    scratch = path.with_name(f"{path.name}.new")
    try:
        scratch.write_text(json.dumps(words), encoding="utf-8")
        os.replace(scratch, path)
    except OSError:
        pass  # how far it is, is not worth a sweep
