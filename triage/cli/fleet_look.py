"""`gpu-triage fleet nodes|incidents|changes|diff|sweeps`: what a store knows of a fleet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from triage.cli import output
from triage.cli.exits import DONE, UNREACHABLE, Refused
from triage.cli.fleet_options import add_period, add_store, open_store, period
from triage.cli.options import Parser, add_logs, add_now, add_output, add_rules, look, overlays, zone
from triage.model import SEVERITIES

Json = dict[str, Any]

EXITS = """
0 done, whatever was found   2 bad arguments   3 the store could not be read   4 not all could be written
"""


def nodes(words: Sequence[str]) -> int:
    """List every node."""
    parsed = _parser(
        "nodes",
        "What became of the last question to each node, what it last said, and what is open on it. Nodes of which\n"
        "the same is known are one line.",
        "gpu-triage fleet nodes --store fleet.db\ngpu-triage fleet nodes -w @rack7 --since 1d --format ndjson",
    )
    args = parsed.parse_args(words)
    from triage.render.fleet_store import nodes as render

    report = _asked(args, lambda store, window, now, only: _look().nodes(store, window, now=now, only=only))
    return _say(args, report, {"node": report["nodes"]}, render)


def changes(words: Sequence[str]) -> int:
    """Say what changed."""
    parsed = _parser(
        "changes",
        "What changed from sweep to sweep: driver, kernel, firmware, setting, board, place. The same change on many\n"
        "nodes is one line; beside it, the incidents of those nodes in the week before and since.",
        "gpu-triage fleet changes --store fleet.db --since 7d\ngpu-triage fleet changes -w @rack7 --format json",
    )
    args = parsed.parse_args(words)
    from triage.render.fleet_store import changes as render

    report = _asked(args, lambda store, window, now, only: _look().changes(store, window, now=now, only=only))
    return _say(args, report, {"change": report["changes"]}, render)


def sweeps(words: Sequence[str]) -> int:
    """List the sweeps."""
    parsed = _parser(
        "sweeps",
        "The sweeps of a store, oldest first. `fleet diff` takes the beginning of a key, `last` or `last-1`.",
        "gpu-triage fleet sweeps --store fleet.db --since 30d",
        targets=False,
    )
    args = parsed.parse_args(words)
    from triage.render.fleet_store import sweeps as render

    report = _asked(args, lambda store, window, now, _: _look().sweeps(store, window, now=now))
    return _say(args, report, {"sweep": report["sweeps"]}, render)


def diff(words: Sequence[str]) -> int:
    """Compare two sweeps."""
    parsed = _parser(
        "diff",
        "What is different in the later of two sweeps: who answered, what changed, which incidents are new or gone.\n"
        "A sweep is called by the beginning of its key, or `last`, `last-1`, ...",
        "gpu-triage fleet diff last-1 last --store fleet.db\ngpu-triage fleet diff 3f9a 77c1 --format json",
        span=False,
    )
    parsed.add_argument("one", metavar="SWEEP", nargs="?", default="last-1", help="(default: last-1)")
    parsed.add_argument("other", metavar="SWEEP", nargs="?", default="last", help="(default: last)")
    args = parsed.parse_args(words)
    from triage.render.fleet_store import diff as render

    def ask(store: Any, _window: Any, now: float, only: Any) -> Json:
        try:
            told: Json = _look().diff(store, args.one, args.other, now=now, only=only)
        except LookupError as error:
            raise Refused(f"{store.shown}: {error.args[0]}") from None
        return told

    report = _asked(args, ask)
    rows = {"state": report["states"], "change": report["changes"]}
    rows |= {"opened": report["incidents"]["opened"], "over": report["incidents"]["over"]}
    return _say(args, report, rows, render)


def incidents(words: Sequence[str]) -> int:
    """List the incidents with the verdicts that the fleet leaves them."""
    parsed = _parser(
        "incidents",
        "The incidents of a store, worst first, one a line, each with the verdict that the rest of the fleet leaves\n"
        "it: what `fleet report` says of them.",
        "gpu-triage fleet incidents --store fleet.db --since 7d --rule gpu-off-bus\n"
        "gpu-triage fleet incidents --severity critical --format ndjson",
        logs=True,
    )
    parsed.add_argument("--rule", action="append", default=[], metavar="ID", help="only of this rule; repeatable")
    parsed.add_argument("--severity", choices=SEVERITIES, default=SEVERITIES[0], help="only so bad or worse")
    parsed.add_argument("--open", action="store_true", help="only those that were open when last told")
    add_rules(parsed)
    args = parsed.parse_args(words)
    from triage.cli.fleet_options import places_of
    from triage.cli.fleet_report import stored
    from triage.cli.reports import load_rulebook
    from triage.render.fleet_store import incidents as render

    now = time.time() if args.now is None else args.now
    rulebook = load_rulebook(args.rules, overlays(args))
    told = stored(args, rulebook, now=now, places=places_of(args.inventory))
    bad = SEVERITIES[SEVERITIES.index(args.severity) :]
    only = _named(args)
    wanted = [
        each
        for each in told["incidents"]
        if each["severity"] in bad
        and (not args.rule or each["rule"]["id"] in args.rule)
        and (not args.open or each["state"] == "open")
        and (only is None or each["where"]["node"] in only)
    ]
    report = {name: told[name] for name in ("schema_version", "tool", "generated_at", "from", "to")}
    report |= {"kind": "fleet-incidents", "incidents": wanted}
    return _say(args, report, {"incident": wanted}, render)


def _look() -> Any:
    from triage.fleet.store import look

    return look


def _parser(
    verb: str, says: str, examples: str, *, span: bool = True, targets: bool = True, logs: bool = False
) -> Parser:
    parsed = Parser(f"fleet {verb}", says, examples, EXITS)
    add_store(parsed)
    if span:
        add_period(parsed)
    if targets:
        parsed.add_argument(
            "-w", "--nodes", dest="only", action="append", default=[], metavar="NODES", help="only these: gpu[001-032]"
        )
    add_output(parsed)
    if logs:
        from pathlib import Path

        parsed.add_argument("--inventory", type=Path, metavar="FILE", help="CSV, JSON or YAML: node, rack, ...")
        add_logs(parsed)
    else:
        parsed.add_argument("--timezone", type=zone, default=0.0, metavar="ZONE", help="of times that name none")
        add_now(parsed)
    return parsed


def _named(args: Any) -> list[str] | None:
    if not getattr(args, "only", None):
        return None
    from triage.fleet import names

    try:
        return names.unfold(args.only)
    except names.Unusable as error:
        raise Refused(str(error)) from error


def _asked(args: Any, ask: Callable[[Any, Any, float, list[str] | None], Json]) -> Json:
    """Open the store, ask it, and say in one line what is wrong with it."""
    now = time.time() if args.now is None else args.now
    only = _named(args)
    with open_store(args) as store:
        from triage.fleet.store.trouble import Unusable

        try:
            return ask(store, period(args, now) if hasattr(args, "since") else None, now, only)
        except Unusable as error:
            raise Refused(str(error), UNREACHABLE) from None


def _say(args: Any, report: Json, rows: dict[str, list[Json]], render: Callable[[Json, Any], str]) -> int:
    if args.format == "text":
        output.write(render(report, look(args)))
    else:
        from triage.render.machine import to_json, to_lines

        output.write(to_json(report) if args.format == "json" else to_lines(report, rows))
    return DONE
