"""`gpu-triage fleet`: many nodes, and what they testify against each other."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from triage.cli import output
from triage.cli.exits import DONE, FOUND, INTERRUPTED, PARTIAL, UNREACHABLE, Refused
from triage.cli.options import Parser, add_logs, add_output, add_rules, jobs, look, overlays
from triage.cli.reports import load_rulebook
from triage.model import SEVERITIES

EXITS = """
0 done, whatever was found     1 found something at or above --fail-on
2 bad arguments or rulebook    3 nothing could be read
4 some could not be read       130 interrupted (what was read till then is reported)
"""
OVERVIEW = """\
usage: gpu-triage fleet VERB ...

examples:
  gpu-triage fleet report captures/ --inventory racks.csv

verbs:
  report     what the captures or logs of many nodes say together: does a fault follow
             the driver, the firmware, the board, the seat, the rack or the job?

exit codes:
{exits}
"""


def main(words: Sequence[str]) -> int:
    """Run one of the sub-verbs."""
    if not words:
        raise Refused("fleet: say what to do: report (see `gpu-triage fleet --help`)")
    if words[0] in ("-h", "--help"):
        output.write(OVERVIEW.format(exits="\n".join(f"  {line}" for line in EXITS.strip().splitlines())))
        return DONE
    if words[0] != "report":
        raise Refused(f"fleet: unknown verb '{words[0]}'; it is report (see `gpu-triage fleet --help`)")
    return _report(_report_parser().parse_args(words[1:]))


def _report_parser() -> Parser:
    parsed = Parser(
        "fleet report",
        "Read one capture, log or bug report for each node, and say what faults go with and what each incident\n"
        "then is. A folder is its entries, each one node's; several captures of a node are its history.",
        """
gpu-triage fleet report captures/
gpu-triage fleet report captures/*.tar.gz --inventory racks.csv --format json
""",
        EXITS,
    )
    parsed.add_argument("paths", nargs="+", metavar="PATH", help="captures, logs, bug reports, or folders of them")
    parsed.add_argument(
        "--inventory", type=Path, metavar="FILE", help="CSV, JSON or YAML: node, rack, chassis, leaf, and what else"
    )
    parsed.add_argument(
        "--jobs", type=jobs, metavar="N", help="processes that read them (default: as many as processors)"
    )
    parsed.add_argument(
        "--fail-on", choices=("never", *SEVERITIES), default="never", help="exit 1 if something this bad was found"
    )
    add_output(parsed, ("text", "json"))
    add_rules(parsed)
    add_logs(parsed)
    return parsed


def _report(args: Any) -> int:
    from triage.fleet import hypotheses, inventory, testify
    from triage.fleet.gather import gather
    from triage.fleet.model import ANSWERED, Answer
    from triage.fleet.read import read_all
    from triage.fleet.report import to_fleet_report

    now = time.time() if args.now is None else args.now
    places = {}
    if args.inventory is not None:
        try:
            places = inventory.load(args.inventory)
        except inventory.Unusable as error:
            raise Refused(str(error)) from error
    paths = list(_nodes(args.paths))
    if not paths:
        raise Refused(f"{', '.join(args.paths)}: nothing in it; give a folder of captures or logs")
    rulebook = load_rulebook(args.rules, overlays(args))
    answers: list[Answer] = []
    complete = True
    try:
        for answer in read_all(
            paths,
            rulebook,
            root=args.rules,
            overlays=overlays(args),
            now=now,
            tz_offset=args.timezone,
            jobs=args.jobs,
        ):
            answers.append(answer)
    except KeyboardInterrupt:
        complete = False
    findings = testify.find(gather(answers, places), hypotheses.load(rulebook))
    told = {answer.node for answer in answers if answer.state == ANSWERED}
    strange = sorted(told - places.keys()) if places else []
    notices = [f"{len(strange)} nodes are not in {args.inventory}: {', '.join(strange[:5])}"] if strange else []
    report = to_fleet_report(findings, answers, rulebook, generated_at=now, complete=complete, notices=notices)
    if args.format == "json":
        from triage.render.machine import to_json

        output.write(to_json(report))
    else:
        from triage.render.fleet import render

        output.write(render(report, look(args)))
    return _code(report, args.fail_on)


def _nodes(paths: Sequence[str]) -> Iterator[str]:
    """Yield one path for each node: what a folder holds, or what was named."""
    for path in paths:
        if os.path.isdir(path):
            try:
                names = sorted(os.listdir(path))
            except OSError as error:
                raise Refused(f"{path}: {error.strerror or error}") from error
            yield from (os.path.join(path, name) for name in names if not name.startswith("."))
        else:
            yield path


def _code(report: dict[str, Any], fail_on: str) -> int:
    if not report["complete"]:
        return INTERRUPTED
    if not report["nodes"]["told"]:
        return UNREACHABLE
    if fail_on != "never":
        bad = SEVERITIES[SEVERITIES.index(fail_on) :]
        if any(incident["severity"] in bad for incident in report["incidents"]):
            return FOUND
    return PARTIAL if report["nodes"]["silent"] else DONE
