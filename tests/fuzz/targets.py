"""What is fuzzed: functions of bytes that must return, whatever the bytes are.

A target raises where a promise is broken: an exception that is not part of the
contract, a control character that would reach a terminal, a record larger than
it may be, a fast reading that differs from the slow one.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, cast
from unicodedata import category

from probes.model import LogRecord
from probes.records import parse_lines
from probes.records_text import MESSAGE_CAP, TEXT_CAP
from tests.fuzz import answers, single
from triage import decode
from triage.assess import assess
from triage.fast_files import read_log  # noqa: F401  # loaded before fuzzing begins, so that it is instrumented once
from triage.fastscan import FastIntake
from triage.fleet import inventory
from triage.intake import Intake
from triage.render.layout import Look
from triage.render.text import render
from triage.report import to_report
from triage.rulebook import convert, load, yamlload
from triage.rulebook.model import Rulebook
from triage.rulebook.problems import Problem
from triage.rulebook.shape import check, schema
from triage.scanner import Scanner
from triage.streams import lines
from triage.timeline import Spans, build
from triage.window import moment
from tui import filters

NOW = 1700000000.0

_HARMFUL = ("Cc", "Cs", "Zl", "Zp")
"""Control characters, halves of characters, and what ends a line."""
_TURNS = "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""What turns the direction of the text after it."""


@cache
def rulebook() -> Rulebook:
    """Return the shipped rules, loaded once."""
    return load.load(None, ())


def _harmless(text: str, newline: bool = False) -> None:
    for letter in text.replace("\n", "") if newline else text:
        fit = category(letter) not in _HARMFUL and letter not in _TURNS
        assert fit or letter == "\t", f"{letter!r} would reach the terminal"


def _record(record: LogRecord) -> None:
    assert len(record.message) <= MESSAGE_CAP + 1
    assert len(record.text) <= TEXT_CAP
    _harmless(record.message, newline=True)
    _harmless(record.text)


def records(data: bytes) -> None:
    """The readers of kernel log lines: dmesg, syslog, journal, /dev/kmsg, consoles."""
    for record in parse_lines(lines([data]), origin="-", year_hint=NOW):
        _record(record)


def inputs(data: bytes) -> None:
    """Everything that is recognised by its content: packed streams, captures, bug reports, nvidia-smi, lspci."""
    intake = Intake(["-"], now=NOW, stdin=cast("BinaryIO", io.BytesIO(data)))
    for record in intake:
        _record(record)
    for source in intake.sources:
        _harmless(source.origin)
    for notice in intake.notices:
        _harmless(notice)
    for reading in intake.readings:
        assert reading.name


def explain(data: bytes) -> None:
    """The whole way from bytes to the text on the screen."""
    intake = Intake(["-"], now=NOW, stdin=cast("BinaryIO", io.BytesIO(data)))
    found = assess(
        rulebook(),
        intake,
        lambda: intake.readings,
        lambda: intake.sources,
        node=lambda: intake.node,
        now=NOW,
        notices=lambda: intake.notices,
    )
    report = to_report(found, generated_at=NOW, tool_version="0", causes=rulebook().causes)
    json.dumps(report, allow_nan=False).encode()
    _harmless(render(report, Look(80)), newline=True)


def _told(intake: Intake, scanner: Scanner, spans: Spans) -> tuple[Any, ...]:
    timeline = build(scanner.scan(spans.watch(intake)), spans)
    return timeline, intake.sources, intake.notices, scanner.plain


def fast(data: bytes) -> None:
    """The fast reader, which must say what the slow one says."""

    def stdin() -> BinaryIO:
        return cast("BinaryIO", io.BytesIO(data * 3))

    slowly = _told(Intake(["-"], now=NOW, stdin=stdin()), Scanner(rulebook()), Spans())
    intake = FastIntake(["-"], rulebook=rulebook(), now=NOW, stdin=stdin(), slow_start=0)
    scanner, spans = Scanner(rulebook()), Spans()
    intake.begin(scanner, spans)
    assert slowly == _told(intake, scanner, spans)


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


def rules(data: bytes) -> None:
    """The reader of rule files: its YAML, its schema, its conversion."""
    problems: list[Problem] = []
    document = yamlload.parse(data.decode("utf-8", "replace"), "rules/fuzz.yaml", problems)
    if document is None:
        assert problems
        return
    for kind in ("rule.v1", "signals.v1", "overlay.v1", "driver-bugs.v1"):
        found = check(document, schema(kind))
        for problem in found:
            _harmless(str(problem), newline=True)
        if kind == "rule.v1" and not found:
            convert.RuleReader(document.path, _names(), problems).rule(document)


def words(data: bytes) -> None:
    """What people type: filters, times, Xids with their text."""
    text = data.decode("utf-8", "replace")
    try:
        filters.parse(text, ("gpu", "state", "xid"))({"gpu": text, "state": "lost", "xid": "79"})
    except filters.FilterError as error:
        _within(error.column, len(text))
    with suppress(ValueError):
        moment(text, NOW, 0.0)
    code = data[0] if data else 0
    decode.xid(code, text[1:])
    decode.fields(code, text[1:])


def _within(column: int, length: int) -> None:
    assert 1 <= column <= length + 2


def nodes(data: bytes) -> None:
    """An inventory of a fleet: CSV, JSON or YAML."""
    suffix = (".csv", ".json", ".yaml")[data[0] % 3] if data else ".csv"
    handle, name = tempfile.mkstemp(suffix)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data[1:])
        for facts in inventory.load(Path(name)).values():
            assert all(isinstance(value, str) for value in facts.values())
    except inventory.Unusable:
        pass
    finally:
        os.unlink(name)


TARGETS: dict[str, Callable[[bytes], None]] = (
    {target.__name__: target for target in (records, inputs, explain, fast, rules, words, nodes)}
    | single.TARGETS
    | answers.TARGETS
)
