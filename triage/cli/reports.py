"""A report from logs, from this node, or saying only why there is none."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from probes.named import NamedTuple
from triage import __version__
from triage.cli.exits import Refused
from triage.model import Assessment
from triage.report import iso, to_report
from triage.rulebook.model import Rulebook

if TYPE_CHECKING:
    from probes.model import LogRecord, Reading, Source
    from probes.moment import Moment
    from probes.node import Probing
    from triage.cli.asking import Asking
    from triage.history.past import Past
    from triage.window import Window

Json = dict[str, Any]

GRACE = 0.5
"""Seconds for which, once all else is read, the sources beside the driver (`probes.around`) are waited for."""
WAITING = 0.06
"""Share of the probes' time for which another sweep that writes the history is waited for."""


def load_rulebook(root: Path | None, overlays: Sequence[Path] = (), *, whole: bool = False) -> Rulebook:
    """Load the built-in rulebook or that of a directory, with the site rules of these folders.

    Only a `whole` one has what authors need: the tests of rules and the examples of signals.

    Raises:
        Refused: if it is not valid, with every place that is wrong.
    """
    from triage.rulebook.problems import RulebookError

    try:
        if whole:
            from triage.rulebook import load

            return load.load(root, overlays)
        from triage.rulebook import cache

        return cache.load(root, overlays)
    except RulebookError as error:
        raise Refused(str(error)) from error


def from_logs(
    rulebook: Rulebook,
    paths: Sequence[str],
    *,
    now: float,
    tz_offset: float,
    jobs: int | None = None,
    window: Window | None = None,
    around: int = 0,
    cluster: str | None = None,
    readings: list[Reading] | None = None,
) -> Json:
    """Read logs, captures and bug reports (`-` is standard input) and return what they say.

    Counters of a capture or a bug report are judged as of the moment it was
    taken.  Ctrl-C ends the reading early; a report cut short has `complete` false.
    Several large files are read by up to `jobs` processes, by default one per processor.
    Of logs only the records of the `window` count, if there is one.  With `around` every
    incident gets so many lines before and after those that its evidence rests on.
    With `cluster`, the address of a Dask scheduler, its workers read the files.
    The counters that were found are added to `readings`.

    Raises:
        Refused: if that cluster cannot be used.
    """
    from triage.assess import assess
    from triage.cli.interrupt import UntilInterrupted
    from triage.cli.progress import Progress
    from triage.fastscan import FastIntake, large

    stdin = None if sys.stdin is None else sys.stdin.buffer
    progress = Progress()
    intake: FastIntake
    if cluster is not None:
        from triage.fast_cluster import ClusterIntake, NoCluster

        try:
            intake = ClusterIntake(
                paths,
                cluster=cluster,
                rulebook=rulebook,
                now=now,
                tz_offset=tz_offset,
                stdin=stdin,
                window=window,
                progress=progress,
            )
        except NoCluster as error:
            raise Refused(str(error)) from None
    elif jobs != 1 and large(paths):
        from triage.fast_files import ManyIntake

        intake = ManyIntake(
            paths,
            rulebook=rulebook,
            now=now,
            tz_offset=tz_offset,
            stdin=stdin,
            window=window,
            progress=progress,
            jobs=jobs,
        )
    else:
        intake = FastIntake(
            paths, rulebook=rulebook, now=now, tz_offset=tz_offset, stdin=stdin, window=window, progress=progress
        )
    with intake, UntilInterrupted(intake) as records:
        found = assess(
            rulebook,
            records,
            lambda: intake.readings,
            lambda: intake.sources,
            node=lambda: intake.node,
            now=lambda: now if intake.taken_at is None else intake.taken_at,
            notices=lambda: (*_asked_for(window), *intake.notices, *_other_rules(intake.rulebooks, rulebook)),
            history=lambda: cast("Past | None", intake.history),
            begin=intake.begin,
        )
        if readings is not None:
            readings += intake.readings
    progress.done()
    if records.interrupted:
        notice = f"interrupted: only the first {records.count + intake.passed} records were read"
        found = found._replace(notices=(*found.notices, notice))
    report = to_report(
        found,
        generated_at=now,
        tool_version=__version__,
        causes=rulebook.causes,
        complete=not records.interrupted,
    )
    if around:
        from triage import context

        report["notices"] += context.add(report, around, intake.files)
    return report


