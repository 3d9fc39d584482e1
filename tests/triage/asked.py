"""One question about one incident: the lines, readings and memories around it made by hand, in seconds since 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from probes.model import Entity, LogRecord, Missing, Reading
from triage.case import Answer, Case
from triage.clauses import answer
from triage.history.past import Past
from triage.history.readings import Moved
from triage.model import Signal
from triage.rulebook.load import load
from triage.rulebook.model import Clause, Rule, Seen, Select, Trigger
from triage.timeline import Spans, build

RULEBOOK = load()
GPU, OTHER = "0000:4e:00.0", "0000:9d:00.0"
RULE: Rule = next(rule for rule in RULEBOOK.rules if rule.id == "gpu-off-bus")._replace(
    trigger=Trigger((Seen(Select(xids=(79,))),), {}, "It fell off the bus.", ()), look_before=100.0, look_after=20.0
)
"""Looks 100 s back and 20 s ahead."""


def signal(name: str, at: float | None, pci: str | None = GPU, /, *, boot: str = "#1", **fields: str) -> Signal:
    """A signal of the one log; its line stands where its time is."""
    record = LogRecord(f"{name} {fields}", at=at, boot=boot, origin="log", line=int(10 * (at or 0)) + 1)
    return Signal(name, pci, fields, record)


XID = signal("xid", 1000.0, xid="79")


class Sighting(NamedTuple):
    """An event that an earlier sweep saw."""

    rule: str
    pci: str | None
    at: float


class Remembered(Past):
    """A history that knows what a test lets it know: how counters moved, what was seen, how long it was watched."""

    def __init__(
        self,
        *,
        moved: Mapping[tuple[str | None, str, float, float | None], Moved] | None = None,
        seen: Sequence[Sighting] = (),
        lives: Mapping[tuple[str, str | None, str, float], frozenset[str]] | None = None,
        watched: float = 0.0,
        told: Mapping[tuple[str, str | None, float | None], str] | None = None,
        known: Mapping[tuple[str, str | None], dict[str, str]] | None = None,
    ) -> None:
        self._moved, self._seen, self._lives = moved or {}, seen, lives or {}
        self._watched, self._told, self._known = watched, told or {}, known or {}

    def distance(self, pci: str | None, name: str, over: float, at: float | None) -> Moved:
        return self._moved.get((pci, name, over, at), Moved(0.0, None, "nothing is known of that"))

    def earlier(self, rule: str, pci: str | None, since: float, until: float) -> int:
        return sum(s.rule == rule and s.pci == pci and since <= s.at < until for s in self._seen)

    def lives(self, rule: str, pci: str | None, across: str, over: float) -> frozenset[str]:
        return self._lives.get((rule, pci, across, over), frozenset())

    def covers(self, over: float) -> bool:
        return over <= self._watched

    def recurrence(self, rule: str, pci: str | None, last_at: float | None) -> str | None:
        return self._told.get((rule, pci, last_at))

    def facts(self, rule: str, pci: str | None) -> dict[str, str]:
        return self._known.get((rule, pci), {})


def reading(value: float | str | bool | Missing, pci: str | None = GPU, name: str = "gpu.temperature") -> Reading:
    return Reading(Entity("node" if pci is None else "gpu", pci=pci), name, value, "celsius", 7.0)


def case(
    *signals: Signal,
    triggers: tuple[str, ...] = ("79",),
    readings: Sequence[Reading] = (),
    log: tuple[float, int] | None = None,
    whole: bool = True,
    facts: Mapping[str, str] | None = None,
    history: Past | None = None,
    rule: Rule = RULE,
    pci: str | None = GPU,
    live: bool | None = None,
) -> Case:
    """The incident that the Xids of these codes open, in a log that is whole since its boot or an excerpt.

    With `log` it begins then and holds so many ordinary lines, and its boot is not in it.
    """
    start, ordinary = log or (0.0, 30 if whole else 2)
    plain = [LogRecord("Linux version 6.1", at=0.0, boot="#1", origin="log")] if whole and log is None else []
    plain += [LogRecord("ordinary", at=start, boot="#1", origin="log")] * ordinary
    spans = Spans()
    list(spans.watch([*plain, *(s.record for s in signals)]))
    timeline = build(signals, spans)
    opened = [s for s in timeline.signals if s.fields.get("xid") in triggers and pci in (s.pci, None)]
    values = {(r.entity.pci, r.name): r for r in readings}
    alive = bool(readings) if live is None else live
    return Case(rule, timeline, opened, pci, frozenset({GPU, OTHER}), values, facts or {}, alive, history)


def ask(clause: Clause, about: Case) -> Answer:
    return answer(clause, about)


def counted(found: Answer) -> tuple[str, int]:
    """What was answered, and of how many."""
    return found.state, found.count
