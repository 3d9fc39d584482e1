"""`gpu-triage rules explain`: the sum behind a verdict, of a rule or of what logs say."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from triage.cli import output
from triage.cli.exits import DONE, UNREACHABLE, Refused
from triage.cli.options import Parser, add_logs, add_rules, overlays
from triage.cli.reports import load_rulebook
from triage.render.safe import safe


def add(parser: Parser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "what", nargs="+", metavar="RULE|FILE", help="one rule by id, or logs to read; - is standard input"
    )
    parser.add_argument("--incident", type=int, metavar="N", help="only the Nth incident, as `explain` lists them")
    add_rules(parser)
    add_logs(parser)


def run(args: Any) -> int:
    """Print the sums."""
    from triage.render.sums import incident_text, rule_text

    rulebook = load_rulebook(args.rules, overlays(args))
    rules = {rule.id: rule for rule in rulebook.rules}
    if len(args.what) == 1 and args.what[0] in rules and not os.path.exists(args.what[0]):
        _write(rule_text(rules[args.what[0]], rulebook))
        return DONE
    from triage.assess import assess
    from triage.intake import Intake

    now = time.time() if args.now is None else args.now
    stdin = None if sys.stdin is None else sys.stdin.buffer
    intake = Intake(args.what, now=now, tz_offset=args.timezone, stdin=stdin)
    found = assess(rulebook, intake, (), lambda: intake.sources, node=None, now=now)
    for source in found.sources:
        if not source.readable:
            output.tell(f"{source.origin}: {source.reason}{_perhaps(source.origin, rules)}")
    if not any(source.readable for source in found.sources):
        return UNREACHABLE
    incidents = list(enumerate(found.incidents, 1))
    if args.incident is not None:
        if not 1 <= args.incident <= len(incidents):
            raise Refused(f"there is no incident {args.incident}; {len(incidents)} were found")
        incidents = [incidents[args.incident - 1]]
    if not incidents:
        output.tell("no incident was found, so there is no sum")
    _write("\n\n".join(f"{number}. {incident_text(incident, rulebook)}" for number, incident in incidents))
    return DONE


def _perhaps(origin: str, rules: Any) -> str:
    """Return what rule may have been meant where a file is missing."""
    if os.path.exists(origin):
        return ""
    from triage.rulebook.problems import did_you_mean

    return did_you_mean(origin, rules)


def _write(text: str) -> None:
    output.write("".join(f"{safe(line)}\n" for line in text.splitlines()))
