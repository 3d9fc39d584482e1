"""One line for monitoring: `GPU-TRIAGE CRITICAL: ...`, the most important words first.

Nagios and its kin read the first line and split it at the first `|`; Slurm and
node-problem-detector cut it after about 80 characters.  So the status, the
verdict and the GPU come first, no `|` can come from foreign text, and what
follows the one `|` is performance data.
"""

from __future__ import annotations

from typing import Any

from triage.render.safe import safe
from triage.render.words import number, where

MOST = 240
"""Characters of the message; monitoring cuts longer ones where it likes."""


def status_line(report: dict[str, Any], *, ascii_only: bool = False) -> str:
    """Return the status, the reason for it and how many incidents there are, without a line end."""
    status = report["status"]
    message = _message(report, status)
    message = safe(message, ascii_only=ascii_only).replace("|", "/")
    if len(message) > MOST:
        message = message[: MOST - 3] + "..."
    still = [incident["severity"] for incident in report["incidents"] if incident["state"] == "open"]
    counts = " ".join(f"{severity}={still.count(severity)}" for severity in ("critical", "warning", "info"))
    return f"GPU-TRIAGE {status.upper()}: {message} | {counts}"


def _message(report: dict[str, Any], status: str) -> str:
    still = [incident for incident in report["incidents"] if incident["state"] == "open"]
    if status == "unknown":
        return "; ".join([*_unknown(report), *_worst(still)])
    worst = _worst([incident for incident in still if incident["severity"] == status])
    if worst:
        return "; ".join(worst)
    read = sum(source["readable"] for source in report["sources"])
    gpus = len(report["gpus"])
    known = sum(incident["state"] == "acknowledged" for incident in report["incidents"])
    also = f", {known} acknowledged" if known else ""
    return f"no open fault on {gpus} GPU{'s' * (gpus != 1)}{also}, {read} source{'s' * (read != 1)} read"


def _unknown(report: dict[str, Any]) -> list[str]:
    sources = report["sources"]
    unread = [f"{source['kind']}: {source['reason'] or 'not readable'}" for source in sources if not source["readable"]]
    read = [source["kind"] for source in sources if source["readable"]]
    reasons = unread[:2] or report["notices"][:1] or ["no source could be read"]
    if len(unread) > 2:
        reasons.append(f"{len(unread) - 2} more not read")
    return [*reasons, f"read: {', '.join(read)}"] if read else reasons


def _worst(incidents: list[dict[str, Any]]) -> list[str]:
    if not incidents:
        return []
    first = incidents[0]
    verdict = first["verdict"]
    lead = verdict["leading"]
    if verdict["family"] == "undetermined":
        cause = f"UNDETERMINED ({lead['family']} {number(lead['confidence'])})"
    else:
        cause = f"{verdict['family'].upper()} {number(verdict['confidence'])}"
    place = where(None, first["where"]["gpu"])
    more = len(incidents) - 1
    return [f"{cause} {place}: {first['title']}", *([f"{more} more"] if more else [])]
