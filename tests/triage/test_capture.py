"""A capture gives the same report elsewhere, and whoever reads one trusts nothing in it."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import random
import tarfile
from collections.abc import Callable, Iterator
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from probes import captured, node
from probes.model import NODE, NOT_SUPPORTED, Entity, LogRecord, Missing, Reading, Source
from tests.fake_nvml import Scenario
from triage import archive, capture
from triage.assess import assess
from triage.capture import Capture
from triage.cli.reports import from_logs
from triage.intake import Intake
from triage.report import to_report
from triage.rulebook.load import load
from triage.rulebook.model import Rulebook

NOW = 1771977600.0
XID_79 = "NVRM: Xid (PCI:0000:11:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."


@pytest.fixture(scope="module")
def rulebook() -> Rulebook:
    return load()


def packed(made: Capture) -> bytes:
    out = io.BytesIO()
    capture.write(made, out)
    return out.getvalue()


def read(content: bytes) -> tuple[Intake, list[LogRecord]]:
    intake = Intake(["-"], now=NOW + 9e6, stdin=io.BytesIO(content))
    return intake, list(intake)


def sample(**more: Any) -> Capture:
    """A capture with every kind of value."""
    gpu = Entity("gpu", "0000:11:00.0", "GPU-1", "165", 1, "NVIDIA H100")
    records = [
        LogRecord("Linux version 6.1", NOW - 500, 0.0, "b" * 32, 5, origin="/dev/kmsg", line=0, text="5,0,0,-;Linux"),
        LogRecord(
            XID_79 + "\nsecond line é", NOW - 60, 440.123456, "b" * 32, 3, origin="/dev/kmsg", line=7, text="3,7"
        ),
        LogRecord("x", None, None, None, None, "nv-hostengine", 5, "h", False, True, True, "a b", 0, ""),
    ]
    return Capture(
        taken_at=NOW,
        node="node042",
        tool_version="0.1.0",
        rulebook="d" * 64,
        readings=[
            Reading(NODE, "driver.version", "580.65.06", "text", NOW),
            Reading(gpu, "gpu.temperature", 41, "celsius", NOW - 0.1),
            Reading(gpu, "gpu.power", 301.25, "watts", NOW),
            Reading(gpu, "gpu.rows.pending", False, "flag", NOW),
            Reading(gpu, "gpu.ecc.mode", Missing(NOT_SUPPORTED), "text", NOW),
            Reading(Entity("process", index=7, name="python"), "process.state", "blocked", "text", NOW),
        ],
        records=records,
        sources=[
            Source("kernel-log", "/dev/kmsg", True, NOW - 500, NOW, 3, True, None),
            Source("nvml", "libnvidia-ml.so.1", False, NOW, NOW, 0, False, "it is not there; install it"),
        ],
        **{"files": {"proc/cmdline": b"ro quiet\n", "sys/x:y/z": b"\xff\0"}, **more},
    )


def test_everything_comes_back_as_it_was() -> None:
    made = sample()
    intake, records = read(packed(made))

    assert made.records == records
    assert list(made.readings) == list(intake.readings)
    assert list(made.sources) == list(intake.sources)
    assert (made.node, made.taken_at, {made.rulebook}) == (intake.node, intake.taken_at, set(intake.rulebooks))
    assert () == intake.notices


def test_types_are_kept() -> None:
    """True is not 1, and 41 is not 41.0."""
    values = [reading.value for reading in read(packed(sample()))[0].readings]

    assert [str, int, float, bool, Missing, str] == [type(value) for value in values]


def test_the_same_capture_gives_the_same_bytes_in_the_same_order() -> None:
    made = packed(sample())
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        members = tar.getmembers()

    assert made == packed(sample())
    assert [
        "manifest.json", "sources.jsonl", "readings.jsonl", "records.jsonl", "files/proc/cmdline", "files/sys/x:y/z",
    ] == [member.name for member in members]  # fmt: skip
    assert {(0o600, 0, 0)} == {(member.mode, member.uid, member.gid) for member in members}


@pytest.mark.parametrize("seed", range(6))
def test_the_report_elsewhere_is_the_report_there(
    seed: int, fake_nvml: Path, scenario: Callable[[int], Scenario], tmp_path: Path, rulebook: Rulebook
) -> None:
    """Field by field, except when it was made: verdicts, evidence, sources, GPUs, notices."""
    choose = random.Random(seed)
    made = scenario(3)
    made.gpu(0).set("rows.failure", choose.randint(0, 1)).set("temperature", choose.randint(30, 99))
    made.gpu(1).on("nvmlDeviceGetTotalEccErrors", choose.choice(["GPU_IS_LOST", "UNKNOWN", "NO_PERMISSION"]))
    kmsg = tmp_path / "kmsg"
    lines = ["5,0,0,-;Linux version 6.1", *(f"6,{n},{n}000000,-;usb {n}" for n in range(1, 40))]
    kmsg.write_text("\n".join([*lines, f"3,41,{choose.randint(41, 90)}000000,-;{XID_79}"]) + "\n")
    readings, records, sources = node.probe(
        20.0, root=tmp_path, kmsg=str(kmsg), library_env=made.env(fake_nvml), state_dir=None
    )
    kept = list(records)
    there = to_report(
        assess(rulebook, kept, readings, sources, node="node042", now=NOW),
        generated_at=NOW, tool_version="0.1.0", causes=rulebook.causes,
    )  # fmt: skip
    path = tmp_path / "capture.tar.gz"
    path.write_bytes(packed(Capture(NOW, "node042", "0.1.0", rulebook.digest, readings, kept, sources)))
    here = from_logs(rulebook, [str(path)], now=NOW + 1e6, tz_offset=0.0)

    assert there["incidents"]
    for report in (there, here):
        del report["generated_at"], report["tool"]
    assert json.dumps(there) == json.dumps(here)


def test_other_rules_than_those_of_the_capture_are_said(tmp_path: Path, rulebook: Rulebook) -> None:
    path = tmp_path / "c.tar.gz"
    path.write_bytes(packed(sample()))

    assert any("captured under other rules (dddddddddddd)" in notice for notice in from_logs(
        rulebook, [str(path)], now=NOW, tz_offset=0.0
    )["notices"])  # fmt: skip


def test_a_number_that_is_none_is_missing() -> None:
    readings = [Reading(NODE, "a", value, "count", NOW) for value in (nan, inf, -inf)]
    intake, _ = read(packed(sample()._replace(readings=readings)))

    assert [Missing("error:not-finite")] * 3 == [reading.value for reading in intake.readings]


def test_of_more_records_than_fit_the_newest_are_kept_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captured, "MOST_RECORDS_BYTES", 1000)
    records = [LogRecord(f"line {number}", line=number) for number in range(100)]
    intake, kept = read(packed(sample()._replace(records=records)))

    assert records[-len(kept) :] == kept
    assert 0 < len(kept) < 100
    assert any(f"the oldest {100 - len(kept)} of 100 kernel records did not fit" in n for n in intake.notices)


def test_captures_of_two_nodes_are_not_mixed(tmp_path: Path) -> None:
    """Their GPUs have the same addresses and are others."""
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(packed(sample()._replace(node=name)))
    intake = Intake([str(tmp_path / "a"), str(tmp_path / "b")], now=NOW)
    list(intake)

    assert "a" == intake.node
    assert 6 == len(intake.readings)
    assert any("of another node than a" in notice for notice in intake.notices)


def rewritten(change: Callable[[str, bytes], bytes | None]) -> bytes:
    """The sample with its members changed, None leaving one out."""
    reader = archive.Reader(iter([gzip.decompress(packed(sample()))]))
    out = b""
    for member in reader:
        content = change(member.name, b"".join(reader.content()))
        if content is not None:
            out += archive.packed(member.name, content, 0)
    return gzip.compress(out + archive.END)


def manifest(**fields: Any) -> Callable[[str, bytes], bytes]:
    def change(name: str, content: bytes) -> bytes:
        return json.dumps({**json.loads(content), **fields}).encode() if name == "manifest.json" else content

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (manifest(schema_version=2), "written in form 2"),
        (manifest(schema_version=[]), "written in form ?"),
        (manifest(kind="report"), "manifest cannot be read"),
        (lambda name, content: b"[" * 100_000 if name == "manifest.json" else content, "manifest cannot be read"),
    ],
)
def test_an_archive_that_is_none_of_ours_is_refused_with_a_reason(
    change: Callable[[str, bytes], bytes], reason: str
) -> None:
    intake, records = read(rewritten(change))

    assert [] == records
    assert reason in (intake.sources[0].reason or "")
    assert not intake.sources[0].readable


def test_what_stands_before_damage_is_used_and_the_damage_is_a_source_that_could_not_be_read() -> None:
    whole = gzip.decompress(packed(sample()))
    intake, records = read(gzip.compress(whole[: whole.index(b"second line")]))

    assert ["Linux version 6.1"] == [record.message for record in records]
    assert [True, False, False] == [source.readable for source in intake.sources]
    assert any("what stood before that was used" in notice for notice in intake.notices)


def test_a_compressed_stream_that_breaks_off_is_said() -> None:
    intake, _ = read(packed(sample())[:-30])

    assert "ends early" in (intake.sources[-1].reason or "")


def test_a_bomb_is_refused_before_it_fills_the_memory() -> None:
    """A gigabyte of one line in a megabyte."""

    def blocks() -> Iterator[bytes]:
        whole = gzip.decompress(packed(sample()))
        yield whole[: whole.index(b"records.jsonl")]
        head = archive.packed("records.jsonl", b"", 0)[: archive.BLOCK]
        size = bytearray(head)
        size[124:136] = b"%011o\0" % (900 << 20)
        size[148:156] = b" " * 8
        size[148:156] = b"%06o\0 " % sum(size)
        yield bytes(size)
        yield from itertools.repeat(b"x" * (1 << 20), 900)

    from triage.found import Found

    found = Found("bomb")
    assert [] == list(capture.read(blocks(), found, packed_size=lambda: 1 << 10))
    assert any("times its size" in notice for notice in found.notices)


LIES: dict[str, Any] = {
    "at": ["x", True, 1e400, 10**400, None, {}],
    "monotonic": [[], "1"],
    "level": [99, -1, "3", 1.5],
    "boot": [5, "\x1b[2J", "x" * 10_000],
    "message": [5, None, "\x1b]0;x\x07" + "y" * 100_000],
    "text": [5, "\x1b[2J\n\n"],
    "line": [-1, 10**50, "7"],
    "kernel": ["no", 0, None],
    "origin": ["/x" * 5000, 5],
    "identifier": ["\u202e", {}],
}


@pytest.mark.parametrize("field", LIES)
def test_a_record_of_wrong_types_is_made_harmless_or_left_out(field: str) -> None:
    """Whatever stands in a field, a record is what the model says one is."""
    lies = b"".join(
        json.dumps({"message": "m", field: lie}).replace("Infinity", "1e400").encode() + b"\n" for lie in LIES[field]
    )
    intake, records = read(rewritten(lambda name, content: lies if name == "records.jsonl" else content))

    for record in records:
        assert record.message.isprintable()
        assert len(record.message) <= 16384
        assert record.at is None or abs(record.at) < 1e300
        assert record.level is None or record.level in range(8)
        assert record.kernel in (True, False)
        assert (record.boot or "").isprintable()
        assert record.text.isprintable()
    assert (len(records) < len(LIES[field])) == any("not understood" in notice for notice in intake.notices)


def test_a_reading_of_wrong_types_is_left_out_and_counted() -> None:
    lies = [
        {}, {"entity": 5}, {"entity": {"kind": "moon"}, "name": "a", "value": 1, "unit": "count", "at": 1.0},
        {"entity": {"kind": "gpu"}, "name": "a", "value": [], "unit": "count", "at": 1.0},
        {"entity": {"kind": "gpu"}, "name": "a", "value": 10**400, "unit": "count", "at": 1.0},
        {"entity": {"kind": "gpu"}, "name": "a", "value": 1, "unit": "count", "at": "now"},
        {"entity": {"kind": "gpu", "index": "0", "pci": 5}, "name": "a", "value": "\x1b[2J", "unit": "text", "at": 1.0},
    ]  # fmt: skip
    content = b"".join(json.dumps(lie).encode() + b"\n" for lie in lies)
    intake, _ = read(rewritten(lambda name, old: content if name == "readings.jsonl" else old))

    assert [Reading(Entity("gpu"), "a", "", "text", 1.0)] == list(intake.readings)
    assert any("6 lines of the capture were not understood" in notice for notice in intake.notices)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 6000))
@example(b"\0" * 37, 1627)
def test_no_bytes_raise(noise: bytes, place: int) -> None:
    whole = gzip.decompress(packed(sample()))
    intake, records = read(gzip.compress(whole[:place] + noise + whole[place + len(noise) :]))

    assert intake.sources
    assert all(source.readable or source.reason for source in intake.sources)
    assert all("\x1b" not in record.message for record in records)


def test_a_decision_with_history_is_decided_the_same_from_the_answers(tmp_path: Path, rulebook: Rulebook) -> None:
    """What came back after a reboot came back, also where the history is not."""
    from probes.moment import Moment
    from triage.cli.collect import with_history
    from triage.history.sweep import begin
    from triage.recorded import Recorded

    gpu = Entity("gpu", "0000:11:00.0", "GPU-1", "165", 1, "NVIDIA H100")
    readings = [Reading(gpu, "gpu.rows.failure", True, "flag", NOW), Reading(gpu, "gpu.pcie.replays", 5, "count", NOW)]
    sources = [Source("kernel-log", "/dev/kmsg", True, NOW - 500, NOW, 1, True)]
    history = tmp_path / "state"

    def records(at: float) -> list[LogRecord]:
        return [LogRecord(XID_79, at, 440.0, "b" * 32, 3, origin="/dev/kmsg", line=7, text="x")]

    for days, boot in ((2, "a" * 32), (1, "c" * 32)):
        when = Moment(NOW - days * 86400, 500.0, boot, "1")
        with begin(history, now=when.at) as memory:
            past, known = memory.past(memory.named(readings), when)
            found = assess(rulebook, records(when.at - 60), known, sources, node="n", now=when.at, history=past)
            report = to_report(found, generated_at=when.at, tool_version="0", causes=rulebook.causes)
            memory.remember(
                report, incidents=found.incidents, lasts={rule.id: rule.lasts for rule in rulebook.rules}, read=known,
                sources=sources, now=when,
            )  # fmt: skip
    made = with_history(
        Capture(NOW, "n", "0", rulebook.digest, readings, records(NOW - 60), sources), rulebook, history
    )
    assert made.history
    path = tmp_path / "c.tar.gz"
    path.write_bytes(packed(made))
    here = from_logs(rulebook, [str(path)], now=NOW + 1e6, tz_offset=0.0)
    again = assess(
        rulebook, made.records, made.readings, made.sources, node="n", now=NOW,
        history=Recorded(made.history),  # type: ignore[arg-type]
    )  # fmt: skip

    there = to_report(again, generated_at=0.0, tool_version="0", causes=rulebook.causes)["incidents"]
    assert there == here["incidents"]
    assert "It came back: seen in 2 earlier boots" in json.dumps(here)


def test_answers_of_wrong_types_are_no_answers() -> None:
    """A capture may claim anything of a history."""
    from triage.recorded import NOT_ASKED, Recorded

    for lie in (None, 5, -1, "x", [], [1], {"a": 1}, [{}, 2, 3], True, 10**50, ["x", 1, None]):
        asked = Recorded(dict.fromkeys((
            '["distance", null, "n", 1.0, null]', '["earlier", "r", null, 1.0, 2.0]',
            '["lives", "r", null, "boot", 1.0]', '["covers", 1.0]',
            '["facts", "r", null]', '["recurrence", "r", null, null]',
        ), lie))  # fmt: skip
        assert NOT_ASKED == asked.distance(None, "n", 1.0, None).reason
        assert asked.earlier("r", None, 1.0, 2.0) in (0, 5)
        assert all(isinstance(life, str) for life in asked.lives("r", None, "boot", 1.0))
        assert asked.covers(1.0) in (True, False)
        assert {} == asked.facts("r", None)
        assert asked.recurrence("r", None, None) in (None, "x")


def test_a_capture_of_a_real_h200_is_read_back() -> None:
    """Taken with `collect --redact` on a healthy node under driver 580.159.04; a real driver said all this."""
    intake, records = read((Path(__file__).parents[1] / "fixtures" / "h200-healthy-redacted.tar.gz").read_bytes())
    values = {reading.name: reading.value for reading in intake.readings if reading.entity.kind == "gpu"}

    assert any(record.message.startswith("NVRM: loading NVIDIA UNIX Open Kernel Module") for record in records)
    assert ("ok", "NVIDIA H200", False) == (values["gpu.state"], values["gpu.name"], values["gpu.rows.failure"])
    assert Missing(NOT_SUPPORTED) == values["gpu.fabric.state"]
    assert all(isinstance(values[name], int) for name in ("gpu.ecc.uncorrected.volatile", "gpu.temperature"))
    assert [] == list(assess(load(), records, intake.readings, intake.sources, node=intake.node, now=NOW).incidents)
