"""A report from logs, from this node, or saying only why there is none."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from triage import __version__
from triage.cli.exits import Refused
from triage.model import Assessment
from triage.report import to_report
from triage.rulebook.model import Rulebook

Json = dict[str, Any]


def load_rulebook(root: Path | None) -> Rulebook:
    """Load the built-in rulebook or that of a directory.

    Raises:
        Refused: if it is not valid, with every place that is wrong.
    """
    from triage.rulebook.load import load
    from triage.rulebook.problems import RulebookError

    try:
        return load(root)
    except RulebookError as error:
        raise Refused(str(error)) from error


def from_logs(rulebook: Rulebook, paths: Sequence[str], *, now: float, tz_offset: float) -> Json:
    """Read logs (`-` is standard input) and return what they say; Ctrl-C ends the reading early.

    A report cut short has `complete` false.
    """
    from triage.assess import assess
    from triage.cli.interrupt import UntilInterrupted
    from triage.intake import Intake

    stdin = None if sys.stdin is None else sys.stdin.buffer
    intake = Intake(paths, now=now, tz_offset=tz_offset, stdin=stdin)
    with UntilInterrupted(intake) as records:
        found = assess(
            rulebook,
            records,
            (),
            lambda: intake.sources,
            node=None,
            now=now,
            notices=lambda: intake.notices,
        )
    if records.interrupted:
        notice = f"interrupted: only the first {records.count} records were read"
        found = found._replace(notices=(*found.notices, notice))
    return to_report(
        found,
        generated_at=now,
        tool_version=__version__,
        causes=rulebook.causes,
        complete=not records.interrupted,
    )


def from_node(rulebook: Rulebook, *, now: float, deadline: float) -> Json:
    """Probe this machine for at most `deadline` seconds and return what it says."""
    from probes.node import probe
    from triage.assess import assess

    readings, records, sources = probe(deadline)
    found = assess(rulebook, records, readings, sources, node=os.uname().nodename, now=now)
    return to_report(found, generated_at=now, tool_version=__version__, causes=rulebook.causes)


def nothing_known(reason: str, *, now: float) -> Json:
    """Return a report that is `unknown` because of this reason."""
    empty = Assessment(os.uname().nodename, "unknown", (), (), (), (reason,))
    return to_report(empty, generated_at=now, tool_version=__version__, complete=False)
