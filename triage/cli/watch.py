"""`gpu-triage watch`: follows this node and tells what opens, changes and ends, as NDJSON, until it is told to stop."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from triage.cli import output
from triage.cli.alerting import add_alerts, alerts_file
from triage.cli.exits import Refused
from triage.cli.options import Parser, add_history, add_rules, overlays, seconds, state_directory


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "watch",
        "Follow this node: its kernel log, NVML's events and its counters. One JSON object a line on standard\n"
        "output tells what opens, is updated or is resolved (`gpu-triage schema watch`). What happened while it\n"
        "was not running is caught up on. SIGHUP reads the rules anew, SIGTERM ends it.",
        """
gpu-triage watch
gpu-triage watch | jq -c 'select(.event == "open") | {summary, verdict: .verdict.family}'
gpu-triage watch --listen 127.0.0.1:9401
gpu-triage watch --alerts /etc/gpu-triage/alerts.yaml
""",
        "0 told to stop, or nobody reads any more   2 bad arguments   4 it could not write   130 interrupted",
    )
    parsed.add_argument(
        "--every", type=seconds, default=120.0, metavar="SECONDS", help="read all counters so often (default: 120)"
    )
    parsed.add_argument(
        "--often",
        type=seconds,
        default=30.0,
        metavar="SECONDS",
        help="read so often what shows a GPU in trouble: state, recovery action, new errors, heat (default: 30)",
    )
    parsed.add_argument(
        "--no-events",
        action="store_true",
        help="do not listen to NVML's events, which keeps every GPU open and so in the way of a reset",
    )
    parsed.add_argument(
        "--listen",
        type=address,
        metavar="HOST:PORT",
        help="serve metrics for Prometheus at http://HOST:PORT/metrics (default: listen nowhere)",
    )
    parsed.add_argument("--kmsg", default="/dev/kmsg", help=argparse.SUPPRESS)
    parsed.add_argument("--journal", metavar="DIR", help=argparse.SUPPRESS)
    parsed.add_argument("--pstore", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    add_alerts(parsed)
    add_rules(parsed)
    add_history(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Watch until it is told to stop."""
    args = parser().parse_args(words)
    from triage.cli.asking import children_of
    from triage.cli.reports import load_rulebook
    from triage.watch.loop import Watch
    from triage.watch.notify import Notify
    from triage.watch.options import Options
    from triage.watch.out import Out
    from triage.watch.reload import words as which

    notify = Notify()
    directory = state_directory(args)
    alerts = alerts_file(args)
    if alerts is not None and directory is None:
        if args.alerts is not None:
            raise Refused("alerts need a history, to survive a kill; leave out --no-history or --alerts")
        output.tell("nobody is alerted: that needs a history")
        alerts = None
    options = Options(
        directory=directory,
        children=children_of(directory),
        every=args.every,
        often=args.often,
        events=not args.no_events,
        listen=args.listen,
        load=lambda: load_rulebook(args.rules, overlays(args)),
        check_rules=lambda: which(args.rules, overlays(args)),
        kmsg=args.kmsg,
        journal=("--directory", args.journal) if args.journal else (),
        **({} if args.pstore is None else {"pstore": (args.pstore,)}),
        alerts=alerts,
    )
    rulebook = options.load()
    try:
        watch = Watch(rulebook, options, Out(), notify)
    except OSError as error:
        if args.listen is None:
            raise
        host, port = args.listen
        raise Refused(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno) if error.errno else error}; name another port"
        ) from error
    return watch.run()


def address(text: str) -> tuple[str, int]:
    """Return host and port of `127.0.0.1:9401` or `[::1]:9401`."""
    host, colon, port = text.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        ip_address(host)
    except ValueError:
        colon = ""
    if not colon or not port.isdecimal() or not 0 <= int(port) < 65536:
        raise argparse.ArgumentTypeError(f"'{text}' is no address; write 127.0.0.1:9401 or [::1]:9401")
    return host, int(port)
