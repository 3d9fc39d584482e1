"""The report as values that screens can rely on, made once where a report comes in.

A report may come from another version of this program or from a file that
somebody edited: what is missing or of the wrong kind becomes unknown here, so
that no screen has to ask.  Foreign text stays as it is; drawing makes it
harmless.
"""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Mapping
from typing import Any, NamedTuple

Json = dict[str, Any]

SEVERITIES = ("critical", "warning", "info")
WORDS = {"critical": "CRIT", "warning": "WARN", "info": "INFO", "unknown": "UNKN", "ok": "ok"}
"""Severity and state as a person reads them in a table."""


class Gpu(NamedTuple):
    """A GPU as far as it is known; `index` is how it was listed and never identity."""

    pci: str | None = None
    uuid: str | None = None
    serial: str | None = None
    index: int | None = None  # type: ignore[assignment]  # shadows tuple.index
    name: str | None = None

    def same(self, other: Gpu) -> bool:
        """Return whether both are the same GPU, by the best identity that both have."""
        for mine, its in ((self.pci, other.pci), (self.uuid, other.uuid), (self.serial, other.serial)):
            if mine is not None and its is not None:
                return mine.lower() == its.lower()
        nameless = not (self.pci or self.uuid or self.serial) or not (other.pci or other.uuid or other.serial)
        return nameless and self.index is not None and self.index == other.index

    @property
    def key(self) -> str:
        """What stays the same from sweep to sweep."""
        return self.pci or self.uuid or self.serial or f"#{self.index}"


class Witness(NamedTuple):
    """The log line or the reading that a piece of evidence rests on."""

    kind: str
    origin: str | None = None
    line: int | None = None
    text: str = ""
    monotonic: float | None = None
    boot: str | None = None
    injected: bool = False
    name: str = ""
    value: Any = None
    unit: str = ""
    missing: str | None = None


class Evidence(NamedTuple):
    """One question that a rule asked, and its answer; `number` is how it is marked in the log, from 1."""

    id: str
    group: str
    state: str
    bearing: str | None
    points: Mapping[str, int]
    would_be: Mapping[str, int]
    counted: bool
    why: str
    reason: str | None
    at: float | None
    count: int  # type: ignore[assignment]  # shadows tuple.count
    witness: Witness | None
    number: int = 0


class Step(NamedTuple):
    """Something to do; `command` is the exact command where the report has one."""

    do: str
    risk: str
    owner: str
    command: str | None = None


class Verdict(NamedTuple):
    """The decided family or `undetermined`, and the cause that leads either way."""

    family: str
    words: str
    confidence: float | None
    lead_family: str
    lead_leaf: str | None
    lead_title: str | None
    by_family: Mapping[str, float]
    by_leaf: Mapping[str, float]


class Incident(NamedTuple):
    """One thing that went wrong."""

    key: str
    state: str
    severity: str
    opened_at: float | None
    last_seen_at: float | None
    seen: int
    gpu: Gpu | None
    title: str
    summary: str
    rule: str
    rule_version: int | None
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    explains: tuple[str, ...]
    settle: tuple[str, ...]
    next: tuple[Step, ...]
    raw: Json


class SourceRead(NamedTuple):
    """One source of the report."""

    kind: str
    origin: str
    readable: bool
    start: float | None
    end: float | None
    records: int | None
    reason: str | None


class Facts(NamedTuple):
    """A whole report; incidents worst first.  `raw` is the report as it came."""

    node: str | None
    status: str
    generated_at: float | None
    complete: bool
    sources: tuple[SourceRead, ...]
    incidents: tuple[Incident, ...]
    gpus: tuple[Gpu, ...]
    notices: tuple[str, ...]
    raw: Json

    def incident(self, key: str) -> Incident | None:
        """Return the incident with this fingerprint."""
        return next((incident for incident in self.incidents if incident.key == key), None)


def facts(report: Json) -> Facts:
    """Return what a report says, whatever is missing in it."""
    incidents = tuple(_incident(each, place) for place, each in enumerate(_dicts(report.get("incidents"))))
    gpus = [gpu for gpu in map(_gpu, _dicts(report.get("gpus"))) if gpu is not None]
    for incident in incidents:
        if incident.gpu is not None and not any(incident.gpu.same(gpu) for gpu in gpus):
            gpus.append(incident.gpu)
    return Facts(
        node=_maybe(report.get("node")),
        status=_text(report.get("status"), "unknown"),
        generated_at=epoch(report.get("generated_at")),
        complete=report.get("complete") is not False,
        sources=tuple(map(_source, _dicts(report.get("sources")))),
        incidents=incidents,
        gpus=tuple(gpus),
        notices=_texts(report.get("notices")),
        raw=report,
    )


