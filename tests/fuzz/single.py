"""Targets of one parser each, which `inputs` and `explain` reach only through a guess at what the input is."""

from __future__ import annotations

import io
import math
import tempfile
from collections.abc import Callable, Iterable
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from probes.model import LogRecord, Missing, Reading
from probes.records import Tally, parse_journal_json, parse_kmsg, parse_lines
from probes.records_text import CUT, LINE_CAP, MESSAGE_CAP
from triage import capture, decode
from triage.cli.exits import Refused
from triage.cli.xid import _told, parser
from triage.found import Found
from triage.render.layout import Look
from triage.render.machine import to_json
from triage.render.xid import render
from triage.rulebook import convert, overlay
from triage.rulebook.load import load
from triage.rulebook.model import Rulebook
from triage.rulebook.problems import Problem
from triage.scanner import Scanner
from triage.sections import bug_report, lspci, recognise
from triage.streams import BLOCK, Damaged, blocks, lines
from tui.loglines import Signals, parts, search_for, shape

NOW = 1700000000.0
MOST_UNPACKED = 32 << 20
"""Bytes after which a stream that unpacks ever more is left alone."""


@cache
def rulebook() -> Rulebook:
    """Return the shipped rules, loaded once."""
    return load(None, ())


@cache
def _signals() -> Signals:
    return Signals(rulebook())


