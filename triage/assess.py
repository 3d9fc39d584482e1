"""The one door of the decision: records and readings in, incidents with verdicts out.

The walk: records become signals (scanner), signals get one time axis
(timeline), triggers open incidents, their rule's questions are answered
(clauses) and weighed (verdict), and what one incident explains is folded into
it.  Nothing here reads a source or prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from probes.model import BESIDE, LogRecord, Reading, Source
from probes.pci import same_device
from triage.case import Answer, Case, ended, selected
from triage.clauses import answer, events, meets
from triage.inventory import devices_of, facts_of, processes_of, reading_key
from triage.model import SEVERITIES, UNDETERMINED, Assessment, Device, Evidence, Incident, Signal
from triage.rulebook.model import Item, Metric, Points, Rule, Rulebook, Seen
from triage.scanner import Scanner
from triage.storm import repeats
from triage.timeline import FOLD, Spans, Timeline, build, seconds_between
from triage.verdict import counted, decide, status
from triage.whatnext import remedies, steps, to_settle

if TYPE_CHECKING:
    from triage.history.past import Past

EARLY = 10.0
"""Seconds by which a symptom may be logged before the incident that explains it."""

Preset = Mapping[str, str]


def assess(
    rulebook: Rulebook,
    records: Iterable[LogRecord],
    readings: Callable[[], Sequence[Reading]] | Sequence[Reading],
    sources: Callable[[], Sequence[Source]] | Sequence[Source],
    *,
    node: Callable[[], str | None] | str | None,
    now: Callable[[], float] | float,
    notices: Callable[[], Sequence[str]] | Sequence[str] = (),
    preset: Mapping[str, Preset] | None = None,
    history: Callable[[], Past | None] | Past | None = None,
    begin: Callable[[Scanner, Spans], None] | None = None,
) -> Assessment:
    """Conclude from one set of sources.

    `readings`, `sources`, `node`, `now`, `notices` and `history` may be functions,
    called once the records are consumed, because a stream knows what it was only at
    its end.  `preset`
    fixes the answers of some evidence (rule id -> evidence id -> state), for
    what other nodes or a test already know.  `history` is what earlier sweeps
    of this node know.  `begin` is told, before the first record is asked for, who
    will scan the records and note what they cover.
    """
    spans = Spans()
    scanner = Scanner(rulebook)
    if begin is not None:
        begin(scanner, spans)
    timeline = build(scanner.scan(spans.watch(records)), spans)
    read = tuple(sources() if callable(sources) else sources)
    said = tuple(notices() if callable(notices) else notices)
    readings = readings() if callable(readings) else readings
    node = node() if callable(node) else node
    now = now() if callable(now) else now
    history = history() if callable(history) else history
    return conclude(
        rulebook, timeline, readings, read, node=node, now=now, notices=said, preset=preset, history=history
    )


def conclude(
    rulebook: Rulebook,
    timeline: Timeline,
    readings: Sequence[Reading],
    sources: Sequence[Source],
    *,
    node: str | None,
    now: float,
    notices: Sequence[str] = (),
    preset: Mapping[str, Preset] | None = None,
    history: Past | None = None,
) -> Assessment:
    """Conclude from signals that are on their axis already; the arguments are those of `assess`."""
    devices = devices_of(timeline, readings)
    values = {reading_key(reading): reading for reading in readings}
    facts = facts_of(timeline, readings)
    gpus = frozenset(devices)
    # A GPU that is lost may not tell its address any more, but it is there.
    indices = {r.entity.index for r in readings if r.entity.kind == "gpu" and r.entity.index is not None}
    the_one = next(iter(gpus)) if len(gpus) == 1 and len(indices) <= 1 else None
    products: dict[str | None, str | None] = {pci: device.name for pci, device in devices.items()}
    only = next(iter(products.values())) if len(set(products.values())) == 1 else None
    opened: list[tuple[Incident, Case]] = []
    named = _by_name(values)
    for rule in rulebook.rules:
        for pci, triggers, witness in _openings(rule, timeline, named, the_one):
            known = facts if history is None else {**facts, **history.facts(rule.id, pci)}
            product = products.get(pci, only)
            case = Case(
                rule, timeline, triggers, pci, gpus, values, known, bool(readings), history, product, rulebook.bugs
            )
            if any(answer(s.clause, case).state == "seen" for s in rule.suppress):
                continue
            fixed = (preset or {}).get(rule.id, {})
            opened.append((_incident(case, witness, fixed, rulebook, devices, node, now), case))
    incidents = sorted(_fold(opened), key=worst_first)
    return Assessment(
        node=node,
        status=status(
            [i.severity for i in incidents if i.state == "open"],
            [source.readable for source in sources if source.kind not in BESIDE],
        ),
        sources=tuple(sources),
        incidents=tuple(incidents),
        gpus=tuple(devices.values()),
        notices=(*notices, *timeline.notices, *rulebook.notices),
        facts=facts,
        processes=processes_of(readings),
    )


def _by_name(
    values: Mapping[tuple[str | None, str], Reading],
) -> dict[str, list[tuple[str | None, Reading]]]:
    """Return the readings of each name with their devices."""
    found: dict[str, list[tuple[str | None, Reading]]] = {}
    for (pci, name), reading in values.items():
        found.setdefault(name, []).append((pci, reading))
    return found


def _openings(
    rule: Rule, timeline: Timeline, named: Mapping[str, list[tuple[str | None, Reading]]], the_one: str | None
) -> list[tuple[str | None, list[Signal], Reading | None]]:
    """Return (device, trigger signals, trigger reading) for every incident that the rule opens.

    `the_one` is the GPU of a node that has no other.
    """
    groups: dict[str | None, list[Signal]] = {}
    witnesses: dict[str | None, Reading] = {}
    for clause in rule.trigger.any:
        if isinstance(clause, Seen):
            for signal in selected(clause.select, timeline):
                groups.setdefault(signal.pci if rule.scope == "gpu" else None, []).append(signal)
        elif isinstance(clause, Metric):
            for pci, reading in named.get(clause.of, ()):
                if meets(clause, reading.value):
                    place = pci if rule.scope == "gpu" else None
                    witnesses.setdefault(place, reading)
                    groups.setdefault(place, [])
    if rule.scope == "gpu" and None in groups and len(groups) > 1:
        # A line that names no device speaks of the one GPU that the others name, or of each of them.
        homeless = groups.pop(None)
        for group in groups.values():
            group.extend(homeless)
    elif rule.scope == "gpu" and None in groups and the_one is not None:
        groups[the_one] = groups.pop(None)
    return [(pci, _in_order(signals), witnesses.get(pci)) for pci, signals in groups.items()]


def _in_order(signals: Iterable[Signal]) -> list[Signal]:
    by_order = {signal.order: signal for signal in signals}
    return [by_order[order] for order in sorted(by_order)]


def _incident(
    case: Case,
    witness: Reading | None,
    fixed: Preset,
    rulebook: Rulebook,
    devices: Mapping[str, Device],
    node: str | None,
    now: float,
) -> Incident:
    rule = case.rule
    asked = [_ask(item, case, fixed.get(item.id)) for item in rule.evidence]
    evidence = counted([_opening(case, witness), *asked, *_recurrence(case)])
    verdict = decide(evidence, rulebook)
    severity = severity_of(rule, evidence, verdict.family)
    device = devices.get(case.pci, Device(case.pci)) if case.pci else None
    first = case.triggers[0] if case.triggers else None
    last = case.triggers[-1] if case.triggers else None
    times = [t for s in case.triggers for t in (s.record.at, s.last_at) if t is not None]
    at = witness.at if witness else None
    opened = first.record.at if first else at
    seen = sum(s.count for s in case.triggers) or 1
    leading = next(iter(verdict.by_leaf))
    return Incident(
        fingerprint="/".join(
            (node or "-", (device and (device.serial or device.uuid or device.pci)) or "node", rule.id)
        ),
        rule=rule.id,
        rule_version=rule.version,
        title=rule.title,
        summary=_summary(rule, case, device, seen),
        severity=severity,
        state=_state(case, now),
        device=device,
        opened_at=opened,
        last_seen_at=max(times) if times else at,
        opened_order=first.order if first else -1,
        seen=events(case.triggers, FOLD) if last else 1,
        verdict=verdict,
        evidence=evidence,
        explains=(),
        settle=to_settle(rule, evidence, verdict.by_family, rulebook),
        next=(
            *remedies(evidence, verdict.family, rulebook),
            *steps(rule, verdict.family, verdict.leaf or UNDETERMINED, leading, rulebook),
        ),
        boot=last.record.boot if last else None,
        last_monotonic=last.last_monotonic if last else None,
        repeats=repeats(case.triggers),
    )


def _state(case: Case, now: float) -> str:
    """Return `open`, or `resolved` once the node was rebooted or, on a live node, the rule's time has passed.

    What comes back after a reboot is the same incident again, because its last line then is of the last boot.
    """
    if not case.triggers:
        return "open"
    last = case.triggers[-1]
    # The logs of a live node are all its own, so the journal of an earlier boot stands before the ring of this one.
    boots = [boot for origin, boot in case.timeline.spans if origin == last.record.origin or (case.live and boot)]
    if last.record.boot is not None and boots and boots[-1] != last.record.boot and last.record.boot in boots:
        return "resolved"
    until = ended(case)
    if case.live and case.rule.lasts is not None and until is not None and now - until > case.rule.lasts:
        return "resolved"
    return "open"


def _opening(case: Case, witness: Reading | None) -> Evidence:
    trigger = case.rule.trigger
    first = case.triggers[0] if case.triggers else None
    return Evidence(
        id="trigger",
        group="trigger",
        state="seen",
        points=trigger.points,
        would_be={},
        why=trigger.why,
        at=first.record.at if first else (witness.at if witness else None),
        record=first.record if first else None,
        reading=witness,
        count=sum(s.count for s in case.triggers) or 1,
    )


def _recurrence(case: Case) -> list[Evidence]:
    """Return what the history says of earlier times, which is worth what the rule's own questions make of it."""
    why = case.history.recurrence(case.rule.id, case.pci, ended(case)) if case.history is not None else None
    return [Evidence("recurrence", "recurrence", "seen", {}, {}, why)] if why is not None else []


