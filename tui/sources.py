"""The sources there are: this node, logs, and stored reports.

Sweeps run in a child process under a limit; one that does not end is killed,
and if it cannot be killed (it hangs in the driver) no other joins it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from probes.model import Reading
from triage.cli.exits import Refused
from triage.cli.output import reason_of
from triage.streams import Damaged, blocks
from tui.facts import epoch
from tui.source import Failed, LogText, Snapshot
from tui.sweep import unpack

NODE_PERIOD = 15.0
"""Seconds between sweeps of this node unless asked otherwise."""
DEADLINE = 16.0
"""Seconds that the probes of one sweep get; what they did not learn by then is unknown."""
GRACE = 14.0
"""Seconds more until a sweep that has not ended is killed: deciding over a long log takes some."""
MOST_REPORT = 256 << 20
"""Bytes of a file of reports that are read; longer ones belong into pieces."""

_OF_A_FLEET = re.compile(rb'"kind"\s*:\s*"fleet-report"')
_START = "import sys; n = int(sys.argv[1]); sys.path[:] = sys.argv[2:n]; from tui.sweep import main; main(sys.argv[n:])"
_MOST_SAID = 300


def _nothing() -> None:
    pass


class Child:
    """Runs sweeps one at a time."""

    def __init__(self) -> None:
        self._left: subprocess.Popen[bytes] | None = None

    def run(
        self, words: Sequence[str], limit: float | None, stop: threading.Event, meanwhile: Callable[[], None] = _nothing
    ) -> dict[str, Any] | str:
        """Return what the sweep printed, or in one line why it did not; `meanwhile` is called ten times a second."""
        if self._left is not None and self._left.poll() is None:
            return f"the sweep before still hangs (process {self._left.pid} cannot be killed); no other is started"
        paths = [str(Path(__file__).resolve().parent.parent), *(path for path in sys.path if path)]
        argv = [sys.executable, "-c", _START, str(len(paths) + 2), *paths, *words, f"--parent={os.getpid()}"]
        with tempfile.TemporaryFile() as errors:
            try:
                child = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    start_new_session=True,
                    env={**os.environ, "PYTHONUTF8": "1"},
                )
            except OSError as error:
                return f"the sweep cannot be started: {reason_of(error)}"
            printed = self._wait(child, limit, stop, meanwhile)
            if printed is None:
                return f"no answer within {limit:g} s; the sweep was ended" if not stop.is_set() else "stopped"
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - _MOST_SAID))
            said = errors.read().decode("utf-8", "replace").strip()
        try:
            told = json.loads(printed)
        except ValueError:
            last = said.rpartition("\n")[2] or f"exit code {child.returncode}"
            return f"the sweep broke off: {last}"
        return str(told["refused"]) if "refused" in told else dict(told)

    def _wait(
        self,
        child: subprocess.Popen[bytes],
        limit: float | None,
        stop: threading.Event,
        meanwhile: Callable[[], None],
    ) -> bytes | None:
        until = None if limit is None else time.monotonic() + limit
        while not stop.is_set() and (until is None or time.monotonic() < until):
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.communicate(timeout=0.1)[0]
            meanwhile()
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        try:
            child.wait(1.0)
        except subprocess.TimeoutExpired:
            self._left = child
        if child.stdout is not None:
            child.stdout.close()
        return None


def rule_words(root: Path | None, overlays: Iterable[Path]) -> list[str]:
    """Return how a sweep is told which rulebook to use."""
    chosen = [] if root is None else ["--rules", str(root)]
    return [*chosen, *(word for folder in overlays for word in ("--overlay", str(folder)))]


class NodeSource:
    """This node, swept again and again; `rules` are `rule_words`, `state` is the history that is asked, if any."""

    logs: tuple[LogText, ...] = ()

    def __init__(
        self, folder: Path, *, rules: Sequence[str] = (), period: float = NODE_PERIOD, state: Path | None = None
    ) -> None:
        self.title = "this node"
        self.period: float | None = period
        self._folder = folder
        self._rules = [*rules, *([] if state is None else [f"--state={state}"])]

    def snapshots(self, stop: threading.Event, again: threading.Event) -> Iterator[Snapshot | Failed]:
        """Sweep, wait for the rest of the period, sweep."""
        child = Child()
        number = 0
        while not stop.is_set():
            began = time.monotonic()
            number += 1
            spool = self._folder / f"node-{number}"
            words = ["node", "--deadline", f"{DEADLINE:g}", "--spool", str(spool), *self._rules]
            told = child.run(words, DEADLINE + GRACE, stop)
            took = time.monotonic() - began
            if isinstance(told, str):
                yield Failed(told, time.time())
            else:
                yield _node_snapshot(told, took)
            # The log screen may still have the one before open; a file that is removed stays readable to it.
            for old in self._folder.glob(f"node-{number - 1}-*.log"):
                with contextlib.suppress(OSError):
                    old.unlink()
            pause(again, max(1.0, (self.period or NODE_PERIOD) - took))


def _node_snapshot(told: dict[str, Any], took: float) -> Snapshot:
    report = told["report"]
    return Snapshot(report, epoch(report.get("generated_at")) or time.time(), took, readings_in(told), _spooled(told))


def _spooled(told: dict[str, Any]) -> tuple[LogText, ...]:
    return tuple(LogText(origin, path, dict(rows)) for origin, path, rows in told.get("logs", ()))


def readings_in(told: dict[str, Any]) -> tuple[Reading, ...]:
    """Return the readings that a sweep printed."""
    return tuple(unpack(each) for each in told.get("readings", ()))


def logs_snapshot(told: dict[str, Any], took: float, logs: tuple[LogText, ...]) -> Snapshot:
    """Return what the reading of logs and captures printed; it is of the moment that they speak of last."""
    ends = [epoch(source.get("to")) for source in told["report"].get("sources", ())]
    newest = max((end for end in ends if end is not None), default=time.time())
    return Snapshot(told["report"], newest, took, readings_in(told), (*logs, *_spooled(told)))


def log_texts(files: Sequence[str]) -> tuple[LogText, ...]:
    """Return the logs among files and in folders that can be opened as they are; a capture's comes with its reading."""
    from tui.captured import is_capture

    return tuple(LogText(path, path) for path in log_files(files) if not is_capture(path))


