"""What a decision asked of a node's history and was told, kept so that it can be decided again elsewhere.

A capture does not hold the history itself, which is a database, but the
questions that the rules asked of it and the answers: that is what a verdict
needs.  A question that was not asked there is not answered here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triage.history.past import Past
    from triage.history.readings import Moved

MOST = 100_000
"""Questions of one decision."""
NOT_ASKED = "not asked when the capture was taken"

Answers = dict[str, Any]
"""By the question, as JSON: `["earlier", "gpu-off-bus", "0000:4e:00.0", 1.0, 2.0]`."""


class Recording:
    """A history that keeps what it is asked."""

    def __init__(self, past: Past) -> None:
        self._past = past
        self.answers: Answers = {}

    def _kept(self, answer: Any, *question: Any) -> None:
        if len(self.answers) < MOST:
            self.answers[json.dumps(question)] = answer

    def distance(self, pci: str | None, name: str, over: float, at: float | None) -> Moved:
        """As `Past.distance`."""
        moved = self._past.distance(pci, name, over, at)
        self._kept(list(moved), "distance", pci, name, over, at)
        return moved

    def earlier(self, rule: str, pci: str | None, since: float, until: float) -> int:
        """As `Past.earlier`."""
        count = self._past.earlier(rule, pci, since, until)
        self._kept(count, "earlier", rule, pci, since, until)
        return count

    def lives(self, rule: str, pci: str | None, across: str, over: float) -> frozenset[str]:
        """As `Past.lives`."""
        found = self._past.lives(rule, pci, across, over)
        self._kept(sorted(found), "lives", rule, pci, across, over)
        return found

    def covers(self, over: float) -> bool:
        """As `Past.covers`."""
        covered = self._past.covers(over)
        self._kept(covered, "covers", over)
        return covered

    def facts(self, rule: str, pci: str | None) -> dict[str, str]:
        """As `Past.facts`."""
        found = self._past.facts(rule, pci)
        self._kept(found, "facts", rule, pci)
        return found

    def recurrence(self, rule: str, pci: str | None, last_at: float | None) -> str | None:
        """As `Past.recurrence`."""
        sentence = self._past.recurrence(rule, pci, last_at)
        self._kept(sentence, "recurrence", rule, pci, last_at)
        return sentence


class Recorded:
    """A history that only knows these answers, whose types it does not trust."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = answers

    def _of(self, *question: Any) -> Any:
        return self._answers.get(json.dumps(question))

    def distance(self, pci: str | None, name: str, over: float, at: float | None) -> Moved:
        """As `Past.distance`."""
        from triage.history.readings import Moved

        told = self._of("distance", pci, name, over, at)
        if isinstance(told, list) and len(told) == 3:
            low, high, reason = told
            if _is_number(low) and (high is None or _is_number(high)) and isinstance(reason, (str, type(None))):
                return Moved(low, high, reason)
        return Moved(0.0, None, NOT_ASKED)

    def earlier(self, rule: str, pci: str | None, since: float, until: float) -> int:
        """As `Past.earlier`."""
        told = self._of("earlier", rule, pci, since, until)
        return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told < 1 << 32 else 0

    def lives(self, rule: str, pci: str | None, across: str, over: float) -> frozenset[str]:
        """As `Past.lives`."""
        told = self._of("lives", rule, pci, across, over)
        return frozenset(each for each in told if isinstance(each, str)) if isinstance(told, list) else frozenset()

    def covers(self, over: float) -> bool:
        """As `Past.covers`."""
        return self._of("covers", over) is True

    def facts(self, rule: str, pci: str | None) -> dict[str, str]:
        """As `Past.facts`."""
        told = self._of("facts", rule, pci)
        if not isinstance(told, dict):
            return {}
        return {name: value for name, value in told.items() if isinstance(value, str)}

    def recurrence(self, rule: str, pci: str | None, last_at: float | None) -> str | None:
        """As `Past.recurrence`."""
        told = self._of("recurrence", rule, pci, last_at)
        return told if isinstance(told, str) else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
