"""What a store knows of a fleet as text: nodes, incidents, changes, two sweeps beside each other.

Everything comes from the objects that the JSON forms print.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from triage.fleet.names import fold
from triage.render.layout import Look, fill
from triage.render.safe import cut
from triage.render.words import verdict_words

Json = dict[str, Any]

MOST_RULES = 3
MOST_LINES = 200
"""Lines of one kind; the JSON forms have all of them."""
SHORT_KEY = 12


def nodes(report: Json, look: Look) -> str:
    """Return the nodes, those of which the same is known as one set."""
    told: dict[tuple[str, ...], list[str]] = {}
    for node in report["nodes"]:
        told.setdefault(_known(node), []).append(node["node"])
    lines = [f"{len(report['nodes'])} nodes"]
    for known, names in sorted(told.items(), key=lambda item: (item[0][0] == "ok", -len(item[1]), item[0])):
        lines += _line(look, f"{fold(names)}: {', '.join(word for word in known if word)}")
    return _text(lines)


def _known(node: Json) -> tuple[str, ...]:
    if node["answered_at"] is None:
        return (f"{node['state']}: {node['reason']}",)
    late = "" if node["state"] == "answered" else f"{node['state']} since {node['answered_at'][:16]}Z"
    driver = f"driver {node['driver']}" if node["driver"] else ""
    gpus = "1 GPU" if node["gpus"] == 1 else f"{node['gpus']} GPUs"
    return (node["status"], late, gpus, driver, ", ".join(node["incidents"]))


def incidents(report: Json, look: Look) -> str:
    """Return the incidents, one after the other."""
    found = report["incidents"]
    lines = [] if found else ["No incidents."]
    for each in found[:MOST_LINES]:
        gpu = (each["where"].get("gpu") or {}) if each.get("where") else {}
        where = " ".join(str(word) for word in (each["where"]["node"], gpu.get("pci"), gpu.get("serial")) if word)
        when = f"{each['opened_at'][:16]}Z" if each.get("opened_at") else "at an unknown time"
        over = "" if each["state"] == "open" else f" ({each['state']})"
        says = f"{each['rule']['id']}: {verdict_words(each['verdict'])}{over}"
        lines += fill(look, [("", f"{each['severity'].upper()} {where}, {when}: {says}")], "", "  ")
    return _text(lines + _more(len(found)))


def changes(report: Json, look: Look) -> str:
    """Return what changed, and what stands beside it."""
    found = report["changes"]
    lines = [f"{report['nodes']} nodes"] if found else [f"{report['nodes']} nodes, and nothing changed."]
    for change in found[:MOST_LINES]:
        lines += _line(look, _changed(change))
        beside = change["incidents"]
        if beside["since"] or beside["before"]:
            rules = list(beside["rules"].items())
            named = ", ".join(f"{rule} {count}" for rule, count in rules[:MOST_RULES])
            more = ", ..." if len(rules) > MOST_RULES else ""
            said = (
                f"{beside['since']} incidents on them since, until {beside['days']} days after"
                f"{f' ({named}{more})' if named else ''}; {beside['before']} in the {beside['days']} days before"
            )
            lines += fill(look, [("", said)], "    + ", "      ")
    return _text(lines + _more(len(found)))


def diff(report: Json, look: Look) -> str:
    """Return two sweeps beside each other."""
    lines = []
    for side, word in (("from", "from"), ("to", "to  ")):
        sweep = report[side]
        lines += fill(look, [("", f"{word} {_sweep(sweep)}")], "", "  ")
    states: dict[tuple[str, str, str], list[str]] = {}
    for each in report["states"]:
        key = (each["was"] or "not asked", each["now"] or "not asked", each["reason"] or "")
        states.setdefault(key, []).append(each["node"])
    answered = [
        f"{fold(names)}: {was}, now {now}{f': {why}' if why else ''}" for (was, now, why), names in states.items()
    ]
    for title, rows in (
        ("WHO ANSWERED", answered),
        ("WHAT CHANGED", [_changed(change) for change in report["changes"]]),
        ("NEW INCIDENTS", list(_incidents(report["incidents"]["opened"]))),
        ("GONE", list(_incidents(report["incidents"]["over"]))),
    ):
        if rows:
            lines += ["", title, *(line for row in rows[:MOST_LINES] for line in _line(look, row)), *_more(len(rows))]
    still = report["incidents"]["still"]
    lines += ["", f"{still} {'incident goes' if still == 1 else 'incidents go'} on."]
    return _text(lines)


def sweeps(report: Json, look: Look) -> str:
    """Return the sweeps, one a line."""
    if not report["sweeps"]:
        return "No sweeps.\n"
    return _text(line for sweep in report["sweeps"] for line in fill(look, [("", _sweep(sweep))], "", "  "))


def _sweep(sweep: Json) -> str:
    silent = f", {sweep['silent']} silent" if sweep["silent"] else ""
    state = "" if sweep["complete"] else ", not complete"
    named = f" ({cut(sweep['nodes'], 40)[0]})" if sweep["nodes"] else ""
    return (
        f"{sweep['sweep'][:SHORT_KEY]} {sweep['began_at'][:16]}Z by {sweep['via']}: {sweep['answered']} of"
        f" {sweep['asked']} answered{silent}{state}{named}"
    )


def _changed(change: Json) -> str:
    many, what = change["nodes"], change["what"]
    span = f"{change['after'][:16]}Z to {change['by'][:16]}Z"
    who = ", ".join(change["parts"][:2]) + (f" and {len(change['parts']) - 2} more" if len(change["parts"]) > 2 else "")
    if change["kind"] == "part":
        says = {
            "moved": f"board {who} moved from {change['was']} to {change['now']}",
            "swapped": f"board at {who}: {change['was']} became {change['now']}",
            "added": f"board {who} is new at {change['now']}",
            "gone": f"board {who} is gone from {change['was']}",
        }.get(what, what)
    else:
        says = f"{what}: {change['was']} became {change['now']}{f' on {who}' if who else ''}"
    count = "1 node" if len(many) == 1 else f"{len(many)} nodes"
    return f"{change['kind']}: {says}; {count}, {fold(many)}; {span}"


def _incidents(found: Iterable[Json]) -> Iterable[str]:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for each in found:
        verdict = each["verdict"]
        groups.setdefault((each["severity"], each["rule"], verdict["leaf"] or verdict["family"]), []).append(
            each["node"]
        )
    for (severity, rule, verdict), names in groups.items():
        yield f"{severity.upper()} {rule} ({verdict}): {len(names)} on {fold(names)}"


def _line(look: Look, text: str) -> list[str]:
    return fill(look, [("", text)], "  - ", "    ")


def _more(count: int) -> list[str]:
    return [f"  and {count - MOST_LINES} more; --format json has all of them"] if count > MOST_LINES else []


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
