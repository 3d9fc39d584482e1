"""`gpu-triage check`: one health sweep of this node under the contract of monitoring plug-ins.

Whatever happens, standard output starts with one line that says how the node
stands and the exit code agrees with it: 0 ok, 1 warning, 2 critical, 3 unknown.
It answers before its deadline; what it could not find out by then is unknown.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from triage.cli import output
from triage.cli.alerting import add_alerts, alerts_file
from triage.cli.asking import Asking
from triage.cli.exits import CHECK, OUT_OF_MEMORY, Refused
from triage.cli.options import (
    Parser,
    add_history,
    add_now,
    add_output,
    add_rules,
    deadline,
    look,
    overlays,
    state_directory,
)

PROBING = 0.8
"""Share of the deadline that the probes get; the rest is for deciding and printing."""

LEAST = 1.0
"""Seconds that alerts get even if the sweep took all its time."""

AGAIN = 1.0
"""Seconds after which what did not end at its deadline is told once more."""


_OUTLIVES: list[object] = []
"""What a sweep was made of, which the process takes with it: to take it apart before takes longer than to print."""


class OutOfTime(BaseException):
    """The deadline has passed; not an Exception, so that nothing on the way swallows it."""


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "check",
        "Say whether the GPUs of this node are well. Reads only; ends before its deadline whatever the driver does.",
        """
gpu-triage check
gpu-triage check --deadline 10 --format json
gpu-triage check --format json | jq -r .status
gpu-triage check --quiet --alert                (in a crontab)
gpu-triage check --format prometheus --output /var/lib/prometheus/node-exporter/gpu-triage.prom
""",
        """
