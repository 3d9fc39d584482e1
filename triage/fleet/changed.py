"""What changed of a fleet's nodes from answer to answer: drivers, kernels, firmware, and which board sits where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from triage.fleet.model import ANSWERED, Answer, Part
from triage.history.counters import FACTS


class Changed(NamedTuple):
    """Something of a node that was otherwise in the answer before; `at` is that of the later one, UTC epoch seconds."""

    node: str
    at: float
    says: str


def changed(answers: Iterable[Answer]) -> list[Changed]:
    """Return what changed, the latest first; what either answer does not know is no change."""
    by_node: dict[str, list[Answer]] = {}
    for answer in answers:
        if answer.state == ANSWERED and answer.at is not None:
            by_node.setdefault(answer.node, []).append(answer)
    found = []
    for node, said in by_node.items():
        said.sort(key=lambda answer: answer.at or 0.0)
        for before, after in pairwise(said):
            found += [Changed(node, after.at or 0.0, says) for says in _between(before, after)]
    return sorted(found, key=lambda change: (-change.at, change.node))


def _between(before: Answer, after: Answer) -> Iterator[str]:
    yield from _facts(before.facts, after.facts)
    was, now = ({part.pci: part for part in answer.gpus if part.pci} for answer in (before, after))
    seats = {_who(part): pci for pci, part in was.items() if _who(part)}
    alike: dict[str, list[str]] = {}
    for pci, part in now.items():
        old = was.get(pci)
        if old is None or not (_who(old) and _who(part)):
            continue
        if _who(old) == _who(part):
            for says in _facts(old.facts, part.facts):
                alike.setdefault(says, []).append(pci)
        elif _who(part) in seats:
            yield f"{_named(part)} moved from {seats[_who(part)]} to {pci}, where {_named(old)} was"
        else:
            yield f"the GPU at {pci} is another: {_named(old)} became {_named(part)}"
    if was and now:
        yield from (f"the GPU at {pci} ({_named(was[pci])}) is not there any more" for pci in was.keys() - now.keys())
        yield from (f"{_named(now[pci])} is new at {pci}" for pci in now.keys() - was.keys())
    for says, slots in alike.items():
        name, rest = says.split(": ", 1)
        yield f"{name} of {slots[0] if len(slots) == 1 else f'{len(slots)} GPUs'}: {rest}"


def _facts(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(before.keys() & after.keys() & FACTS):
        if before[name] != after[name]:
            yield f"{name}: {before[name]} became {after[name]}"


def _who(part: Part) -> str | None:
    return part.serial or part.uuid


def _named(part: Part) -> str:
    return f"serial {part.serial}" if part.serial else part.uuid or "an unknown part"
