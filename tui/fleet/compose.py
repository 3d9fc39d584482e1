"""From what the nodes answered, and the report made of it, to the rows of a picture.

Nothing is judged here: states, verdicts and sentences are those of the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from triage.fleet.changed import Changed
from triage.fleet.gather import epoch
from triage.fleet.model import ANSWERED, Answer, Json, Part
from tui.facts import facts
from tui.fleet.nodesets import folded, natural
from tui.fleet.picture import STATES, ChangeRow, GroupRow, NodeRow, Said, Spread, named

DRIVER = "driver.version"
MOST_CHANGES = 500
MOST_SPREAD = 500
"""Nodes by which it is told how a reading lies in the fleet."""
_SEVERITIES = ("critical", "warning", "info")
_OPEN = ("open", "acknowledged", "resolved")
_LETTERS = {"critical": "C", "warning": "w"}

Places = Mapping[str, Mapping[str, str]]


def latest(answers: Iterable[Answer]) -> dict[str, Answer]:
    """Return the last answer of each node; one that could be read is better than one that could not."""
    found: dict[str, Answer] = {}
    for answer in answers:
        known = found.get(answer.node)
        if known is None or _newness(answer) >= _newness(known):
            found[answer.node] = answer
    return found


def _newness(answer: Answer) -> tuple[bool, float]:
    return answer.state == ANSWERED, answer.at or 0.0


def by_node(report: Json, answers: Mapping[str, Answer]) -> dict[str, list[Json]]:
    """Return the incidents of the report by node, and those that it has not because nothing says when they were."""
    found: dict[str, list[Json]] = {}
    for incident in report.get("incidents", ()):
        found.setdefault(str((incident.get("where") or {}).get("node")), []).append(incident)
    for node, answer in answers.items():
        known = {each.get("fingerprint") for each in found.get(node, ())}
        timeless = [each for each in answer.incidents if each.get("fingerprint") not in known]
        if timeless:
            found.setdefault(node, []).extend(timeless)
    return found


def node_rows(answers: Mapping[str, Answer], incidents: Mapping[str, Sequence[Json]], places: Places) -> list[NodeRow]:
    """Return a row for each node, worst first; `incidents` are the report's, by node."""
    rows = [_node(answer, incidents.get(node, ()), places.get(node, {})) for node, answer in answers.items()]
    return sorted(rows, key=lambda row: (STATES.index(row.state), -row.incidents, natural(row.node)))


def _node(answer: Answer, incidents: Sequence[Json], place: Mapping[str, str]) -> NodeRow:
    # What an earlier capture showed and the last one does not is in the report, but no longer how the node stands.
    now = {each.get("fingerprint") for each in answer.incidents}
    still = [each for each in incidents if each.get("state") == "open" and each.get("fingerprint") in now]
    worst = min(still, key=lambda each: _rank(each.get("severity")), default=None)
    told = None if worst is None else facts({"incidents": [worst]}).incidents[0]
    silent = answer.state != ANSWERED
    state = "unread" if silent else answer.status if answer.status in STATES else "unknown"
    return NodeRow(
        node=answer.node,
        state=state,
        at=answer.at,
        incidents=len(still),
        what=(answer.reason or answer.state) if silent else "" if told is None else told.title,
        rule="" if told is None else told.rule,
        verdict="" if told is None else named(told.verdict.family, told.verdict.lead_leaf, told.verdict.lead_family),
        sure=None if told is None else told.verdict.confidence,
        gpus="".join(_letter(part, still) for part in answer.gpus),
        driver=answer.facts.get(DRIVER),
        rack=place.get("rack") or answer.facts.get("rack"),
    )


def _rank(severity: object) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def _letter(part: Part, incidents: Iterable[Json]) -> str:
    """How a GPU stands: by its open incidents, then by what its driver says of it; else it is not known."""
    here = [each.get("severity") for each in incidents if _is_of(part, each)]
    worst = next((severity for severity in _SEVERITIES[:2] if severity in here), None)
    if worst is not None:
        return _LETTERS[worst]
    told = part.facts.get("gpu.state")
    if told not in (None, "ok"):
        return "C"
    return "." if part.numbers.get("gpu.responsive") == 1.0 else "?"


def _is_of(part: Part, incident: Json) -> bool:
    gpu = (incident.get("where") or {}).get("gpu") or {}
    for name in ("serial", "uuid", "pci"):
        mine, its = getattr(part, name), gpu.get(name)
        if mine is not None and its is not None:
            return bool(mine == its)
    return False


def group_rows(incidents: Iterable[Json]) -> list[tuple[GroupRow, Json]]:
    """Return the incidents that are one thing to whoever must act, with one of them; worst and widest first."""
    groups: dict[tuple[str, ...], list[Json]] = {}
    for incident in incidents:
        verdict, rule = incident.get("verdict") or {}, incident.get("rule") or {}
        key = (str(incident.get("severity")), str(incident.get("state")), str(rule.get("id")),
               str(verdict.get("family")), str(verdict.get("leaf")))  # fmt: skip
        groups.setdefault(key, []).append(incident)
    rows = [(_group(key, members), members[0]) for key, members in groups.items()]
    return sorted(rows, key=lambda pair: _worst_first(pair[0]))


