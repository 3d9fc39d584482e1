"""The report as text for a person who was woken: verdict first, then why, then what to do.

Everything comes from the report object, so no surface knows more than the JSON.
It reads the same without colour, and at 80 columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from triage.render.layout import Look, Span, at_most, fill
from triage.render.words import RISKS, RIVAL, moment, number, times, verdict_words, where

Json = dict[str, Any]

MOST_LOG_LINES = 3
"""Screen lines that one log line may take; the JSON form has all of it."""
MOST_OPEN = 5
"""Open questions told per list, the weightiest first; the JSON form has all of them."""
STORM = 10
"""Lines of one incident from which on their rate is told."""


def render(report: Json, look: Look, *, headline: bool = True) -> str:
    """Return the whole report; without `headline` the caller has said how it stands, and what went well is left out."""
    sources = report["sources"]
    blocks = [fill(look, _headline(report))] if headline else []
    blocks += [_incident(report["node"], incident, look) for incident in report["incidents"]]
    if report["incidents"]:
        blocks.append(_processes(report.get("processes", ()), look))
    blocks.append(_sources([source for source in sources if headline or not source["readable"]], look))
    blocks.append(_notices(report, look))
    return "\n".join("\n".join(block) + "\n" for block in blocks if block)


def _headline(report: Json) -> list[Span]:
    incidents, sources = report["incidents"], report["sources"]
    unread = sum(not source["readable"] for source in sources)
    records = sum(source["records"] for source in sources if source["readable"])
    still = [incident for incident in incidents if incident["state"] == "open"]
    counts = [
        f"{count} {severity}"
        for severity in ("critical", "warning", "info")
        if (count := sum(incident["severity"] == severity for incident in still))
    ]
    over = len(incidents) - len(still)
    found = ", ".join(counts + [f"{over} no longer open"] * (over > 0))
    parts = [
        found or ("no GPU fault found" if report["status"] == "ok" else "nothing can be said"),
        f"{_plural(records, 'record')} of {_plural(len(sources) - unread, 'source')} read",
    ]
    if unread:
        parts.append(f"{_plural(unread, 'source')} NOT read")
    if not report["complete"]:
        parts.append("INTERRUPTED before the end")
    node = f"{report['node']}: " if report["node"] else ""
    return [(report["status"], report["status"].upper() + " "), ("", node + "; ".join(parts))]


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _incident(node: str | None, incident: Json, look: Look) -> list[str]:
    verdict = incident["verdict"]
    severity = incident["severity"]
    family = verdict["leading"]["family"]
    leaves = list(verdict["by_leaf"])
    evidence = [
        {**item, "points": _by_family(item["points"], leaves), "would_be": _by_family(item["would_be"], leaves)}
        for item in sorted(incident["evidence"], key=_weight)
    ]
    seen = [item for item in evidence if item["state"] == "seen"]
    state = "" if incident["state"] == "open" else f", {incident['state']}"
    head: list[Span] = [
        (severity, f"{severity.upper()}{state} "),
        ("", where(incident["where"]["node"] or node, incident["where"]["gpu"]) + " "),
        ("strong", verdict_words(verdict)),
    ]
    lines = ["-" * look.width, *fill(look, head, hang=" " * 10)]
    likely = [f"{leaf} {number(share)}" for leaf, share in verdict["by_leaf"].items() if share >= RIVAL]
    lines += fill(look, [("faint", f"most likely: {', '.join(likely[:4])}")], " " * 10) if likely else []
    lines += _section(look, "What happened", _happened(incident, seen, look))
    for bearing, sign in (("for", "+"), ("against", "-")):
        items = [line for item in seen if item["bearing"] == bearing for line in _seen(item, sign, look)]
        title = f"Evidence {bearing} {family}" + (" (ahead)" if verdict["family"] != family else "")
        lines += _section(look, title, items or _item(look, "", "none found"))
    lines += _section(look, "The log around it", _around(incident.get("context", ()), look))
    quiet = [item for item in evidence if item["state"] == "quiet"]
    lines += _section(look, "Checked and quiet", _silent(quiet, seen, look))
    unknown = [item for item in evidence if item["state"] == "unknown"]
    lines += _section(look, "Could not check", _unread(unknown, look))
    settle = incident["settle"]
    more = [f"and {len(settle) - MOST_OPEN} that would tell less"] * (len(settle) > MOST_OPEN)
    lines += _section(look, "What would settle it", _list([*settle[:MOST_OPEN], *more], look))
    steps = [f"{step['do']} [{RISKS.get(step['risk'], step['risk'])}; {step['owner']}]" for step in incident["next"]]
    lines += _section(look, "What to do next", _list(steps, look, numbered=True))
    return lines + _section(
        look, "Explains (symptoms of this, not incidents of their own)", _list(incident["explains"], look)
    )


def _by_family(points: dict[str, int], leaves: list[str]) -> dict[str, int]:
    """Name a family once where all its leaves move alike; what supports comes before what opposes."""
    short: dict[str, int] = {}
    for leaf, value in points.items():
        family = leaf.partition(".")[0]
        whole = [other for other in leaves if other.partition(".")[0] == family]
        short[family if all(points.get(other) == value for other in whole) else leaf] = value
    return dict(sorted(short.items(), key=lambda pair: -pair[1]))


def _weight(item: Json) -> tuple[bool, int]:
    points = item["would_be"] if item["state"] == "unknown" else item["points"]
    return not item["counted"], -max((abs(value) for value in points.values()), default=0)


def _section(look: Look, title: str, lines: list[str]) -> list[str]:
    return [*fill(look, [("strong", title.upper())], "  "), *lines] if lines else []


def _item(look: Look, mark: str, *words: str) -> list[str]:
    indent = " " * 4
    lead = f"{mark} " if mark else ""
    return fill(
        look, [("", lead.rstrip(" "))] * bool(mark) + [("", w) for w in words], indent, indent + " " * len(lead)
    )


def _list(entries: Iterable[str], look: Look, *, numbered: bool = False) -> list[str]:
    marked = ((f"{place}." if numbered else "-", entry) for place, entry in enumerate(entries, 1))
    return [line for mark, entry in marked for line in _item(look, mark, entry)]


def _happened(incident: Json, seen: list[Json], look: Look) -> list[str]:
    gpu = incident["where"]["gpu"] or {}
    known = [gpu.get("name"), *(f"{name} {gpu[name]}" for name in ("serial", "uuid") if gpu.get(name))]
    facts = "; ".join(filter(None, [_when(incident, seen), *known]))
    rule = f"(rule {incident['rule']['id']} v{incident['rule']['version']})"
    lines = _item(look, "", incident["summary"]) + fill(look, [("", facts), ("faint", rule)], " " * 4)
    storm = _storm(incident.get("repeats"))
    lines += fill(look, [("", storm)], " " * 4) if storm else []
    life = _life(incident)
    lines += fill(look, [("", life)], " " * 4) if life else []
    for item in seen:
        if item["id"] == "trigger":
            lines += _line_of(item, look)
        if item["bearing"] == "neutral":
            lines += _seen(item, "*", look)
    return lines


def _storm(repeats: Json | None) -> str:
    """Return how fast many lines came and from how many places, where there were many."""
    if repeats is None or repeats["lines"] < STORM:
        return ""
    least = "" if repeats["exact"] else "at least "
    said = []
    if repeats["per_second"] is not None and repeats["seconds"] >= 1:
        rate = repeats["per_second"]
        said.append(f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}")
        said[-1] += f" lines a second for {repeats['seconds']:,.0f} s"
    if repeats["processes"]:
        said.append(f"of {least}{repeats['processes']} {'process' if repeats['processes'] == 1 else 'processes'}")
    if repeats["addresses"]:
        said.append(f"naming {least}{repeats['addresses']} {'address' if repeats['addresses'] == 1 else 'addresses'}")
    return ", ".join(said)


def _life(incident: Json) -> str:
    """Return what earlier sweeps know, where it is more than this one says."""
    history = incident.get("history")
    if history is None:
        return ""
    said = []
    if history["reopened"]:
        said.append(f"came back {times(history['reopened'])} since {moment(history['first_opened_at'])}")
    if history["present"] is False:
        said.append("seen by earlier sweeps, not by this one")
    acknowledged = history["acknowledged"]
    if acknowledged is not None and incident["state"] != "resolved":
        until = f" until {moment(acknowledged['until'])}" if acknowledged["until"] else ""
        said.append(f"acknowledged {moment(acknowledged['at'])}{until}: {acknowledged['reason']}")
    if history["resolved_at"] is not None:
        said.append(f"over {moment(history['resolved_at'])}: {history['resolved_why']}")
    return "; ".join(said)


def _when(incident: Json, seen: list[Json]) -> str:
    first, last = incident["opened_at"], incident["last_seen_at"]
    opened = moment(first)
    if first is None:
        boot = next((item["source"]["monotonic"] for item in seen if _has_uptime(item)), None)
        opened = opened if boot is None else f"{boot:.6f} s after boot"
    if incident["seen"] == 1:
        return opened
    until = "" if last is None or last == first else f", last {moment(last)}"
    return f"{times(incident['seen'])}, first {opened}{until}"


def _has_uptime(item: Json) -> bool:
    source = item["source"]
    return item["id"] == "trigger" and source is not None and source.get("monotonic") is not None


def _seen(item: Json, sign: str, look: Look) -> list[str]:
    often = "" if item["count"] == 1 else f"({times(item['count'])})"
    lines = _item(look, sign, *filter(None, (item["why"], often)))
    facts = [_place(item), _points(item["points"])]
    if not item["counted"]:
        facts.append(f"not counted: a stronger one in '{item['group']}' stands for it")
    # The line of the trigger has been shown as what happened.
    shown = [] if item["id"] == "trigger" else _line_of(item, look)
    return lines + shown + fill(look, [("faint", "; ".join(filter(None, facts)))], " " * 6)


def _silent(quiet: list[Json], seen: list[Json], look: Look) -> list[str]:
    """What was looked for and not there: all that weighs, and a few of the rest, no sentence twice.

    Where one member of a group was seen, that the others were not says nothing.
    """
    said, answered = {item["why"] for item in seen}, {item["group"] for item in seen}
    told = list({item["why"]: item for item in quiet if item["why"] not in said}.values())
    weighs = [item for item in told if item["points"]]
    rest = [item for item in told if not item["points"] and item["group"] not in answered]
    lines = [line for item in (*weighs, *rest[:MOST_OPEN]) for line in _quiet(item, look)]
    more = len(rest) - MOST_OPEN
    return lines + (_item(look, "-", f"and {more} more that would have moved the verdict") if more > 0 else [])


def _quiet(item: Json, look: Look) -> list[str]:
    if item["points"]:
        lines = _item(look, "-", item["why"], f"({_points(item['points'])})")
    else:
        lines = _item(look, "-", f"not so: {item['why']}")
    return lines + _line_of(item, look)


def _unread(unknown: list[Json], look: Look) -> list[str]:
    """Return what could not be checked, under the reason that kept it from being checked."""
    reasons: dict[str, list[Json]] = {}
    for item in unknown:
        reasons.setdefault(item["reason"] or "no reason given", []).append(item)
    lines = []
    for reason, items in reasons.items():
        lines += _item(look, "", f"{reason}:")
        for item in items[:MOST_OPEN]:
            worth = f"(if seen: {_points(item['would_be'])})" if item["would_be"] else ""
            lines += fill(look, [("", f"- {item['why']}"), ("faint", worth)], " " * 6, " " * 8)
        lines += fill(look, [("", f"- and {len(items) - MOST_OPEN} that weigh less")], " " * 6) * (
            len(items) > MOST_OPEN
        )
    return lines


def _points(points: dict[str, int]) -> str:
    return ", ".join(f"{value:+d} {leaf}" for leaf, value in points.items())


def _place(item: Json) -> str:
    source = item["source"]
    if source is None:
        return ""
    if source["kind"] == "reading":
        return moment(item["at"])
    origin = _origin(source["origin"])
    place = origin if source["line"] is None else f"{origin}:{source['line']}"
    if source["injected"]:
        place += " (written to /dev/kmsg by root, not by the kernel)"
    if item["at"] is not None:
        return f"{place}, {moment(item['at'])}"
    return place if source["monotonic"] is None else f"{place}, {source['monotonic']:.6f} s after boot"


def _origin(origin: str) -> str:
    return "standard input" if origin == "-" else origin


def _line_of(item: Json, look: Look) -> list[str]:
    source = item["source"]
    if source is None:
        return []
    if source["kind"] == "reading":
        value = f"unknown ({source['missing']})" if source["value"] is None else f"{source['value']} {source['unit']}"
        shown = f"{source['name']} = {value}"
    else:
        shown = source["text"]
    return at_most(fill(look, [("", shown)], " " * 6 + "| ", " " * 8), MOST_LOG_LINES)


def _around(context: Iterable[Json], look: Look) -> list[str]:
    """Return stretches of logs, each under where it is from, with `>` before the lines that count."""
    lines = []
    for stretch in context:
        lines += fill(look, [("faint", _origin(stretch["origin"]))], " " * 4)
        width = len(str(stretch["lines"][-1]["line"])) if stretch["lines"] else 0
        for line in stretch["lines"]:
            lead = f"{'>' if line['evidence'] else ' '} {line['line']:>{width}} | "
            hang = " " * (6 + len(lead))
            shown = fill(look, [("", line["text"])], " " * 4 + lead, hang) or [(" " * 4 + lead).rstrip()]
            lines += at_most(shown, MOST_LOG_LINES)
    return lines


MOST_PROCESSES = 8
"""Processes that are shown; the JSON has more."""


def _processes(processes: Sequence[Json], look: Look) -> list[str]:
    """Whose the processes on the GPUs are."""
    shown = [process for process in processes if owner(process)]
    lines = [
        line
        for process in shown[:MOST_PROCESSES]
        for line in fill(look, [("", f"{process['name']} ({process['pid']}): {owner(process)}")], "  ", "    ")
    ]
    if len(shown) > MOST_PROCESSES:
        lines += fill(look, [("", f"and {len(shown) - MOST_PROCESSES} more")], "  ")
    return [*fill(look, [("strong", "On the GPUs")]), *lines] if lines else []


def owner(process: Json) -> str:
    """Return whose a process is in words; empty if that is not known."""
    parts = []
    if process["job"]:
        name = f" ({process['job_name']})" if process["job_name"] else ""
        parts.append(f"{process['scheduler']} job {process['job']}{name}")
    if process["pod"]:
        parts.append(f"pod {process['pod']}")
    elif process["container"]:
        parts.append(f"{process['runtime'] or 'container'} {process['container'][:12]}")
    elif process["unit"] and not process["job"]:
        parts.append(process["unit"])
    if process["user"]:
        parts.append(f"user {process['user']}")
    return ", ".join(parts)


def _sources(sources: list[Json], look: Look) -> list[str]:
    lines = []
    for source in sources:
        span = f", {moment(source['from'])} to {moment(source['to'])}" if source["from"] and source["to"] else ""
        boot = ", from the start of the boot" if source["from_boot"] else ""
        name = f"{source['kind']} {_origin(source['origin'])}: "
        if source["readable"]:
            reason = f"; {source['reason']}" if source["reason"] else ""
            words = [("", name + _plural(source["records"], "record") + span + boot + reason)]
        else:
            words = [("unknown", "NOT READ"), ("", name + (source["reason"] or "no reason given"))]
        lines += fill(look, words, "  ", "    ")
    return [*fill(look, [("strong", "Sources")]), *lines] if lines else []


def _notices(report: Json, look: Look) -> list[str]:
    lines = [line for notice in report["notices"] for line in fill(look, [("", f"- {notice}")], "  ", "    ")]
    return [*fill(look, [("strong", "Notices")]), *lines] if lines else []
