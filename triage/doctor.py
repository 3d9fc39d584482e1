"""What this program itself needs beside the sources of the node: its state, its rules, its terminal.

Read-only: nothing is made, not even the state directory.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from probes.access_node import ABSENT, PARTLY, READABLE, UNREADABLE, Access
from triage.history.place import Unavailable, fault
from triage.history.schema import APPLICATION, VERSION

Json = dict[str, Any]

FILE = "history.db"
_HEADER = struct.Struct(">60xI4xI")
"""Bytes 60 and 68 of an SQLite file: its user version and application id."""


def state(directory: Path) -> Access:
    """Say whether the history can be kept in this directory."""
    what = str(directory)
    if not os.path.lexists(directory):
        parent = next(path for path in directory.parents if os.path.lexists(path))
        if os.access(parent, os.W_OK | os.X_OK):
            return Access("history", READABLE, True, what, "no sweep was written yet", "gpu-triage check")
        why = f"it is not there, and {parent} cannot be written"
        return Access("history", UNREADABLE, True, what, why, _own(directory))
    problem = fault(directory)
    if problem is not None:
        why, _, remedy = problem.partition("; ")
        return Access("history", UNREADABLE, True, what, why, remedy or "name another --state-dir")
    if not os.access(directory, os.W_OK | os.X_OK):
        return Access("history", UNREADABLE, True, what, "it cannot be written", _own(directory))
    aside = sorted(path.name for path in directory.glob(f"{FILE}.*-*Z*") if not path.name.endswith(("-wal", "-shm")))
    return _file(directory / FILE, aside)


def _file(path: Path, aside: Sequence[str]) -> Access:
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            return Access("history", UNREADABLE, True, str(path), "it is not a plain file", f"move {path} away")
        with path.open("rb") as file:
            head = file.read(100)
    except FileNotFoundError:
        return Access("history", READABLE, True, str(path), "no sweep was written yet", "gpu-triage check")
    except OSError as failure:
        return Access("history", UNREADABLE, True, str(path), (failure.strerror or "").lower(), _own(path))
    what = f"{path}, {max(1, found.st_size >> 10)} KiB"
    if head:
        if len(head) < _HEADER.size or not head.startswith(b"SQLite format 3\0"):
            return Access("history", UNREADABLE, True, what, "it is no SQLite file", "gpu-triage check sets it aside")
        version, owner = _HEADER.unpack_from(head)
        if owner != APPLICATION:
            why = "it is not one of gpu-triage"
            return Access("history", UNREADABLE, True, what, why, "gpu-triage check sets it aside")
        if version > VERSION:
            why = f"it is of version {version}, and this program knows {VERSION}"
            return Access("history", UNREADABLE, True, what, why, "update gpu-triage, or name another --state-dir")
    if aside:
        why = f"{len(aside)} damaged file{'' if len(aside) == 1 else 's'} set aside, the last {aside[-1]}"
        return Access("history", READABLE, True, what, why, "look at it, then remove it")
    return Access("history", READABLE, True, what)


def _own(path: Path) -> str:
    return f"run as root, name another --state-dir, or chown {path}"


def rules(root: Path | None, overlays: Sequence[Path]) -> list[Access]:
    """Say whether the rulebook is valid, and each folder of site rules."""
    from triage.rulebook.load import load
    from triage.rulebook.problems import RulebookError

    lint = "gpu-triage rules lint"
    where = "built in" if root is None else str(root)
    try:
        book = load(root)
    except RulebookError as error:
        first = str(error).partition("\n")[0]
        return [Access("rules", UNREADABLE, True, where, first, lint)]
    found = [Access("rules", READABLE, True, f"{where}, {len(book.rules)} rules, {book.digest[:12]}")]
    if not overlays:
        found.append(Access("site-rules", ABSENT, False, "no folder of site rules"))
        return found
    named = ", ".join(map(str, overlays))
    try:
        with_site = load(root, overlays)
    except RulebookError as error:
        found.append(Access("site-rules", UNREADABLE, True, named, str(error).partition("\n")[0], lint))
        return found
    notices = [notice for notice in with_site.notices if notice not in book.notices]
    if notices:
        found.append(Access("site-rules", PARTLY, False, named, notices[0], lint))
    else:
        more = len(with_site.rules) - len(book.rules)
        found.append(Access("site-rules", READABLE, False, f"{named}, {more} rule{'' if more == 1 else 's'} more"))
    return found


def alerts(directory: Path, now: float, path: Path | None = None) -> Access:
    """Say whether who is to be alerted can be, as far as is known without alerting anybody."""
    from triage.alert import config, waiting
    from triage.alert.secret import Unreadable
    from triage.rulebook.problems import RulebookError

    path = path or config.standard_file()
    if path is None:
        return Access("alerts", ABSENT, False, str(config.SYSTEM), "nobody is alerted", "see docs/alerts.md")
    try:
        targets = config.load(path)
    except RulebookError as error:
        return Access("alerts", UNREADABLE, False, str(path), str(error).partition("\n")[0], "mend the file")
    what = f"{path}: {', '.join(f'{target.name} ({target.kind})' for target in targets)}"
    for target in targets:
        try:
            target.secrets()
        except Unreadable as error:
            return Access("alerts", PARTLY, False, what, f"target {target.name}: {error}", "gpu-triage alert test")
    try:
        told = waiting.report(directory, targets, os.uname().nodename, now)
    except Unavailable as error:
        return Access("alerts", UNREADABLE, False, what, str(error), "gpu-triage doctor as root, or move the file away")
    late = [line for line in told["targets"] if line["why"]]
    if late:
        why = f"{late[0]['waiting']} wait for {late[0]['target']} since {late[0]['oldest']}: {late[0]['why']}"
        return Access("alerts", PARTLY, False, what, why, "gpu-triage alert queue")
    if told["refused"]:
        last = told["refused"][-1]
        why = f"{len(told['refused'])} refused, the last by {last['target']}: {last['why']}"
        return Access("alerts", PARTLY, False, what, why, "mend it, then gpu-triage alert retry")
    return Access("alerts", READABLE, False, what)


def terminal(environ: Mapping[str, str], is_terminal: bool, encoding: str) -> Access:
    """Say whether the screens can be drawn here, and in what."""
    term = environ.get("TERM", "")
    if not is_terminal:
        return Access("terminal", ABSENT, False, "standard output is none", "the screens need one", "gpu-triage tui")
    if term in ("", "dumb"):
        return Access(
            "terminal", UNREADABLE, False, f"TERM={term}", "it cannot be drawn on", "export TERM=xterm-256color"
        )
    depth = "24-bit colour" if environ.get("COLORTERM") in ("truecolor", "24bit") else "256 colours or fewer"
    if encoding.lower().replace("-", "") != "utf8":
        return Access(
            "terminal", PARTLY, False, f"{term}, {depth}", f"its encoding is {encoding}", "export LC_ALL=C.UTF-8"
        )
    return Access("terminal", READABLE, False, f"{term}, {depth}")


def well(found: Sequence[Access]) -> bool:
    """Return whether everything that a verdict needs can be read, at least in part."""
    return all(access.state in (READABLE, PARTLY) or not access.needed for access in found)


def to_json(found: Sequence[Access]) -> list[Json]:
    """Return the sources as JSON values."""
    return [access._asdict() for access in found]
