"""Where snapshots come from: sweeps in child processes, and stored reports."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from probes.model import Entity, LogRecord, Missing, Reading
from probes.moment import moment
from tests.patience import WITHIN, until
from tests.triage.history import sweeps
from tests.tui import samples
from triage.cli.exits import Refused
from triage.history.store import FILE
from tui import sources
from tui.source import Failed, LogText, Snapshot
from tui.sources import LogSource, NodeSource, ReportSource, is_report, read_reports
from tui.sweep import pack, unpack, write_spool

ROOT = Path(__file__).parent.parent.parent
CAPTURE = ROOT / "tests" / "fixtures" / "h200-healthy-redacted.tar.gz"
LOG = "[  100.000000] NVRM: Xid (PCI:0000:4e:00): 79, pid=811, name=python, GPU has fallen off the bus.\n"


@pytest.fixture
def events() -> Iterator[tuple[threading.Event, threading.Event]]:
    """The two events of a source, set at the end so that nothing stays behind."""
    stop, again = threading.Event(), threading.Event()
    yield stop, again
    stop.set()
    again.set()


def test_a_log_is_read_in_another_process_and_again_when_asked(
    tmp_path: Path, events: tuple[threading.Event, threading.Event]
) -> None:
    path = tmp_path / "kern.log"
    path.write_text(LOG)
    source = LogSource([str(path)], now=samples.NOW)
    assert (LogText(str(path), str(path)),) == source.logs
    told = source.snapshots(*events)

    first = next(told)
    events[1].set()
    second = next(told)

    for snapshot in (first, second):
        assert isinstance(snapshot, Snapshot), snapshot
        assert [str(path)] == [each["origin"] for each in snapshot.report["sources"]]
        assert 1 == len(snapshot.report["incidents"])


def test_a_rulebook_that_is_wrong_is_a_failure_with_its_reason(
    tmp_path: Path, events: tuple[threading.Event, threading.Event]
) -> None:
    (tmp_path / "kern.log").write_text(LOG)
    source = LogSource([str(tmp_path / "kern.log")], rules=sources.rule_words(tmp_path / "no-rules", ()))

    told = next(source.snapshots(*events))

    assert isinstance(told, Failed)
    assert "no-rules" in told.reason
    assert "Traceback" not in told.reason


def test_a_capture_brings_its_readings(tmp_path: Path, events: tuple[threading.Event, threading.Event]) -> None:
    """The screens show on another machine what they showed on that one."""
    told = next(LogSource([str(CAPTURE)]).snapshots(*events))

    assert isinstance(told, Snapshot)
    states = [reading.value for reading in told.readings if reading.name == "gpu.state"]
    assert ["ok"] == sorted(set(map(str, states)))
    assert len(told.report["gpus"]) == len(states)
    assert {"gpu.temperature", "gpu.ecc.mode"} <= {reading.name for reading in told.readings}


def test_a_sweep_that_hangs_is_ended_and_the_next_one_is_tried(
    tmp_path: Path, events: tuple[threading.Event, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_START", "import time; time.sleep(60)")
    monkeypatch.setattr(sources, "DEADLINE", 0.2)
    monkeypatch.setattr(sources, "GRACE", 0.1)
    told = NodeSource(tmp_path, period=0.1).snapshots(*events)
    began = time.monotonic()

    reasons = [next(told), next(told)]

    assert time.monotonic() - began < 30
    assert all(isinstance(each, Failed) and "no answer within 0.3 s" in each.reason for each in reasons)


def test_a_sweep_that_crashes_says_its_last_words(
    tmp_path: Path, events: tuple[threading.Event, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_START", "raise SystemExit('no such luck')")

    told = next(NodeSource(tmp_path).snapshots(*events))

    assert isinstance(told, Failed)
    assert "the sweep broke off: no such luck" == told.reason


def test_where_a_sweep_cannot_be_killed_no_other_joins_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_START", "import time; time.sleep(60)")
    monkeypatch.setattr(os, "killpg", lambda *_: None)
    child, stop = sources.Child(), threading.Event()
    assert "no answer within 0.2 s; the sweep was ended" == child.run([], 0.2, stop)
    hung = child._left
    assert hung is not None

    said = child.run([], 0.2, stop)
    hung.kill()
    hung.communicate()

    assert f"the sweep before still hangs (process {hung.pid} cannot be killed); no other is started" == said


def test_a_sweep_ends_with_the_screens_however_they_went(tmp_path: Path) -> None:
    """Its parent is killed; the sweep, which waits for a pipe that says nothing, ends too."""
    os.mkfifo(tmp_path / "pipe")
    script = (
        "import sys, threading, os\nfrom tui import sources\n"
        "threading.Timer(0.5, lambda: os.kill(os.getpid(), 9)).start()\n"
        "sources.Child().run(['logs', '--file=' + sys.argv[1]], None, threading.Event())\n"
    )
    held = os.open(tmp_path / "pipe", os.O_RDWR)
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "pipe")], cwd=ROOT, timeout=WITHIN, check=False)
    until(lambda: not _running(str(tmp_path / "pipe")))
    os.close(held)


def _running(word: str) -> bool:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if word.encode() in entry.read_bytes():
                return True
    return False


def test_this_node_is_swept_with_its_readings(tmp_path: Path, events: tuple[threading.Event, threading.Event]) -> None:
    told = next(NodeSource(tmp_path).snapshots(*events))

    assert isinstance(told, Snapshot), told
    assert os.uname().nodename == told.report["node"]
    assert told.readings
    for log in told.logs:
        rows = log.rows or {}
        assert Path(log.path).read_text(encoding="utf-8").count("\n") > max(rows.values())
        assert 0o600 == os.stat(log.path).st_mode & 0o777


def test_readings_survive_the_way_from_the_child() -> None:
    entity = Entity("gpu", "0000:4e:00.0", "GPU-1", "165", 3, "H100")
    for value in (0, 61.5, "ok", True, Missing("lost")):
        reading = Reading(entity, "gpu.x", value, "count", samples.NOW)

        assert reading == unpack(json.loads(json.dumps(pack(reading))))
    assert Missing("error:not-finite") == unpack(pack(Reading(entity, "gpu.x", float("nan"), "count", 0.0))).value


def test_the_live_log_is_kept_as_text_with_the_rows_of_its_records(tmp_path: Path) -> None:
    records = [
        LogRecord("first\nmore of it", at=samples.NOW, line=100),
        LogRecord("second", line=104, text="[    1.000000] second"),
        LogRecord("job 1", at=samples.NOW + 0.25, line=105, kernel=False, identifier="slurmd"),
    ]

    rows = write_spool(tmp_path / "spool", records)

    assert [(100, 0), (104, 2), (105, 3)] == rows
    assert [
        "2026-08-22T14:03:09.000Z kernel: first",
        "more of it",
        "[    1.000000] second",
        "2026-08-22T14:03:09.250Z slurmd: job 1",
    ] == (tmp_path / "spool").read_text().splitlines()


def test_a_report_is_told_from_a_log(tmp_path: Path) -> None:
    shapes = {
        "report.json": (json.dumps(samples.REPORT, indent=2), True),
        "journal.json": ('{"MESSAGE": "NVRM: Xid", "_TRANSPORT": "kernel"}\n', False),
        "kern.log": (LOG, False),
        "empty": ("", False),
    }
    for name, (text, expected) in shapes.items():
        (tmp_path / name).write_text(text)
        assert expected is is_report(str(tmp_path / name)), name
    assert not is_report(str(tmp_path))


def _stored(folder: Path, data: bytes) -> str:
    path = folder / "stored"
    path.write_bytes(data)
    return str(path)


def test_reports_are_read_alone_in_a_row_compressed_and_as_lines(tmp_path: Path) -> None:
    whole = json.dumps(samples.REPORT).encode()
    head = {"schema_version": 1, "kind": "incident", "node": "gpu-0417"}
    lines = [json.dumps(head | incident) for incident in samples.REPORT["incidents"]]
    lines.append(json.dumps({**samples.REPORT, "kind": "end", "incidents": 2}))

    assert [samples.REPORT] == read_reports(_stored(tmp_path, whole))
    assert [samples.REPORT] * 3 == read_reports(_stored(tmp_path, whole + b"\n" + whole + b" " + whole + b"\n"))
    assert [samples.REPORT] == read_reports(_stored(tmp_path, gzip.compress(whole)))
    (lined,) = read_reports(_stored(tmp_path, "\n".join(lines).encode()))
    assert ["gpu-off-bus", "gsp-fault"] == [each["rule"]["id"] for each in lined["incidents"]]
    assert samples.REPORT["sources"] == lined["sources"]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no whole report: there is none in it"),
        (b'{"schema_version": 1, "kind": "incident"}', "breaks off before its `end` line"),
        (b'{"schema_version": 2, "kind": "report"}', "written by another version (2); this one reads 1"),
        (b'{"schema_version": 1, "kind": "report"', "the object at line 1 is no JSON"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_report_is_refused_with_the_reason(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(Refused) as caught:
        read_reports(_stored(tmp_path, data))

    assert says in caught.value.message
    assert "\n" not in caught.value.message


def test_a_stored_report_opens_its_logs_where_they_are_here(
    tmp_path: Path, events: tuple[threading.Event, threading.Event]
) -> None:
    log = tmp_path / "kern.log"
    log.write_text(LOG)
    here = {**samples.REPORT["sources"][0], "origin": str(log)}
    gone = {**samples.REPORT["sources"][0], "origin": str(tmp_path / "gone.log")}
    source = ReportSource(_stored(tmp_path, json.dumps(samples.REPORT | {"sources": [here, gone, 5]}).encode()))

    told = next(source.snapshots(*events))

    assert isinstance(told, Snapshot)
    assert (LogText(str(log), str(log)),) == told.logs
    assert (samples.SWEPT, (1, 1)) == (told.at, source.position)


def test_this_nodes_history_is_asked_and_left_as_it_is(
    tmp_path: Path, events: tuple[threading.Event, threading.Event]
) -> None:
    """An incident that only the history knows is shown here as `gpu-triage check` shows it."""
    state = tmp_path / "state"
    now = moment()
    before = now._replace(at=now.at - 600.0, monotonic=max(0.0, now.monotonic - 600.0))
    with sweeps.open_memory(state, before) as memory:
        old = sweeps.incident(None, witness=sweeps.counter(1, "gpu.ecc.uncorrected.volatile"))
        sweeps.sweep(memory, before, incidents=[old])
    kept = (state / FILE).read_bytes()

    told = next(NodeSource(tmp_path, state=state).snapshots(*events))

    assert isinstance(told, Snapshot), told
    assert old.fingerprint in {incident["fingerprint"] for incident in told.report["incidents"]}
    assert kept == (state / FILE).read_bytes()
