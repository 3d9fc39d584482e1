"""`gpu-triage alert`: whether alerts arrive, and what of them waits."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from triage.cli import output
from triage.cli.alerting import add_alerts, alerts_file, targets_of
from triage.cli.exits import DONE, UNREACHABLE, Refused
from triage.cli.options import Parser, add_history, add_now, add_output, look, state_directory
from triage.render.layout import Look, Span, fill

if TYPE_CHECKING:
    from triage.alert.config import Target
    from triage.alert.post import Outcome

Json = dict[str, Any]

MOST_SHOWN = 20
"""Messages of each target that are listed as text."""


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "alert",
        "Who is alerted stands in alerts.yaml (`gpu-triage schema alerts`); `watch` alerts if there is one, `check`\n"
        "with --alert.\n"
        "test sends a message that says that it is a test, and waits for the answer; queue lists what waits to be\n"
        "sent, since when, and why; retry lets go what was refused or waits.",
        """
gpu-triage alert test
gpu-triage alert test oncall --alerts ./alerts.yaml
gpu-triage alert queue --format json | jq '.targets[] | select(.waiting > 0)'
gpu-triage alert retry oncall
""",
        "0 done, all taken   2 bad arguments or configuration   3 test: not taken by all; or the queue cannot be read",
    )
    parsed.add_argument("what", choices=("test", "queue", "retry"), help="what to do")
    parsed.add_argument("target", nargs="?", metavar="TARGET", help="of which target (default: all)")
    add_alerts(parsed, optional=False)
    add_output(parsed, ("text", "json"))
    add_history(parsed, optional=False)
    add_now(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Do what was asked."""
    args = parser().parse_args(words)
    path = alerts_file(args)
    if path is None:
        raise Refused("nobody is alerted: there is no /etc/gpu-triage/alerts.yaml; write one, or name it with --alerts")
    targets = _named(targets_of(path), args.target)
    return {"test": _test, "queue": _queue, "retry": _retry}[args.what](targets, args)


def _named(targets: Sequence[Target], name: str | None) -> Sequence[Target]:
    if name is None:
        return targets
    found = [target for target in targets if target.name == name]
    if not found:
        raise Refused(f"no target is called '{name}'; there are {', '.join(target.name for target in targets)}")
    return found


def _test(targets: Sequence[Target], args: Any) -> int:
    from concurrent.futures import ThreadPoolExecutor

    node, now = os.uname().nodename, time.time() if args.now is None else args.now

    def one(target: Target) -> tuple[Outcome, float]:
        from triage.alert import send

        began = time.monotonic()
        return send.test(target, node, now), time.monotonic() - began

    with ThreadPoolExecutor(len(targets)) as pool:
        outcomes = list(pool.map(one, targets))
    told = [
        {
            "target": target.name,
            "kind": target.kind,
            "where": target.where,
            "taken": outcome.taken,
            "why": outcome.why or None,
            "seconds": round(seconds, 3),
        }
        for target, (outcome, seconds) in zip(targets, outcomes, strict=True)
    ]
    if args.format == "json":
        _print_json({"schema_version": 1, "kind": "alert-test", "node": node, "targets": told})
    else:
        drawn = look(args)
        output.write("".join(f"{line}\n" for one_told in told for line in _tested(one_told, drawn)))
    return DONE if all(outcome.taken for outcome, _ in outcomes) else UNREACHABLE


def _queue(targets: Sequence[Target], args: Any) -> int:
    from triage.alert.waiting import report
    from triage.history.place import Unavailable

    directory = state_directory(args)
    assert directory is not None
    now = time.time() if args.now is None else args.now
    try:
        told = report(directory, targets, os.uname().nodename, now)
    except Unavailable as error:
        raise Refused(str(error), UNREACHABLE) from error
    if args.format == "json":
        _print_json(told)
    else:
        drawn = look(args)
        if told["queue"] is None:
            output.tell(f"nothing was ever to be told from {directory}; is --state-dir that of the watch?")
        output.write("".join(f"{line}\n" for target in told["targets"] for line in _waits(target, drawn)))
        output.write("".join(f"{line}\n" for refusal in told["refused"] for line in _refusal(refusal, drawn)))
    return DONE


def _retry(targets: Sequence[Target], args: Any) -> int:
    from triage.alert.queue import open_queue
    from triage.alert.queue_file import NoQueue
    from triage.history.place import Unavailable

    directory = state_directory(args)
    assert directory is not None
    count = 0
    try:
        with open_queue(directory, patience=5.0, create=False) as queue:
            for target in targets:
                count += queue.retry(target.name)
    except NoQueue:
        count = 0
    except Unavailable as error:
        raise Refused(str(error), UNREACHABLE) from error
    if args.format == "json":
        _print_json({"schema_version": 1, "kind": "alert-retry", "again": count})
    else:
        output.write(f"{count} refused message{'' if count == 1 else 's'} will be tried again by the next sender\n")
    return DONE


def _print_json(told: Json) -> None:
    from triage.render.machine import to_json

    output.write(to_json(told))


def _tested(told: Json, drawn: Look) -> list[str]:
    mark: Span = ("ok", "taken ") if told["taken"] else ("critical", "FAILED")
    said = f"in {told['seconds']:.2f} s" if told["taken"] else told["why"]
    head: list[Span] = [mark, ("strong", told["target"]), ("", told["kind"]), ("faint", told["where"]), ("", said)]
    return fill(drawn, head, hang="       ")


def _waits(told: Json, drawn: Look) -> list[str]:
    from triage.render.words import moment as spoken

    count = told["waiting"]
    head: list[Span] = [("strong", told["target"]), ("", told["kind"]), ("faint", told["where"])]
    if not count:
        return fill(drawn, [*head, ("ok", "nothing waits")], hang="  ")
    lines = fill(drawn, [*head, ("warning", f"{count} wait{'s' if count == 1 else ''} since {spoken(told['oldest'])}")])
    if told["why"]:
        again = f"; tried again {spoken(told['again_at'])}" if told["again_at"] else ""
        lines += fill(drawn, [("", f"{told['why']}{again}")], "  ", "    ")
    for message in told["messages"][:MOST_SHOWN]:
        tries = f", tried {message['tries']} times" if message["tries"] else ""
        lines += fill(drawn, [("", f"{message['event']} {message['fingerprint']}{tries}")], "  ", "    ")
    if count > MOST_SHOWN:
        lines += fill(drawn, [("faint", f"and {count - MOST_SHOWN} more (--format json has all)")], "  ")
    return lines


def _refusal(told: Json, drawn: Look) -> list[str]:
    from triage.render.words import moment as spoken

    says = f"{spoken(told['at'])} {told['target']} refused {told['event']} of {told['fingerprint']}: {told['why']}"
    return fill(drawn, [("critical", "REFUSED"), ("", says)], hang="  ")
