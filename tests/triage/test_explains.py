"""Which of two incidents explains the other and takes it in; on a GPU of its own and seconds from it."""

from __future__ import annotations

from typing import Any

import pytest

from probes.model import Source
from tests.triage.asked import GPU, OTHER, RULE, RULEBOOK, reading, signal
from triage.assess import conclude
from triage.model import Assessment, Signal
from triage.rulebook.model import Absent, Metric, Rule, Seen, Select, Trigger
from triage.timeline import Spans, build

SOURCES = [Source("kernel-log", "log", True)]


def rule(name: str, select: Select | None = None, **more: Any) -> Rule:
    """A rule that signals of its own name open, with a look of 20 s ahead and no questions."""
    trigger = Trigger((Seen(Select((name,)) if select is None else select),), {}, "Why.", ())
    return RULE._replace(id=name, title=name, trigger=trigger, evidence=(), explains=(), suppress=())._replace(**more)


def concluded(rules: tuple[Rule, ...], *signals: Signal) -> Assessment:
    spans = Spans()
    list(spans.watch(s.record for s in signals))
    timeline = build(signals, spans)
    return conclude(RULEBOOK._replace(rules=rules), timeline, [], SOURCES, node="n", now=0.0)


def told(rules: tuple[Rule, ...], *signals: Signal) -> dict[str, list[str]]:
    """The rules of the incidents that are left, in the order of the log, with the rules of what each took in."""
    left = sorted(concluded(rules, *signals).incidents, key=lambda i: i.opened_order)
    return {i.rule: [summary.split()[0] for summary in i.explains] for i in left}


CAUSE, SYMPTOM = rule("cause", explains=("symptom",)), rule("symptom")
APART: dict[str, list[str]] = {"cause": [], "symptom": []}
TOGETHER = {"cause": ["symptom"]}


def at(seconds: float, look_after: float = 20.0, **more: Any) -> dict[str, list[str]]:
    """A cause at 1000 s and a symptom so long after it."""
    lines = [signal("cause", 1000.0), signal("symptom", 1000.0 + seconds)]
    lines.sort(key=lambda s: s.record.at or 0.0)
    found = told((CAUSE._replace(look_after=look_after), SYMPTOM._replace(**more)), *lines)
    return {name: found[name] for name in sorted(found)}


@pytest.mark.parametrize(
    ("seconds", "look_after", "expected"),
    [
        (0.0, 20.0, TOGETHER),
        (180.0, 20.0, TOGETHER),
        (181.0, 20.0, APART),
        (300.0, 300.0, TOGETHER),
        (301.0, 300.0, APART),
        (-10.0, 20.0, TOGETHER),
        (-11.0, 20.0, APART),
        (0.5, 0.0, TOGETHER),
    ],
)
def test_a_symptom_follows_its_cause_or_is_logged_a_little_before_it(
    seconds: float, look_after: float, expected: dict[str, list[str]]
) -> None:
    """Within a burst, or as long as the rule of the cause looks ahead."""
    assert expected == at(seconds, look_after)


def test_what_no_rule_names_is_explained_by_nothing() -> None:
    assert {"cause": [], "symptom": []} == told((rule("cause"), SYMPTOM), signal("cause", 1.0), signal("symptom", 2.0))


def test_a_symptom_near_any_line_of_the_cause_is_its_symptom() -> None:
    """As near as the rule looks, and a little before."""

    def again(seconds: float) -> dict[str, list[str]]:
        far = [signal("cause", 5000.0, kind="b"), signal("symptom", 5000.0 + seconds)]
        return told((CAUSE, SYMPTOM), signal("cause", 1000.0), *sorted(far, key=lambda s: s.record.at or 0.0))

    assert (TOGETHER, APART) == (again(20.0), again(21.0))
    assert (TOGETHER, APART) == (again(-10.0), again(-11.0))


def test_a_symptom_is_of_the_same_gpu_or_of_the_node() -> None:
    cause = signal("cause", 1000.0)
    node = SYMPTOM._replace(scope="node")

    assert APART == told((CAUSE, SYMPTOM), cause, signal("symptom", 1001.0, OTHER))
    assert TOGETHER == told((CAUSE, SYMPTOM), cause, signal("symptom", 1001.0, GPU[:-1] + "1"))
    assert TOGETHER == told((CAUSE, node), cause, signal("symptom", 1001.0, OTHER))
    assert TOGETHER == told((CAUSE._replace(scope="node"), SYMPTOM), cause, signal("symptom", 1001.0, OTHER))


def test_a_cause_can_name_the_lines_it_explains_and_then_explains_all_or_nothing() -> None:
    """Xids by their code.  An incident that has other lines too is one of its own."""
    cause = rule("cause", explains=("xid-45", "hang"))
    other = rule("other", Select(("hang", "reset"), (45, 13)))

    def with_lines(*signals: Signal) -> dict[str, list[str]]:
        return told((cause, other), signal("cause", 1000.0), *signals)

    xid, hang = signal("xid", 1001.0, xid="45"), signal("hang", 1002.0)
    assert {"cause": ["other"]} == with_lines(xid, hang)
    assert {"cause": ["other"]} == with_lines(xid)
    assert {"cause": [], "other": []} == with_lines(xid, signal("xid", 1002.0, xid="13"))
    assert {"cause": [], "other": []} == with_lines(hang, signal("reset", 1003.0))


