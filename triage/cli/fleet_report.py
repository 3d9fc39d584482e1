"""`gpu-triage fleet report`: what the captures or logs of many nodes say together."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triage.cli import output
from triage.cli.exits import DONE, FOUND, INTERRUPTED, PARTIAL, UNREACHABLE, Refused
from triage.cli.fleet_options import (
    EXITS,
    add_period,
    add_report,
    add_store,
    open_store,
    period,
    places_of,
    store_of,
)
from triage.cli.options import Parser, add_cluster, look, overlays
from triage.cli.reports import load_rulebook
from triage.model import SEVERITIES

if TYPE_CHECKING:
    from triage.fleet.model import Answer
    from triage.render.layout import Look
    from triage.rulebook.model import Rulebook


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "fleet report",
        "Read one capture, log or bug report for each node, and say what faults go with and what each incident\n"
        "then is. A folder is its entries, each one node's; several captures of a node are its history.\n"
        "The folder of a `fleet sweep` names the nodes that said nothing as well.\n"
        "Without a PATH it reads the sweeps of a store.",
        """
gpu-triage fleet report captures/
gpu-triage fleet report captures/*.tar.gz --inventory racks.csv --format json
gpu-triage fleet report --store postgresql://triage@db/fleet --since 30d
gpu-triage fleet report /nfs/captures --cluster tcp://head:8786
""",
        EXITS,
    )
    parsed.add_argument("paths", nargs="*", metavar="PATH", help="captures, logs, bug reports, or folders of them")
    add_store(parsed)
    add_period(parsed)
    add_report(parsed)
    add_cluster(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Read, judge, print."""
    args = parser().parse_args(words)
    now = time.time() if args.now is None else args.now
    places = places_of(args.inventory)
    rulebook = load_rulebook(args.rules, overlays(args))
    if args.paths and args.store is not None:
        raise Refused("either captures or a store; `gpu-triage fleet store add` brings a sweep's folder into one")
    if not args.paths and store_of(args) is None:
        raise Refused("what of? name captures, logs or folders of them, or a store: --store URL")
    if args.paths:
        report = read(args.paths, args, rulebook, now=now, places=places)
    else:
        report = stored(args, rulebook, now=now, places=places)
    return say(report, args, look(args))


def stored(
    args: Any,
    rulebook: Rulebook,
    *,
    now: float,
    places: Mapping[str, Mapping[str, str]],
    only: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the report of what a store holds.

    Raises:
        Refused: if it cannot be read, or holds nothing of that time.
    """
    from triage.fleet import hypotheses

    with open_store(args) as store:
        from triage.fleet.store import look as looked
        from triage.fleet.store.trouble import Unusable

        try:
            return looked.report(
                store, period(args, now), rulebook, hypotheses.load(rulebook), now=now, places=places, only=only
            )
        except Unusable as error:
            raise Refused(str(error), UNREACHABLE) from None


def read(
    given: Sequence[str], args: Any, rulebook: Rulebook, *, now: float, places: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """Return the report of what these files and folders hold.

    Raises:
        Refused: if there is nothing in them.
    """
    answers, complete = answers_of(given, args, rulebook, now=now, lean=True)
    return report_of(answers, args, rulebook, now=now, places=places, complete=complete)


def answers_of(
    given: Sequence[str], args: Any, rulebook: Rulebook, *, now: float, lean: bool = False
) -> tuple[list[Answer], bool]:
    """Return what every node in these files and folders said, `lean` without numbers, and whether all were read.

    Raises:
        Refused: if there is nothing in them.
    """
    from triage.fast_cluster import NoCluster
    from triage.fleet.read import Lean, called, read_all

    named, answers = nodes_of(given)
    if not named and not answers:
        raise Refused(f"{', '.join(given)}: nothing in it; give a folder of captures or logs")
    complete = True
    small = Lean()
    try:
        told = read_all(
            [path for path, _ in named],
            rulebook,
            root=args.rules,
            overlays=overlays(args),
            now=now,
            tz_offset=args.timezone,
            jobs=args.jobs,
            cluster=getattr(args, "cluster", None),
        )
        for (_, name), answer in zip(named, told, strict=True):
            answer = answer if name is None else called(answer, name)
            answers.append(small(answer) if lean else answer)
    except KeyboardInterrupt:
        complete = False
    except NoCluster as error:
        raise Refused(str(error)) from None
    return answers, complete


def report_of(
    answers: Sequence[Answer],
    args: Any,
    rulebook: Rulebook,
    *,
    now: float,
    places: Mapping[str, Mapping[str, str]],
    complete: bool,
) -> dict[str, Any]:
    """Return the report of these answers."""
    from triage.fleet import hypotheses, testify
    from triage.fleet.gather import gather
    from triage.fleet.model import ANSWERED
    from triage.fleet.report import to_fleet_report

    findings = testify.find(gather(answers, places), hypotheses.load(rulebook))
    seen = {answer.node for answer in answers if answer.state == ANSWERED}
    strange = sorted(seen - places.keys()) if places else []
    notices = [f"{len(strange)} nodes are not in {args.inventory}: {', '.join(strange[:5])}"] if strange else []
    return to_fleet_report(findings, answers, rulebook, generated_at=now, complete=complete, notices=notices)


def say(report: dict[str, Any], args: Any, how: Look, *, remedies: bool = False) -> int:
    """Print the report, with `remedies` what would take nodes out, and return the exit code that goes with it."""
    if args.format == "json":
        from triage.render.machine import to_json

        output.write(to_json(report))
    elif args.format == "ndjson":
        from triage.render.machine import to_lines

        output.write(to_lines(report, {"pattern": report["patterns"], "incident": report["incidents"]}))
    else:
        from triage.fleet.drain import commands, plan
        from triage.render.fleet import render

        output.write(render(report, how))
        steps = plan(report) if remedies else []
        if steps:
            listed = "".join(f"  {line}\n" for line in commands(steps))
            output.write(f"\nTO TAKE NODES OUT (not run; `gpu-triage fleet drain --apply` can)\n{listed}")
    return _code(report, args.fail_on)


def nodes_of(paths: Sequence[str]) -> tuple[list[tuple[str, str | None]], list[Answer]]:
    """Return one path for each node, with its name if it is known; and the nodes of sweeps that said nothing."""
    from triage.fleet.sweep import kept

    named: list[tuple[str, str | None]] = []
    silent: list[Answer] = []
    for path in paths:
        if not os.path.isdir(path):
            named.append((path, None))
            continue
        try:
            swept = kept(Path(path))
        except ValueError as error:
            raise Refused(str(error)) from error
        if swept is None:
            named += ((entry, None) for entry in _listed(path))
        else:
            named += ((capture, node) for node, capture in swept.captures.items())
            began = swept.manifest.get("began_at")
            at = float(began) if isinstance(began, (int, float)) else None
            silent += (answer._replace(at=at) for answer in swept.silent)
    return named, silent


def _listed(folder: str) -> Iterator[str]:
    """Yield what a folder holds, one for each node."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise Refused(f"{folder}: {error.strerror or error}") from error
    return (os.path.join(folder, name) for name in names if not name.startswith("."))


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
