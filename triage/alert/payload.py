"""What is sent of an incident, in the words of each kind of target.

The verdict comes first, because that is what decides who has to get up.  One
fingerprint names the incident everywhere.  Text that came from a log is made
harmless: whoever shows it may obey what it says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from triage import __version__
from triage.alert.config import Target
from triage.render.prometheus import identity
from triage.render.safe import safe
from triage.report import iso

Json = dict[str, Any]

SCHEMA_VERSION = 1
MOST_KEY = 255
"""Characters that PagerDuty takes of a key."""
MOST_SUMMARY = 1024
MOST_EVIDENCE = 6
GONE = 600.0
"""Seconds for which Alertmanager shows a summary, or a test."""
TEST = "test of gpu-triage: nothing is wrong"


def alertmanager(target: Target, body: Json, now: float, *, over: bool, severity: str = "") -> Json:
    """Return an alert as Alertmanager takes it (API v2); `severity` is that under which it is known, if another."""
    where = body["where"]["gpu"]
    starts = body["opened_at"] or iso(now) or ""
    ends = (_resolved_at(body, now) if over else iso(now + target.expires)) or ""
    return {
        "labels": {
            **dict(target.labels),
            "alertname": body["rule"]["id"],
            "severity": severity or body["severity"],
            "node": _text(body["where"]["node"]),
            **({} if where is None else {"gpu": _text(identity(where))}),
            "fingerprint": _text(body["fingerprint"]),
            "tool": "gpu-triage",
        },
        "annotations": {name: text for name, text in _annotations(body).items() if text},
        "startsAt": starts,
        "endsAt": max(starts, ends),  # clocks that were set in between must not make it an alert that is none
    }


def alertmanager_summary(target: Target, node: str, more: Mapping[str, int], now: float) -> Json:
    """Return the alert that speaks for those that are not sent one by one."""
    return {
        "labels": {
            **dict(target.labels),
            "alertname": "gpu-triage-more",
            "severity": _worst(more),
            "node": _text(node),
            "fingerprint": more_key(node, target),
            "tool": "gpu-triage",
        },
        "annotations": {"summary": more_says(node, more)},
        "startsAt": iso(now),
        "endsAt": iso(now + target.expires),
    }


def pagerduty(key: str, event: str, body: Json) -> Json:
    """Return an event as PagerDuty takes it (Events API v2)."""
    if event in ("resolve", "acknowledge"):
        return {"routing_key": key, "event_action": event, "dedup_key": dedup_key(body["fingerprint"])}
    where, verdict = body["where"]["gpu"], body["verdict"]
    return {
        "routing_key": key,
        "event_action": "trigger",
        "dedup_key": dedup_key(body["fingerprint"]),
        "client": "gpu-triage",
        "payload": {
            "summary": headline(body)[:MOST_SUMMARY],
            "source": _text(body["where"]["node"]) or "unknown",
            "severity": body["severity"],
            **({"timestamp": body["opened_at"]} if body["opened_at"] else {}),
            **({} if where is None else {"component": _text(identity(where))}),
            "group": _text(body["where"]["node"]) or "unknown",
            "class": body["rule"]["id"],
            "custom_details": {
                "verdict": {name: verdict[name] for name in ("family", "leaf", "confidence", "words")},
                "evidence": _evidence(body),
                "next": _next(body),
                "explains": [_text(symptom) for symptom in body["explains"]],
                "seen": body["seen"],
                "last_seen_at": body["last_seen_at"],
                "fingerprint": _text(body["fingerprint"]),
                "gpu": None if where is None else {name: _text(value) for name, value in where.items()},
            },
        },
    }


def pagerduty_summary(key: str, target: Target, node: str, more: Mapping[str, int]) -> Json:
    """Return the event that speaks for those that are not sent one by one, or ends it if there are none."""
    event = {"routing_key": key, "event_action": "trigger" if more else "resolve"}
    event["dedup_key"] = dedup_key(more_key(node, target))
    if not more:
        return event
    payload = {"summary": more_says(node, more), "source": _text(node), "severity": _worst(more)}
    return {**event, "client": "gpu-triage", "payload": {**payload, "class": "gpu-triage-more"}}


def webhook(event: str, body: Json, now: float, number: str) -> Json:
    """Return what a webhook gets: the whole incident, as `check --format ndjson` prints it."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "alert",
        "id": number,
        "event": {"resolve": "resolved"}.get(event, event),
        "at": iso(now),
        "node": body["where"]["node"],
        "tool": {"name": "gpu-triage", "version": __version__},
        "incident": body,
    }


