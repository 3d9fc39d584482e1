"""`gpu-triage fleet early`: which GPUs leave their own past or their peers, before anything fails."""

from __future__ import annotations

import time
from collections.abc import Sequence

from triage.cli import output
from triage.cli.exits import DONE, FOUND, INTERRUPTED, PARTIAL, UNREACHABLE
from triage.cli.fleet_options import EXITS, add_report
from triage.cli.options import Parser, add_cluster, look, overlays
from triage.cli.reports import load_rulebook


def main(words: Sequence[str]) -> int:
    """Read, compare, print."""
    parsed = Parser(
        "fleet early",
        "Read several sweeps (or captures of several days) and name the GPUs whose counters grow faster than before\n"
        "or than those of their peers, and those that are slower than the others of their job. A sign is no verdict.",
        """
gpu-triage fleet early sweep-monday/ sweep-tuesday/ sweep-wednesday/
gpu-triage fleet early captures/ --format json
""",
        EXITS,
    )
    parsed.add_argument("paths", nargs="+", metavar="PATH", help="folders of sweeps, captures, or folders of them")
    add_report(parsed)
    add_cluster(parsed)
    args = parsed.parse_args(words)
    from triage.cli.fleet_report import answers_of
    from triage.fleet import early
    from triage.fleet.early_report import render, to_early_report

    now = time.time() if args.now is None else args.now
    answers, complete = answers_of(args.paths, args, load_rulebook(args.rules, overlays(args)), now=now)
    found = early.look(early.observations(answers), early.load())
    report = to_early_report(found, answers, generated_at=now, complete=complete)
    if args.format == "json":
        from triage.render.machine import to_json

        output.write(to_json(report))
    elif args.format == "ndjson":
        from triage.render.machine import to_lines

        output.write(to_lines(report, {"sign": report["signs"]}))
    else:
        output.write(render(report, look(args)))
    if not complete:
        return INTERRUPTED
    if len(report["silent"]) == len(answers):
        return UNREACHABLE
    if args.fail_on != "never" and args.fail_on != "critical" and found.seen:
        return FOUND  # a sign is a warning
    return PARTIAL if report["silent"] else DONE