class LogSource:
    """Logs, read once and again when asked; `rules` are `rule_words`, `timezone` seconds east of UTC."""

    period: float | None = None

    def __init__(
        self,
        files: Sequence[str],
        *,
        rules: Sequence[str] = (),
        now: float | None = None,
        timezone: float = 0.0,
        folder: Path | None = None,
    ) -> None:
        self.logs = log_texts(files)
        self.zone = timezone
        self.title = os.path.basename(files[0]) if len(files) == 1 else f"{len(files)} logs"
        given = [f"--timezone={timezone}"] if timezone else []
        if now is not None:
            given.append(f"--now={now}")
        if folder is not None:
            given.append(f"--spool={folder}")
        self._words = ["logs", *rules, *given, *(f"--file={path}" for path in files)]

    def snapshots(self, stop: threading.Event, again: threading.Event) -> Iterator[Snapshot | Failed]:
        """Read the logs, and again whenever asked."""
        child = Child()
        while not stop.is_set():
            began = time.monotonic()
            told = child.run(self._words, None, stop)
            if stop.is_set():
                return
            if isinstance(told, str):
                yield Failed(told, time.time())
            else:
                yield logs_snapshot(told, time.monotonic() - began, self.logs)
            pause(again, None)


class ReportSource:
    """Stored reports, the newest first shown; `move` steps through them as through time."""

    period: float | None = None

    def __init__(self, path: str) -> None:
        self.title = os.path.basename(path)
        self._reports = read_reports(path)
        self._place = len(self._reports) - 1
        self.logs: tuple[LogText, ...] = ()

    @property
    def position(self) -> tuple[int, int]:
        """Which report is shown, from 1, and how many there are."""
        return self._place + 1, len(self._reports)

    def move(self, by: int) -> bool:
        """Step to another report; false if there is none."""
        place = min(max(self._place + by, 0), len(self._reports) - 1)
        moved, self._place = place != self._place, place
        return moved

    @property
    def newest(self) -> float:
        """When the last report was made, in UTC epoch seconds."""
        return max((epoch(report.get("generated_at")) or 0.0 for report in self._reports), default=0.0)

    def go_to(self, at: float) -> bool:
        """Step to the last report that was made by then; false if there is none, and then to the first."""
        made = [epoch(report.get("generated_at")) or 0.0 for report in self._reports]
        until = [place for place, when in enumerate(made) if when <= at]
        self._place = max(until, key=lambda place: (made[place], place), default=0)
        return bool(until)

    def snapshots(self, stop: threading.Event, again: threading.Event) -> Iterator[Snapshot | Failed]:
        """Yield the report at the place, and again whenever asked."""
        while not stop.is_set():
            report = self._reports[self._place]
            yield Snapshot(report, epoch(report.get("generated_at")) or 0.0, logs=_local(report))
            pause(again, None)