def webhook_summary(node: str, more: Mapping[str, int], now: float, number: str) -> Json:
    """Return what a webhook gets for those that are not sent one by one."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "alert",
        "id": number,
        "event": "summary",
        "at": iso(now),
        "node": node,
        "tool": {"name": "gpu-triage", "version": __version__},
        "summary": more_says(node, more),
        "more": dict(more),
    }


def message(event: str, body: Json) -> Json:
    """Return title, text and kind of a message for people."""
    marks = {"resolve": "OVER", "update": "UPDATE"}
    title = f"{marks.get(event, body['severity'].upper())} {_text(body['where']['node'])}: {_text(body['title'])}"
    said = [headline(body)]
    if event == "resolve":
        history = body.get("history") or {}
        said.append(f"open from {body['opened_at']} to {history.get('resolved_at') or 'now'}: {over_why(body)}")
    else:
        said += [f"seen {body['seen']} time{'' if body['seen'] == 1 else 's'}, first {body['opened_at']}"]
        said += [f"- {line}" for line in _next(body)]
    said.append(f"gpu-triage incidents show '{_text(body['fingerprint'])}'")
    kinds = {"critical": "failure", "warning": "warning", "info": "info"}
    return {
        "title": title,
        "body": "\n".join(said),
        "type": "success" if event == "resolve" else kinds[body["severity"]],
    }


def message_summary(node: str, more: Mapping[str, int]) -> Json:
    """Return the message that speaks for those that are not sent one by one."""
    return {"title": f"{_text(node)}: more incidents", "body": more_says(node, more), "type": "warning"}


def headline(body: Json) -> str:
    """Return the verdict and what happened, in one line."""
    verdict = body["verdict"]
    if verdict["family"] == "undetermined":
        leads = verdict["leading"]["family"]
        blame = "UNDETERMINED" + (f" ({leads} leads)" if leads != "undetermined" else "")
    else:
        blame = f"{verdict['family'].upper()} ({verdict['words']})"
    return f"{blame}: {_text(body['summary'])} on {_text(body['where']['node'])}"


def over_why(body: Json) -> str:
    """Return why an incident is over."""
    return _text((body.get("history") or {}).get("resolved_why")) or "it is over"


def more_says(node: str, more: Mapping[str, int]) -> str:
    """Return the sentence about incidents that are not told one by one."""
    count = sum(more.values())
    by = ", ".join(f"{number} {severity}" for severity, number in more.items() if number)
    says = f"{count} more incident{'' if count == 1 else 's'} ({by}) on {_text(node)}"
    return f"{says}: too many to tell one by one now; see `gpu-triage incidents list` there"


def more_key(node: str, target: Target) -> str:
    """Return the fingerprint of a summary."""
    return f"{_text(node)}/gpu-triage-more/{target.name}"


def dedup_key(fingerprint: str) -> str:
    """Return the fingerprint as PagerDuty takes it: what is too long for it ends in its hash."""
    text = _text(fingerprint)
    if len(text) <= MOST_KEY:
        return text
    return f"{text[: MOST_KEY - 65]}/{hashlib.sha256(fingerprint.encode()).hexdigest()}"


def number(target: Target, fingerprint: str, opened_at: str | None, nth: int, event: str) -> str:
    """Return the name of one message, the same each time that it is sent."""
    said = "\0".join((target.name, fingerprint, opened_at or "", str(nth), event))
    return "msg_" + hashlib.sha256(said.encode()).hexdigest()[:32]


def test_incident(node: str, now: float) -> Json:
    """Return an incident that is none."""
    at = iso(now)
    verdict: Json = {"family": "benign", "leaf": "benign", "confidence": 1.0, "words": "very likely"}
    verdict["leading"] = {"family": "benign", "leaf": "benign", "title": "nothing", "confidence": 1.0}
    return {
        "fingerprint": f"{node}/gpu-triage-test",
        "state": "open",
        "severity": "info",
        "opened_at": at,
        "last_seen_at": at,
        "seen": 1,
        "where": {"node": node, "gpu": None},
        "title": TEST,
        "summary": TEST,
        "rule": {"id": "gpu-triage-test", "version": 1},
        "verdict": {**verdict, "by_family": {"benign": 1.0}, "by_leaf": {"benign": 1.0}},
        "evidence": [],
        "explains": [],
        "settle": [],
        "next": [],
    }


def _annotations(body: Json) -> dict[str, str]:
    verdict, history = body["verdict"], body.get("history") or {}
    taken = history.get("acknowledged") if body["state"] == "acknowledged" else None
    return {
        "summary": headline(body),
        "description": "\n".join(_evidence(body)),
        "verdict": f"{verdict['family']}, {verdict['leaf'] or 'no cause singled out'}, {verdict['words']}",
        "confidence": f"{verdict['confidence']:.2f}",
        "runbook": "\n".join(_next(body)),
        "seen": str(body["seen"]),
        "acknowledged": "" if taken is None else _text(taken["reason"]),
        "resolved_why": over_why(body) if body["state"] == "resolved" else "",
    }


def _evidence(body: Json) -> list[str]:
    """What speaks for and against, the strongest first as the report has it, and what is not known."""
    found = [item for item in body["evidence"] if item["state"] == "seen" and item["bearing"] in ("for", "against")]
    lines = [f"{item['bearing']}: {_text(item['why'])}" for item in found[:MOST_EVIDENCE]]
    unknown = [item for item in body["evidence"] if item["state"] == "unknown"]
    return lines + [f"could not be checked: {_text(item['why'])}" for item in unknown[:2]]


def _next(body: Json) -> list[str]:
    return [f"{_text(step['do'])} ({step['risk']}; {_text(step['owner'])})" for step in body["next"]]


def _resolved_at(body: Json, now: float) -> str | None:
    return (body.get("history") or {}).get("resolved_at") or iso(now)


def _worst(more: Mapping[str, int]) -> str:
    return next((severity for severity in ("critical", "warning", "info") if more.get(severity)), "info")


def _text(value: object) -> str:
    return "" if value is None else safe(str(value))


def by_severity(severities: Sequence[str]) -> dict[str, int]:
    """Return how many incidents there are of each severity, the worst first."""
    return {severity: severities.count(severity) for severity in ("critical", "warning", "info")}
