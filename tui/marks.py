"""Which lines of a log are evidence, of what, and whether they still read as they were quoted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tui.facts import Evidence, Facts, Incident
from tui.source import LogText


def evidence_at(
    facts: Facts | None, own: Incident | None, log: LogText, row: int
) -> Iterator[tuple[Incident, Evidence]]:
    """Yield what counted a row of a log as evidence, that of the incident that is looked at first."""
    incidents = () if facts is None else facts.incidents
    for incident in sorted(incidents, key=lambda each: own is None or each.key != own.key):
        for item in incident.evidence:
            if _row(item, log) == row:
                yield incident, item


def _row(item: Evidence, log: LogText) -> int | None:
    witness = item.witness
    if witness is None or witness.line is None or item.state == "unknown":
        return None
    return log.row_of(witness.origin, witness.line)


def marks_of(facts: Facts, incident: Incident | None, log: LogText) -> Mapping[int, Sequence[str]]:
    """Return the rows of a log that are evidence: by number for one incident, else with a star."""
    marks: dict[int, list[str]] = {}
    for each in facts.incidents:
        for item in each.evidence:
            row = _row(item, log)
            if row is None:
                continue
            if incident is None or each.key != incident.key:
                label = "*"
            else:
                label = "T" if item.id == "trigger" else f"[{item.number}]"
            marks.setdefault(row, []).append(label)
    return {
        row: list(dict.fromkeys(label for label in labels if label != "*")) or ["*"] for row, labels in marks.items()
    }


def same(quoted: str, line: str) -> bool:
    """Whether a line is the one that was quoted; a live source stamps it otherwise."""
    said = quoted.rstrip(".")[-60:].strip()
    return not said or said in line or line[-60:].strip() in quoted or quoted[:60] in line
