"""A stored report of a fleet (`gpu-triage fleet report --format json`) as a source: what it names can be looked at."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from triage.fleet.model import ANSWERED, FAILED, STATES, Answer, Part
from tui.facts import epoch
from tui.fleet import compose, picture
from tui.fleet.picture import Picture
from tui.fleet.source import FleetSource
from tui.source import Failed, Snapshot
from tui.sources import pause

Json = dict[str, Any]
_ORDER = ("critical", "warning")


class FleetReportSource(FleetSource):
    """One stored report; there are no captures behind it to read anew."""

    def __init__(self, path: str, report: Json, folder: Path) -> None:
        super().__init__((path,), folder)
        self._report = report

    @property
    def store(self) -> Path:
        """Where the picture stands as long as this runs."""
        return self._folder / "fleet-report.db"

    def snapshots(self, stop: threading.Event, again: threading.Event) -> Iterator[Picture | Failed]:
        """Yield the picture of the report."""
        while not stop.is_set():
            try:
                write(self.store, self._report)
                found = picture.load(self.store)
            except OSError as error:
                yield Failed(f"the picture of the fleet cannot be written: {error}", time.time())
            else:
                yield found or Failed(f"{self.store} is not as it was written", time.time())
            pause(again, None)

    def read(self, node: str, paths: Sequence[str], stop: threading.Event) -> Snapshot | Failed:
        """Say that there is nothing to read."""
        return Failed("a stored report has no counters and no logs; open the captures it was made from", time.time())


def write(store: Path, report: Json) -> None:
    """Write the picture of a report.

    Raises:
        OSError: if it cannot be written.
    """
    answers = answers_of(report)
    incidents = compose.by_node(report, {answer.node: answer for answer in answers})
    rows = compose.node_rows({answer.node: answer for answer in answers}, incidents, {})
    generated = str(report.get("generated_at") or "")
    told = {
        "made_at": epoch(report.get("generated_at")) or 0.0,
        "newest": epoch(report.get("to")) or epoch(report.get("generated_at")),
        "complete": report.get("complete") is not False,
        "map": compose.mapped(rows),
        "notices": [*_said(unnamed(report)), *(each for each in report.get("notices") or () if isinstance(each, str))],
    }
    picture.write(
        store,
        rules="",
        told=told,
        read=(),
        nodes=rows,
        groups=compose.group_rows(incident for each in incidents.values() for incident in each),
        said=compose.said_rows(report),
        details=(
            (answer.node, compose.detail(answer, incidents.get(answer.node, ()), (), generated)) for answer in answers
        ),
    )


def answers_of(report: Json) -> list[Answer]:
    """Return what a report says of the nodes that it names: those with incidents, and those that did not answer."""
    at = epoch(report.get("to"))
    by_node: dict[str, list[Json]] = {}
    for incident in _dicts(report.get("incidents")):
        by_node.setdefault(str((incident.get("where") or {}).get("node")), []).append(incident)
    found = [Answer(node, ANSWERED, at=at, status=_status(each), gpus=_parts(each), incidents=tuple(each))
             for node, each in by_node.items()]  # fmt: skip
    nodes = report.get("nodes")
    for silent in _dicts(nodes.get("silent") if isinstance(nodes, dict) else None):
        name, state = str(silent.get("node")), str(silent.get("state"))
        if name not in by_node:
            found.append(Answer(name, state if state in STATES else FAILED, str(silent.get("reason") or state)))
    return found


def unnamed(report: Json) -> int:
    """Return how many nodes answered of which the report names none: they had no incident."""
    nodes = report.get("nodes")
    told = nodes.get("told") if isinstance(nodes, dict) else None
    named = {str((each.get("where") or {}).get("node")) for each in _dicts(report.get("incidents"))}
    return max(0, told - len(named)) if isinstance(told, int) else 0


def _said(unnamed: int) -> list[str]:
    return [f"{unnamed:,} more nodes answered without an incident; a stored report does not name them"] * bool(unnamed)


def _status(incidents: Sequence[Json]) -> str:
    still = {each.get("severity") for each in incidents if each.get("state") == "open"}
    return next((severity for severity in _ORDER if severity in still), "ok")


def _parts(incidents: Sequence[Json]) -> tuple[Part, ...]:
    gpus = [(each.get("where") or {}).get("gpu") for each in incidents]
    known = [gpu for gpu in gpus if isinstance(gpu, dict)]
    parts = [Part(gpu.get("pci"), gpu.get("uuid"), gpu.get("serial"), gpu.get("index"), gpu.get("name"))
             for gpu in known]  # fmt: skip
    return tuple({(part.pci, part.uuid, part.serial): part for part in parts}.values())


def _dicts(value: object) -> list[Json]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
