"""The report for programs: one JSON object, or one incident a line and a last line that says it is whole.

Both are pure ASCII, so that no locale, pipe or terminal can spoil them.
"""

from __future__ import annotations

import json
from typing import Any


def to_json(report: dict[str, Any]) -> str:
    """Return the report as indented JSON."""
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def to_ndjson(report: dict[str, Any]) -> str:
    """Return the incidents, one a line, then everything else of the report as the line of kind `end`."""
    head = {"schema_version": report["schema_version"], "kind": "incident", "node": report["node"]}
    lines = [head | incident for incident in report["incidents"]]
    end = {"schema_version": report["schema_version"], "kind": "end", "complete": report["complete"]}
    end["incidents"] = len(lines)
    end |= {name: value for name, value in report.items() if name not in end}
    return "".join(json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n" for line in [*lines, end])


def to_lines(report: dict[str, Any], rows: dict[str, list[dict[str, Any]]]) -> str:
    """Return the rows, one a line under their kinds, then all else of the report as the line of kind `end`."""
    version = report["schema_version"]
    lines = [
        {"schema_version": version, **row, "kind": kind, **({"of": row["kind"]} if "kind" in row else {})}
        for kind, found in rows.items()
        for row in found
    ]
    told = list(rows.values())
    rest = {name: value for name, value in report.items() if not any(value is found for found in told)}
    end = {**rest, "kind": "end", "of": report["kind"], "complete": report.get("complete", True)}
    end["rows"] = {kind: len(found) for kind, found in rows.items()}
    return "".join(json.dumps(line, allow_nan=False, separators=(",", ":")) + "\n" for line in [*lines, end])
