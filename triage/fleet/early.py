"""Which GPUs leave their own past or their peers before anything fails: signs, never verdicts.

Counters are held against what GPUs of the model count and against what the GPU counted before (`early_rates`);
all comparisons are corrected together.  Levels are held against the median of peers, several readings in a
row (`early_levels`).  What cannot be compared is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from triage.fleet import early_levels, early_rates
from triage.fleet.chance import corrected
from triage.fleet.early_past import Past, pasts
from triage.fleet.early_values import MODEL, Early, Observation, Seen, Sign, Signs
from triage.fleet.model import ANSWERED, Answer
from triage.rulebook.load import RULES
from triage.rulebook.shape import checked

FILE = RULES / "fleet" / "early.yaml"


def load(path: Path = FILE) -> Signs:
    """Read the file against its schema.

    Raises:
        RulebookError: with everything that is wrong and where.
    """
    told: Any = checked(path, f"rules/fleet/{path.name}" if path == FILE else str(path), "early.v1").root
    return Signs(float(told["alpha"]), int(told["peers"]), tuple(map(_sign, told["signs"])))


def _sign(told: Mapping[str, Any]) -> Sign:
    return Sign(
        told["id"], told["kind"], tuple(told["of"]), told["named"], told["why"], told["do"],
        int(told.get("at_least", 1)), float(told.get("lift", 1)), float(told.get("far", 6)),
        float(told.get("least", 0)), int(told.get("times", 1)), told.get("beside"), told.get("busy"),
        bool(told.get("logarithm", False)), float(told.get("no_less", 1e-30)),
        bool(told.get("lasting", False)),
    )  # fmt: skip


def observations(answers: Iterable[Answer]) -> Iterator[Observation]:
    """Yield what the GPUs told in these answers; one without a name or a time cannot be followed."""
    for answer in answers:
        if answer.state != ANSWERED or answer.at is None:
            continue
        for part in answer.gpus:
            who = part.uuid or part.serial
            if who is not None and part.numbers:
                facts = {**answer.facts, **part.facts}
                if part.name is not None:
                    facts[MODEL] = part.name
                yield Observation(answer.at, who, answer.node, facts, part.numbers)


def look(told: Iterable[Observation], signs: Signs) -> Early:
    """Return the GPUs that show a sign; the readings may come in any order."""
    return judge(*pasts(told, signs.all), signs)


def judge(by_gpu: Mapping[str, Past], nodes: int, signs: Signs) -> Early:
    """Return the GPUs that show a sign, of those whose past is known."""
    rated: list[tuple[float, Seen]] = []
    backwards: list[tuple[float, tuple[str, str]]] = []
    levels: list[Seen] = []
    tests = 0
    left_out: list[tuple[str, int, str]] = []
    for sign in signs.all:
        if sign.kind == "rate":
            found = early_rates.compare(by_gpu, sign, signs)
            rated += found.found
            backwards += ((chance, (sign.id, gpu)) for chance, gpu in found.backwards)
            made, alone, reason = found.tests, found.alone, found.reason
        else:
            more, made, alone, reason = early_levels.compare(by_gpu, sign, signs)
            levels += more
        tests += made
        if alone:
            left_out.append((sign.id, alone, reason))
    sure = corrected({place: chance for place, (chance, _) in enumerate(rated)}, tests)
    rates = [seen._replace(chance=sure[place]) for place, (_, seen) in enumerate(rated) if sure[place] <= signs.alpha]
    best: dict[tuple[str, str], Seen] = {}
    for seen in sorted(rates, key=lambda seen: (seen.chance or 0.0, -seen.value / max(seen.expected, 1e-9))):
        best.setdefault((seen.sign.id, seen.gpu), seen)
    levels.sort(key=lambda seen: -(seen.distance or 0.0))
    chances = corrected({place: chance for place, (chance, _) in enumerate(backwards)}, tests)
    cured = {who for place, (_, who) in enumerate(backwards) if chances[place] <= signs.alpha}
    return Early((*best.values(), *levels), nodes, len(by_gpu), tests, tuple(left_out), len(cured))