def _ask(item: Item, case: Case, fixed: str | None) -> Evidence:
    found = Answer(fixed, "not readable here" if fixed == "unknown" else None) if fixed else answer(item.clause, case)
    points: Points = {}
    why = item.why
    if found.state == "seen":
        points = item.points
    elif found.state == "quiet" and item.otherwise is not None and not found.moot:
        points, why = item.otherwise.points, item.otherwise.why
    return Evidence(
        id=item.id,
        group=item.group,
        state=found.state,
        points=points,
        would_be=item.points if found.state == "unknown" else {},
        why=found.why or why,
        reason=found.reason,
        at=found.at,
        record=found.record,
        reading=found.reading,
        count=found.count,
        settle=found.settle or item.settle,
        do=found.do,
    )


def severity_of(rule: Rule, evidence: Sequence[Evidence], family: str) -> str:
    """Return the rule's severity, or the worst that seen evidence sets instead; a benign verdict is `info`."""
    if family == "benign":
        return "info"
    set_by = {item.id: item.severity for item in rule.evidence if item.severity is not None}
    chosen = [set_by[e.id] for e in evidence if e.state == "seen" and e.id in set_by]
    return max(chosen, key=SEVERITIES.index) if chosen else rule.severity


def _summary(rule: Rule, case: Case, device: Device | None, seen: int) -> str:
    where = f" on GPU {device.pci}" if device is not None and device.pci else ""
    codes = sorted({int(s.fields["xid"]) for s in case.triggers if "xid" in s.fields})
    what = f" (Xid {', '.join(map(str, codes))})" if codes else ""
    often = f", {seen} lines" if seen > 1 else ""
    return f"{rule.title}{where}{what}{often}"


