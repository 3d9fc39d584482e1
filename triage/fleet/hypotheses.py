"""What a fault can follow through a fleet: `rules/fleet/hypotheses.yaml` as typed values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probes.named import NamedTuple
from triage.rulebook.load import RULES
from triage.rulebook.model import Otherwise, Points, Rulebook
from triage.rulebook.problems import Problem, RulebookError
from triage.rulebook.shape import checked
from triage.rulebook.yamlload import at

FILE = RULES / "fleet" / "hypotheses.yaml"
_NEEDS: Mapping[str, set[str]] = {
    "follows": {"of", "lift"},
    "changed": {"of", "lift", "within"},
    "board": set(),
    "seat": set(),
    "alone": set(),
    "burst": {"of", "within"},
}
"""What an entry of each kind must say beyond what all do."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Hypothesis(NamedTuple):
    """One thing that a fault may follow.

    `of` is the fact it goes by, `unit` what is counted (node or gpu), `named` the
    noun of the sentence.  `within` is seconds.  `lift` is how many times more
    often it must happen there than elsewhere.
    """

    id: str
    kind: str
    of: str
    unit: str
    named: str
    at_least: int
    lift: float
    within: float
    group: str
    points: Points
    why: str
    otherwise: Otherwise | None


class Hypotheses(NamedTuple):
    """All of them, and how sure one must be: `alpha` after correction; `enough` units before silence counts."""

    alpha: float
    enough: int
    episode: float
    all: tuple[Hypothesis, ...]


def load(rulebook: Rulebook, path: Path = FILE) -> Hypotheses:
    """Read the file against its schema and the rulebook's causes.

    Raises:
        RulebookError: with everything that is wrong and where.
    """
    problems: list[Problem] = []
    shown = f"rules/fleet/{path.name}" if path == FILE else str(path)
    told: Any = checked(path, shown, "fleet.v1").root
    known = {ref["id"] for ref in told["references"]}
    for entry in told["hypotheses"]:
        place = at(shown, entry.key_marks["id"])
        named = {*entry.get("supports", ()), *entry.get("opposes", ())}
        leaves = {*rulebook.causes, *(cause.family for cause in rulebook.causes.values())}
        problems += [Problem(place, f"{entry['id']}: unknown cause '{cause}'") for cause in sorted(named - leaves)]
        problems += [
            Problem(place, f"{entry['id']}: unknown reference '{ref}'")
            for ref in entry.get("ref", ())
            if ref not in known
        ]
        needs = _NEEDS[entry["kind"]] - entry.keys()
        if needs:
            problems.append(Problem(place, f"{entry['id']}: {entry['kind']} needs {', '.join(sorted(needs))}"))
    if problems:
        raise RulebookError(problems)
    found = tuple(_hypothesis(entry, rulebook) for entry in told["hypotheses"])
    return Hypotheses(float(told["alpha"]), int(told["enough"]), _seconds(told["episode"]), found)


def _hypothesis(entry: Mapping[str, Any], rulebook: Rulebook) -> Hypothesis:
    silent = entry.get("otherwise")
    return Hypothesis(
        id=entry["id"],
        kind=entry["kind"],
        of=entry.get("of", ""),
        unit=entry["unit"],
        named=entry["named"],
        at_least=int(entry["at_least"]),
        lift=float(entry.get("lift", 1.0)),
        within=_seconds(entry["within"]) if "within" in entry else 0.0,
        group=entry["group"],
        points=_points(entry, rulebook),
        why=entry["why"],
        otherwise=Otherwise(_points(silent, rulebook), silent["why"]) if silent else None,
    )


def _points(entry: Mapping[str, Any], rulebook: Rulebook) -> Points:
    """A family means each of its leaves, unless the leaf stands there too."""
    points: dict[str, int] = {}
    for side, sign in (("supports", 1), ("opposes", -1)):
        named = entry.get(side, {})
        for cause in sorted(named, key=lambda name: name.count(".")):
            for leaf in rulebook.causes:
                if leaf == cause or leaf.startswith(f"{cause}."):
                    points[leaf] = sign * rulebook.words[named[cause]]
    return points


def _seconds(text: str) -> float:
    unit = text.lstrip("0123456789.")
    return float(text[: -len(unit)]) * _UNITS[unit]
