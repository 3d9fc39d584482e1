"""The report: the one versioned object that every surface renders.

`to_report` turns an `Assessment` into plain JSON values and adds nothing of its
own but words: times become ISO 8601 UTC, foreign text is bounded and valid
Unicode (but otherwise real: making it harmless is the renderer's business), and
each piece of evidence says which way it bears on the leading family.  The shape
is fixed by `schema/report.v1.json`; adding a field is no break, anything else is.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import isfinite, log2
from typing import Any

from probes.model import LogRecord, Missing, Reading, Source
from probes.pci import is_address
from triage.model import UNDETERMINED, Assessment, Device, Evidence, Incident, Repeats, Verdict
from triage.rulebook.model import Cause

SCHEMA_VERSION = 1
TOOL = "gpu-triage"

MOST_TEXT = 512
"""Characters of any foreign text; a log line may be 10 MB long."""
MOST_PATH = 4096
"""Characters of an origin: PATH_MAX, so that a path is never cut."""
LEAST_MOVE = 0.05
"""Points by which evidence must move a family's odds to speak for or against it."""

Json = dict[str, Any]

_WORDS = ((0.95, "very likely"), (0.80, "likely"), (0.60, "more likely than not"))


def to_report(
    assessment: Assessment,
    *,
    generated_at: float,
    tool_version: str,
    causes: Mapping[str, Cause] | None = None,
    complete: bool = True,
    rules: str | None = None,
) -> Json:
    """Return the report as JSON values.

    Args:
        assessment: what was concluded.
        generated_at: UTC epoch seconds.
        tool_version: the version of this program.
        causes: the rulebook's causes, for their titles; without them titles are null.
        complete: false if reading was interrupted, so that more may be wrong than is said.
        rules: the digest of the rulebook; without it the report does not tell by which rules it was made.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "report",
        "tool": {"name": TOOL, "version": tool_version, **({} if rules is None else {"rules": rules})},
        "generated_at": iso(generated_at),
        "complete": complete,
        "node": text(assessment.node),
        "status": assessment.status,
        "sources": [_source(source) for source in assessment.sources],
        "incidents": [_incident(incident, assessment.node, causes or {}) for incident in assessment.incidents],
        "gpus": [_device(device) for device in assessment.gpus],
        **({"processes": [_process(each) for each in assessment.processes]} if assessment.processes else {}),
        "notices": [text(notice) for notice in assessment.notices],
    }


def iso(at: float | None) -> str | None:
    """Return UTC epoch seconds as ISO 8601 with milliseconds and Z, or None if unknown or out of all reason."""
    if at is None or not isfinite(at):
        return None
    seconds, millis = divmod(round(at * 1000), 1000)
    try:
        moment = time.gmtime(seconds)
    except (OverflowError, ValueError, OSError):
        return None
    if not 1 <= moment.tm_year <= 9999:
        return None
    return f"{moment.tm_year:04d}-{time.strftime('%m-%dT%H:%M:%S', moment)}.{millis:03d}Z"


def text(value: str | None, most: int = MOST_TEXT) -> str | None:
    """Return foreign text cut to `most` characters and without lone surrogates, which JSON cannot carry."""
    if value is None:
        return None
    if len(value) > most:
        value = value[: most - 3] + "..."
    if value.isascii():
        return value
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")[:most]


def confidence_words(verdict: Verdict) -> str:
    """Return the confidence of a verdict in words; while undetermined it has none, however far ahead one cause is."""
    if verdict.family == UNDETERMINED:
        return UNDETERMINED
    return next((words for limit, words in _WORDS if verdict.confidence >= limit), "uncertain")


def leading(verdict: Verdict) -> tuple[str, str | None]:
    """Return the decided family and leaf or, while undetermined, those that lead."""
    family = verdict.family
    if family == UNDETERMINED and verdict.by_family:
        family = max(verdict.by_family, key=verdict.by_family.__getitem__)
    if verdict.leaf is not None:
        return family, verdict.leaf
    leaves = [leaf for leaf in verdict.by_leaf if _family(leaf) == family]
    return family, max(leaves, key=verdict.by_leaf.__getitem__, default=None)


def bearing(points: Mapping[str, int], by_leaf: Mapping[str, float], family: str) -> str:
    """Return whether points speak `for` or `against` a family, or are `neutral`.

    They speak for it if its odds would be worse had they not been counted.
    That is the only reading that is right for points which move several causes
    at once, or only rivals.
    """
    without = {leaf: share * 2.0 ** -points.get(leaf, 0) for leaf, share in by_leaf.items()}
    moved = _log_odds(by_leaf, family) - _log_odds(without, family)
    if abs(moved) < LEAST_MOVE:
        return "neutral"
    return "for" if moved > 0 else "against"


def _log_odds(by_leaf: Mapping[str, float], family: str) -> float:
    ours = sum(share for leaf, share in by_leaf.items() if _family(leaf) == family)
    rivals = sum(by_leaf.values()) - ours
    return log2(ours / rivals) if ours > 0 and rivals > 0 else 0.0


def _family(leaf: str) -> str:
    return leaf.partition(".")[0]


def _share(value: float) -> float:
    # Six significant digits are the same on every machine; the seventeenth is not.
    return float(f"{value:.6g}")


def _shares(values: Mapping[str, float]) -> dict[str, float]:
    return {name: _share(value) for name, value in values.items()}


def _source(source: Source) -> Json:
    return {
        "kind": text(source.kind),
        "origin": text(source.origin, MOST_PATH),
        "readable": source.readable,
        "from": iso(source.start),
        "to": iso(source.end),
        "from_boot": source.from_boot,
        "records": source.records,
        "reason": text(source.reason),
    }


def _device(device: Device) -> Json:
    return {
        "pci": text(device.pci) if device.pci and is_address(device.pci) else None,
        "uuid": text(device.uuid),
        "serial": text(device.serial),
        "index": device.index,
        "name": text(device.name),
    }


def _process(told: Mapping[str, str | int | bool | None]) -> Json:
    return {name: text(value) if isinstance(value, str) else value for name, value in told.items()}


def _incident(incident: Incident, node: str | None, causes: Mapping[str, Cause]) -> Json:
    verdict = incident.verdict
    family, _ = leading(verdict)
    return {
        "fingerprint": text(incident.fingerprint),
        "state": incident.state,
        "severity": incident.severity,
        "opened_at": iso(incident.opened_at),
        "last_seen_at": iso(incident.last_seen_at),
        "seen": incident.seen,
        "where": {"node": text(node), "gpu": None if incident.device is None else _device(incident.device)},
        "title": text(incident.title),
        "summary": text(incident.summary),
        "rule": {"id": incident.rule, "version": incident.rule_version},
        "verdict": verdict_of(verdict, causes),
        "evidence": [_evidence(item, verdict.by_leaf, family) for item in incident.evidence],
        **({} if incident.repeats is None else {"repeats": _repeats(incident.repeats)}),
        "explains": [text(symptom) for symptom in incident.explains],
        "settle": [text(question) for question in incident.settle],
        "next": [{"do": text(step.do), "risk": step.risk, "owner": text(step.owner)} for step in incident.next],
    }


def _repeats(repeats: Repeats) -> Json:
    rate = repeats.per_second
    return {
        "lines": repeats.lines,
        "seconds": None if repeats.seconds is None else round(repeats.seconds, 3),
        "per_second": None if rate is None else _share(rate),
        "processes": repeats.processes,
        "addresses": repeats.addresses,
        "exact": repeats.exact,
    }


def verdict_of(verdict: Verdict, causes: Mapping[str, Cause]) -> Json:
    """Return a verdict as a report gives it."""
    family, leaf = leading(verdict)
    return {
        "family": verdict.family,
        "leaf": verdict.leaf,
        "confidence": _share(verdict.confidence),
        "words": confidence_words(verdict),
        "leading": {
            "family": family,
            "leaf": leaf,
            "title": causes[leaf].title if leaf is not None and leaf in causes else None,
            "confidence": _share(verdict.confidence),
        },
        "by_family": _shares(verdict.by_family),
        "by_leaf": _shares(verdict.by_leaf),
    }


def _evidence(item: Evidence, by_leaf: Mapping[str, float], family: str) -> Json:
    at = item.at
    if at is None:
        at = item.record.at if item.record is not None else item.reading.at if item.reading is not None else None
    return {
        "id": item.id,
        "group": item.group,
        "state": item.state,
        "bearing": None if item.state == "unknown" else bearing(item.points, by_leaf, family),
        "points": dict(item.points),
        "would_be": dict(item.would_be),
        "counted": item.counted,
        "why": text(item.why),
        "reason": text(item.reason),
        "at": iso(at),
        "count": item.count,
        "source": _witness(item),
    }


def _witness(item: Evidence) -> Json | None:
    if item.record is not None:
        return _log_line(item.record)
    if item.reading is not None:
        return _read_value(item.reading)
    return None


def _log_line(record: LogRecord) -> Json:
    return {
        "kind": "log",
        "origin": text(record.origin, MOST_PATH),
        "line": record.line or None,
        "text": text(record.text or record.message.partition("\n")[0]),
        "monotonic": record.monotonic if record.at is None else None,
        "boot": text(record.boot),
        "injected": record.injected,
        "pasted": record.pasted,
    }


def _read_value(reading: Reading) -> Json:
    value, missing = reading.value, None
    if isinstance(value, Missing):
        value, missing = None, value.reason  # type: ignore[assignment]
    elif isinstance(value, float) and not isfinite(value):
        value, missing = None, "error:not-finite"  # type: ignore[assignment]
    elif isinstance(value, str):
        value = text(value) or ""
    return {
        "kind": "reading",
        "origin": None,
        "line": None,
        "text": None,
        "name": reading.name,
        "value": value,
        "unit": reading.unit,
        "missing": text(missing),
    }
