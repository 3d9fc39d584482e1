"""What Kubernetes says of nodes, and the two things it can be told: take a node out (cordon), take it back (uncordon).

Pods that run on a cordoned node go on; none is evicted.  The reason stands in
an annotation of the node, by which this program knows the nodes that it took out.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from triage.fleet.slurm import MARK, MOST_REASON, State, Unusable, run

REASON = "gpu-triage/reason"
"""The annotation."""
_LIMIT = "--request-timeout=15s"


def states(nodes: Collection[str]) -> list[State]:
    """Return the state of each of these nodes that the cluster knows: `drained` if it is cordoned, else `idle`.

    Raises:
        Unusable: if the cluster does not tell.
    """
    printed = _kubectl("get", "nodes", "--output=json")
    try:
        items = json.loads(printed)["items"]
        found = []
        for item in items:
            name = str(item["metadata"]["name"])
            if name in nodes:
                out = item["spec"].get("unschedulable") is True
                reason = (item["metadata"].get("annotations") or {}).get(REASON)
                found.append(State(name, "drained" if out else "idle", str(reason or "")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unusable(f"kubectl printed something else than nodes ({type(error).__name__})") from None
    return found


def drain_commands(nodes: Sequence[str], reason: str) -> list[list[str]]:
    """Return the commands that say why nodes are taken out, and then take them out; their pods go on.

    A node that is out without the reason would never be given back by this program.
    """
    why = f"{MARK} {reason}"[: MOST_REASON + 7]
    return [
        ["kubectl", "annotate", "--overwrite", "node", *nodes, f"{REASON}={why}"],
        ["kubectl", "cordon", *nodes],
    ]


def resume_commands(nodes: Sequence[str]) -> list[list[str]]:
    """Return the commands that take nodes back."""
    return [["kubectl", "uncordon", *nodes], ["kubectl", "annotate", "node", *nodes, f"{REASON}-"]]


def carry_out(words: Sequence[str]) -> None:
    """Run one of these commands.

    Raises:
        Unusable: if the cluster refuses.
    """
    _kubectl(*words[1:])


def _kubectl(*words: str) -> str:
    return run(
        ["kubectl", _LIMIT, *words], where="kubectl and its configuration are", asks="does the cluster's API answer?"
    )