def _asked_for(window: Window | None) -> Iterator[str]:
    """Say which records count, if not all do."""
    if window is not None:
        since = "" if window.since is None else f" from {iso(window.since)}"
        until = "" if window.until is None else f" until {iso(window.until)}"
        yield f"only records{since}{until} were asked for"


def _other_rules(digests: Iterable[str], rulebook: Rulebook) -> Iterator[str]:
    """Say that a capture was judged by other rules when it was taken."""
    others = sorted(digest[:12] for digest in digests if digest != rulebook.digest)
    if others:
        yield (
            f"captured under other rules ({', '.join(others)}) than these ({rulebook.digest[:12]});"
            " the verdict may differ from the one there"
        )


def _after(probing: Probing) -> Iterator[LogRecord]:
    """The records of other logs, which are waited for only when those of the kernel have been looked at."""
    yield from probing.later()


def _told_of(records: Iterable[LogRecord], tell: Callable[[LogRecord], object] | None) -> Iterable[LogRecord]:
    if tell is None:
        return records
    return (record for record in records if (tell(record), True))


class _Rest(NamedTuple):
    """What a sweep knows but for the kernel's records: when, what was read, what the history knows, the readings."""

    when: Moment
    sources: list[Source]
    past: Past | None
    known: Sequence[Reading]


def from_node(
    rulebook: Rulebook,
    *,
    now: float | None = None,
    deadline: float,
    state_dir: Path | None = None,
    asking: Asking | None = None,
    rehearsed: bool = False,
    readings: list[Reading] | None = None,
    records: Callable[[LogRecord], object] | None = None,
    outlives: list[object] | None = None,
) -> Json:
    """Probe this machine for at most `deadline` seconds and return what it says.

    Args:
        rulebook: what to judge by.
        now: UTC epoch seconds; the wall clock if None.
        deadline: seconds.
        state_dir: where the history stands, which is asked and written; None is for no history.
        asking: the driver, if it is being asked already.
        rehearsed: whether the history is asked, and stays as it is.
        readings: is given all counters that were read.
        records: is called with each record of a log.
        outlives: is given what a process that ends now need not take apart.
    """
    from probes.moment import moment
    from probes.node import begin as begin_probing
    from triage.assess import assess
    from triage.cli.asking import children_of
    from triage.history.sweep import begin, rehearse

    opened = rehearse if rehearsed else begin
    with opened(state_dir, now=now, patience=deadline * WAITING) as memory:
        makes = not rehearsed or (state_dir is not None and state_dir.exists())
        children = children_of(state_dir) if makes else None
        started = None if asking is None else asking.take()
        probing = begin_probing(deadline, state_dir=children, started=started, grace=GRACE)

        @cache
        def rest() -> _Rest:
            """What is known once the driver has answered, which the records of the log need not wait for."""
            read, sources = probing.result()
            when = moment(at=now)
            return _Rest(when, sources, *memory.past(memory.named(read), when))

        found = assess(
            rulebook,
            _told_of(chain(probing.records, _after(probing)), records),
            lambda: rest().known,
            lambda: rest().sources,
            node=os.uname().nodename,
            now=lambda: rest().when.at,
            history=lambda: rest().past,
        )
        when, sources, _, known = rest()
        if readings is not None:
            readings += known
        report = to_report(
            found,
            generated_at=when.at,
            tool_version=__version__,
            causes=rulebook.causes,
            rules=rulebook.digest,
        )
        if outlives is not None:
            outlives += (rulebook, probing, found, known)
        lasts = {rule.id: rule.lasts for rule in rulebook.rules}
        return memory.remember(report, incidents=found.incidents, lasts=lasts, read=known, sources=sources, now=when)


def nothing_known(reason: str, *, now: float) -> Json:
    """Return a report that is `unknown` because of this reason."""
    empty = Assessment(os.uname().nodename, "unknown", (), (), (), (reason,))
    return to_report(empty, generated_at=now, tool_version=__version__, complete=False)
