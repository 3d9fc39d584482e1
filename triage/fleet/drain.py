"""Which nodes a report says should get no more jobs, and the commands that see to it: printed, not run.

A node is taken out for its worst open incident that is critical and lies with
the machine; one that lies with the job or needs nothing done takes no node out.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from probes.named import NamedTuple
from triage.fleet import kubernetes, slurm
from triage.fleet.model import Json

_NOT_OF_THE_NODE = ("workload", "benign")
"""Families whose incidents are no reason to take a node out."""


class Step(NamedTuple):
    """Nodes that should be taken out for one reason, and the folded set of them."""

    nodes: tuple[str, ...]
    reason: str


def plan(report: Json) -> list[Step]:
    """Return what a report gives reason for, the reason with most nodes first; a node is in one step only."""
    reasons: dict[str, str] = {}
    for incident in report["incidents"]:  # worst first
        verdict = incident["verdict"]
        node = incident["where"]["node"]
        if incident["state"] != "open" or incident["severity"] != "critical" or verdict["family"] in _NOT_OF_THE_NODE:
            continue
        reasons.setdefault(node, f"{incident['rule']['id']}, {verdict['leaf'] or verdict['family']}")
    steps: dict[str, list[str]] = {}
    for node, reason in reasons.items():
        steps.setdefault(reason, []).append(node)
    return [Step(tuple(sorted(nodes)), why) for why, nodes in sorted(steps.items(), key=lambda item: -len(item[1]))]


def commands(steps: Iterable[Step]) -> list[str]:
    """Return what would take these nodes out, as it can be pasted into a shell: for Slurm, then for Kubernetes."""
    steps = list(steps)
    return [
        shlex.join(words)
        for scheduler in (slurm, kubernetes)
        for step in steps
        for words in scheduler.drain_commands(step.nodes, step.reason)
    ]
