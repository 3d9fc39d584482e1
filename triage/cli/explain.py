"""`gpu-triage explain`: the verdict from logs, captures and bug reports."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from triage.cli import output
from triage.cli.exits import DONE, FOUND, INTERRUPTED, PARTIAL, UNREACHABLE, Refused
from triage.cli.options import (
    Parser,
    add_cluster,
    add_logs,
    add_output,
    add_rules,
    add_window,
    jobs,
    look,
    overlays,
    whole,
    window,
)
from triage.cli.reports import from_logs, load_rulebook
from triage.model import SEVERITIES

COLLECTED = 50_000
"""New objects after which those that only hold each other are looked for; reading logs makes next to none."""


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "explain",
        "Say what went wrong with a GPU, from logs, captures and bug reports of any machine and age: hardware, driver,"
        " system, job or site.",
        """
gpu-triage explain /var/log/kern.log
dmesg | gpu-triage explain -
gpu-triage explain kern.log.1.gz journal.export --timezone +02:00
gpu-triage explain nvidia-bug-report.log.gz
gpu-triage explain 's3://logs/gpu-0417/*.log.gz' --cluster tcp://head:8786
gpu-triage explain /var/log/syslog --since 2h
gpu-triage explain /var/crash /var/lib/systemd/pstore
gpu-triage explain panic.txt --format json | jq '.incidents[0].verdict'
""",
        """
0 done, whatever was found     1 found something at or above --fail-on
2 bad arguments or rulebook    3 nothing could be read
4 something could not be read  130 interrupted (what was read till then is reported)
""",
    )
    parsed.add_argument(
        "files", nargs="*", metavar="FILE", help="logs, captures, bug reports, folders; - or none: standard input"
    )
    parsed.add_argument(
        "--fail-on",
        choices=("never", *SEVERITIES),
        default="never",
        help="exit 1 if something this bad was found (default: never)",
    )
    parsed.add_argument(
        "--jobs",
        type=jobs,
        metavar="N",
        help="processes that read large files (default: as many as processors)",
    )
    add_cluster(parsed)
    parsed.add_argument("--one-node", action="store_true", help="a folder is one node's, whatever is in it")
    parsed.add_argument(
        "--context",
        "-C",
        type=whole,
        default=0,
        metavar="N",
        help="show N lines of the log before and after each that evidence rests on (default: 0)",
    )
    add_output(parsed)
    add_rules(parsed)
    add_logs(parsed)
    add_window(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Read, decide, print."""
    gc.set_threshold(COLLECTED)
    args = parser().parse_args(words)
    files = args.files or ["-"]
    if "-" in files and not args.files and output.is_terminal(sys.stdin):
        raise Refused("which log? `gpu-triage explain FILE`, or `dmesg | gpu-triage explain -`")
    now = time.time() if args.now is None else args.now
    if not args.one_node and any(map(os.path.exists, files)):
        from triage.fleet.whose import captures_of_several, logs_of_several

        if captures_of_several(files):
            return _fleet(files, args, now)
        if len(files) == 1 and os.path.isdir(files[0]) and logs_of_several(files[0]):
            output.tell(f"{files[0]} is taken for the logs of several nodes, one each; --one-node reads them as one's")
            return _fleet(files, args, now)
    report = from_logs(
        load_rulebook(args.rules, overlays(args)),
        files,
        now=now,
        tz_offset=args.timezone,
        jobs=args.jobs,
        window=window(args, now),
        around=args.context,
        cluster=args.cluster,
    )
    output.write(drawn(report, args))
    return exit_code(report, args.fail_on)


def _fleet(files: Sequence[str], args: Any, now: float) -> int:
    """Let the captures or logs of several nodes testify against each other, as `fleet report` does."""
    from triage.cli.fleet_report import read, say

    if args.context or window(args, now) is not None:
        raise Refused(
            "these are of several nodes, which answer together (gpu-triage fleet report),"
            " without --context and a window of time"
        )
    args.inventory = None
    report = read(files, args, load_rulebook(args.rules, overlays(args)), now=now, places={})
    return say(report, args, look(args))


def drawn(report: dict[str, Any], args: Any) -> str:
    """Return the report in the form that was asked for."""
    if args.format == "text":
        from triage.render.text import render

        return render(report, look(args))
    if args.format == "ecs":
        from triage.render.ecs import to_ecs

        return to_ecs(report)
    from triage.render.machine import to_json, to_ndjson

    return to_json(report) if args.format == "json" else to_ndjson(report)


def exit_code(report: dict[str, Any], fail_on: str) -> int:
    """Return the exit code; what was found counts for more than what could not be read beside it."""
    readable = [source["readable"] for source in report["sources"]]
    if not report["complete"]:
        return INTERRUPTED
    if not any(readable):
        return UNREACHABLE
    if fail_on != "never":
        bad = SEVERITIES[SEVERITIES.index(fail_on) :]
        if any(incident["severity"] in bad for incident in report["incidents"]):
            return FOUND
    return DONE if all(readable) else PARTIAL
