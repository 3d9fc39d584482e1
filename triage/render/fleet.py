"""A fleet's report as text: what faults go with, then the incidents gathered by what they are and whose they are.

Everything comes from the report object.  It reads the same without colour, and at 80 columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from triage.fleet.names import fold
from triage.render.layout import Look, fill
from triage.render.words import verdict_words

Json = dict[str, Any]

MOST_NODES = 8
"""Nodes of a group that are named; the JSON form has all of them."""
MOST_SILENT = 10


def render(report: Json, look: Look) -> str:
    """Return the whole report."""
    blocks = [_head(report, look), _patterns(report, look), _groups(report, look), _silent(report, look)]
    notices = [line for notice in report["notices"] for line in fill(look, [("", f"Notice: {notice}")])]
    return "\n".join("\n".join(block) + "\n" for block in (*blocks, notices) if block)


def _head(report: Json, look: Look) -> list[str]:
    nodes = report["nodes"]
    counts = ", ".join(f"{number} {status}" for status, number in nodes["status"].items() if number)
    silent = f", {len(nodes['silent'])} could not be read" if nodes["silent"] else ""
    period = f"; {report['from'][:16]}Z to {report['to'][:16]}Z" if report["from"] and report["to"] else ""
    return fill(look, [("", f"{nodes['told']} nodes ({counts or 'none'}){silent}{period}")])


def _patterns(report: Json, look: Look) -> list[str]:
    standing = [found for found in report["patterns"] if not found["explained_by"]]
    if not standing:
        return ["WHAT FAULTS GO WITH", *fill(look, [("", "nothing that chance would not do as often")], "  ")]
    lines = ["WHAT FAULTS GO WITH"]
    for found in standing:
        lift = f", {found['lift']:g} times as often" if "lift" in found else ""
        other = found["tangled_with"]
        doubt = f" (cannot be told from {other['id']} {other['value']})" if other else ""
        says = f"{found['rule']}: {found['says']}{lift}; by chance {found['chance']:g}{doubt}"
        lines += _indented(look, "  - ", says)
    return lines


def _groups(report: Json, look: Look) -> list[str]:
    groups: dict[tuple[str, str, str, str], list[Json]] = {}
    for incident in report["incidents"]:
        verdict = incident["verdict"]
        key = (incident["severity"], incident["rule"]["id"], verdict["family"], str(verdict["leaf"]))
        groups.setdefault(key, []).append(incident)
    lines = [] if groups else ["No incidents."]
    for (severity, _, _, _), members in groups.items():
        first = members[0]
        nodes = sorted({str(member["where"]["node"]) for member in members})
        named = ", ".join(nodes[:MOST_NODES]) + (
            f" and {len(nodes) - MOST_NODES} more" if len(nodes) > MOST_NODES else ""
        )
        lines += _indented(look, f"{severity.upper()}  ", f"{first['title']}: {verdict_words(first['verdict'])}")
        times = "1 incident" if len(members) == 1 else f"{len(members)} incidents"
        lines += _indented(look, "  ", f"{times} on {named}")
        for why in _why(members):
            lines += _indented(look, "    + ", why)
        for step in first["next"][:2]:
            lines += _indented(look, "    > ", f"{step['do']} [{step['owner']}]")
        lines.append("")
    return lines[:-1] if lines and not lines[-1] else lines


def _why(members: Iterable[Json]) -> list[str]:
    """What the fleet says for the verdict of a group, each sentence once, the most frequent first."""
    said: dict[str, int] = {}
    for member in members:
        names = set(member.get("fleet", {}).get("evidence", ()))
        for item in member["evidence"]:
            if item["id"] in names and item["bearing"] == "for":
                said[item["why"]] = said.get(item["why"], 0) + 1
    return sorted(said, key=lambda why: (-said[why], why))[:3]


def _silent(report: Json, look: Look) -> list[str]:
    silent = report["nodes"]["silent"]
    if not silent:
        return []
    lines = ["COULD NOT BE READ"]
    reasons: dict[str, list[str]] = {}
    for answer in silent:
        reasons.setdefault(str(answer["reason"]), []).append(answer["node"])
    for reason, nodes in list(reasons.items())[:MOST_SILENT]:
        lines += _indented(look, "  - ", f"{nodes[0] if len(nodes) == 1 else fold(nodes)}: {reason}")
    if len(reasons) > MOST_SILENT:
        more = sum(len(nodes) for nodes in list(reasons.values())[MOST_SILENT:])
        lines.append(f"  and {more} more; --format json has all of them")
    return lines


def _indented(look: Look, first: str, text: str) -> list[str]:
    return fill(look, [("", text)], first, " " * len(first))
