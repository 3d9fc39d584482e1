"""What the verbs of `fleet` share: which nodes are meant, how many-node reports are asked for, the exit codes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triage.cli.exits import UNREACHABLE, Refused
from triage.cli.options import Parser, add_logs, add_output, add_rules, deadline, jobs
from triage.model import SEVERITIES

if TYPE_CHECKING:
    from triage.fleet.store.opened import Store
    from triage.fleet.sweep import Outcome

EXITS = """
0 done, whatever was found     1 found something at or above --fail-on
2 bad arguments or rulebook    3 nothing could be read
4 some could not be read       130 interrupted (what was read till then is reported)
"""


def add_report(parsed: Parser) -> None:
    """Add what a report of many nodes can be asked for."""
    parsed.add_argument(
        "--inventory", type=Path, metavar="FILE", help="CSV, JSON or YAML: node, rack, chassis, leaf, and what else"
    )
    parsed.add_argument(
        "--jobs", type=jobs, metavar="N", help="processes that read them (default: as many as processors)"
    )
    parsed.add_argument(
        "--fail-on", choices=("never", *SEVERITIES), default="never", help="exit 1 if something this bad was found"
    )
    add_output(parsed)
    add_rules(parsed)
    add_logs(parsed)


def add_store(parsed: Parser, says: str = "the store: a file, or postgresql://USER@HOST/DATABASE") -> None:
    """Add --store and how long it is waited for."""
    parsed.add_argument("--store", metavar="URL", help=f"{says} (default: what GPU_TRIAGE_STORE says)")
    parsed.add_argument(
        "--store-deadline", type=deadline, default=30.0, metavar="SECONDS", help="to wait for the store (default: 30)"
    )


def add_period(parsed: Parser) -> None:
    """Add --since and --until, which say which sweeps of a store count."""
    for name, side in (("--since", "from"), ("--until", "until")):
        parsed.add_argument(
            name, metavar="TIME", help=f"of a store, only sweeps {side} then: 7d (ago), 2026-11-26, '2026-11-26 03:10'"
        )


def period(args: Any, now: float) -> Any:
    """Return the window of sweeps that is meant."""
    from triage.cli.options import window
    from triage.fleet.store.read import Window

    found = window(args, now)
    return Window() if found is None else Window(found.since, found.until)


def open_store(args: Any) -> Store:
    """Return the store that is meant.

    Raises:
        Refused: if none is, or it cannot be used.
    """
    from triage.fleet.store import address

    found = store_of(args)
    if found is None:
        raise Refused(f"which store? name it: --store URL, or {address.VARIABLE}; {address.FORMS}")
    return found


def store_of(args: Any) -> Store | None:
    """Return the store that is meant, None if none is named.

    Raises:
        Refused: if it cannot be used.
    """
    from triage.fleet.store import address
    from triage.fleet.store.trouble import Unusable

    try:
        given = address.given(args.store)
        if given is None:
            return None
        address.parse(given)
        from triage.fleet.store.opened import Store

        return Store(given, args.store_deadline)
    except Unusable as error:
        raise Refused(str(error)) from None


def days(text: str) -> float:
    """Return a number of days in seconds, from 1 to 36500."""
    if not (text.isdecimal() and len(text) < 6 and 1 <= int(text) <= 36500):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of days from 1 to 36500")
    return int(text) * 86400.0


def add_targets(parsed: Parser) -> None:
    """Add the ways to say which nodes are meant."""
    parsed.add_argument(
        "-w", "--nodes", action="append", default=[], metavar="NODES", help="node set or group: gpu[001-512], @rack7"
    )
    parsed.add_argument("-x", "--exclude", action="append", default=[], metavar="NODES", help="all but these")
    parsed.add_argument("--slurm-partition", metavar="P", help="the nodes of this partition of Slurm")


def places_of(path: Path | None) -> dict[str, dict[str, str]]:
    """Return what an inventory knows of each node.

    Raises:
        Refused: if it is none.
    """
    if path is None:
        return {}
    from triage.fleet import inventory

    try:
        return inventory.load(path)
    except inventory.Unusable as error:
        raise Refused(str(error)) from error


def targets(args: Any) -> tuple[list[str], list[Outcome], dict[str, dict[str, str]]]:
    """Return the nodes that are meant, those of them that Slurm keeps from being asked, and what is known of all.

    Raises:
        Refused: if none is meant, or a set, Slurm or the inventory cannot be read.
    """
    from triage.fleet import model, names, slurm
    from triage.fleet.sweep import Outcome

    places = places_of(args.inventory)
    given = list(args.nodes)
    told: dict[str, slurm.State] = {}
    try:
        if args.slurm_partition is not None:
            told = {state.node: state for state in slurm.states(partition=args.slurm_partition)}
        elif args.via == "slurm" and given:
            told = {state.node: state for state in slurm.states(nodes=",".join(names.unfold(given)))}
        if not given:
            given = list(told) or list(places)
        elif args.slurm_partition is not None:
            given = [name for name in names.unfold(given) if name in told]
        if not given:
            raise Refused("which nodes? name them: -w 'gpu[001-512]', --slurm-partition P or --inventory FILE")
        nodes = names.unfold(given, args.exclude)
    except names.Unusable as error:
        raise Refused(str(error)) from error
    except slurm.Unusable as error:
        raise Refused(str(error), UNREACHABLE) from error
    if not nodes:
        raise Refused(f"{','.join(given)[:200]}: no node is left of those; see `cluset --list-all` for groups")
    skipped = []
    if args.via == "slurm":
        for node in nodes:
            state = told.get(node)
            if state is None:
                skipped.append(Outcome(node, model.SKIPPED, "Slurm does not know it"))
            elif not state.starts:
                why = f": {state.reason}" if state.reason else ""
                skipped.append(Outcome(node, model.SKIPPED, f"Slurm starts no job on it ({state.state}{why})"))
    return nodes, skipped, places
