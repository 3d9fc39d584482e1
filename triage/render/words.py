"""What every surface calls the same: places, verdicts, probabilities, times, risks."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

RIVAL = 0.05
"""Probability from which a cause is named among the candidates of an open verdict."""

RISKS = {
    "none": "no risk",
    "restarts-job": "restarts the job",
    "resets-gpu": "resets the GPU",
    "reboots-node": "reboots the node",
    "needs-hands": "needs hands on site",
}


def where(node: str | None, gpu: Json | None) -> str:
    """Return the place in words: the node and the GPU, as far as they are known."""
    if gpu is None:
        return f"{node} (whole node)" if node else "the node"
    name = gpu["pci"] or gpu["uuid"] or gpu["serial"]
    number = "" if gpu["index"] is None else f" {gpu['index']}"
    device = f"GPU{number} {name}" if name else f"GPU{number or ' (which one is not known)'}"
    return f"{node} {device}" if node else device


def verdict_words(verdict: Json) -> str:
    """Return the verdict, how sure it is and what is named; while undetermined the candidates instead."""
    if verdict["family"] == "undetermined":
        ahead = [f"{name} {number(share)}" for name, share in verdict["by_family"].items() if share >= RIVAL]
        return "UNDETERMINED" + (f" - {', '.join(ahead[:3])}" if ahead else "")
    lead = verdict["leading"]
    named = lead["title"] or lead["leaf"]
    words = f"{verdict['family'].upper()}, {verdict['words']} ({number(verdict['confidence'])})"
    return f"{words} - {named}" if named else words


def number(share: float) -> str:
    """Return a probability with two digits, never rounded to an impossible or a certain 1.00 or 0.00."""
    if 0 < share < 0.005:
        return "<0.01"
    return ">0.99" if 0.995 <= share < 1 else f"{share:.2f}"


def moment(iso: str | None) -> str:
    """Return an ISO time as it is read aloud, still UTC and marked so."""
    return "at an unknown time" if iso is None else iso.replace("T", " ").replace(".000Z", "Z")


def times(count: int) -> str:
    """Return how often in words."""
    return "once" if count == 1 else f"{count} times"