def _worst_first(group: GroupRow) -> tuple[int, int, bool, int, str]:
    state = _OPEN.index(group.state) if group.state in _OPEN else len(_OPEN)
    # What the nodes together decided comes before what stays open: it is what can be acted on.
    return state, _rank(group.severity), group.family == "undetermined", -group.wide, group.key


def _group(key: tuple[str, ...], members: Sequence[Json]) -> GroupRow:
    first = facts({"incidents": [members[0]]}).incidents[0]
    nodes = {str((each.get("where") or {}).get("node")) for each in members}
    opened = [at for each in members if (at := epoch(each.get("opened_at"))) is not None]
    seen = [at for each in members if (at := epoch(each.get("last_seen_at"))) is not None]
    step = first.next[0] if first.next else None
    alone = len(members) == 1 and first.gpu is not None
    return GroupRow(
        key="/".join(key),
        severity=first.severity,
        state=first.state,
        title=first.title,
        rule=first.rule,
        family=first.verdict.family,
        leaf=first.verdict.lead_leaf,
        lead=first.verdict.lead_family,
        sure=first.verdict.confidence,
        words=first.verdict.words,
        nodes=folded(nodes),
        gpu=first.gpu.pci if alone and first.gpu is not None else None,
        count=len(members),
        wide=len(nodes),
        first=min(opened, default=None),
        last=max(seen or opened, default=None),
        why=next(iter(whys(members)), ""),
        do="" if step is None else step.do,
        risk="" if step is None else step.risk,
        owner="" if step is None else step.owner,
    )


def whys(members: Iterable[Json]) -> list[str]:
    """Return what the fleet says for the verdict of a group, the most frequent first."""
    said: dict[str, int] = {}
    for member in members:
        names = set((member.get("fleet") or {}).get("evidence", ()))
        for item in member.get("evidence", ()):
            if item["id"] in names and item["bearing"] == "for":
                said[item["why"]] = said.get(item["why"], 0) + 1
    return sorted(said, key=lambda why: (-said[why], why))


def said_rows(report: Json) -> list[Said]:
    """Return the patterns that stand, those least likely by chance first."""
    rows = []
    for found in report.get("patterns", ()):
        if found.get("explained_by"):
            continue
        other = found.get("tangled_with")
        doubt = f"{other['id']} {other['value']}" if other else ""
        rows.append(Said(found["rule"], found["of"], str(found["value"]), found["says"], found.get("lift"),
                         found.get("chance"), found["affected"], doubt))  # fmt: skip
    return sorted(rows, key=lambda row: (bool(row.doubt), row.chance if row.chance is not None else 1.0, -row.affected))


def change_rows(changes: Iterable[Changed]) -> list[ChangeRow]:
    """Return each change once, with all nodes that it was seen on, the latest first."""
    alike: dict[str, list[Changed]] = {}
    for change in changes:
        alike.setdefault(change.says, []).append(change)
    rows = []
    for says, members in alike.items():
        nodes = {each.node for each in members}
        times = [each.at for each in members]
        rows.append(ChangeRow(says, folded(nodes), len(nodes), min(times), max(times)))
    return sorted(rows, key=lambda row: -row.last)[:MOST_CHANGES]


def spread_rows(answers: Iterable[Answer]) -> list[Spread]:
    """Return how each reading lies among the GPUs of a model; of very many GPUs those of every so many nodes."""
    known = [answer for answer in answers if answer.gpus]
    found: dict[tuple[str, str], list[float]] = {}
    for answer in known[:: max(1, len(known) // MOST_SPREAD)]:
        for part in answer.gpus:
            if part.name is not None:
                for name, value in part.numbers.items():
                    found.setdefault((part.name, name), []).append(value)
    rows = []
    for (model, name), values in found.items():
        values.sort()
        low, middle, high = (values[int(share * (len(values) - 1))] for share in (0.05, 0.5, 0.95))
        rows.append(Spread(model, name, low, middle, high, len(values)))
    return rows


def mapped(rows: Iterable[NodeRow]) -> str:
    """Return one letter for each node in the order of names, which never moves."""
    letters = {"critical": "C", "warning": "w", "ok": ".", "unread": "?", "unknown": "?"}
    return "".join(letters[row.state] for row in sorted(rows, key=lambda row: natural(row.node)))


def detail(
    answer: Answer,
    incidents: Sequence[Json],
    paths: Sequence[str],
    generated_at: str,
    changes: Iterable[Changed] = (),
) -> Json:
    """Return a node's own report with the verdicts that the fleet gave, and what it was read from."""
    readable = answer.state == ANSWERED
    heard: tuple[Any, Any] = answer.heard or (None, None)
    from triage.report import iso

    report: Json = {
        "schema_version": 1,
        "kind": "report",
        "generated_at": generated_at,
        "node": answer.node,
        "status": answer.status if readable else "unknown",
        "sources": [
            {"kind": "kernel-log" if answer.heard else "capture", "origin": path, "readable": readable,
             "from": iso(heard[0]), "to": iso(heard[1]), "records": None, "reason": answer.reason}
            for path in paths
        ],
        "incidents": list(incidents),
        "gpus": [{"pci": p.pci, "uuid": p.uuid, "serial": p.serial, "index": p.index, "name": p.name}
                 for p in answer.gpus],
        "notices": list(answer.notices),
    }  # fmt: skip
    told = [[change.at, change.says] for change in changes]
    return {"report": report, "at": answer.at, "paths": list(paths), "changes": told}
