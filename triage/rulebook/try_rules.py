"""Runs the tests that stand in the rule files through the real walk.

A test is a whole log: its silence counts, except about what it lists under
`unknown`.  Only incidents of the rule under test are looked at, for its rivals
have tests of their own; that an incident is folded into another is `none`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from probes.model import Entity, LogRecord, Reading, Source
from probes.named import NamedTuple
from triage.assess import assess
from triage.clauses import WHOLE_LOG
from triage.model import UNDETERMINED, Incident
from triage.rulebook.model import Expect, Rule, Rulebook, RuleTest

ZERO = 1_780_000_000.0
"""The moment that a test calls 0s."""
_READING_GPU = "0000:4e:00.0"


class Result(NamedTuple):
    """The outcome of one test; `problems` is empty if it passed."""

    rule: str
    test: RuleTest
    problems: tuple[str, ...]


def run_tests(rulebook: Rulebook, ids: Iterable[str] = ()) -> list[Result]:
    """Run the tests of these rules, of all if none is named."""
    wanted = set(ids)
    return [
        Result(rule.id, test, tuple(run_test(rulebook, rule, test)))
        for rule in rulebook.rules
        if not wanted or rule.id in wanted
        for test in rule.tests
    ]


def run_test(rulebook: Rulebook, rule: Rule, test: RuleTest) -> Iterator[str]:
    """Yield what is wrong with one test's outcome."""
    records = sorted(_records(test), key=lambda r: r.at or 0.0)
    readings = [
        Reading(
            Entity("gpu", pci=given.pci or _READING_GPU) if given.metric.startswith("gpu.") else Entity("node"),
            given.metric,
            given.value,
            "",
            ZERO + given.at,
        )
        for given in test.given
        if given.metric is not None and given.value is not None
    ]
    preset = {name: "seen" if seen else "quiet" for name, seen in test.fleet.items()}
    preset.update(dict.fromkeys(test.unknown, "unknown"))
    source = Source("kernel-log", "test", True, from_boot=True, records=len(records))
    assessment = assess(rulebook, records, readings, [source], node="test", now=ZERO + 3600, preset={rule.id: preset})
    found = [incident for incident in assessment.incidents if incident.rule == rule.id]
    yield from _compare(test.expect, found)


def _compare(expect: Expect, found: Sequence[Incident]) -> Iterator[str]:
    if expect.verdict == "none":
        if found:
            yield f"expected no incident, got: {found[0].summary}"
        return
    if not found:
        yield "expected an incident, got none"
        return
    incident = found[0]
    verdict = incident.verdict
    said = f"{verdict.family} {verdict.confidence:.2f} ({next(iter(verdict.by_leaf))} leads)"
    if verdict.family != expect.verdict:
        yield f"expected {expect.verdict}, got {said}"
    if expect.leaf is not None and (verdict.leaf or next(iter(verdict.by_leaf))) != expect.leaf:
        yield f"expected the leaf {expect.leaf}, got {said}"
    if expect.at_least is not None and verdict.confidence < expect.at_least:
        yield f"expected at least {expect.at_least}, got {said}"
    if expect.severity is not None and incident.severity != expect.severity:
        yield f"expected severity {expect.severity}, got {incident.severity}"
    states = {evidence.id: evidence.state for evidence in incident.evidence}
    for name in expect.uses:
        if states.get(name) != "seen":
            yield f"expected {name} to be seen, it is {states.get(name)}"
    for name in expect.ask:
        if states.get(name) != "unknown":
            yield f"expected {name} to be asked for, it is {states.get(name)}"
    if expect.ask and verdict.family == UNDETERMINED and not incident.settle:
        yield "expected a way to settle it, got none"


def _records(test: RuleTest) -> Iterator[LogRecord]:
    first = min([given.at for given in test.given], default=0.0)
    start = ZERO + min(first, 0.0) - 30 * 86400.0
    yield LogRecord("Linux version 6.1.0", at=start, monotonic=0.0, origin="test", line=1, boot="#1")
    for number in range(WHOLE_LOG):
        yield LogRecord(
            f"audit: ordinary line {number}", at=start + 1 + number, origin="test", line=2 + number, boot="#1"
        )
    for number, given in enumerate(test.given):
        if given.line is None:
            continue
        kernel = given.source == "kernel"
        yield LogRecord(
            given.line,
            at=ZERO + given.at,
            kernel=kernel,
            identifier="kernel" if kernel else given.source.partition(":")[2],
            origin="test",
            line=100 + number,
            boot="#1",
            text=given.line,
        )
