"""What an incident says of itself: where, when, how often, how bad, and whether it is over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from probes.model import Entity, LogRecord, Missing, Reading, Source
from tests.triage.asked import GPU, OTHER, RULE, RULEBOOK, Remembered, reading, signal
from triage.assess import assess, conclude, severity_of
from triage.model import Assessment, Evidence, Incident, Signal
from triage.rulebook.model import (
    Action,
    Clause,
    Fact,
    Item,
    KnownBug,
    Metric,
    Otherwise,
    Rule,
    Rulebook,
    Seen,
    Select,
    Suppress,
    Trigger,
)
from triage.scanner import Scanner
from triage.timeline import Spans, build

SOURCES = [Source("kernel-log", "log", True)]


def rule(*opens: Clause, **more: Any) -> Rule:
    """A rule without questions that an Xid 79, or what is said, opens."""
    opening = Trigger(opens or (Seen(Select(xids=(79,))),), {}, "It fell off the bus.", ())
    return RULE._replace(trigger=opening, evidence=(), explains=(), suppress=())._replace(**more)


def concluded(
    rules: Rule | tuple[Rule, ...],
    *signals: Signal,
    readings: Sequence[Reading] = (),
    log: Sequence[LogRecord] = (),
    book: Rulebook = RULEBOOK,
    **more: Any,
) -> Assessment:
    spans = Spans()
    list(spans.watch([*log, *(s.record for s in signals)]))
    book = book._replace(rules=(rules,) if isinstance(rules, Rule) else rules)
    given: dict[str, Any] = {"node": "n", "now": 5000.0, **more}
    return conclude(book, build(signals, spans), readings, SOURCES, **given)


def one(*args: Any, **more: Any) -> Incident:
    (incident,) = concluded(*args, **more).incidents
    return incident


XID = signal("xid", 1000.0, xid="79")
HOT = Metric("gpu.temperature", at_least=90)


def where(found: Assessment) -> dict[str | None, int]:
    """How many lines opened each incident, by its GPU, in the order of the log."""
    left = sorted(found.incidents, key=lambda i: i.opened_order)
    return {i.device.pci if i.device else None: i.evidence[0].count for i in left}


# What opens it, and where


def test_every_gpu_has_an_incident_of_its_own_and_a_node_has_one() -> None:
    lines = [XID, signal("xid", 1001.0, OTHER, xid="79"), signal("xid", 1002.0, xid="79", text="again")]

    assert {GPU: 2, OTHER: 1} == where(concluded(rule(), *lines))
    assert {None: 3} == where(concluded(rule(scope="node"), *lines))


def test_a_line_that_names_no_gpu_is_of_those_that_the_others_name() -> None:
    nameless = signal("xid", 999.0, None, xid="79")
    found = concluded(rule(), nameless, XID, signal("xid", 1001.0, OTHER, xid="79"))

    assert {GPU: 2, OTHER: 2} == where(found)
    assert [999.0, 999.0] == [i.opened_at for i in found.incidents]
    assert {None: 2} == where(concluded(rule(scope="node"), nameless, XID))


def test_a_line_that_names_no_gpu_is_of_the_only_gpu_there_is() -> None:
    """Another GPU need not be named to be there: one that is lost may tell its index alone."""
    nameless = signal("xid", 999.0, None, xid="79")
    here = Reading(Entity("gpu", GPU, index=0), "gpu.state", "ok", "text", 1.0)
    lost = Reading(Entity("gpu", None, index=1), "gpu.state", "lost", "text", 1.0)
    other = Reading(Entity("gpu", OTHER, index=1), "gpu.state", "ok", "text", 1.0)

    assert {GPU: 1} == where(concluded(rule(), nameless, readings=[here]))
    assert {GPU: 1} == where(concluded(rule(), nameless, readings=[here, here._replace(name="gpu.count")]))
    held = Reading(Entity("process", index=7, name="python"), "process.user", "alice", "text", 1.0)
    assert {GPU: 1} == where(concluded(rule(), nameless, readings=[here, held])), "the number of a process is no GPU's"
    assert {None: 1} == where(concluded(rule(), nameless, readings=[here, lost]))
    assert {None: 1} == where(concluded(rule(), nameless, readings=[here, other]))
    assert {None: 1} == where(concluded(rule(), nameless))
    assert {None: 1} == where(concluded(rule(scope="node"), nameless, readings=[here]))


def test_a_line_that_two_questions_of_a_trigger_mean_opens_it_once() -> None:
    either = rule(Seen(Select(xids=(79,))), Seen(Select(("xid",))))

    assert {GPU: 2} == where(concluded(either, signal("xid", 999.0, xid="48"), XID))


@pytest.mark.parametrize(
    ("clause", "value", "opens"),
    [
        (HOT, 90, True),
        (HOT, 89, False),
        (HOT, "hot", False),
        (HOT, Missing("lost"), False),
        (Metric("gpu.temperature", at_most=5), 5, True),
        (Metric("gpu.temperature", at_most=5), 6, False),
        (Metric("gpu.temperature", is_="Lost"), "lost", True),
        (Metric("gpu.temperature", is_="lost"), "ok", False),
        (Metric("gpu.temperature", is_="timed-out"), Missing("timed-out"), True),
        (Metric("gpu.temperature", is_="timed-out"), Missing("lost"), False),
    ],
)
def test_a_reading_opens_an_incident_at_its_limit(clause: Metric, value: Any, opens: bool) -> None:
    found = concluded(rule(clause), readings=[reading(value)]).incidents

    assert [GPU] * opens == [i.device.pci for i in found if i.device]


def test_readings_of_several_gpus_are_an_incident_each_or_one_of_the_node() -> None:
    hot = [reading(95), reading(99, OTHER)]

    assert {GPU: 1, OTHER: 1} == where(concluded(rule(HOT), readings=hot))
    incident = one(rule(HOT, scope="node"), readings=hot)
    assert (None, hot[0]) == (incident.device, incident.evidence[0].reading)


def test_a_line_and_a_reading_of_one_gpu_are_one_incident() -> None:
    incident = one(rule(Seen(Select(xids=(79,))), HOT), XID, readings=[reading(95)])

    assert (1000.0, 1000.0, 0) == (incident.opened_at, incident.last_seen_at, incident.opened_order)
    opening = incident.evidence[0]
    assert (reading(95), 1000.0) == (opening.reading, opening.at)
    assert opening.record is not None


def test_what_a_reading_opened_began_when_it_was_read() -> None:
    incident = one(rule(HOT), readings=[reading(95)])

    assert (7.0, 7.0, -1, 1) == (incident.opened_at, incident.last_seen_at, incident.opened_order, incident.seen)
    assert (None, None, None) == (incident.boot, incident.last_monotonic, incident.repeats)
    assert (7.0, None, 1) == (incident.evidence[0].at, incident.evidence[0].record, incident.evidence[0].count)


def test_a_rule_that_is_suppressed_opens_nothing() -> None:
    quiet = rule(suppress=(Suppress(Seen(Select(("dpc",)), same="node"), "A drill."),))

    assert 1 == len(concluded(quiet, XID).incidents)
    assert 0 == len(concluded(quiet, signal("dpc", 999.0, None), XID).incidents)
    assert 1 == len(concluded((quiet, rule(id="other")), signal("dpc", 999.0, None), XID).incidents)
    of_gpu = rule(suppress=(Suppress(Seen(Select(("dpc",)), same="gpu"), "A drill."),))
    lines = [signal("dpc", 999.0), XID, signal("xid", 1001.0, OTHER, xid="79")]
    assert {OTHER: 1} == where(concluded(of_gpu, *lines)), "the other GPU's is still one"


# What it says of itself


def test_an_incident_tells_its_lines_and_their_times() -> None:
    lines = [signal("xid", at, xid="79", pid=str(at)) for at in (1000.0, 1010.0, 2000.0)]
    lines.append(signal("xid", 2001.0, xid="79", text="b"))
    incident = one(rule(), *[s._replace(record=s.record._replace(monotonic=s.record.at)) for s in lines])

    assert (1000.0, 2001.0, 0) == (incident.opened_at, incident.last_seen_at, incident.opened_order)
    assert 2 == incident.seen, "two bursts"
    assert ("#1", 2001.0) == (incident.boot, incident.last_monotonic)
    assert incident.repeats is not None
    assert (4, 1001.0, 3) == (incident.repeats.lines, incident.repeats.seconds, incident.repeats.processes)
    assert incident.summary.endswith(" on GPU 0000:4e:00.0 (Xid 79), 4 lines")


def test_an_incident_was_last_seen_at_its_latest_time_even_if_the_clock_went_back() -> None:
    back = one(rule(), XID, signal("xid", 900.0, xid="79", text="b"))
    untimed = one(rule(), signal("xid", None, xid="79"))

    assert (1000.0, 1000.0) == (back.opened_at, back.last_seen_at)
    assert (None, None) == (untimed.opened_at, untimed.last_seen_at)


def test_a_summary_names_place_codes_and_how_many_lines() -> None:
    many = rule(Seen(Select(("xid", "dpc"))), title="Broken", scope="node")

    assert "Broken on GPU 0000:4e:00.0 (Xid 79)" == one(rule(title="Broken"), XID).summary
    lines = [signal("xid", 1000.0, xid="119"), signal("xid", 1001.0, xid="79"), signal("dpc", 1002.0, None)]
    assert "Broken (Xid 79, 119), 3 lines" == one(many, *lines).summary
    assert "Broken" == one(many, signal("dpc", 1.0, None)).summary
    assert "Broken, 2 lines" == one(many, signal("dpc", 1.0, None), signal("dpc", 2.0, None)).summary
    assert "Broken on GPU 0000:4e:00.0" == one(rule(HOT, title="Broken"), readings=[reading(95)]).summary


@pytest.mark.parametrize(
    ("entity", "name"),
    [
        (Entity("gpu", GPU, "GPU-1", "165", 0), "n/165/gpu-off-bus"),
        (Entity("gpu", GPU, "GPU-1", None, 0), "n/GPU-1/gpu-off-bus"),
        (Entity("gpu", GPU, None, None, 0), f"n/{GPU}/gpu-off-bus"),
    ],
)
def test_an_incident_keeps_the_best_name_of_its_board(entity: Entity, name: str) -> None:
    here = Reading(entity, "gpu.state", "ok", "text", 1.0)

    assert name == one(rule(), XID, readings=[here]).fingerprint
    assert f"-{name[1:]}" == one(rule(), XID, readings=[here], node=None).fingerprint


def test_an_incident_of_a_node_is_named_by_the_node() -> None:
    assert "n/node/gpu-off-bus" == one(rule(scope="node"), XID).fingerprint


def test_an_incident_of_a_device_that_is_no_known_gpu_names_its_address() -> None:
    port = one(rule(Seen(Select(("dpc",)))), signal("dpc", 1.0, "0000:4d:01.0"))

    assert port.device is not None
    assert ("0000:4d:01.0", None) == (port.device.pci, port.device.uuid)


def test_an_incident_carries_what_its_rule_says() -> None:
    incident = one(rule(title="Broken", version=7, severity="warning"), XID)

    assert ("gpu-off-bus", 7, "Broken", "warning", "open", ()) == (
        incident.rule,
        incident.rule_version,
        incident.title,
        incident.severity,
        incident.state,
        incident.explains,
    )
    opening = Trigger((Seen(Select(xids=(79,))),), {"workload": -4}, "It fell off the bus.", ())
    said = one(rule(trigger=opening), XID).evidence[0]
    assert ("trigger", "trigger", "seen", {"workload": -4}, {}, "It fell off the bus.") == said[:6]


# What it asks


ITEM: Item = RULE.evidence[0]._replace(
    id="dpc",
    group="bus",
    clause=Seen(Select(("dpc",))),
    points={"hardware.link": 2},
    why="The port gave up.",
    otherwise=Otherwise({"hardware.link": -1}, "The port held."),
    severity=None,
    settle="Read the port.",
)
BOOT = (LogRecord("Linux version 6.1", at=0.0, boot="#1", origin="log"),) + (
    LogRecord("ordinary", at=1.0, boot="#1", origin="log"),
) * 30


def answered(*lines: Signal, item: Item = ITEM, **more: Any) -> Evidence:
    incident = one(rule(evidence=(item,)), *lines, XID, **more)
    return next(e for e in incident.evidence if e.id == "dpc")


def test_what_is_seen_is_worth_its_points_and_points_at_its_line() -> None:
    found = answered(signal("dpc", 990.0), signal("dpc", 991.0))

    assert ("bus", "seen", {"hardware.link": 2}, {}, "The port gave up.") == (
        found.group,
        found.state,
        dict(found.points),
        dict(found.would_be),
        found.why,
    )
    assert (990.0, 2, None, "Read the port.", None) == (found.at, found.count, found.reason, found.settle, found.do)
    assert found.record is not None
    assert "dpc" in found.record.message


def test_silence_is_worth_what_the_rule_says_it_is() -> None:
    silent = answered(log=BOOT)
    worthless = answered(log=BOOT, item=ITEM._replace(otherwise=None))

    assert ("quiet", {"hardware.link": -1}, {}, "The port held.") == (
        silent.state,
        dict(silent.points),
        dict(silent.would_be),
        silent.why,
    )
    assert ("quiet", {}, "The port gave up.") == (worthless.state, dict(worthless.points), worthless.why)


def test_what_is_unknown_is_worth_nothing_and_tells_what_it_would_be() -> None:
    found = answered()

    assert ("unknown", {}, {"hardware.link": 2}, "The port gave up.") == (
        found.state,
        dict(found.points),
        dict(found.would_be),
        found.why,
    )
    assert found.reason == "the log looks like an excerpt, so its silence proves nothing"


def test_a_reading_that_answered_is_named() -> None:
    found = answered(item=ITEM._replace(clause=HOT), readings=[reading(95)])

    assert ("seen", reading(95), 7.0) == (found.state, found.reading, found.at)


@pytest.mark.parametrize(("state", "reason"), [("seen", None), ("quiet", None), ("unknown", "not readable here")])
def test_an_answer_that_is_known_already_is_not_asked_for(state: str, reason: str | None) -> None:
    """For this rule and this question only."""
    found = answered(log=BOOT, preset={"gpu-off-bus": {"dpc": state}})
    points = {"seen": {"hardware.link": 2}, "quiet": {"hardware.link": -1}, "unknown": {}}[state]

    assert (state, reason, points) == (found.state, found.reason, dict(found.points))
    for preset in ({"other": {"dpc": state}}, {"gpu-off-bus": {"other": state}}, {}):
        assert "quiet" == answered(log=BOOT, preset=preset).state


def test_what_the_history_tells_of_earlier_times_is_evidence_worth_nothing() -> None:
    past = Remembered(told={("gpu-off-bus", GPU, 1000.0): "It came back."})
    incident = one(rule(), XID, history=past)
    (_, again) = incident.evidence

    assert ("recurrence", "recurrence", "seen", {}, {}, "It came back.") == again[:6]
    assert 1 == len(one(rule(), signal("xid", 999.0, xid="79"), history=past).evidence)
    opened_by_reading = Remembered(told={("gpu-off-bus", GPU, None): "It came back."})
    assert 2 == len(one(rule(HOT), readings=[reading(95)], history=opened_by_reading).evidence)


def test_a_known_bug_of_the_loaded_driver_tells_what_ends_it_and_one_of_another_driver_is_worth_nothing() -> None:
    bug = RULEBOOK.bugs[0]._replace(
        leaf="driver.firmware", shows=(Select(xids=(79,)),), beside=None, since={}, fixed={"525": "525.105.17"},
        flavour=None, gpu=None, do="Update to 525.105.17.",
    )  # fmt: skip
    item = ITEM._replace(clause=KnownBug("driver.firmware"))

    def incident(version: str, **points: int) -> Incident:
        driver = Reading(Entity("node"), "driver.version", version, "text", 1.0)
        asks = rule(evidence=(item._replace(points=points) if points else item,), actions=())
        return one(asks, XID, readings=[driver], book=RULEBOOK._replace(bugs=(bug,)))

    def with_driver(version: str) -> tuple[str, str | None, dict[str, int]]:
        found = incident(version)
        (evidence,) = [e for e in found.evidence if e.id == "dpc"]
        return evidence.state, evidence.do, dict(evidence.points)

    assert ("seen", "Update to 525.105.17.", {"hardware.link": 2}) == with_driver("525.85.12")
    assert ("quiet", None, {"hardware.link": -1}) == with_driver("525.147.05")
    assert ("quiet", None, {}) == with_driver("530.30.02")
    assert ["Update to 525.105.17."] == [step.do for step in incident("525.85.12", benign=RULEBOOK.decisive).next]
    assert () == incident("525.85.12", benign=1).next, "of an undetermined fault nobody knows that it is the bug"


def test_a_bug_of_some_gpus_only_asks_which_gpu_it_is() -> None:
    """Its own name, or that of all others where they are alike."""
    bug = RULEBOOK.bugs[0]._replace(
        leaf="driver.firmware", shows=(Select(("dpc",), (79,)),), beside=None, since={}, fixed={"525": "525.105.17"},
        flavour=None, gpu="H100", do="Update to 525.105.17.",
    )  # fmt: skip
    item = ITEM._replace(clause=KnownBug("driver.firmware"))
    driver = Reading(Entity("node"), "driver.version", "525.85.12", "text", 1.0)

    def answer(own: str | None, other: str | None, line: Signal = XID, **more: Any) -> str:
        named = [(pci, name) for pci, name in ((GPU, own), (OTHER, other)) if name is not None]
        names = [Reading(Entity("gpu", pci, name=name), "gpu.name", name, "text", 1.0) for pci, name in named]
        asks = rule(Seen(Select(("dpc",), (79,))), evidence=(item,), **more)
        incident = one(asks, line, readings=[driver, *names], book=RULEBOOK._replace(bugs=(bug,)))
        return next(e.state for e in incident.evidence if e.id == "dpc")

    assert ("seen", "quiet") == (answer("H100", "A100"), answer("A100", "H100"))
    assert ("seen", "unknown") == (answer("H100", None), answer(None, None))
    assert "seen" == answer("H100", "H100", scope="node")
    assert "unknown" == answer("H100", "A100", scope="node")
    assert "quiet" == answer("A100", "A100", scope="node")
    unnamed = signal("dpc", 1000.0, "0000:c1:00.0")
    assert ("seen", "unknown") == (answer("H100", "H100", unnamed), answer("H100", "A100", unnamed))


def test_facts_of_the_history_are_facts_of_the_incident() -> None:
    item = ITEM._replace(clause=Fact("history.follows", ("slot",)))
    past = Remembered(known={("gpu-off-bus", GPU): {"history.follows": "slot"}})

    assert "seen" == answered(item=item, history=past).state
    assert "unknown" == answered(item=item, history=Remembered()).state
    node = Reading(Entity("node"), "driver.version", "535.1", "text", 1.0)
    version = ITEM._replace(clause=Fact("driver.version", ("535.*",)))
    assert "seen" == answered(item=version, history=past, readings=[node]).state


def test_what_to_do_is_what_the_leaf_needs_then_what_the_family_needs() -> None:
    """Or what finds out more, where nothing is decided."""
    wanted = ("hardware", "workload", "undetermined", "hardware.gpu", "hardware.link")
    actions = tuple(Action(name, f"For {name}.", "none") for name in wanted)
    decisive = ITEM._replace(clause=Seen(Select(trigger=True)), points={"hardware.link": RULEBOOK.decisive})

    decided = one(rule(evidence=(decisive,), actions=actions), XID)
    assert ["For hardware.link.", "For hardware."] == [step.do for step in decided.next]
    assert {RULEBOOK.causes["hardware.link"].owner} == {step.owner for step in decided.next}
    assert ["For undetermined."] == [step.do for step in one(rule(actions=actions), XID).next]


# How bad, and whether it is over


def test_evidence_can_make_an_incident_worse_or_better_than_its_rule() -> None:
    def item(name: str, severity: str | None) -> Item:
        return ITEM._replace(id=name, severity=severity)

    asks = rule(severity="warning", evidence=(item("a", "critical"), item("b", "info"), item("c", None)))

    def severity(family: str = "hardware", **states: str) -> str:
        found = [Evidence(name, "g", state, {}, {}, "Why.") for name, state in states.items()]
        return severity_of(asks, found, family)

    assert "warning" == severity(a="quiet", b="unknown", c="seen")
    assert "critical" == severity(a="seen", b="seen")
    assert "info" == severity(a="quiet", b="seen")
    assert "info" == severity("benign", a="seen")


def test_what_is_benign_keeps_no_node_from_being_ok() -> None:
    benign = ITEM._replace(clause=Seen(Select(trigger=True)), points={"benign": RULEBOOK.decisive}, severity="critical")
    found = concluded(rule(evidence=(benign,), severity="critical"), XID)

    assert ("benign", "info", "ok") == (found.incidents[0].verdict.leaf, found.incidents[0].severity, found.status)


def boots(*names: str | None, origin: str = "log") -> list[LogRecord]:
    return [LogRecord("ordinary", at=float(n), boot=boot, origin=origin) for n, boot in enumerate(names)]


def state(line: Signal, *log: LogRecord, readings: Sequence[Reading] = (), now: float = 5000.0, **more: Any) -> str:
    spans = Spans()
    list(spans.watch([*log, line.record]))
    (found,) = conclude(
        RULEBOOK._replace(rules=(rule(**more),)), build([line], spans), readings, SOURCES, node="n", now=now
    ).incidents
    return found.state


def test_an_incident_is_over_once_its_log_goes_on_in_a_later_boot() -> None:
    later = signal("xid", 1000.0, xid="79", boot="#2")

    assert "open" == state(XID)
    assert "open" == state(later, *boots("#1"))
    assert "resolved" == state(XID, *boots("#1", "#2"))
    nameless = XID._replace(record=XID.record._replace(boot=None))
    assert "open" == state(nameless, *boots(None, "#2")), "nothing tells whether that is another boot"


def test_another_logs_boots_are_those_of_a_live_node_and_else_another_story() -> None:
    here, ring = boots("#1"), boots("#2", origin="ring")

    assert "open" == state(XID, *here, *ring)
    assert "resolved" == state(XID, *here, *ring, readings=[reading(40)])
    assert "open" == state(XID, *here, *boots(None, origin="ring"), readings=[reading(40)])


def test_a_passing_fault_of_a_live_node_is_over_after_its_time() -> None:
    alive = [reading(40)]

    assert "open" == state(XID, readings=alive, now=1600.0, lasts=600.0)
    assert "resolved" == state(XID, readings=alive, now=1601.0, lasts=600.0)
    assert "open" == state(XID, now=1601.0, lasts=600.0), "a log is as old as it is"
    assert "open" == state(XID, readings=alive, now=1601.0, lasts=None)
    assert "open" == state(signal("xid", None, xid="79"), readings=alive, now=1601.0, lasts=600.0)


def test_what_a_reading_shows_is_open() -> None:
    assert "open" == one(rule(HOT, lasts=1.0), readings=[reading(95)]).state


def test_open_incidents_come_first_then_the_worst_then_the_first() -> None:
    """Of those of one line the decided ones; then by their names."""
    lines = [signal("old", 1.0, boot="#0"), signal("a", 1000.0), signal("b", 1001.0), signal("c", 1002.0)]
    decisive = ITEM._replace(id="x", clause=Seen(Select(trigger=True)), points={"workload": RULEBOOK.decisive})

    def on(name: str, severity: str, line: str, **more: Any) -> Rule:
        return rule(Seen(Select((line,))), id=name, severity=severity, **more)

    found = concluded(
        (
            on("over", "critical", "old"),
            on("mild", "info", "a"),
            on("late", "critical", "c"),
            on("z", "critical", "b"),
            on("y", "critical", "b"),
            on("zz-decided", "critical", "b", evidence=(decisive,)),
            on("middling", "warning", "a"),
        ),
        *lines,
    )

    assert ["zz-decided", "y", "z", "late", "middling", "mild", "over"] == [i.rule for i in found.incidents]
    assert "critical" == found.status
    assert "ok" == concluded((on("over", "critical", "old"),), *lines).status


# The whole


def test_sources_and_what_is_known_only_at_the_end_may_be_told_then() -> None:
    """A stream knows what it was when it ended."""
    calls: list[str] = []

    def late(name: str, value: Any) -> Any:
        def tell() -> Any:
            calls.append(name)
            return value

        return tell

    def records() -> Any:
        yield XID_LINE
        calls.append("end")

    past = Remembered(told={("gpu-off-bus", GPU, 1000.0): "It came back."})
    book = RULEBOOK._replace(rules=(rule(),))
    plain = assess(
        book, [XID_LINE], [reading(40)], SOURCES, node="n", now=5.0, notices=["hm"], history=past, preset={"x": {}}
    )
    told = assess(
        book,
        records(),
        late("readings", [reading(40)]),
        late("sources", SOURCES),
        node=late("node", "n"),
        now=late("now", 5.0),
        notices=late("notices", ["hm"]),
        history=late("history", past),
        preset={"x": {}},
    )

    assert plain == told
    assert "end" == calls[0]
    assert {"end", "readings", "sources", "node", "now", "notices", "history"} == set(calls)
    assert ("n", SOURCES, "hm") == (told.node, list(told.sources), told.notices[0])
    assert 2 == len(told.incidents[0].evidence)
    assert [GPU] == [gpu.pci for gpu in told.gpus]


XID_LINE = LogRecord("NVRM: Xid (PCI:0000:4e:00): 79, GPU has fallen off the bus.", 1000.0, boot="#1", origin="log")


def test_who_watches_is_told_before_the_first_record() -> None:
    order: list[str] = []

    def records() -> Any:
        order.append("record")
        yield XID_LINE

    def begin(scanner: Scanner, spans: Spans) -> None:
        order.extend(signal.name for signal in scanner.match(XID_LINE))
        watching.append(spans)

    watching: list[Spans] = []
    assess(RULEBOOK, records(), [], SOURCES, node="n", now=5.0, begin=begin)

    assert ["xid", "record"] == order
    assert watching[0].knows(("log", "#1"))


def test_an_assessment_tells_what_was_read_whatever_came_of_it() -> None:
    process = Reading(Entity("process", index=7, name="python"), "process.user", "alice", "text", 1.0)
    version = Reading(Entity("node"), "driver.version", "535.1", "text", 1.0)
    book = RULEBOOK._replace(rules=(), notices=("of the rules",))
    spans = Spans()
    found = conclude(book, build([], spans), [process, version, reading(40)], SOURCES, node="n", now=1.0, notices=["a"])

    assert ({"driver.version": "535.1"}, ["python"]) == (found.facts, [p["name"] for p in found.processes])
    assert (("a", "of the rules"), [GPU]) == (found.notices, [gpu.pci for gpu in found.gpus])


def test_a_source_that_is_beside_the_point_may_be_unread() -> None:
    beside = Source("jobs", "slurm", False)
    unread = Source("nvml", "libnvidia-ml.so.1", False)

    def status(*sources: Source) -> str:
        return conclude(RULEBOOK._replace(rules=()), build([], Spans()), [], sources, node="n", now=1.0).status

    assert ("ok", "ok", "unknown") == (status(*SOURCES), status(*SOURCES, beside), status(*SOURCES, unread))
