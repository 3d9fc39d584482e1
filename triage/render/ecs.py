"""The report as events of the Elastic Common Schema, one a line: each incident, then the state of the node.

Field names, types and allowed words are those of ECS 8.17
(https://www.elastic.co/guide/en/ecs/8.17/); what ECS has no field for stands
below `gpu_triage`, which is ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

ECS = "8.17.0"
SEVERITIES = {"critical": 4, "warning": 3, "info": 2, "unknown": 1}
"""`event.severity` is a number, larger is worse."""
_LEVELS = {"critical": "critical", "warning": "warning", "info": "notice", "ok": "info", "unknown": "error"}


def to_ecs(report: Json) -> str:
    """Return one event for each incident, and a last one that says how the node stands."""
    return "".join(json.dumps(each, allow_nan=False, separators=(",", ":")) + "\n" for each in events(report))


def events(report: Json) -> Iterator[Json]:
    """Yield the events."""
    common = {
        "@timestamp": report["generated_at"],
        "ecs": {"version": ECS},
        "host": _known(name=report["node"], hostname=report["node"]),
        "service": {"name": "gpu-triage", "type": "gpu-triage", "version": report["tool"]["version"]},
    }
    for incident in report["incidents"]:
        yield {**common, **_incident(incident, report["node"])}
    opened = [each for each in report["incidents"] if each["state"] == "open"]
    yield {
        **common,
        "event": {
            "kind": "state", "category": ["host"], "type": ["info"], "module": "gpu-triage",
            "dataset": "gpu-triage.status", "severity": SEVERITIES.get(report["status"], 0),
            "outcome": {"ok": "success", "unknown": "unknown"}.get(report["status"], "failure"),
        },
        "log": {"level": _LEVELS.get(report["status"], "error")},
        "message": f"{report['status']}: {len(opened)} open incidents",
        "gpu_triage": {"status": report["status"], "complete": report["complete"], "open": len(opened)},
    }  # fmt: skip


def _incident(incident: Json, node: str | None) -> Json:
    verdict, gpu = incident["verdict"], incident["where"]["gpu"] or {}
    seen = [each for each in incident["evidence"] if each["state"] == "seen"]
    over = incident["state"] == "resolved"
    return {
        "event": _known(
            kind="alert",
            category=["host"],
            type=["end"] if over else ["info"],
            module="gpu-triage",
            dataset="gpu-triage.incident",
            id=incident["fingerprint"],
            severity=SEVERITIES.get(incident["severity"], 0),
            start=incident["opened_at"],
            end=incident["last_seen_at"] if over else None,
            reason=" ".join(each["why"] for each in seen if each["bearing"] == "for") or None,
        ),
        "log": {"level": _LEVELS.get(incident["severity"], "error")},
        "message": incident["summary"],
        "rule": {
            "id": incident["rule"]["id"],
            "version": str(incident["rule"]["version"]),
            "name": incident["title"],
            "category": verdict["family"],
        },
        "related": {"hosts": [node] if node else []},
        "labels": _known(
            state=incident["state"],
            family=verdict["family"],
            leaf=verdict["leaf"],
            gpu_pci=gpu.get("pci"),
            gpu_uuid=gpu.get("uuid"),
            gpu_serial=gpu.get("serial"),
        ),
        "gpu_triage": {
            "confidence": verdict["confidence"],
            "words": verdict["words"],
            "leading": verdict["leading"]["leaf"],
            "seen": incident["seen"],
            "next": [step["do"] for step in incident["next"]],
            "settle": incident["settle"],
        },
    }


def _known(**fields: Any) -> Json:
    """Return the fields that have a value: ECS has no null."""
    return {name: value for name, value in fields.items() if value is not None}
