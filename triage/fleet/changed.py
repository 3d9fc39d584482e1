"""What changed of a fleet's nodes, in sentences: the screens show them beside incidents."""

from __future__ import annotations

from collections.abc import Iterable

from probes.named import NamedTuple
from triage.fleet.changes import PART, Change, across, of_node
from triage.fleet.model import ANSWERED, Answer

UNTOLD = "other"
"""Changes of facts that nobody has sorted are left to `fleet changes`: most of them come and go."""


class Changed(NamedTuple):
    """Something of a node that was otherwise in the answer before; `at` is that of the later one, UTC epoch seconds."""

    node: str
    at: float
    says: str


def changed(answers: Iterable[Answer]) -> list[Changed]:
    """Return what changed, the latest first; what either answer does not know is no change."""
    by_node: dict[str, list[tuple[float, Answer]]] = {}
    for answer in answers:
        if answer.state == ANSWERED and answer.at is not None:
            by_node.setdefault(answer.node, []).append((answer.at, answer))
    found: list[Change] = []
    for node, told in by_node.items():
        found += of_node(node, sorted(told, key=lambda pair: pair[0]))
    alike: dict[tuple[str, float, str, str | None, str | None], list[Change]] = {}
    for change in across(found):
        if change.kind != UNTOLD:
            who = (change.part,) if change.kind == PART else ()
            key = (change.node, change.by, "/".join(map(str, (change.what, *who))), change.was, change.now)
            alike.setdefault(key, []).append(change)
    listed = [Changed(members[0].node, members[0].by, says(members)) for members in alike.values()]
    return sorted(listed, key=lambda change: (-change.at, change.node, change.says))


def says(members: list[Change]) -> str:
    """Return one sentence for the same change of one node or of some of its boards."""
    change = members[0]
    if change.kind != PART:
        boards = [each.part for each in members if each.part is not None]
        of = "" if not boards else f" of {boards[0]}" if len(boards) == 1 else f" of {len(boards)} GPUs"
        return f"{change.what}{of}: {change.was} became {change.now}"
    if change.what == "swapped":
        return f"the GPU at {change.part} is another: board {change.was} became board {change.now}"
    if change.what == "moved":
        return f"board {change.part} moved from {change.was} to {change.now}"
    if change.what == "added":
        return f"board {change.part} is new at {change.now}"
    return f"the GPU at {change.was} (board {change.part}) is not there any more"