def witnessed(explains: tuple[str, ...], within: float = 7200.0) -> Rule:
    """A cause that counts a symptom of the last hours as evidence."""
    item = RULE.evidence[0]._replace(id="had", group="had", clause=Seen(Select(("symptom",)), within=within))
    return rule("cause", explains=explains, evidence=(item,))


def test_a_line_that_is_evidence_for_the_cause_is_its_symptom_whenever_it_was() -> None:
    """If the cause names the rule; lines alone must be near."""
    hours = [signal("symptom", 1000.0), signal("cause", 5000.0)]

    assert TOGETHER == told((witnessed(("symptom",)), SYMPTOM), *hours)
    assert {"symptom": [], "cause": []} == told((witnessed(("symptom",), 3600.0), SYMPTOM), *hours)
    other = rule("other", Select(("symptom",)))
    assert {"other": [], "cause": []} == told((witnessed(("symptom",)), other), *hours)
    assert {"symptom": [], "cause": []} == told((CAUSE, SYMPTOM), *hours)


def test_a_line_that_speaks_against_the_cause_is_not_its_symptom() -> None:
    """It was to be absent, and is what was found instead."""
    item = RULE.evidence[0]._replace(id="no", group="no", clause=Absent(Select(("symptom",)), 7200.0))
    cause = rule("cause", explains=("symptom",), evidence=(item,))

    assert {"symptom": [], "cause": []} == told((cause, SYMPTOM), signal("symptom", 1000.0), signal("cause", 5000.0))


def test_without_times_a_symptom_is_taken_for_one_wherever_it_stands() -> None:
    cause, symptom = signal("cause", None), signal("symptom", None)

    assert TOGETHER == told((CAUSE, SYMPTOM), cause, symptom)
    assert TOGETHER == told((CAUSE, SYMPTOM), symptom, cause)
    assert {"cause": ["other"]} == told((CAUSE, rule("other", Select(("symptom",)))), symptom, cause)


@pytest.mark.parametrize("times", [(None, None), (1000.0, 1000.0), (1000.0, 1005.0), (1000.0, 1180.0)])
def test_of_two_that_explain_each_other_the_first_is_the_cause(times: tuple[float | None, float | None]) -> None:
    """Nothing is logged before itself: the one that stands first in the log took the other along."""
    one, other = rule("one", explains=("other",)), rule("other", explains=("one",))
    first, second = times

    assert {"one": ["other"]} == told((one, other), signal("one", first), signal("other", second))
    assert {"other": ["one"]} == told((one, other), signal("other", first), signal("one", second))


def test_of_two_that_explain_each_other_neither_explains_what_stands_just_before_its_later_lines() -> None:
    """Where only one explains the other, it does."""
    one, other = rule("one", explains=("other",)), rule("other", explains=("one",))
    lines = [signal("one", 1000.0), signal("other", 1204.5), signal("one", 1205.0, kind="b")]

    assert {"one": [], "other": []} == told((one, other), *lines)
    assert {"one": ["other"]} == told((one, rule("other")), *lines)


def test_what_yields_is_explained_by_anything_at_that_time_that_does_not_yield() -> None:
    yields = rule("remark", yields=True)
    plain, another = rule("plain"), rule("another", yields=True)

    assert {"plain": ["remark"]} == told((yields, plain), signal("remark", 1000.0), signal("plain", 1005.0))
    assert {"plain": [], "remark": []} == told((yields, plain), signal("plain", 1000.0), signal("remark", 1181.0))
    assert {"another": [], "remark": []} == told((yields, another), signal("another", 1000.0), signal("remark", 1001.0))
    both = rule("both", yields=True, explains=("remark",))
    assert {"both": ["remark"]} == told((yields, both), signal("both", 1000.0), signal("remark", 1001.0))


def test_each_symptom_is_told_once_and_one_that_is_explained_explains_nothing() -> None:
    """The first cause takes it; what its symptom would have explained stays."""
    first, second, third = (signal(name, 1000.0 + n) for n, name in enumerate(("a", "b", "c")))
    chain = (rule("a", explains=("b",)), rule("b", explains=("c",)), rule("c"))
    shared = (rule("c"), rule("b", explains=("c",)), rule("a", explains=("c",)))

    assert {"a": ["b"], "c": []} == told(chain, first, second, third)
    assert {"a": ["c"], "b": []} == told(shared, first, second, third)
    assert {"a": ["c", "b"]} == told((rule("c"), rule("b"), rule("a", explains=("b", "c"))), first, second, third)


def test_what_a_reading_opened_neither_explains_nor_is_explained() -> None:
    """It says nothing of when it began."""
    hot = rule("hot", explains=("symptom",))._replace(
        trigger=Trigger((Metric("gpu.temperature", at_least=90),), {}, "Why.", ())
    )
    cause = rule("cause", explains=("hot",))
    lines = [signal("cause", 1000.0), signal("symptom", 1001.0)]
    spans = Spans()
    list(spans.watch(s.record for s in lines))
    found = conclude(
        RULEBOOK._replace(rules=(hot, cause, SYMPTOM)), build(lines, spans), [reading(95)], SOURCES, node="n", now=0.0
    )

    assert {"hot", "cause", "symptom"} == {i.rule for i in found.incidents}