def is_report(path: str) -> bool:
    """Return whether a file begins like a report of this program."""
    start = _start(path)
    return start.startswith(b"{") and b'"schema_version"' in start and b'"kind"' in start


def is_fleet_report(path: str) -> bool:
    """Return whether a file begins like a report of a fleet."""
    return is_report(path) and _OF_A_FLEET.search(_start(path)) is not None


def _start(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return next(blocks(file), b"")[:4096].lstrip()
    except (OSError, ValueError, Damaged):
        return b""


def read_reports(path: str, wanted: str = "report") -> list[dict[str, Any]]:
    """Return the reports of a file: one, several one after the other, or the lines of --format ndjson.

    `wanted` is `report`, of one node, or `fleet-report`; such of the other kind are passed over.

    Raises:
        Refused: if it cannot be read, or holds no whole report.
    """
    try:
        with open(path, "rb") as file:
            data = _whole(blocks(file), path)
    except (OSError, Damaged, ValueError) as error:
        raise Refused(f"cannot read {path}: {reason_of(error)}") from error
    reports: list[dict[str, Any]] = []
    incidents: list[dict[str, Any]] = []
    for value in _objects(data.decode("utf-8", "replace"), path):
        kind = value.get("kind")
        if value.get("schema_version") != 1:
            raise Refused(f"{path}: written by another version ({value.get('schema_version')!r}); this one reads 1")
        if kind == wanted:
            reports.append(value)
        elif kind == "incident":
            incidents.append(value)
        elif kind == "end" and wanted == "report":
            reports.append({**value, "kind": "report", "incidents": incidents})
            incidents = []
    if not reports:
        what = "it breaks off before its `end` line" if incidents else "there is none in it"
        raise Refused(f"{path}: no whole report: {what}; write one with `gpu-triage check --format json > FILE`")
    return reports


def _whole(parts: Iterable[bytes], path: str) -> bytes:
    data = bytearray()
    for part in parts:
        data += part
        if len(data) > MOST_REPORT:
            raise Refused(f"{path}: more than {MOST_REPORT >> 20} MiB of reports; give a piece of it")
    return bytes(data)


def _objects(text: str, path: str) -> Iterator[dict[str, Any]]:
    decode = json.JSONDecoder().raw_decode
    place = 0
    while True:
        while place < len(text) and text[place].isspace():
            place += 1
        if place >= len(text):
            return
        try:
            value, place = decode(text, place)
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, place) + 1
            raise Refused(f"{path}: the object at line {line} is no JSON ({str(error)[:80]})") from error
        if isinstance(value, dict):
            yield value


def log_files(files: Sequence[str]) -> Iterator[str]:
    """Yield files, and the files of folders, as the intake names them."""
    for path in files:
        if os.path.isdir(path):
            with contextlib.suppress(OSError):
                yield from sorted(entry.path for entry in os.scandir(path) if entry.is_file())
        else:
            yield path


def _local(report: dict[str, Any]) -> tuple[LogText, ...]:
    """The logs that a report names and that are here; the log screen compares each line with what was quoted."""
    sources = report.get("sources")
    origins = [each.get("origin") for each in sources if isinstance(each, dict)] if isinstance(sources, list) else []
    return tuple(LogText(path, path) for path in origins if isinstance(path, str) and os.path.isfile(path))


def pause(again: threading.Event, seconds: float | None) -> None:
    """Wait until somebody asks for more, or so many seconds."""
    again.wait(seconds)
    again.clear()
