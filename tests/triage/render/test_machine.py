"""JSON and NDJSON carry the same, and survive any terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from triage.render.machine import to_json, to_ndjson
from triage.schema import REPORT

SCHEMA: dict[str, Any] = json.loads(REPORT.read_text(encoding="utf-8"))


def part(name: str) -> dict[str, Any]:
    """Return the schema of one kind of line."""
    return {"$schema": SCHEMA["$schema"], "$defs": SCHEMA["$defs"], "$ref": f"#/$defs/{name}"}


def test_ndjson_is_golden(full: dict[str, Any], golden: Callable[[str, str], None]) -> None:
    """One incident a line, then the end."""
    golden("report.ndjson", to_ndjson(full))


def test_ndjson_lines_follow_the_schema_and_add_up_to_the_report(full: dict[str, Any]) -> None:
    """Nothing is in the one form that is not in the other."""
    *incidents, end = map(json.loads, to_ndjson(full).splitlines())
    for incident in incidents:
        jsonschema.validate(incident, part("incident_line"))
    jsonschema.validate(end, part("end"))

    bare = [{key: value for key, value in line.items() if key in full["incidents"][0]} for line in incidents]
    assert full == {**end, "kind": "report", "incidents": bare}
    assert (2, True) == (end["incidents"], end["complete"])


def test_a_healthy_node_still_has_an_end(quiet: dict[str, Any]) -> None:
    """No output and no incident are told apart."""
    lines = to_ndjson(quiet).splitlines()

    assert 1 == len(lines)
    assert ("end", "ok") == tuple(json.loads(lines[0])[key] for key in ("kind", "status"))


def test_machine_forms_are_ascii_and_lossless(full: dict[str, Any]) -> None:
    """A terminal that shows JSON is as safe as one that shows text."""
    full["incidents"][0]["summary"] = "\x1b[2J\x9b\u202e\x7f\0 é 🙂"

    for shown in (to_json(full), to_ndjson(full)):
        assert shown.replace("\n", "").isprintable()
        assert shown.isascii()
    assert full == json.loads(to_json(full))
