"""`gpu-triage tui`: opens the screens, which are loaded only here."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from triage.cli import output
from triage.cli.exits import DONE, Refused
from triage.cli.options import Parser, add_logs, add_rules
from triage.cli.reports import from_logs, from_node, load_rulebook

PATIENCE = 16.0
"""Seconds that one sweep of this node may take while the screens show the one before."""


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "tui",
        "Open the screens on this node or, with FILE, on what a log says.",
        """
gpu-triage tui
gpu-triage tui /var/log/kern.log
""",
        "0 done   2 bad arguments, or no terminal",
    )
    parsed.add_argument("files", nargs="*", metavar="FILE", help="logs to show instead of this node")
    add_rules(parsed)
    add_logs(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Hand the screens a function that makes a report whenever they want a new one."""
    args = parser().parse_args(words)
    if not (output.is_terminal(sys.stdout) and output.is_terminal(sys.stdin)):
        raise Refused("the screens need a terminal; `gpu-triage check` and `gpu-triage explain` do not")
    try:
        from tui.app import run
    except ImportError as error:
        raise Refused(
            f"the screens cannot be loaded ({error}); `gpu-triage check` and `gpu-triage explain` do without them"
        ) from error
    run(report_source(args))
    return DONE


def report_source(args: Any) -> Callable[[], dict[str, Any]]:
    """Return the function that makes the report: of the logs, or of this node as it stands then."""
    rulebook = load_rulebook(args.rules)

    def report() -> dict[str, Any]:
        now = time.time() if args.now is None else args.now
        if args.files:
            return from_logs(rulebook, args.files, now=now, tz_offset=args.timezone)
        return from_node(rulebook, now=now, deadline=PATIENCE)

    return report
