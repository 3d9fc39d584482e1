"""Runs labelled incidents through the same walk as `explain` and judges what was said.

A corpus is one JSON object a line: `id`, `log` (text or null), `cause`,
`secondary_causes`, `basis_grade` (A to D) and optionally `gpu_bdf` and `url`.
Only `log` is given to the walk.  The incident looked at is the first on
`gpu_bdf`, else the first.  A case of grade A to C with a known cause is *right*
if decided and the leaf names the cause or a secondary one, *wrong* if decided
otherwise, *open* if undetermined, *missed* if nothing was found.  For cause
`none` an ok status, no incident, an `info` incident or a benign verdict is right.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from probes.pci import normal_address, same_device
from triage.assess import assess, severity_of, worst_first
from triage.figures import Figures, Outcome, figures
from triage.intake import Intake
from triage.model import UNDETERMINED, Assessment, Evidence, Incident
from triage.rulebook.model import Points, Rule, Rulebook
from triage.verdict import counted, decide

LEAVES = {
    "hardware": {"hardware.gpu"},
    "platform": {"hardware.link", "hardware.host", "system.configuration"},
    "fabric": {"hardware.fabric"},
    "power-thermal": {"hardware.power", "site"},
    "driver": {"driver.module"},
    "firmware": {"driver.firmware"},
    "kernel": {"system.kernel"},
    "configuration": {"system.configuration"},
    "application": {"workload"},
    "none": {"benign"},
    "unknown": {UNDETERMINED},
}
"""The leaves that name each cause class of a corpus."""
NOW = 1_790_000_000.0
"""The moment at which stored logs are read; only the year of stamps without one depends on it."""

Case = dict[str, Any]


def evaluate(rulebook: Rulebook, path: str | Path) -> tuple[Figures, list[Outcome]]:
    """Run every case of a corpus.

    Raises:
        ValueError: a line that is not a case, with its number.
        OSError: the corpus cannot be read.
    """
    outcomes = [judge(rulebook, case) for case in read_corpus(path)]
    return figures(outcomes), outcomes


def read_corpus(path: str | Path) -> Iterator[Case]:
    """Yield the cases of a corpus file."""
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                case = json.loads(line)
                missing = [key for key in ("id", "log", "cause") if key not in case]
            except (ValueError, TypeError, RecursionError) as error:
                raise ValueError(f"{path}:{number}: not a JSON object: {error}") from None
            if missing or case["cause"] not in LEAVES:
                what = f"no {missing[0]!r}" if missing else f"unknown cause {case['cause']!r}"
                raise ValueError(f"{path}:{number}: {what}; a case needs id, log and cause ({', '.join(LEAVES)})")
            yield case


def distinct(cases: Iterable[Case]) -> Iterator[Case]:
    """Leave out cases whose log another one has already, whatever its numbers and white space."""
    seen: set[str] = set()
    for case in cases:
        letters = "".join(c for c in case["log"] or case["id"] if c.isalpha())
        if letters not in seen:
            seen.add(letters)
            yield case


def judge(rulebook: Rulebook, case: Case) -> Outcome:
    """Run one case and compare what was said with what is known."""
    if not case["log"]:
        return _outcome(case, "skipped")
    try:
        assessment = explain_text(rulebook, case["log"])
    except Exception as error:  # a crash is a figure of its own, whatever it was
        return _outcome(case, "crashed", summary=f"{type(error).__name__}: {error}")
    return judged(case, assessment)


def judged(case: Case, assessment: Assessment) -> Outcome:
    """Compare what was said of a case with what is known of it."""
    incident = looked_at(assessment, case.get("gpu_bdf"))
    if incident is None:
        nothing = case["cause"] == "none"
        return _outcome(case, "right" if nothing else "missed", top1=nothing)
    wanted = wanted_leaves(case)
    verdict = incident.verdict
    leading = next(iter(verdict.by_leaf))
    harmless = case["cause"] == "none" and incident.severity == "info"
    if verdict.family == UNDETERMINED:
        result = "right" if harmless or case["cause"] == "unknown" else "open"
    else:
        result = "right" if harmless or verdict.leaf in wanted else "wrong"
    return _outcome(
        case,
        result,
        leaf=verdict.leaf or UNDETERMINED,
        leading=leading,
        confidence=verdict.confidence,
        top1=leading in wanted or harmless,
        summary=incident.summary,
        why=tuple(
            f"{e.id}: {dict(e.points)}" for e in incident.evidence if e.points and e.counted and e.state != "unknown"
        ),
        named=sum(share for leaf, share in verdict.by_leaf.items() if leaf in wanted),
        raw=next(iter(verdict.by_family.values())),
    )


def is_known(case: Case) -> bool:
    """Return whether the cause of a case is established."""
    return (case.get("basis_grade") or "C") in "ABC" and case["cause"] != "unknown"


def wanted_leaves(case: Case) -> frozenset[str]:
    """Return the leaves that name the cause of a case or a secondary one."""
    accepted = (case["cause"], *(case.get("secondary_causes") or ()))
    return frozenset(leaf for cause in accepted if cause in LEAVES for leaf in LEAVES[cause])


def _outcome(
    case: Case,
    result: str,
    *,
    leaf: str = "-",
    leading: str = "-",
    confidence: float = 0.0,
    top1: bool = False,
    summary: str = "",
    why: tuple[str, ...] = (),
    named: float | None = None,
    raw: float = 0.0,
) -> Outcome:
    accepted = (case["cause"], *(case.get("secondary_causes") or ()))
    grade = case.get("basis_grade") or "C"
    return Outcome(
        case["id"],
        case["cause"],
        accepted,
        is_known(case),
        grade,
        result,
        leaf,
        leading,
        confidence,
        top1,
        summary,
        why,
        named,
        raw,
    )


def explain_text(rulebook: Rulebook, log: str) -> Assessment:
    """Take the text of a log through the walk, as `explain -` does."""
    intake = Intake(["-"], now=NOW, stdin=io.BytesIO(log.encode("utf-8", "surrogateescape")))
    return assess(rulebook, intake, (), lambda: intake.sources, node=None, now=NOW, notices=lambda: intake.notices)


def looked_at(assessment: Assessment, bdf: str | None) -> Incident | None:
    """Return the incident by which a case is judged: the first on its GPU, else the first."""
    address = normal_address(bdf) if bdf else None
    for incident in assessment.incidents:
        if address and incident.device and same_device(incident.device.pci, address):
            return incident
    return assessment.incidents[0] if assessment.incidents else None


def reweighed(assessment: Assessment, rulebook: Rulebook) -> Assessment:
    """Return the assessment as it would be had the rules these points.

    What was seen does not depend on what it is worth, so a rulebook that asks the
    same questions need not read the log again.  Settle and next steps stay as they were.
    """
    rules = {rule.id: rule for rule in rulebook.rules}
    incidents = [_reweighed(incident, rules[incident.rule], rulebook) for incident in assessment.incidents]
    return assessment._replace(incidents=tuple(sorted(incidents, key=worst_first)))


def _reweighed(incident: Incident, rule: Rule, rulebook: Rulebook) -> Incident:
    items = {item.id: item for item in rule.evidence}
    evidence = counted(e._replace(points=_points(e, rule, items)) for e in incident.evidence)
    verdict = decide(evidence, rulebook)
    severity = severity_of(rule, evidence, verdict.family)
    return incident._replace(evidence=evidence, verdict=verdict, severity=severity)


def _points(evidence: Evidence, rule: Rule, items: Any) -> Points:
    if evidence.id == "trigger":
        return rule.trigger.points
    item = items[evidence.id]
    if evidence.state == "seen":
        points: Points = item.points
        return points
    if evidence.state == "quiet" and item.otherwise is not None:
        otherwise: Points = item.otherwise.points
        return otherwise
    return {}
