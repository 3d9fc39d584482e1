"""`gpu-triage fleet drain` and `resume`: take nodes out and give them back, only when told to apply it."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from typing import Any

from triage.cli import output
from triage.cli.exits import DONE, PARTIAL, UNREACHABLE, Refused
from triage.cli.fleet_options import add_report
from triage.cli.options import Parser, overlays
from triage.cli.reports import load_rulebook

MOST_NODES = 4
"""Nodes that are taken out or given back at once, unless more are allowed."""
NAMES = {"slurm": "Slurm", "kubectl": "Kubernetes"}
"""Who can be told, and what a person calls it."""
EXITS = """
0 done, or nothing to do              2 bad arguments, or more nodes than --max-nodes: nothing was done
3 nothing could be read, or nobody to tell   4 done in part
"""


def main(words: Sequence[str]) -> int:
    """Take nodes out: those that a report gives reason for, or those that are named with a reason."""
    parsed = Parser(
        "fleet drain",
        "Say which nodes should get no more jobs, and the commands that see to it. Nothing is run without --apply,\n"
        "and then for at most --max-nodes nodes. Jobs that run on a drained node end first.",
        """
gpu-triage fleet drain gpu-triage-sweep-20261126T175500Z/
gpu-triage fleet drain gpu-triage-sweep-20261126T175500Z/ --apply --max-nodes 8
gpu-triage fleet drain -w 'gpu[003,017]' --reason 'Xid 79' --apply
gpu-triage fleet drain gpu-triage-sweep-20261126T175500Z/ --apply --via kubectl
""",
        EXITS,
    )
    parsed.add_argument("paths", nargs="*", metavar="PATH", help="the folder of a sweep, captures, logs")
    parsed.add_argument("--reason", metavar="TEXT", help="why, if the nodes are named by -w alone")
    _add_apply(parsed)
    add_report(parsed)
    args = parsed.parse_args(words)
    from triage.fleet import drain
    from triage.fleet.names import fold

    named = set(_named(args)) if args.nodes else None
    if args.paths:
        steps = drain.plan(_report(args))
        if named is not None:
            kept = (drain.Step(tuple(sorted(named.intersection(step.nodes))), step.reason) for step in steps)
            steps = [step for step in kept if step.nodes]
    elif named and args.reason:
        steps = [drain.Step(tuple(sorted(named)), " ".join(args.reason.split()))]
    else:
        raise Refused("which nodes, and why? name the folder of a sweep, or -w NODES --reason TEXT")
    if not steps:
        output.tell("nothing critical that lies with a machine is open; no node should be taken out")
        return DONE
    if not args.apply:
        output.write("".join(f"{line}\n" for line in drain.commands(steps)))
        return DONE
    states = _states(args.via, [node for step in steps for node in step.nodes])
    away = {state.node for state in states if state.state.startswith("drain")}
    unknown = {node for step in steps for node in step.nodes} - {state.node for state in states}
    todo = [step._replace(nodes=tuple(n for n in step.nodes if n not in away | unknown)) for step in steps]
    _within(sum(len(step.nodes) for step in todo), args.max_nodes)
    if away:
        output.tell(f"{fold(away)}: drained already; left as it is")
    if unknown:
        output.tell(f"{fold(unknown)}: {NAMES[args.via]} does not know it; not drained")
    drains = _scheduler(args.via).drain_commands
    done = _carry_out(args.via, [words for step in todo if step.nodes for words in drains(step.nodes, step.reason)])
    return DONE if done and not unknown else PARTIAL


def resume(words: Sequence[str]) -> int:
    """Give nodes back that this program took out; those that somebody else took out are left as they are."""
    parsed = Parser(
        "fleet resume",
        "Give nodes back that `fleet drain` took out. A node that is out for another reason is left as it is.",
        """
gpu-triage fleet resume -w 'gpu[003,017]' --apply
gpu-triage fleet resume -w 'gpu[003,017]' --apply --via kubectl
""",
        EXITS,
    )
    _add_apply(parsed)
    args = parsed.parse_args(words)
    if not args.nodes:
        raise Refused("which nodes? name them: -w NODES")
    from triage.fleet import slurm
    from triage.fleet.names import fold

    named = _named(args)
    states = {state.node: state for state in _states(args.via, named)}
    ours = [n for n in named if n in states and states[n].state.startswith("drain")]
    ours = [n for n in ours if states[n].reason.startswith(slurm.MARK)]
    others = [node for node in named if node not in ours]
    if others:
        output.tell(f"{fold(others)}: not drained by this program; left as it is")
    if not ours:
        return DONE
    commands = _scheduler(args.via).resume_commands(ours)
    if not args.apply:
        output.write("".join(f"{shlex.join(words)}\n" for words in commands))
        return DONE
    _within(len(ours), args.max_nodes)
    return DONE if _carry_out(args.via, commands) else PARTIAL


def _add_apply(parsed: Parser) -> None:
    parsed.add_argument("-w", "--nodes", action="append", default=[], metavar="NODES", help="these nodes only")
    parsed.add_argument("--apply", action="store_true", help="run the commands; without it they are printed")
    parsed.add_argument("--via", choices=tuple(NAMES), default="slurm", help="who is told (default: slurm)")
    parsed.add_argument(
        "--max-nodes",
        type=_number,
        default=MOST_NODES,
        metavar="N",
        help=f"do nothing if it were more nodes than this (default: {MOST_NODES})",
    )


def _named(args: Any) -> list[str]:
    from triage.fleet import names

    try:
        return names.unfold(args.nodes)
    except names.Unusable as error:
        raise Refused(str(error)) from error


def _states(via: str, nodes: Sequence[str]) -> Any:
    from triage.fleet import kubernetes, slurm

    try:
        return slurm.states(nodes=",".join(nodes)) if via == "slurm" else kubernetes.states(set(nodes))
    except slurm.Unusable as error:
        raise Refused(str(error), UNREACHABLE) from error


def _scheduler(via: str) -> Any:
    from triage.fleet import kubernetes, slurm

    return {"slurm": slurm, "kubectl": kubernetes}[via]


def _report(args: Any) -> dict[str, Any]:
    from triage.cli.fleet_options import places_of
    from triage.cli.fleet_report import read

    now = time.time() if args.now is None else args.now
    rulebook = load_rulebook(args.rules, overlays(args))
    report = read(args.paths, args, rulebook, now=now, places=places_of(args.inventory))
    if not report["nodes"]["told"]:
        raise Refused(f"{', '.join(args.paths)}: no node in it could be read; name a folder of captures", UNREACHABLE)
    return report


def _within(wanted: int, most: int) -> None:
    if wanted > most:
        raise Refused(
            f"{wanted} nodes, and at most {most} are allowed at once; nothing was done (--max-nodes {wanted})"
        )


def _carry_out(via: str, commands: Sequence[Sequence[str]]) -> bool:
    """Run each and say so; false if one failed."""
    from triage.fleet import slurm

    well = True
    for words in commands:
        try:
            _scheduler(via).carry_out(words)
        except slurm.Unusable as error:
            output.tell(f"not done: {shlex.join(words)}: {error}")
            well = False
        else:
            output.write(f"{shlex.join(words)}\n")
    return well


def _number(text: str) -> int:
    if not (text.isdecimal() and len(text) < 6):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of nodes")
    return int(text)
