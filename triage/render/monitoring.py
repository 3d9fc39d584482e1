"""The report in the words of monitors: Nagios and its kin, Checkmk's local checks, node-problem-detector, Slurm."""

from __future__ import annotations

from typing import Any

from triage.render.oneline import status_line
from triage.render.safe import safe

Json = dict[str, Any]

MOST_LINES = 20
"""Incidents below the first line that Nagios gets: it shows little more than a screen."""
MOST_NPD = 80
"""Characters of a message of node-problem-detector; it cuts longer ones."""
STATES = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}


def to_nagios(report: Json) -> str:
    """Return the status line with its performance data, and a line for each open incident."""
    opened = [incident for incident in report["incidents"] if incident["state"] == "open"]
    lines = [
        f"{i['severity'].upper()}: {safe(i['summary'], ascii_only=True)}".replace("|", "/") for i in opened[:MOST_LINES]
    ]
    if len(opened) > MOST_LINES:
        lines.append(f"and {len(opened) - MOST_LINES} more")
    return "".join(f"{line}\n" for line in [status_line(report, ascii_only=True), *lines])


def to_checkmk(report: Json) -> str:
    """Return the line of a local check: state, name, metrics, text."""
    message, counts = _parts(report)
    return f'{STATES[report["status"]]} "GPU triage" {"|".join(counts.split())} {message}\n'


def to_npd(report: Json) -> str:
    """Return a message of at most 80 characters, what matters first."""
    message, _ = _parts(report)
    return (message if len(message) <= MOST_NPD else message[: MOST_NPD - 3] + "...") + "\n"


def to_slurm(report: Json, since: float | None = None) -> str:
    """Return the reason for which the node should get no more jobs, in one line; nothing if there is none.

    Only incidents seen at `since` (UTC epoch seconds) or later count, if it is given; one without a time does not.
    """
    from triage.fleet.drain import plan
    from triage.fleet.gather import epoch
    from triage.fleet.slurm import MARK

    seen = [each for each in report["incidents"] if since is None or (epoch(each["last_seen_at"]) or 0.0) >= since]
    steps = plan({**report, "incidents": seen})
    return f"{MARK} {safe(steps[0].reason, ascii_only=True)}\n" if steps else ""


def npd_exit(status: str) -> int:
    """Return the exit code for node-problem-detector: 0 well, 1 a problem, 2 unknown."""
    return {"ok": 0, "unknown": 2}.get(status, 1)


def _parts(report: Json) -> tuple[str, str]:
    """The message and the counts of the status line."""
    line = status_line(report, ascii_only=True)
    head, _, counts = line.rpartition(" | ")
    return head.partition(": ")[2], counts