0 ok   1 warning   2 critical   3 unknown (also bad arguments, this help, and no NVIDIA driver)
with --format npd: 0 ok   1 warning or critical   2 unknown
with --format slurm the reason for which the node should be drained is printed, if there is one
""",
    )
    parsed.add_argument(
        "--deadline", type=deadline, default=20.0, metavar="SECONDS", help="answer within this time (default: 20)"
    )
    add_output(parsed, ("text", "json", "ndjson", "ecs", "prometheus", "nagios", "checkmk", "npd", "slurm"))
    parsed.add_argument(
        "--output", type=Path, metavar="FILE", help="write to FILE, in one step, and nothing to standard output"
    )
    parsed.add_argument(
        "--quiet", action="store_true", help="for cron: print nothing if all is well, and never run twice at once"
    )
    parsed.add_argument(
        "--seen-since", metavar="TIME", help="with --format slurm, what was seen since then: @EPOCH, 03:10, 2h (ago)"
    )
    parsed.add_argument(
        "--alert",
        action="store_true",
        help="alert who is named in alerts.yaml, with what is left of --deadline; what cannot be sent by then waits",
    )
    add_alerts(parsed, optional=False)
    add_rules(parsed)
    add_history(parsed)
    add_now(parsed)
    return parsed


def main(words: Sequence[str]) -> int:
    """Probe, decide, print."""
    try:
        return _check(words)
    except Exception as error:  # too little memory or too few files to draw a report, or a mistake of ours
        from triage.cli.dispatch import bug

        return _refuse(Refused(bug(error)), words)


def _check(words: Sequence[str]) -> int:
    try:
        args = parser().parse_args(words)
        alerts = _alerts(args, words)
    except Refused as refused:
        return _refuse(refused, words)
    now = time.time() if args.now is None else args.now
    began = time.monotonic()
    try:
        since = _seen_since(args, now)
    except Refused as refused:
        return _refuse(refused, words)
    if args.quiet and not _alone(args):
        why = "another sweep is still under way; is --deadline longer than the time between two?"
        return _refuse(Refused(why), words)
    report = _sweep(args, now)
    try:
        drawn = _drawn(report, args, time.monotonic() - began, since)
        if args.output is None:
            if not (args.quiet and report["status"] == "ok"):
                output.write(drawn)
        else:
            from triage.cli.replace import replace

            replace(args.output, drawn)
    except Refused as refused:
        return _refuse(refused, words)
    finally:
        if alerts is not None:
            _alert(report, alerts, args, began + args.deadline)
    return _code(report, args)


def _code(report: dict[str, Any], args: Any) -> int:
    if args.format == "npd":
        from triage.render.monitoring import npd_exit

        return npd_exit(report["status"])
    return CHECK[report["status"]]


def _seen_since(args: Any, now: float) -> float | None:
    if args.seen_since is None:
        return None
    from triage.window import moment

    if args.format != "slurm":
        raise Refused("--seen-since goes with --format slurm")
    try:
        return moment(args.seen_since, now, 0.0)
    except ValueError as error:
        raise Refused(f"--seen-since: {error}") from None


def _alerts(args: Any, words: Sequence[str]) -> Path | None:
    """Return the file that says who is alerted, if anybody is to be."""
    if not args.alert:
        if any(word.partition("=")[0] == "--alerts" for word in words):
            raise Refused("--alerts says who would be alerted; add --alert")
        return None
    if args.no_history:
        raise Refused("--alert needs the history, to tell what is new from what was told; leave out --no-history")
    path = alerts_file(args)
    if path is None:
        raise Refused("--alert: nobody is alerted, for there is no /etc/gpu-triage/alerts.yaml; name it with --alerts")
    return path


def _alert(report: dict[str, Any], path: Path, args: Any, until: float) -> None:
    """Send what is new; the answer has been given by now and is not changed by what comes of it."""
    from triage.alert import once
    from triage.cli.alerting import targets_of
    from triage.cli.dispatch import bug

    directory = state_directory(args)
    assert directory is not None
    try:
        once.send(report, directory, path, targets_of(path), max(LEAST, until - time.monotonic()), output.tell)
    except Refused as refused:
        output.tell(refused.message)
    except Exception as error:  # the exit code must tell how the node stands
        output.tell(bug(error))


def _alone(args: Any) -> bool:
    """Whether no other sweep of cron is under way; the lock goes with this process."""
    import fcntl
    import os

    from triage.history.place import Unavailable, prepare, private_file

    directory = state_directory(args)
    if directory is None:
        return True
    path = directory / "check.lock"
    try:
        prepare(directory)
        private_file(path)
        fcntl.flock(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (Unavailable, OSError):
        return True  # where nothing can be kept nothing can be locked, and a sweep matters more
    return True


def _sweep(args: Any, now: float) -> dict[str, Any]:
    probing = args.deadline * PROBING
    try:
        with _limit(args.deadline):
            directory = state_directory(args)
            # The driver takes longest, so it is asked while everything else is still being loaded.
            with Asking(probing, directory) as asking, _last_word(args, now):
                from triage.cli.reports import from_node, load_rulebook

                rulebook = load_rulebook(args.rules, overlays(args))
                return from_node(
                    rulebook, now=args.now, deadline=probing, state_dir=directory, asking=asking, outlives=_OUTLIVES
                )
    except OutOfTime:
        return nothing_known(f"no answer within {args.deadline:g} s", now=now)
    except Refused as refused:
        output.tell(refused.message)
        return nothing_known(refused.message.partition("\n")[0], now=now)
    except MemoryError:
        return nothing_known(OUT_OF_MEMORY, now=now)
    except Exception as error:  # monitoring must get its line even from a mistake of ours
        from triage.cli.dispatch import bug

        output.tell(bug(error))
        return nothing_known(f"internal error, {type(error).__name__}: {error}", now=now)


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    def end(_number: int, _frame: FrameType | None) -> None:
        raise OutOfTime

    previous = signal.signal(signal.SIGALRM, end)
    # More than once, for an exception that is raised while a destructor or an import lock runs is dropped there.
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@contextmanager
def _last_word(args: Any, now: float) -> Iterator[None]:
    """Let a thread answer where this one is held up in the kernel, as by a disk, and so hears of no deadline."""
    import os
    import threading
    from contextlib import suppress

    answered = threading.Lock()

    def answer() -> None:
        if not answered.acquire(blocking=False):
            return
        why = f"no answer within {args.deadline:g} s; a disk or a file system holds it up (--no-history does without)"
        report = nothing_known(why, now=now)
        try:
            if args.output is None:  # else it would write to the disk that holds it up
                output.write(_drawn(report, args, args.deadline, None))
        finally:
            os._exit(_code(report, args))

    waits = threading.Timer(args.deadline + 1.5 * AGAIN, answer)
    waits.daemon = True
    with suppress(RuntimeError):  # no thread can be started
        waits.start()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)  # nothing is to end the next wait
        answered.acquire()  # where the other one has begun to answer, this one does not go on
        waits.cancel()


def nothing_known(reason: str, *, now: float) -> dict[str, Any]:
    """Return the report that says only why there is no other."""
    from triage.cli import reports

    return reports.nothing_known(reason, now=now)


def _drawn(report: dict[str, Any], args: Any, seconds: float, since: float | None) -> str:
    if args.format == "slurm":
        from triage.render.monitoring import to_slurm

        return to_slurm(report, since)
    if args.format in ("nagios", "checkmk", "npd"):
        from triage.render import monitoring

        draw = {"nagios": monitoring.to_nagios, "checkmk": monitoring.to_checkmk, "npd": monitoring.to_npd}
        return draw[args.format](report)
    if args.format == "prometheus":
        from triage.render.prometheus import to_prometheus

        return to_prometheus(report, seconds=round(seconds, 3))
    if args.format == "text":
        from triage.render.oneline import status_line
        from triage.render.text import render

        # A reason that kept everything from being read is the whole status line already.
        rest = render(report, look(args), headline=False) if report["sources"] else ""
        return status_line(report, ascii_only=args.ascii) + "\n" + (f"\n{rest}" if rest else "")
    if args.format == "ecs":
        from triage.render.ecs import to_ecs

        return to_ecs(report)
    from triage.render.machine import to_json, to_ndjson

    return to_json(report) if args.format == "json" else to_ndjson(report)


def _refuse(refused: Refused, words: Sequence[str]) -> int:
    from contextlib import suppress

    from triage.render.safe import safe

    output.tell(refused.message)
    if "slurm" in words:  # what stands on standard output would take the node out
        return CHECK["unknown"]
    with suppress(Refused):
        output.write(f"GPU-TRIAGE UNKNOWN: {safe(refused.message)}\n")
    return CHECK["unknown"]
