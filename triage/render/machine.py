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
