"""One sweep in a process of its own: `python -m tui.sweep node|logs|fleet|stored ...` prints one JSON object and ends.

Reading a node can hang in the driver and reading a log can take minutes of
pure computation; in a process of its own neither can hold up a key, and it can
be killed.  It prints `{"report": ..., "readings": [...], "rows": [...]}` (a fleet
writes its picture instead, `tui.fleet.sweep`; a store's node has a past as well,
`tui.fleet.stored_node`) or `{"refused": "why"}`.  Nothing here loads a terminal library.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from probes.model import Entity, LogRecord, Missing, Reading
from triage.cli.exits import Refused
from triage.cli.reports import from_logs, from_node, load_rulebook

MOST_ROWS = 200_000
"""Records of the live kernel log that are kept for the log screen, the newest."""


def main(words: Sequence[str]) -> None:
    """Sweep and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("node", "logs", "fleet", "stored"))
    parser.add_argument("--file", action="append", default=[])
    parser.add_argument("--rules", type=Path)
    parser.add_argument("--overlay", type=Path, action="append", default=[])
    parser.add_argument("--now", type=float)
    parser.add_argument("--timezone", type=float, default=0.0)
    parser.add_argument("--deadline", type=float, default=16.0)
    parser.add_argument("--spool", type=Path)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--inventory", type=Path)
    parser.add_argument("--progress", type=Path)
    parser.add_argument("--until", type=float)
    parser.add_argument("--stored", action="store_true")
    parser.add_argument("--kept-in")
    parser.add_argument("--node")
    parser.add_argument("--parent", type=int)
    args = parser.parse_args(words)
    if args.parent is not None:
        threading.Thread(target=_end_with, args=(args.parent,), daemon=True).start()
    now = time.time() if args.now is None else args.now
    if args.what != "node":
        os.nice(10)  # minutes of computing must not hold up a key where there are few processors
    try:
        if args.what == "fleet":
            from tui.fleet import sweep

            told = sweep.main(args, now)
        elif args.what == "stored":
            from tui.fleet import stored_node

            told = stored_node.main(args, now)
        elif args.what == "node":
            told = _node(load_rulebook(args.rules, args.overlay), args)
        else:
            told = _logs(load_rulebook(args.rules, args.overlay), now, args.file, args.timezone, args.spool)
    except Refused as refused:
        told = {"refused": refused.message}
    json.dump(told, sys.stdout, allow_nan=False)


def _end_with(parent: int) -> None:
    """End when the screens are gone, however they went: nobody reads a sweep that outlives them."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _logs(rulebook: Any, now: float, files: Sequence[str], timezone: float, folder: Path | None) -> dict[str, Any]:
    readings: list[Reading] = []
    report = from_logs(rulebook, files, now=now, tz_offset=timezone, readings=readings)
    told: dict[str, Any] = {"report": report, "readings": [pack(reading) for reading in readings]}
    if folder is not None:
        from tui.captured import spooled

        told["logs"] = list(spooled(files, folder))
    return told


def _node(rulebook: Any, args: argparse.Namespace) -> dict[str, Any]:
    readings: list[Reading] = []
    logs: dict[str, deque[LogRecord]] = {}

    def keep(record: LogRecord) -> None:
        logs.setdefault(record.origin, deque(maxlen=MOST_ROWS)).append(record)

    report = from_node(
        rulebook,
        now=args.now,
        deadline=args.deadline,
        state_dir=args.state,
        rehearsed=True,
        readings=readings,
        records=keep,
    )
    told: dict[str, Any] = {"report": report, "readings": [pack(reading) for reading in readings]}
    if args.spool is not None:
        told["logs"] = [
            (origin, str(path), write_spool(path, records))
            for number, (origin, records) in enumerate(logs.items())
            for path in [args.spool.with_name(f"{args.spool.name}-{number}.log")]
        ]
    return told


def write_spool(path: Path, records: Iterable[LogRecord]) -> list[tuple[int, int]]:
    """Write the records as text, readable by the owner alone; return (line, row) of each, rows from zero."""
    rows: list[tuple[int, int]] = []
    row = 0
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(opened, "w", encoding="utf-8", errors="replace", newline="\n") as file:
        for record in records:
            rows.append((record.line, row))
            lines = [_stamped(record), *record.message.split("\n")[1:]]
            file.writelines(f"{line}\n" for line in lines)
            row += len(lines)
    return rows


def _stamped(record: LogRecord) -> str:
    """The first line with a time that a person can read; raw records of /dev/kmsg have none."""
    first = record.message.partition("\n")[0]
    if record.at is None:
        return record.text or first
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.at))
    who = "kernel" if record.kernel or record.identifier is None else record.identifier
    return f"{moment}.{int(record.at % 1 * 1000):03d}Z {who}: {first}"


def pack(reading: Reading) -> list[Any]:
    """Return a reading as JSON values."""
    value: Any = reading.value
    if isinstance(value, Missing):
        value = {"missing": value.reason}
    elif isinstance(value, float) and not abs(value) < float("inf"):
        value = {"missing": "error:not-finite"}
    return [list(reading.entity), reading.name, value, reading.unit, reading.at]


def unpack(told: Sequence[Any]) -> Reading:
    """Return the reading that `pack` packed."""
    entity, name, value, unit, at = told
    if isinstance(value, dict):
        value = Missing(str(value.get("missing")))
    return Reading(Entity(*entity), name, value, unit, at)


if __name__ == "__main__":
    main(sys.argv[1:])
