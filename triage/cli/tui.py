"""`gpu-triage tui`: opens the screens, which are loaded only here."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from triage.cli import output
from triage.cli.exits import DONE, Refused
from triage.cli.options import Parser, add_logs, add_rules, deadline, overlays
from triage.render.color import CHOICES, wants_color


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "tui",
        "Open the screens on this node or, with FILE, on what logs, a capture or a stored report say. Reads only.",
        """
gpu-triage tui
gpu-triage tui /var/log/kern.log
gpu-triage tui gpu-triage-node7-20261126T170841Z.tar.gz
gpu-triage check --format json > report.json; gpu-triage tui report.json
""",
        "0 done   2 bad arguments, or no terminal",
    )
    parsed.add_argument("files", nargs="*", metavar="FILE", help="logs, or one stored report, instead of this node")
    parsed.add_argument("--replay", metavar="FILE", help="step with < and > through reports written one after another")
    parsed.add_argument(
        "--refresh", type=deadline, metavar="SECONDS", help="sweep this node so often (default: 15; at least 1 between)"
    )
    parsed.add_argument("--color", choices=CHOICES, default="auto", help="colour (default: unless NO_COLOR is set)")
    parsed.add_argument("--ascii", action="store_true", help="draw nothing beyond ASCII")
    add_rules(parsed)
    add_logs(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Open the screens on what was asked for."""
    args = parser().parse_args(words)
    # The screens are drawn on standard error, so that is asked too.
    if not all(map(output.is_terminal, (sys.stdin, sys.stdout, sys.stderr))):
        raise Refused("the screens need a terminal; `gpu-triage check` and `gpu-triage explain` do not")
    if os.environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
        raise Refused("the screens need a terminal that can place its cursor; set TERM, or use `gpu-triage check`")
    if args.replay and args.files:
        raise Refused("give either logs or --replay FILE")
    for path in [*args.files, *([args.replay] if args.replay else [])]:
        if path == "-":
            raise Refused("the screens need standard input for the keys; save the log to a file and name it")
        if not os.path.exists(path):
            raise Refused(f"no such file: {path}; check the path")
    try:
        from tui.app import run
    except ImportError as error:
        raise Refused(
            f"the screens cannot be loaded ({error}); `gpu-triage check` and `gpu-triage explain` do without them"
        ) from error
    from tempfile import TemporaryDirectory

    from triage.cli.reports import load_rulebook

    # a rulebook that is wrong is refused before the screen is taken
    load_rulebook(args.rules, overlays(args), whole=True)
    with TemporaryDirectory(prefix="gpu-triage-") as folder:
        run(source(args, Path(folder)), look(args), lambda: load_rulebook(args.rules, overlays(args), whole=True))
    return DONE


def source(args: argparse.Namespace, folder: Path) -> Any:
    """Return what the screens are to show: a recording, a report, logs or this node."""
    from tui.sources import NODE_PERIOD, LogSource, NodeSource, ReportSource, is_report, rule_words

    if args.replay:
        return ReportSource(args.replay)
    if len(args.files) == 1 and is_report(args.files[0]):
        return ReportSource(args.files[0])
    rules = rule_words(args.rules, overlays(args))
    if args.files:
        return LogSource(args.files, rules=rules, now=args.now, timezone=args.timezone)
    return NodeSource(folder, rules=rules, period=args.refresh or NODE_PERIOD)


def look(args: argparse.Namespace) -> Any:
    """Return how the screens are drawn: in colour or not, in ASCII if so asked or if the locale knows no more."""
    from tui.look import THEMES, Look, speaks_utf8

    theme = os.environ.get("GPU_TRIAGE_THEME", "sixteen")
    if theme not in THEMES:
        raise Refused(f"GPU_TRIAGE_THEME={theme}: no such theme; one of {', '.join(THEMES)}")
    colored = wants_color(args.color, os.environ, is_terminal=True)
    return Look(theme if colored else "plain", args.ascii or not speaks_utf8())
