"""`gpu-triage fleet store add|migrate|prune`: bring in what sweeps left, bring it up to date, delete what is old."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triage.cli import output
from triage.cli.exits import DONE, PARTIAL, UNREACHABLE, Refused
from triage.cli.fleet_options import add_store, days, open_store, places_of
from triage.cli.options import Parser, add_logs, add_now, add_rules, jobs, overlays
from triage.cli.reports import load_rulebook

if TYPE_CHECKING:
    from triage.fleet.model import Answer
    from triage.fleet.store.opened import Store

EXITS = """
0 done                            2 bad arguments, or the store is of another version
3 the store could not be reached  4 some of it could not be read, or is left for the next time
"""
VERBS = ("add", "migrate", "prune")
_SAYS = {
    "add": (
        "Bring the folders of sweeps (or captures of nodes, which then are one sweep) into a store. What is there\n"
        "already is not written twice, so it may be done again, and in any order.",
        "gpu-triage fleet store add gpu-triage-sweep-20261126T175500Z/ --store postgresql://triage@db/fleet",
    ),
    "migrate": (
        "Bring a store of an older version to this one's. Do it once everybody who writes into it has this version;\n"
        "keep a copy (pg_dump, or the file).",
        "gpu-triage fleet store migrate --store postgresql://triage@db/fleet",
    ),
    "prune": (
        "Delete from a store what sweeps said that are older; in small steps, so that others can write meanwhile.",
        "gpu-triage fleet store prune --keep 90 --store postgresql://triage@db/fleet",
    ),
}


def main(words: Sequence[str]) -> int:
    """Do one of the three."""
    if words and words[0] in ("-h", "--help"):
        parts = (f"{verb}: gpu-triage fleet store {verb} --help\n{says}\n" for verb, (says, _) in _SAYS.items())
        output.write("\n".join(parts))
        return DONE
    if not words or words[0] not in VERBS:
        raise Refused(f"fleet store: say what to do: {', '.join(VERBS)} (see `gpu-triage fleet store --help`)")
    verb = words[0]
    parsed = Parser(f"fleet store {verb}", *_SAYS[verb], EXITS)
    add_store(parsed)
    if verb == "add":
        parsed.add_argument("paths", nargs="+", metavar="PATH", help="the folder of a sweep, or captures of nodes")
        parsed.add_argument("--inventory", type=Path, metavar="FILE", help="CSV, JSON or YAML: node, rack, ...")
        parsed.add_argument("--jobs", type=jobs, metavar="N", help="processes that read them")
        add_rules(parsed)
        add_logs(parsed)
    else:
        add_now(parsed)
    if verb == "prune":
        parsed.add_argument("--keep", type=days, required=True, metavar="DAYS", help="what is younger stays")
    args = parsed.parse_args(words[1:])
    with open_store(args) as store:
        from triage.fleet.store.trouble import Outdated, Unreachable, Unusable

        try:
            return _DO[verb](store, args)
        except Outdated as error:
            raise Refused(str(error)) from None
        except (Unreachable, Unusable) as error:
            raise Refused(str(error), UNREACHABLE) from None


def _add(store: Store, args: Any) -> int:
    from triage.fleet import sweep

    now = time.time() if args.now is None else args.now
    rulebook = load_rulebook(args.rules, overlays(args))
    places = places_of(args.inventory)
    loose: list[str] = []
    code = DONE
    for path in args.paths:
        try:
            told = sweep.manifest(Path(path)) if os.path.isdir(path) else None
        except ValueError as error:
            raise Refused(str(error)) from error
        if told is None:
            loose.append(path)
            continue
        code = max(code, _add_sweep(store, args, rulebook, places, Path(path), told, now))
    if loose:
        code = max(code, _add_loose(store, args, rulebook, places, loose, now))
    return code


def _add_sweep(store: Store, args: Any, rulebook: Any, places: Any, path: Path, told: Any, now: float) -> int:
    from triage.fleet import sweep
    from triage.fleet.model import ANSWERED
    from triage.fleet.read import called, read_all
    from triage.fleet.store import write

    kept = sweep.kept(path)
    assert kept is not None
    began = told.get("began_at")
    if not isinstance(began, (int, float)):
        raise Refused(f"{path / sweep.FILE}: does not say when it began")
    asked = [node for node in told.get("asked") or () if isinstance(node, str)]
    swept = write.Swept(
        sweep.key_of(told), float(began), str(told.get("via")), len(asked), str(told.get("set") or "")[: 1 << 16]
    )
    took = {str(each.get("node")): each.get("took") for each in sweep.entries(told.get("nodes"))}
    read = read_all(
        list(kept.captures.values()), rulebook, root=args.rules, overlays=overlays(args), now=now,
        tz_offset=args.timezone, jobs=args.jobs,
    )  # fmt: skip

    def answers() -> Iterator[Answer]:
        yield from kept.silent
        for node, answer in zip(kept.captures, read, strict=True):
            yield called(answer, node)

    answered = count = 0
    for batch in _batches(answers(), write.BATCH):
        placed = [_placed(each, places)._replace(took=_seconds(took.get(each.node))) for each in batch]
        write.put(store, swept, placed)
        count += len(batch)
        answered += sum(1 for each in batch if each.state == ANSWERED)
    ended = told.get("ended_at")
    write.end(store, swept, float(ended) if isinstance(ended, (int, float)) else float(began), complete=kept.complete)
    output.tell(f"{path}: sweep {swept.key[:12]}, {answered} of {count} nodes answered; kept in {store.shown}")
    return DONE if answered == len(kept.captures) else PARTIAL


def _add_loose(store: Store, args: Any, rulebook: Any, places: Any, paths: Sequence[str], now: float) -> int:
    """Captures that belong to no sweep are one of their own, named after what they say."""
    from triage.cli.fleet_report import answers_of
    from triage.fleet import names
    from triage.fleet.model import ANSWERED
    from triage.fleet.store import write

    answers, complete = answers_of(paths, args, rulebook, now=now)
    known = [answer for answer in answers if answer.state == ANSWERED]
    if not known:
        raise Refused(f"{', '.join(paths)}: no node in it could be read; name a folder of captures", UNREACHABLE)
    latest: dict[str, Answer] = {}
    for answer in sorted(known, key=lambda each: each.at or 0.0):
        latest[answer.node] = answer
    if len(latest) < len(known):
        output.tell("several captures of one node: the last of each is taken; add them one after the other for all")
    told = repr(sorted((node, answer.at) for node, answer in latest.items()))
    began = max((answer.at for answer in latest.values() if answer.at is not None), default=now)
    key = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    swept = write.Swept(key, began, "captures", len(latest), names.fold(latest)[: 1 << 16])
    write.put(store, swept, [_placed(answer, places) for answer in latest.values()])
    write.end(store, swept, began, complete=complete)
    output.tell(f"{len(latest)} nodes as sweep {key[:12]}; kept in {store.shown}")
    return DONE if complete and len(known) == len(answers) else PARTIAL


def _migrate(store: Store, _args: Any) -> int:
    before, after = store.migrate()
    was = "nothing was in it" if before is None else f"it was {before}"
    output.tell(
        f"{store.shown}: schema {after}; {was}" if before != after else f"{store.shown}: schema {after} already"
    )
    return DONE


def _prune(store: Store, args: Any) -> int:
    from triage.fleet.store import write

    now = time.time() if args.now is None else args.now
    deleted, everything = write.prune(store, now - args.keep)
    output.tell(f"{store.shown}: deleted {deleted} answers of sweeps older than {args.keep / 86400.0:g} days")
    return DONE if everything else PARTIAL


_DO = {"add": _add, "migrate": _migrate, "prune": _prune}


def _placed(answer: Answer, places: Any) -> Answer:
    place = places.get(answer.node)
    return answer if place is None else answer._replace(facts={**answer.facts, **place})


def _seconds(told: object) -> float:
    return float(told) if isinstance(told, (int, float)) else 0.0


def _batches(answers: Iterator[Answer], size: int) -> Iterator[list[Answer]]:
    while batch := list(islice(answers, size)):
        yield batch
