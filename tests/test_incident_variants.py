"""What a log says must not depend on how it was written down.

Every incident of the library is written again in other formats and with disturbances that
change nothing about what happened.  All incidents found must keep device, family and leaf.
What does change what is known is left out, and each reason for that stands here in code.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from probes.model import LogRecord
from tests import variants
from triage.assess import assess
from triage.clauses import WHOLE_LOG
from triage.evaluate import NOW
from triage.intake import Intake
from triage.rulebook.load import load
from triage.rulebook.model import Count, Item, Spread
from triage.scanner import Scanner

LIBRARY = Path(__file__).parent / "incidents"
RULEBOOK = load()
SCANNER = Scanner(RULEBOOK)
MOST_NOISE = 10
SKEW = 0.05
"""Seconds by which clocks of two sources on one machine may disagree."""
LEAST = 0.5
"""Share of the library that must be fit for a format, so that no exclusion empties a test unnoticed."""

Case = dict[str, Any]
Said = list[tuple[str, str, str, str]]


@cache
def library() -> tuple[Case, ...]:
    files = sorted(LIBRARY.glob("*.jsonl"))
    return tuple(json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines())


@cache
def read(number: int) -> variants.Read:
    return variants.read(SCANNER, raw(library()[number]))


@cache
def expected(number: int) -> Said:
    return said(raw(library()[number]))


def raw(case: Case) -> bytes:
    return str(case["log"]).encode("utf-8", "surrogateescape")


def said(data: bytes) -> Said:
    intake = Intake(["-"], now=NOW, stdin=io.BytesIO(data))
    found = assess(RULEBOOK, intake, (), lambda: intake.sources, node=None, now=NOW)
    return sorted(
        (i.rule, (i.device.pci if i.device else None) or "", i.verdict.family, i.verdict.leaf or "")
        for i in found.incidents
    )


def stamped(number: int, *, only_kernel: bool = False) -> list[LogRecord] | None:
    """Return the records with both clocks, or None if giving them clocks or a tag would add knowledge."""
    records = read(number).records
    if any(record.pasted for record in records):
        return None  # a line without a prefix may be anybody's; a prefix would say whose it is
    if only_kernel and not all(record.kernel for record in records):
        return None  # the ring buffer holds no line of a program
    return variants.stamped(records)  # None: a time made up would let the log's silence count


def same_silence(number: int, added: int = 0, removed: int = 0) -> bool:
    """Whether a log stays an excerpt, or stays whole: at WHOLE_LOG lines its silence begins to count."""
    plain = read(number).plain
    return (plain < WHOLE_LOG) == (plain + added < WHOLE_LOG) == (plain - removed < WHOLE_LOG)


def failures(made: Iterator[tuple[int, bytes]], least: float) -> list[str]:
    """Return what changed; fails at once if too few cases were fit for the variant."""
    wrong, count = [], 0
    for number, data in made:
        count += 1
        now = said(data)
        if now != expected(number):
            wrong.append(f"{library()[number]['id']}: {expected(number)} became {now}")
    assert count >= least * len(library()), f"only {count} of {len(library())} cases were tried"
    return wrong


def formatted(form: Any, only_kernel: bool) -> Iterator[tuple[int, bytes]]:
    for number in range(len(library())):
        records = stamped(number, only_kernel=only_kernel)
        if records is not None:
            yield number, variants.written(records, form)


@pytest.mark.parametrize("name", variants.ONLY_KERNEL)
def test_a_kernel_log_says_the_same_in_every_format_of_the_ring_buffer(name: str) -> None:
    assert [] == failures(formatted(variants.ONLY_KERNEL[name], True), LEAST)


@pytest.mark.parametrize("name", variants.ALL_RECORDS)
def test_a_log_says_the_same_in_every_format_of_syslog_and_journal(name: str) -> None:
    assert [] == failures(formatted(variants.ALL_RECORDS[name], False), LEAST)


def test_a_short_kernel_log_says_the_same_without_any_prefix() -> None:
    def made() -> Iterator[tuple[int, bytes]]:
        for number in range(len(library())):
            records = stamped(number, only_kernel=True)
            if records is None or read(number).plain >= WHOLE_LOG:
                continue  # without times nobody knows what a whole log covers, so its silence stops counting
            first, last = records[0].at, records[-1].at
            if first is None or last is None or last - first > 60.0:
                continue  # without times what is far apart cannot be told from what is near
            if any(record.monotonic is not None and record.monotonic < 1.0 for record in read(number).records):
                continue  # that the log begins with the boot is told by its times
            if any("\n" in record.message for record in records) or repeats(read(number).records):
                continue  # what belongs to one record is told by its prefix
            yield number, variants.written(records, variants.bare)

    assert [] == failures(made(), 0.2)


def repeats(records: Sequence[LogRecord]) -> bool:
    return len({record.message for record in records}) < len(records)


def test_line_ends_of_windows_change_nothing() -> None:
    made = ((number, variants.crlf(case["log"])) for number, case in enumerate(library()))

    assert [] == failures(made, 1.0)


def test_a_compressed_log_says_the_same() -> None:
    made = ((number, variants.gzipped(case["log"])) for number, case in enumerate(library()))

    assert [] == failures(made, 1.0)


def test_unrelated_lines_in_between_change_nothing() -> None:
    def made() -> Iterator[tuple[int, bytes]]:
        for number, case in enumerate(library()):
            records = stamped(number)
            if records is None or not same_silence(number, added=MOST_NOISE):
                continue
            yield number, variants.written(variants.noisy(records, case["id"], MOST_NOISE), variants.rfc3339)

    assert [] == failures(made(), LEAST)


def counts_lines(item: Item) -> bool:
    clause = item.clause
    return (isinstance(clause, Count) and clause.fold == 0) or (
        isinstance(clause, Spread) and clause.at_most is not None
    )


COUNTS_LINES = frozenset(rule.id for rule in RULEBOOK.rules if any(counts_lines(item) for item in rule.evidence))
"""Rules that count lines, not events: of a line that is there twice they cannot tell that it was written once."""


def test_lines_that_are_there_twice_change_nothing() -> None:
    def made() -> Iterator[tuple[int, bytes]]:
        for number in range(len(library())):
            records = stamped(number)
            if records is None or not same_silence(number, added=read(number).plain):
                continue
            if any(rule in COUNTS_LINES for rule, *_ in expected(number)):
                continue
            yield number, variants.written([twice for r in records for twice in (r, r)], variants.rfc3339)

    assert [] == failures(made(), LEAST)


def test_a_log_that_breaks_off_after_the_last_line_that_matters_says_the_same() -> None:
    def made() -> Iterator[tuple[int, bytes]]:
        for number in range(len(library())):
            records = stamped(number)
            found = read(number)
            if records is None or not any(found.meaning):
                continue
            kept = variants.cut_off(found, records)
            if not same_silence(number, added=1, removed=len(records) - len(kept) + 1):
                continue
            yield number, variants.written(kept, variants.rfc3339)[:-1]

    assert [] == failures(made(), LEAST)


def test_neighbours_in_another_order_within_the_skew_of_clocks_change_nothing() -> None:
    def made() -> Iterator[tuple[int, bytes]]:
        for number in range(len(library())):
            records = stamped(number)
            found = read(number)
            if records is None or "crash" in found.timeline.by_name:
                continue  # the lines of one crash come from one CPU, which keeps their order
            yield number, variants.written(variants.skewed(records, found.meaning, SKEW), variants.rfc3339)

    assert [] == failures(made(), LEAST)
