"""`gpu-triage fleet sweep`: ask many nodes at once, keep what they say, and let them testify."""

from __future__ import annotations

import argparse
import contextlib
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triage.cli import output
from triage.cli.exits import DONE, INTERRUPTED, PARTIAL, UNREACHABLE, Refused
from triage.cli.fleet_options import EXITS, add_report, add_store, add_targets, days, store_of, targets
from triage.cli.options import Parser, deadline, look, overlays
from triage.cli.progress import Line
from triage.cli.reports import load_rulebook
from triage.render.safe import safe

if TYPE_CHECKING:
    from triage.cli.fleet_keep import Keeping

MARGIN = 0.4
MOST_MARGIN = 15.0
"""Share of a node's deadline, and at most how many seconds, that are left for reaching it and for what it sends."""
MOST_FANOUT = 4096


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "fleet sweep",
        "Ask many nodes at once what they say about their GPUs. Nothing needs to be installed there but Python 3.9:\n"
        "the probes travel over the connection, run in memory and leave nothing behind; where gpu-triage is\n"
        "installed it is asked instead. Every node is a result, if only with the reason why it said nothing.",
        """
gpu-triage fleet sweep -w 'gpu[001-512]' -x gpu013
gpu-triage fleet sweep -w @rack7 --fanout 128 -o sweep-rack7
gpu-triage fleet sweep --slurm-partition batch --via slurm
gpu-triage fleet sweep --inventory racks.csv --format json
gpu-triage fleet sweep -w @all --store postgresql://triage@db/fleet --keep 90
""",
        EXITS,
    )
    add_targets(parsed)
    parsed.add_argument("--via", choices=("ssh", "slurm"), default="ssh", help="reach them by (default: ssh)")
    parsed.add_argument(
        "--fanout", type=_fanout, default=64, metavar="N", help="nodes asked at the same time (default: 64)"
    )
    parsed.add_argument(
        "--deadline", type=deadline, default=45.0, metavar="SECONDS", help="for each node, all together (default: 45)"
    )
    parsed.add_argument("-o", "--output", type=Path, metavar="DIR", help="keep the captures there (new or empty)")
    parsed.add_argument("--python", type=_program, default="python3", metavar="NAME", help="Python of the nodes")
    parsed.add_argument("--packed", action="store_true", help="use the probes that travel even where it is installed")
    parsed.add_argument("--user", type=_program, metavar="NAME", help="log in as this user")
    parsed.add_argument("--ssh-config", type=Path, metavar="FILE", help="ssh's configuration, instead of the usual one")
    parsed.add_argument(
        "--topology", type=Path, metavar="FILE", help="ClusterShell's topology.conf: reach the nodes through gateways"
    )
    add_store(parsed, "write into this store as well, as nodes answer: a file, or postgresql://USER@HOST/DATABASE")
    parsed.add_argument(
        "--keep", type=days, metavar="DAYS", help="delete from the store what sweeps said that are older than this"
    )
    parsed.add_argument("--no-report", action="store_true", help="only ask and keep; `fleet report DIR` reads it later")
    add_report(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Ask, keep, judge, print."""
    args = parser().parse_args(words)
    from triage.cli.fleet_report import read, report_of, say
    from triage.fleet import names, sweep
    from triage.fleet.model import ANSWERED

    now = time.time() if args.now is None else args.now
    rulebook = load_rulebook(args.rules, overlays(args))
    asked, skipped, places = targets(args)
    store = store_of(args)
    folder_path = args.output or Path(time.strftime("gpu-triage-sweep-%Y%m%dT%H%M%SZ", time.gmtime(now)))
    try:
        said = {"id": uuid.uuid4().hex, "began_at": now, "via": args.via}
        said |= {"deadline": args.deadline, "set": names.fold(asked)}
        folder = sweep.Folder(folder_path, asked, said)
    except FileExistsError:
        raise Refused(f"{folder_path} holds something already; name a new folder: -o DIR") from None
    except OSError as error:
        raise Refused(f"cannot make {folder_path}: {output.reason_of(error)}; name another: -o DIR") from error
    keeping = None
    if store is not None:
        from triage.cli.fleet_keep import Keeping

        try:
            keeping = Keeping(args, store, said, len(asked), now, places)
        except Refused:
            folder.unmake()
            raise
    for outcome in skipped:
        folder.add(outcome)
        if keeping is not None:
            keeping.add(folder, outcome.node)
    try:
        whole = _ask(args, [node for node in asked if node not in folder.outcomes], folder, keeping)
    finally:
        with contextlib.suppress(OSError):  # told below, unless something worse is told already
            folder.end(time.time() if args.now is None else now, complete=False)
    try:
        folder.end(time.time() if args.now is None else now, complete=whole)
    except OSError as error:
        raise Refused(output.unwritten(folder_path, error), UNREACHABLE) from error
    answers = None
    kept_whole = True
    if keeping is not None:
        answers, kept_whole = keeping.end(folder, complete=whole)
    told = [outcome.node for outcome in folder.outcomes.values() if outcome.state == ANSWERED]
    which = f": {names.fold(told)}" if told else ""
    output.tell(f"{len(told)} of {len(asked)} nodes answered{which}")
    output.tell(f"kept in {folder_path}; read it again: gpu-triage fleet report {safe(str(folder_path))}")
    if args.no_report:
        done = len(told) == len(asked) and kept_whole
        return INTERRUPTED if not whole else UNREACHABLE if not told else DONE if done else PARTIAL
    if answers is None:
        report = read([str(folder_path)], args, rulebook, now=now, places=places)
    else:
        report = report_of(answers, args, rulebook, now=now, places=places, complete=True)
    report["complete"] = report["complete"] and whole
    code = say(report, args, look(args), remedies=True)
    return code if kept_whole or code != DONE else PARTIAL


def _ask(args: Any, nodes: list[str], folder: Any, keeping: Keeping | None) -> bool:
    """Ask the nodes and keep what they say; false if somebody pressed Ctrl-C."""
    from triage.fleet import pack, reach, sweep, ways

    if not nodes:
        return True
    seconds = args.deadline - min(MOST_MARGIN, args.deadline * MARGIN)
    command = ways.remote(ways.Asked(seconds, args.python, installed=not args.packed))
    gateways = None
    if args.via == ways.SLURM:
        argv = ways.srun(command, args.deadline, partition=args.slurm_partition)
    else:
        connect = min(10.0, args.deadline / 3)
        config = None if args.ssh_config is None else str(args.ssh_config)
        options = ways.ssh_options(connect, config=config, user=args.user)
        argv = ways.ssh(command, options)
        if args.topology is not None:
            gateways = reach.Gateways(args.topology, command, options, connect)
    progress = _Progress(len(nodes))

    def heard(node: str, raw: ways.Raw) -> None:
        folder.add(sweep.judge(node, raw, args.deadline))
        if keeping is not None:
            keeping.add(folder, node)
        progress(folder.outcomes[node].state)

    try:
        reach.reach(
            nodes,
            argv,
            pack.script(seconds),
            deadline=args.deadline,
            fanout=args.fanout,
            heard=heard,
            gateways=gateways,
        )
    except KeyboardInterrupt:
        return False
    except reach.Unusable as error:
        raise Refused(str(error)) from error
    finally:
        progress.done()
    return True


class _Progress(Line):
    """How many nodes have been heard."""

    def __init__(self, total: int) -> None:
        super().__init__(0.5, 0.2)
        self._total = total
        self._counts: dict[str, int] = {}

    def __call__(self, state: str) -> None:
        self._counts[state] = self._counts.get(state, 0) + 1
        if self.due():
            counts = ", ".join(f"{number} {word}" for word, number in sorted(self._counts.items()))
            self.show(f"{sum(self._counts.values())} of {self._total} nodes: {counts}")


def _fanout(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= MOST_FANOUT):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of nodes from 1 to {MOST_FANOUT}")
    return int(text)


def _program(text: str) -> str:
    import re

    if not re.fullmatch(r"[A-Za-z0-9_/][A-Za-z0-9_./+-]{0,200}", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no plain name")
    return text