def epoch(iso: Any) -> float | None:
    """Return ISO 8601 UTC as epoch seconds, None if it is none."""
    if not isinstance(iso, str):
        return None
    whole, _, fraction = iso.rstrip("Z").partition(".")
    try:
        seconds = float(timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")))
        return seconds + (float(f"0.{fraction}") if fraction else 0.0)
    except (ValueError, OverflowError):
        return None


def _incident(raw: Json, place: int) -> Incident:
    rule, where, verdict = _dict(raw.get("rule")), _dict(raw.get("where")), _verdict(_dict(raw.get("verdict")))
    return Incident(
        key=_text(raw.get("fingerprint"), f"#{place}"),
        state=_text(raw.get("state"), "open"),
        severity=_text(raw.get("severity"), "unknown"),
        opened_at=epoch(raw.get("opened_at")),
        last_seen_at=epoch(raw.get("last_seen_at")),
        seen=_count(raw.get("seen")) or 1,
        gpu=_gpu(where.get("gpu")),
        title=_text(raw.get("title"), _text(raw.get("summary"), "?")),
        summary=_text(raw.get("summary"), _text(raw.get("title"), "?")),
        rule=_text(rule.get("id"), "?"),
        rule_version=_count(rule.get("version")),
        verdict=verdict,
        evidence=_numbered(tuple(map(_evidence, _dicts(raw.get("evidence")))), verdict.lead_family),
        explains=_texts(raw.get("explains")),
        settle=_texts(raw.get("settle")),
        next=tuple(map(_step, _dicts(raw.get("next")))),
        raw=raw,
    )


def _numbered(evidence: tuple[Evidence, ...], family: str) -> tuple[Evidence, ...]:
    """Order by answer and weight, and number them so: [1] is the same item on every screen."""
    ranked = sorted(evidence, key=lambda item: _rank(item, family))
    return tuple(item._replace(number=number) for number, item in enumerate(ranked, 1))


def _rank(item: Evidence, family: str) -> tuple[int, bool, int, int]:
    answers = {"seen": {"for": 0, "against": 1}.get(item.bearing or "", 2), "quiet": 3}
    points = item.would_be if item.state == "unknown" else item.points
    ours = [abs(value) for leaf, value in points.items() if leaf.partition(".")[0] == family]
    return (
        answers.get(item.state, 4),
        not item.counted,
        -max(ours, default=0),
        -max((abs(value) for value in points.values()), default=0),
    )


def _verdict(raw: Json) -> Verdict:
    lead = _dict(raw.get("leading"))
    family = _text(raw.get("family"), "undetermined")
    return Verdict(
        family=family,
        words=_text(raw.get("words"), "?"),
        confidence=_share(raw.get("confidence")),
        lead_family=_text(lead.get("family"), family),
        lead_leaf=_maybe(lead.get("leaf")) or _maybe(raw.get("leaf")),
        lead_title=_maybe(lead.get("title")),
        by_family=_shares(raw.get("by_family")),
        by_leaf=_shares(raw.get("by_leaf")),
    )


def _evidence(raw: Json) -> Evidence:
    return Evidence(
        id=_text(raw.get("id"), "?"),
        group=_text(raw.get("group"), "?"),
        state=_text(raw.get("state"), "unknown"),
        bearing=_maybe(raw.get("bearing")),
        points=_points(raw.get("points")),
        would_be=_points(raw.get("would_be")),
        counted=raw.get("counted") is not False,
        why=_text(raw.get("why"), "?"),
        reason=_maybe(raw.get("reason")),
        at=epoch(raw.get("at")),
        count=_count(raw.get("count")) or 1,
        witness=_witness(raw.get("source")),
    )


def _witness(raw: Any) -> Witness | None:
    if not isinstance(raw, dict):
        return None
    value = raw.get("value")
    return Witness(
        kind=_text(raw.get("kind"), "?"),
        origin=_maybe(raw.get("origin")),
        line=_count(raw.get("line")) or None,
        text=_text(raw.get("text"), ""),
        monotonic=_number(raw.get("monotonic")),
        boot=_maybe(raw.get("boot")),
        injected=raw.get("injected") is True,
        name=_text(raw.get("name"), "?"),
        value=value if isinstance(value, (int, float, str)) else None,
        unit=_text(raw.get("unit"), ""),
        missing=_maybe(raw.get("missing")),
    )


def _step(raw: Json) -> Step:
    return Step(
        _text(raw.get("do"), "?"),
        _text(raw.get("risk"), "?"),
        _text(raw.get("owner"), "?"),
        _maybe(raw.get("command")),
    )


def _source(raw: Json) -> SourceRead:
    return SourceRead(
        _text(raw.get("kind"), "?"),
        _text(raw.get("origin"), "?"),
        raw.get("readable") is True,
        epoch(raw.get("from")),
        epoch(raw.get("to")),
        _count(raw.get("records")),
        _maybe(raw.get("reason")),
    )


def _gpu(raw: Any) -> Gpu | None:
    if not isinstance(raw, dict):
        return None
    return Gpu(
        _maybe(raw.get("pci")),
        _maybe(raw.get("uuid")),
        _maybe(raw.get("serial")),
        _count(raw.get("index")),
        _maybe(raw.get("name")),
    )


def _dict(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()


def _maybe(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _text(value: Any, instead: str) -> str:
    return _maybe(value) or instead


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _share(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and 0.0 <= number <= 1.0 else None


def _shares(value: Any) -> dict[str, float]:
    shares = {name: _share(share) for name, share in _dict(value).items()}
    return {name: share for name, share in shares.items() if share is not None}


def _points(value: Any) -> dict[str, int]:
    return {
        name: points
        for name, points in _dict(value).items()
        if isinstance(points, int) and not isinstance(points, bool)
    }
