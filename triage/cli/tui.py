"""`gpu-triage tui`: opens the screens, which are loaded only here."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from triage.cli import output
from triage.cli.exits import DONE, Refused
from triage.cli.options import Parser, add_history, add_logs, add_rules, deadline, overlays, state_directory
from triage.render.color import CHOICES, wants_color

PORT = 8000


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "tui",
        "Open the screens on this node or, with FILE, on what logs, a capture or a stored report say. A folder with\n"
        "one capture or log for each node is a fleet. Reads only.",
        """
gpu-triage tui
gpu-triage tui /var/log/kern.log
gpu-triage tui gpu-triage-node7-20261126T170841Z.tar.gz
gpu-triage tui captures/ --inventory racks.csv
gpu-triage tui --store fleet.db
gpu-triage check --format json > report.json; gpu-triage tui report.json
""",
        "0 done   2 bad arguments, or no terminal",
    )
    parsed.add_argument("files", nargs="*", metavar="FILE", help="logs, or one stored report, instead of this node")
    parsed.add_argument("--fleet", action="store_true", help="every FILE, or entry of a folder, is one node's")
    parsed.add_argument("--one-node", action="store_true", help="a folder is one node's, whatever is in it")
    parsed.add_argument(
        "--inventory", type=Path, metavar="FILE", help="where the nodes of a fleet stand: CSV, JSON or YAML"
    )
    parsed.add_argument(
        "--store", metavar="URL", help="a fleet by the store of its sweeps: a file, or postgresql://..."
    )
    parsed.add_argument("--replay", metavar="FILE", help="step with < and > through reports written one after another")
    parsed.add_argument(
        "--at", metavar="TIME", help="open a recording or a fleet as it was known then: 03:10, 2026-08-22T03:10Z (UTC)"
    )
    parsed.add_argument(
        "--serve", action="store_true", help="show the screens in a browser on this machine (127.0.0.1), not here"
    )
    parsed.add_argument("--port", type=int, default=PORT, help=f"of --serve (default: {PORT})")
    parsed.add_argument(
        "--refresh", type=deadline, metavar="SECONDS", help="sweep this node so often (default: 15; at least 1 between)"
    )
    parsed.add_argument("--color", choices=CHOICES, default="auto", help="colour (default: unless NO_COLOR is set)")
    parsed.add_argument(
        "--theme", default="sixteen", metavar="NAME", help="colours: sixteen, safe (no red beside green) or plain"
    )
    parsed.add_argument("--ascii", action="store_true", help="draw nothing beyond ASCII")
    add_history(parsed)
    add_rules(parsed)
    add_logs(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Open the screens on what was asked for."""
    args = parser().parse_args(words)
    if args.serve:
        return _serve(list(words), args.port)
    # The screens are drawn on standard error, so that is asked too; --serve asks for them over pipes.
    served = "WebDriver" in os.environ.get("TEXTUAL_DRIVER", "")
    if not served and not all(map(output.is_terminal, (sys.stdin, sys.stdout, sys.stderr))):
        raise Refused(output.no_screens())
    if not served and os.environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
        raise Refused("the screens need a terminal that can place its cursor; set TERM, or use `gpu-triage check`")
    if args.replay and args.files:
        raise Refused("give either logs or --replay FILE")
    if args.store is not None and (args.files or args.replay or args.fleet):
        raise Refused("give either files or --store URL")
    if args.fleet and (args.one_node or args.replay or not args.files):
        raise Refused("--fleet goes with FILE alone: gpu-triage tui --fleet captures/")
    if args.inventory is not None and not is_fleet(args):
        raise Refused("--inventory is for a fleet: gpu-triage tui captures/ --inventory racks.csv")
    for path in [*args.files, *([args.replay] if args.replay else [])]:
        if path == "-":
            raise Refused("the screens need standard input for the keys; save the log to a file and name it")
        if not os.path.exists(path):
            raise Refused(f"no such file: {path}; check the path")
    try:
        from tui.run import run
    except ImportError as error:
        raise Refused(
            f"the screens cannot be loaded ({error}); `gpu-triage check` and `gpu-triage explain` do without them"
        ) from error
    from tempfile import TemporaryDirectory

    from triage.cli.reports import load_rulebook

    # a rulebook that is wrong is refused before the screen is taken
    load_rulebook(args.rules, overlays(args), whole=True)
    with TemporaryDirectory(prefix="gpu-triage-") as folder:
        rules = lambda: load_rulebook(args.rules, overlays(args), whole=True)  # noqa: E731
        run(source(args, Path(folder)), look(args), rules, people(args), keys())
    return DONE


def keys() -> dict[str, str]:
    """Return which keys are set for which actions.

    Raises:
        Refused: if there is no such action, or no such key.
    """
    from triage.cli.settings import keymap
    from triage.rulebook.problems import did_you_mean, shown
    from tui.keymap import actions, key_named

    known = actions()
    found = {}
    for action, setting in keymap(os.environ).items():
        if action not in known:
            raise Refused(f"{setting.origin}: no action {shown(action)}{did_you_mean(action, known)}; ? names them")
        try:
            found[action] = ",".join(key_named(each.strip()) for each in str(setting.value).split(" "))
        except ValueError as error:
            raise Refused(f"{setting.origin}: {error}") from None
    return found


