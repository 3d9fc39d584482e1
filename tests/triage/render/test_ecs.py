"""Events of the Elastic Common Schema: one for each incident, then the state of the node."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from triage.render.ecs import to_ecs
from triage.schema import ECS

SCHEMA = json.loads(ECS.read_text(encoding="utf-8"))


def lines(report: dict[str, Any]) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in to_ecs(report).splitlines()]
    for each in found:
        jsonschema.validate(each, SCHEMA)
    return found


def test_events_are_golden(full: dict[str, Any], golden: Callable[[str, str], None]) -> None:
    golden("report.ecs.ndjson", to_ecs(full))


def test_each_incident_is_an_alert_and_the_node_has_a_state(full: dict[str, Any]) -> None:
    *incidents, state = lines(full)

    assert ["alert"] * 2 == [each["event"]["kind"] for each in incidents]
    assert [each["fingerprint"] for each in full["incidents"]] == [each["event"]["id"] for each in incidents]
    assert ("state", "failure", 4) == tuple(state["event"][name] for name in ("kind", "outcome", "severity"))


def test_what_is_over_has_an_end_and_what_is_not_known_has_no_field(full: dict[str, Any]) -> None:
    """ECS knows no null."""
    first = full["incidents"][0]
    first |= {"state": "resolved", "where": {"node": None, "gpu": None}}
    over, *_ = lines({**full, "node": None})

    assert (["end"], first["last_seen_at"]) == (over["event"]["type"], over["event"]["end"])
    assert {} == over["host"]
    assert not [name for name in over["labels"] if name.startswith("gpu_")]


def test_unknown_is_no_success(unknown: dict[str, Any], quiet: dict[str, Any]) -> None:
    assert "unknown" == lines(unknown)[-1]["event"]["outcome"]
    assert "success" == lines(quiet)[-1]["event"]["outcome"]
