"""Lists every verdict over stored logs that another rulebook would give differently, and what moved it.

Inputs are logs, folders of logs, and corpora of labelled incidents (`*.jsonl`), each
case of which is a log of its own.  Each is read once per rulebook, so rules, signals and
points may all differ.  An incident is the same in both if it is of the same rule and
device; of several such, in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from probes.named import NamedTuple
from triage.assess import assess
from triage.evaluate import NOW, explain_text, read_corpus
from triage.intake import Intake
from triage.model import UNDETERMINED, Assessment, Evidence, Incident
from triage.rulebook.model import Rulebook

Walk = tuple[str, Assessment, Assessment]


class Moved(NamedTuple):
    """One piece of evidence that reads differently: its state and points on each side, None where it is not asked."""

    id: str
    before: tuple[str, Mapping[str, int]] | None
    after: tuple[str, Mapping[str, int]] | None


class Difference(NamedTuple):
    """One incident whose verdict differs.  A side is None where the other rulebook sees no such incident.

    `what` is `gone`, `new`, `verdict` (another cause or severity, or decided or
    not), `leads` (still undetermined, another cause leads) or `confidence`.
    """

    case: str
    what: str
    rule: str
    device: str | None
    before: str | None
    after: str | None
    moved: tuple[Moved, ...]


class Replay:
    """The differences over stored logs; afterwards `logs` were read and `unread` could not be, with the reason."""

    def __init__(self, old: Rulebook, new: Rulebook, paths: Sequence[str]) -> None:
        """Read nothing yet."""
        self.logs = 0
        self.unread: list[str] = []
        self._rulebooks = (old, new)
        self._paths = paths

    def __iter__(self) -> Iterator[Difference]:
        """Yield every difference, in the order of the inputs."""
        for path in self._paths:
            folder = Path(path)
            files = sorted(file for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else [folder]
            if not files:
                self.unread.append(f"{path}: the folder holds no files")
            for file in files:
                for case, before, after in self._walks(file):
                    self.logs += 1
                    yield from differences(case, before, after)

    def _walks(self, file: Path) -> Iterator[Walk]:
        old, new = self._rulebooks
        if file.suffix == ".jsonl":
            try:
                cases = [case for case in read_corpus(file) if case["log"]]
            except (OSError, ValueError) as error:
                self.unread.append(f"{file}: {getattr(error, 'strerror', None) or error}")
                return
            for case in cases:
                yield case["id"], explain_text(old, case["log"]), explain_text(new, case["log"])
            return
        before = _explained(old, file)
        source = before.sources[0]
        if source.readable:
            yield str(file), before, _explained(new, file)
        else:
            self.unread.append(f"{file}: {source.reason}")


def differences(case: str, before: Assessment, after: Assessment) -> Iterator[Difference]:
    """Yield what differs between two assessments of the same log."""
    one, other = _by_key(before.incidents), _by_key(after.incidents)
    for key in dict.fromkeys((*one, *other)):
        was, now = one.get(key), other.get(key)
        if was is not None and now is not None and said(was) == said(now):
            continue
        moved = tuple(_moved(was.evidence if was else (), now.evidence if now else ()))
        yield Difference(case, _what(was, now), key[0], key[1], was and said(was), now and said(now), moved)


def said(incident: Incident) -> str:
    """Return a verdict in short: severity, cause and confidence, or what leads while undetermined."""
    verdict = incident.verdict
    cause = verdict.leaf or f"{UNDETERMINED} ({next(iter(verdict.by_leaf))} leads)"
    return f"{incident.severity} {cause} {verdict.confidence:.2f}"


def _what(was: Incident | None, now: Incident | None) -> str:
    if was is None or now is None:
        return "new" if was is None else "gone"
    if (was.verdict.leaf, was.severity) != (now.verdict.leaf, now.severity):
        return "verdict"
    return "confidence" if next(iter(was.verdict.by_leaf)) == next(iter(now.verdict.by_leaf)) else "leads"


def _by_key(incidents: Iterable[Incident]) -> dict[tuple[str, str | None, int], Incident]:
    found: dict[tuple[str, str | None, int], Incident] = {}
    for incident in incidents:
        device = incident.device.pci if incident.device else None
        number = sum(key[:2] == (incident.rule, device) for key in found)
        found[incident.rule, device, number] = incident
    return found


def _moved(before: Sequence[Evidence], after: Sequence[Evidence]) -> Iterator[Moved]:
    one = {e.id: (e.state, dict(e.points)) for e in before}
    other = {e.id: (e.state, dict(e.points)) for e in after}
    for name in dict.fromkeys((*one, *other)):
        was, now = one.get(name), other.get(name)
        if was != now and ((was and was[1]) or (now and now[1])):
            yield Moved(name, was, now)


def _explained(rulebook: Rulebook, file: Path) -> Assessment:
    intake = Intake([str(file)], now=NOW)
    return assess(rulebook, intake, (), lambda: intake.sources, node=None, now=NOW, notices=lambda: intake.notices)