def people(args: argparse.Namespace) -> Any:
    """Return where what people say of incidents is kept; None if nothing is to be kept."""
    from tui.people import People

    directory = state_directory(args)
    return None if directory is None else People(directory)


def _moment(text: str, newest: float) -> float:
    from tui.when import moment_of

    try:
        return moment_of(text, newest)
    except ValueError as error:
        raise Refused(f"--at: {error}") from error


def is_fleet(args: argparse.Namespace) -> bool:
    """Return whether many nodes are meant: as asked, else if a folder is given that holds several nodes'."""
    if args.store is not None:
        return True
    if args.fleet or args.one_node or len(args.files) != 1 or not os.path.isdir(args.files[0]):
        return bool(args.fleet)
    from triage.fleet.whose import captures_of_several, logs_of_several

    return captures_of_several(args.files) or logs_of_several(args.files[0])


def _serve(words: list[str], port: int) -> int:
    """Serve the screens that the other words open, until interrupted."""
    if "TEXTUAL_DRIVER" in os.environ:
        raise Refused("--serve is not for screens that are served already")
    if not 1 <= port <= 65535:
        raise Refused(f"--port {port}: a port is a number from 1 to 65535")
    try:
        from tui.serve import Taken, serve
    except ImportError as error:
        raise Refused(f"--serve needs more packages ({error}): pip install 'gpu-triage[serve]'") from error
    own = [place for place, word in enumerate(words) if word == "--serve" or word.startswith("--port=")]
    own += [at for place, word in enumerate(words) if word == "--port" for at in (place, place + 1)]
    rest = [word for place, word in enumerate(words) if place not in own]
    try:
        serve([sys.executable, "-m", "triage", "tui", *rest], port, lambda address: output.write(f"{address}\n"))
    except Taken as taken:
        raise Refused(f"{taken}; choose another with --port") from taken
    return DONE


def source(args: argparse.Namespace, folder: Path) -> Any:
    """Return what the screens are to show: a recording, a report, logs or this node."""
    from tui.sources import NODE_PERIOD, LogSource, NodeSource, ReportSource, is_fleet_report, is_report, rule_words

    if len(args.files) == 1 and is_fleet_report(args.files[0]):
        from tui.fleet.recorded import FleetReportSource
        from tui.sources import read_reports

        return FleetReportSource(args.files[0], read_reports(args.files[0], "fleet-report")[-1], folder)
    recording = args.replay or (args.files[0] if len(args.files) == 1 and is_report(args.files[0]) else None)
    if recording is not None:
        recorded = ReportSource(recording)
        if args.at is not None:
            recorded.go_to(_moment(args.at, recorded.newest))
        return recorded
    if args.at is not None and not is_fleet(args):
        raise Refused("--at is for a recording or a fleet: gpu-triage tui --replay FILE --at 03:10")
    rules = rule_words(args.rules, overlays(args))
    if is_fleet(args):
        from tui.fleet.source import FleetSource

        until = None if args.at is None else _moment(args.at, time.time() if args.now is None else args.now)
        if args.store is not None:
            return _stored(args, folder, rules, until)
        return FleetSource(
            args.files,
            folder,
            rules=rules,
            inventory=args.inventory,
            now=args.now,
            timezone=args.timezone,
            until=until,
        )
    if args.files:
        return LogSource(args.files, rules=rules, now=args.now, timezone=args.timezone, folder=folder)
    return NodeSource(folder, rules=rules, period=args.refresh or NODE_PERIOD, state=state_directory(args))


def _stored(args: argparse.Namespace, folder: Path, rules: Sequence[str], until: float | None) -> Any:
    from triage.fleet.store import address
    from triage.fleet.store.trouble import Unusable
    from tui.fleet.stored import StoreSource

    try:
        named = address.given(args.store or None)
        if named is None:
            raise Refused(f"which store? name it: --store URL, or {address.VARIABLE}; {address.FORMS}")
        address.parse(named)
    except Unusable as error:
        raise Refused(str(error)) from None
    shown = address.hidden(named)
    return StoreSource(args.store or None, shown, folder, rules=rules, inventory=args.inventory, now=args.now,
                       timezone=args.timezone, until=until)  # fmt: skip


def look(args: argparse.Namespace) -> Any:
    """Return how the screens are drawn: in colour or not, in ASCII if so asked or if the locale knows no more."""
    from tui.look import THEMES, Look, speaks_utf8

    if args.theme not in THEMES:
        raise Refused(f"no theme '{args.theme}'; one of {', '.join(THEMES)}")
    colored = wants_color(args.color, os.environ, is_terminal=True)
    return Look(args.theme if colored else "plain", args.ascii or not speaks_utf8())
