"""Objects of the journal and of /dev/kmsg say by whom they were written; nothing else is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from probes.model import LogRecord
from probes.records import CutLine, Tally, parse_journal_json, parse_kmsg, parse_lines
from probes.records_text import LINE_CAP, MESSAGE_CAP

HINT = 1771977600.0  # 2026-02-25T00:00:00Z
XID_79 = "NVRM: Xid (PCI:0000:41:00): 79, GPU has fallen off the bus."


def read(*lines: str | bytes, tz_offset: float = 0.0, tally: Tally | None = None) -> list[LogRecord]:
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return list(parse_lines(raw, origin="x.log", year_hint=HINT, tz_offset=tz_offset, tally=tally))


def journal(**fields: Any) -> LogRecord:
    record = parse_journal_json(json.dumps(fields), "journal")
    assert record is not None
    return record


def test_a_journal_object_keeps_all_that_it_says() -> None:
    record = journal(
        MESSAGE=XID_79,
        PRIORITY="3",
        SYSLOG_FACILITY="0",
        SYSLOG_IDENTIFIER="kernel",
        _TRANSPORT="kernel",
        _BOOT_ID="5e6d514dc6dd4cd1b2ddd1d17c8f3292",
        _HOSTNAME="gpu-node-001",
        _SOURCE_MONOTONIC_TIMESTAMP="718077713",
        __MONOTONIC_TIMESTAMP="718080043",
        __REALTIME_TIMESTAMP="1795295630947225",
    )

    assert record == LogRecord(
        XID_79,
        at=1795295630.947225,
        monotonic=718.077713,
        boot="5e6d514dc6dd4cd1b2ddd1d17c8f3292",
        level=3,
        identifier="kernel",
        host="gpu-node-001",
        origin="journal",
        text=XID_79,
    )


def test_the_tag_that_journald_took_for_a_programs_name_is_put_back() -> None:
    record = journal(MESSAGE=XID_79[6:], SYSLOG_IDENTIFIER="NVRM", SYSLOG_FACILITY="1", _TRANSPORT="kernel")

    assert (XID_79, True, True) == (record.message, record.kernel, record.injected)


@pytest.mark.parametrize("transport", ["syslog", "journal", "stdout", "audit", None])
def test_only_the_kernel_transport_makes_a_kernel_record(transport: str | None) -> None:
    """A program may call itself kernel; it cannot choose its transport."""
    tally = Tally()
    fields = {"MESSAGE": XID_79, "SYSLOG_IDENTIFIER": "kernel", "_TRANSPORT": transport}
    record = parse_journal_json(json.dumps(fields), "journal", tally=tally)

    assert record is not None
    assert not record.kernel
    assert (transport is None) == bool(tally.unproven)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([78, 86, 82, 77, 58, 32, 255], "NVRM: \ufffd"),
        (None, ""),
        (["one", "two"], "two"),
        ([], ""),
        ([[1]], ""),
        (7, ""),
        ("a\x1b[31mb\x07\ud800", "ab\\x07\ufffd"),
        ("x" * 20000, "x" * (MESSAGE_CAP - 1) + "…"),
    ],
)
def test_a_journal_message_of_any_type_is_text(value: Any, message: str) -> None:
    assert message == journal(MESSAGE=value, _TRANSPORT="kernel").message


@pytest.mark.parametrize("line", ["", "{", "[1]", '{"log": "x"}', "[" * 100000, '{"MESSAGE": 1' + "0" * 9000 + "}"])
def test_what_is_no_journal_object_is_none(line: str) -> None:
    assert parse_journal_json(line, "journal") is None or len(line) > 5000


EXPORT = b"""__CURSOR=s=1
__REALTIME_TIMESTAMP=1795295630947225
_BOOT_ID=5e6d514dc6dd4cd1b2ddd1d17c8f3292
_TRANSPORT=kernel
PRIORITY=3
MESSAGE=%b
""" % XID_79.encode()


def binary(name: bytes, value: bytes) -> bytes:
    return name + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


def split(text: bytes) -> list[bytes]:
    return text.split(b"\n")


def test_a_journal_export_is_read_block_by_block() -> None:
    other = b"__REALTIME_TIMESTAMP=1795295631000000\n_TRANSPORT=syslog\nSYSLOG_IDENTIFIER=app\nMESSAGE=hello\n"
    records = read(*split(EXPORT + b"\n" + other))

    assert [(XID_79, True, 3, 1), ("hello", False, None, 8)] == [
        (r.message, r.kernel, r.level, r.line) for r in records
    ]
    assert 1795295630.947225 == records[0].at


def test_an_export_that_breaks_off_within_a_block_loses_nothing_before_it() -> None:
    """Neither the block before, nor the line before, and their order stays."""
    cut = [b"__CURSOR=s=3", b"_TRANSPORT=kernel", b"MESSAGE=last"]
    before = b"__CURSOR=s=2\n_TRANSPORT=kernel\nMESSAGE=first".split(b"\n")

    assert ["first", "last"] == [r.message for r in read(*before, b"", *cut)]
    assert [(XID_79, 1), ("last", 2)] == [(r.message, r.line) for r in read(f"[  718.077713] {XID_79}", *cut)]


def test_what_a_program_put_into_a_binary_field_is_no_field() -> None:
    """A message with newlines is exported with its length, here one that holds newlines itself."""
    forged = b"x\n\n" + EXPORT + b"\n" + b"y" * 2000
    forged += b"z" * (0x0A0A - len(forged))
    block = b"__CURSOR=s=1\n_TRANSPORT=stdout\n" + binary(b"MESSAGE", forged) + b"PRIORITY=6\n\n"
    records = read(*split(block + EXPORT))

    assert [False, True] == [record.kernel for record in records]
    assert forged.decode().rstrip() == records[0].message
    assert 6 == records[0].level


def test_a_binary_field_that_was_too_long_to_keep_is_passed_over_in_full() -> None:
    size = 3 * LINE_CAP
    cut = CutLine(b"q" * LINE_CAP)
    cut.full = size - 4
    lines = [b"__CURSOR=s=1", b"COREDUMP", size.to_bytes(8, "little") + b"abc", cut, b"_TRANSPORT=kernel", b"MESSAGE=m"]

    assert [("m", True)] == [(record.message, record.kernel) for record in read(*lines)]


def test_a_live_record_has_its_sequence_number_time_and_level() -> None:
    raw = b"3,1234,5678000,-,caller=T1;NVRM: a\\x0ab \\xc3\\xa9 \\x1b[31mred\\x1b[0m \\x5c\n SUBSYSTEM=pci\n DEVICE=x\n"
    record = parse_kmsg(raw, boot_time=1000.0, origin="/dev/kmsg")

    assert "NVRM: a\nb é red \\" == record.message
    assert (1234, 5.678, 1005.678, 3, True, False) == (
        record.line, record.monotonic, record.at, record.level, record.kernel, record.injected,
    )  # fmt: skip


def test_a_live_record_of_another_facility_is_the_kernels_but_injected() -> None:
    record = parse_kmsg(b"12,1,5,-;" + XID_79.encode(), boot_time=None, origin="/dev/kmsg")

    assert (True, True, 4, None) == (record.kernel, record.injected, record.level, record.at)


@pytest.mark.parametrize(
    "raw", [b"", b"x", b"1,2;m", b"a,b,c,-;m", b"3,1234,,-;m", b"9" * 5000 + b",1,1,-;m", b"\xff\0;"]
)
def test_a_live_record_of_no_known_form_does_not_end_the_watch(raw: bytes) -> None:
    assert parse_kmsg(raw, boot_time=1.0, origin="/dev/kmsg").monotonic is None


@pytest.mark.parametrize("name", ["bmc-sel", "dcgm", "redfish"])
def test_a_program_that_calls_itself_like_one_of_our_probes_is_not_believed(name: str) -> None:
    """Anybody may write to the journal and to syslog under any name; what the probes read comes another way."""
    fields = {"SYSLOG_IDENTIFIER": name, "_TRANSPORT": "syslog", "MESSAGE": "x", "__REALTIME_TIMESTAMP": "1000000"}
    journal = list(parse_lines([json.dumps(fields).encode() + b"\n"], origin="x", year_hint=0.0))
    syslog = list(parse_lines([f"Nov 26 10:00:00 node1 {name}[7]: x\n".encode()], origin="x", year_hint=0.0))

    assert [f"{name}?"] * 2 == [record.identifier for record in (*journal, *syslog)]