class _Pieces(io.RawIOBase):
    """A stream that gives its bytes in pieces of this size."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data, self._size, self._place = data, size, 0

    def readable(self) -> bool:
        return True

    def read1(self, _most: int) -> bytes:
        piece = self._data[self._place : self._place + self._size]
        self._place += len(piece)
        return piece


def _plain(text: str | None, allowed: str = "") -> None:
    """No control character and no half of a character is in a text."""
    harmful = [
        char
        for char in text or ""
        if (char < " " or "\x7f" <= char <= "\x9f" or "\ud800" <= char <= "\udfff") and char not in allowed
    ]
    assert not harmful, f"{harmful!r} in {text!r}"


def _record(record: LogRecord) -> None:
    assert len(record.message) <= MESSAGE_CAP + len(CUT)
    _plain(record.message, "\n\t")
    _plain(record.host)
    _plain(record.identifier)
    assert record.at is None or math.isfinite(record.at), record
    assert record.monotonic is None or (math.isfinite(record.monotonic) and record.monotonic >= 0), record
    assert record.level is None or 0 <= record.level <= 7, record


def _reading(reading: Reading) -> None:
    assert isinstance(reading.value, (int, float, str, bool, Missing)), reading
    assert not isinstance(reading.value, float) or math.isfinite(reading.value), reading
    assert math.isfinite(reading.at), reading
    for text in (reading.value, *reading.entity):
        if isinstance(text, str):
            _plain(text, "\t")


def _read_as(data: bytes, reader: Callable[..., Iterable[LogRecord]]) -> None:
    found = Found("input")
    given = recognise.Given(found, NOW, 0.0, Tally(), lambda: len(data), lambda raw: raw)
    for record in reader(iter([data]), given):
        _record(record)
    for reading in found.readings:
        _reading(reading)


def kmsg(data: bytes) -> None:
    """What /dev/kmsg returns for one read."""
    _record(parse_kmsg(data, boot_time=NOW, origin="/dev/kmsg"))


def journal(data: bytes) -> None:
    """A line of `journalctl -o json`, by itself and among others."""
    record = parse_journal_json(data[:LINE_CAP].decode("utf-8", "replace"), "input", tally=Tally())
    if record is not None:
        _record(record)
    last = 0
    for record in parse_lines(lines([data]), origin="input", year_hint=NOW):
        _record(record)
        assert last < record.line, record
        last = record.line


def crash(data: bytes) -> None:
    """The signals of a log, crashes that are put together among them."""
    for signal in Scanner(rulebook()).scan(parse_lines(lines([data]), origin="input", year_hint=NOW)):
        for value in signal.fields.values():
            _plain(value, "\n\t")


def smi_text(data: bytes) -> None:
    """What `nvidia-smi -q` prints."""
    _read_as(data, recognise._smi_text)


def smi_xml(data: bytes) -> None:
    """What `nvidia-smi -q -x` prints."""
    _read_as(data, recognise._smi_xml)


def report(data: bytes) -> None:
    """An nvidia-bug-report.log."""
    found = Found("input")
    for record in bug_report.read(lines([data]), found, year_hint=NOW, tz_offset=0.0, tally=Tally()):
        _record(record)
    for reading in found.readings:
        _reading(reading)


def pci(data: bytes) -> None:
    """What `lspci -vvv` prints."""
    for reading in lspci.readings(data.decode("utf-8", "replace").split("\n"), NOW):
        _reading(reading)


def captured(data: bytes) -> None:
    """What `collect` writes, not yet packed."""
    found, rest = Found("input"), capture.Rest()
    for record in capture.read(iter([data]), found, keep=rest):
        _record(record)
    for reading in found.readings:
        _reading(reading)


def streams(data: bytes) -> None:
    """Compressed or not, whole or not: blocks and lines are bounded, and the same however the bytes arrive."""

    def unpacked(size: int) -> tuple[bytes, bool]:
        file: Any = _Pieces(data, size)
        got = bytearray()
        try:
            for block in blocks(file):
                assert len(block) <= BLOCK
                got += block
                if len(got) > MOST_UNPACKED:
                    break
        except Damaged:
            return bytes(got[:MOST_UNPACKED]), True
        return bytes(got[:MOST_UNPACKED]), False

    whole, damaged = unpacked(BLOCK)
    in_pieces, damaged_too = unpacked(7)
    assert damaged == damaged_too
    assert damaged or whole == in_pieces
    assert list(lines([whole])) == list(lines([whole[:3], whole[3:10], whole[10:]]))


@cache
def _names() -> convert.Names:
    book = rulebook()
    return convert.Names(
        words=book.words,
        causes=book.causes,
        families=frozenset(cause.family for cause in book.causes.values()),
        signals=frozenset(pattern.id.partition("#")[0] for pattern in book.signals),
        rules=frozenset(rule.id for rule in book.rules),
    )


def site(data: bytes) -> None:
    """A file of a site that changes or adds a rule: understood, or refused with its places."""
    problems: list[Problem] = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "site.yaml").write_bytes(data)
        sites = [overlay.read_site(Path(folder), problems)]
    for document in overlay.added(_names().rules, sites, problems).values():
        if document.path not in sites[0].broken:
            convert.RuleReader(document.path, _names(), problems).rule(document)
    overlay.changed(rulebook().rules, sites, _names(), date(2023, 11, 14), problems)
    for problem in problems:
        assert problem.place.line >= 1
        assert problem.place.column >= 1
        _plain(str(problem))


def search(data: bytes) -> None:
    """What is typed to search a log, and a line of the log it is drawn from."""
    asked, _, line = data.partition(b"\n")
    found = search_for(asked.decode("utf-8", "replace"))
    assert found.chunk(line) == found.line(line)
    parts(line.decode("utf-8", "replace"))
    shape(line)
    _signals().line(line)


def pasted(data: bytes) -> None:
    """What is given to `gpu-triage xid`: codes or lines, and all that is printed of them."""
    text = data.decode("utf-8", "surrogateescape").replace("\0", " ")
    if text.strip() == "-":  # standard input
        return
    try:
        told = _told(parser().parse_args(["--", text]), rulebook())
    except Refused:
        return
    to_json(told).encode()
    _plain(render(told, Look(80)), "\n")


def decoded(data: bytes) -> None:
    """The words of a line of any Xid."""
    code, text = int.from_bytes(data[:1], "big"), data[1:].decode("utf-8", "replace")
    assert all(isinstance(value, str) for value in decode.fields(code, text).values())
    decode.xid(code, text, "575.57.08")
    decode.init_failure(text)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        kmsg, journal, crash, smi_text, smi_xml, report, pci, captured, streams, site, search, pasted, decoded,
    )
}  # fmt: skip
