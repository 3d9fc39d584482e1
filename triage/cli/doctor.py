"""`gpu-triage doctor`: what can be read here and what cannot, why, and what would help."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from triage import __version__
from triage.cli import output
from triage.cli.alerting import add_alerts
from triage.cli.exits import DONE, UNREACHABLE
from triage.cli.options import (
    Parser,
    add_history,
    add_now,
    add_output,
    add_rules,
    deadline,
    look,
    overlays,
    state_directory,
)
from triage.render.layout import Look, fill
from triage.report import iso

Json = dict[str, Any]

_MARKS = {"readable": "ok", "partly": "partly", "unreadable": "NO", "absent": "-"}
_STYLES = {"readable": "ok", "partly": "warning", "unreadable": "critical", "absent": "faint"}
_WIDTH = max(map(len, _MARKS.values()))
SHARE = 0.8
"""Of the deadline for the sources of the node; the rest is for the rules."""


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "doctor",
        "Say of each source whether it can be read here, why not, and the command or permission that would help.\n"
        "Reads only.",
        """
gpu-triage doctor
gpu-triage doctor --format json | jq '.sources[] | select(.state != "readable")'
""",
        "0 all that a verdict needs can be read   2 bad arguments   3 something needed cannot be read",
    )
    parsed.add_argument(
        "--deadline", type=deadline, default=15.0, metavar="SECONDS", help="answer within this time (default: 15)"
    )
    add_output(parsed, ("text", "json"))
    add_alerts(parsed, optional=False)
    add_rules(parsed)
    add_history(parsed, optional=False)
    add_now(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Look everywhere and say what was found."""
    from probes import access
    from probes.access_node import READABLE
    from triage import doctor

    args = parser().parse_args(words)
    directory = state_directory(args)
    assert directory is not None
    state = doctor.state(directory)
    usable = state.state == READABLE and directory.is_dir()
    found = access.look(args.deadline * SHARE, state_dir=directory / "children" if usable else None)
    found.append(state)
    found += doctor.rules(args.rules, overlays(args))
    found.append(doctor.alerts(directory, time.time() if args.now is None else args.now, args.alerts))
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    found.append(doctor.terminal(os.environ, output.is_terminal(sys.stdout), encoding))
    if args.format == "json":
        from triage.render.machine import to_json

        now = time.time() if args.now is None else args.now
        output.write(to_json(report(found, os.uname().nodename, now)))
    else:
        output.write(text(found, look(args)))
    return DONE if doctor.well(found) else UNREACHABLE


def report(found: Sequence[Any], node: str, now: float) -> Json:
    """Return what was found as one JSON object."""
    from triage import doctor

    return {
        "schema_version": 1,
        "kind": "doctor",
        "tool": {"name": "gpu-triage", "version": __version__},
        "generated_at": iso(now),
        "node": node,
        "well": doctor.well(found),
        "sources": doctor.to_json(found),
    }


def text(found: Sequence[Any], drawn: Look) -> str:
    """Return what was found, one source a paragraph, what is needed first."""
    lines: list[str] = []
    for title, needed in (("NEEDED FOR A VERDICT", True), ("USED WHERE IT IS THERE", False)):
        mine = [access for access in found if access.needed is needed]
        lines += fill(drawn, [("strong", title)]) if mine else []
        lines += [line for access in mine for line in _lines(access, drawn)]
    return "\n".join(lines) + "\n"


def _lines(access: Any, drawn: Look) -> list[str]:
    mark = _MARKS[access.state]
    pad = " " * (_WIDTH - len(mark))
    hang = " " * (_WIDTH + 5)
    lines = fill(drawn, [(_STYLES[access.state], mark + pad), ("strong", access.source), ("", access.what)], "  ", hang)
    if access.why:
        lines += fill(drawn, [("", access.why)], hang)
    if access.remedy:
        lines += fill(drawn, [("faint", f"-> {access.remedy}")], hang, hang + "   ")
    return lines
