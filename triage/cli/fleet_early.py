"""`gpu-triage fleet early`: which GPUs leave their own past or their peers, before anything fails."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from triage.cli import output
from triage.cli.exits import DONE, FOUND, INTERRUPTED, PARTIAL, UNREACHABLE, Refused
from triage.cli.fleet_options import EXITS, add_period, add_report, add_store, open_store, period, store_of
from triage.cli.options import Parser, add_cluster, look, overlays
from triage.cli.reports import load_rulebook

if TYPE_CHECKING:
    from triage.fleet.early_values import Early
    from triage.fleet.model import Answer


def main(words: Sequence[str]) -> int:
    """Read, compare, print."""
    parsed = Parser(
        "fleet early",
        "Read several sweeps (or captures of several days) and name the GPUs whose counters grow faster than before\n"
        "or than those of their peers, and those that are slower than the others of their job. A sign is no verdict.\n"
        "Without a PATH it reads the sweeps of a store.",
        """
gpu-triage fleet early sweep-monday/ sweep-tuesday/ sweep-wednesday/
gpu-triage fleet early captures/ --format json
gpu-triage fleet early --store postgresql://triage@db/fleet --since 30d
""",
        EXITS,
    )
    parsed.add_argument("paths", nargs="*", metavar="PATH", help="folders of sweeps, captures, or folders of them")
    add_store(parsed)
    add_period(parsed)
    add_report(parsed)
    add_cluster(parsed)
    args = parsed.parse_args(words)
    from triage.fleet.early_report import render, to_early_report
    from triage.fleet.model import ANSWERED

    now = time.time() if args.now is None else args.now
    if args.paths and args.store is not None:
        raise Refused("either captures or a store; `gpu-triage fleet store add` brings a sweep's folder into one")
    if not args.paths and store_of(args) is None:
        raise Refused("what of? name folders of sweeps or captures, or a store: --store URL")
    found, answers, complete = (_read if args.paths else _stored)(args, now)
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
    if not any(answer.state == ANSWERED for answer in answers):
        return UNREACHABLE
    if args.fail_on != "never" and args.fail_on != "critical" and found.seen:
        return FOUND  # a sign is a warning
    return PARTIAL if report["silent"] else DONE


def _read(args: Any, now: float) -> tuple[Early, list[Answer], bool]:
    from triage.cli.fleet_report import answers_of
    from triage.fleet import early

    answers, complete = answers_of(args.paths, args, load_rulebook(args.rules, overlays(args)), now=now)
    return early.look(early.observations(answers), early.load()), answers, complete


def _stored(args: Any, now: float) -> tuple[Early, list[Answer], bool]:
    from triage.fleet import early

    with open_store(args) as store:
        from triage.fleet.store import look as looked
        from triage.fleet.store.trouble import Unusable

        try:
            return (*looked.early(store, period(args, now), early.load()), True)
        except Unusable as error:
            raise Refused(str(error), UNREACHABLE) from None