def _fold(opened: Sequence[tuple[Incident, Case]]) -> list[Incident]:
    """Fold every incident that another explains into it; of two that explain each other the first stays."""
    order = sorted(range(len(opened)), key=lambda i: (opened[i][0].opened_order, i))
    folded: dict[int, int] = {}
    for i in order:
        for j in order:
            if i != j and i not in folded and j not in folded and _explains(opened[i], opened[j]):
                folded[j] = i
    result = []
    for i, (incident, _) in enumerate(opened):
        if i not in folded:
            symptoms = [opened[j][0].summary for j, into in sorted(folded.items()) if into == i]
            result.append(incident._replace(explains=tuple(symptoms)))
    return result


def _explains(one: tuple[Incident, Case], other: tuple[Incident, Case]) -> bool:
    cause, symptom = one[1], other[1]
    names = cause.rule.explains
    if symptom.rule.yields and not cause.rule.yields:
        names = (*names, symptom.rule.id)
    if not names or not cause.triggers or not symptom.triggers:
        return False
    if cause.pci and symptom.pci and not same_device(cause.pci, symptom.pci):
        return False
    if symptom.rule.id not in names:
        kinds = {f"xid-{s.fields['xid']}" if s.name == "xid" else s.name for s in symptom.triggers}
        if not kinds <= set(names):
            return False
    told = {(e.record.origin, e.record.line) for e in one[0].evidence if e.state == "seen" and e.record is not None}
    if symptom.rule.id in names and any((s.record.origin, s.record.line) in told for s in symptom.triggers):
        return True
    first, later = cause.triggers[0], symptom.triggers[0]
    gap = seconds_between(first, later)
    if gap is None:
        return True
    # Of two that explain each other the first was asked first.
    early = 0.0 if cause.rule.id in symptom.rule.explains else EARLY
    return 0 <= gap <= FOLD or any(
        (near := seconds_between(t, later)) is not None and -early <= near <= cause.rule.look_after
        for t in cause.triggers
    )


def worst_first(incident: Incident) -> tuple[bool, int, int, int, str]:
    """Return the key that sorts incidents as a report lists them."""
    decided = incident.verdict.family != UNDETERMINED
    return (
        incident.state != "open",
        -SEVERITIES.index(incident.severity),
        incident.opened_order,
        not decided,
        incident.fingerprint,
    )
