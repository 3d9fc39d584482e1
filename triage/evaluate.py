"""Runs labelled incidents through the same walk as `explain` and says how often it was right.

A corpus is one JSON object a line: `id`, `log` (text or null), `cause`,
`secondary_causes`, `basis_grade` (A to D) and optionally `gpu_bdf`.  Only `log`
is given to the walk.  The incident looked at is the first on `gpu_bdf`, else
the first.  A case of grade A to C with a known cause is *right* if decided and
the leaf names the cause or a secondary one, *wrong* if decided otherwise,
*open* if undetermined, *missed* if nothing was found.  For cause `none` an ok
status, no incident, an `info` incident or a benign verdict is right.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from probes.pci import normal_address, same_device
from triage.assess import assess
from triage.intake import Intake
from triage.model import UNDETERMINED, Assessment, Incident
from triage.rulebook.model import Rulebook

LEAVES = {
    "hardware": {"hardware.gpu"},
    "platform": {"hardware.link", "hardware.host", "system.configuration"},
    "fabric": {"hardware.fabric"},
    "power-thermal": {"hardware.power", "site"},
    "driver": {"driver.module"},
    "firmware": {"driver.firmware"},
    "kernel": {"system.kernel"},
    "configuration": {"system.configuration"},
    "application": {"workload"},
    "none": {"benign"},
    "unknown": {UNDETERMINED},
}
"""The leaves that name each cause class of a corpus."""
CONFIDENT = 0.9
NOW = 1_790_000_000.0
"""The moment at which stored logs are read; only the year of stamps without one depends on it."""


class Outcome(NamedTuple):
    """What was said of one case, and how good that was."""

    id: str
    cause: str
    accepted: tuple[str, ...]
    known: bool
    grade: str
    result: str
    leaf: str
    leading: str
    confidence: float
    top1: bool
    summary: str
    why: tuple[str, ...]


class Figures(NamedTuple):
    """The figures over a corpus.  Shares are None where nothing was there to count."""

    known: int
    decided: int
    right: int
    wrong: int
    missed: int
    crashed: int
    accuracy: float | None
    coverage: float | None
    right_of_all: float | None
    top1: float | None
    confident_wrong: int
    unknown_left_open: float | None
    calibration_error: float | None
    skipped: int


def evaluate(rulebook: Rulebook, path: str | Path) -> tuple[Figures, list[Outcome]]:
    """Run every case of a corpus.

    Raises:
        ValueError: a line that is not a case, with its number.
        OSError: the corpus cannot be read.
    """
    outcomes = [judge(rulebook, case) for case in read_corpus(path)]
    return figures(outcomes), outcomes


def read_corpus(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the cases of a corpus file."""
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                case = json.loads(line)
                missing = [key for key in ("id", "log", "cause") if key not in case]
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path}:{number}: not a JSON object: {error}") from None
            if missing or case["cause"] not in LEAVES:
                what = f"no {missing[0]!r}" if missing else f"unknown cause {case['cause']!r}"
                raise ValueError(f"{path}:{number}: {what}; a case needs id, log and cause ({', '.join(LEAVES)})")
            yield case


def judge(rulebook: Rulebook, case: dict[str, Any]) -> Outcome:
    """Run one case and compare what was said with what is known."""
    accepted = (case["cause"], *(case.get("secondary_causes") or []))
    grade = case.get("basis_grade") or "C"
    known = grade in "ABC" and case["cause"] != "unknown"

    def outcome(result: str, leaf: str = "-", leading: str = "-", confidence: float = 0.0, **more: Any) -> Outcome:
        return Outcome(
            case["id"],
            case["cause"],
            accepted,
            known,
            grade,
            result,
            leaf,
            leading,
            confidence,
            more.get("top1", False),
            more.get("summary", ""),
            more.get("why", ()),
        )

    if not case["log"]:
        return outcome("skipped")
    try:
        assessment = explain_text(rulebook, case["log"])
    except Exception as error:  # a crash is a figure of its own, whatever it was
        return outcome("crashed", summary=f"{type(error).__name__}: {error}")
    incident = _looked_at(assessment, case.get("gpu_bdf"))
    wanted = {leaf for cause in accepted if cause in LEAVES for leaf in LEAVES[cause]}
    if incident is None:
        return outcome("right" if case["cause"] == "none" else "missed", top1=case["cause"] == "none")
    verdict = incident.verdict
    leading = next(iter(verdict.by_leaf))
    harmless = case["cause"] == "none" and incident.severity == "info"
    if verdict.family == UNDETERMINED:
        result = "right" if harmless or case["cause"] == "unknown" else "open"
    else:
        result = "right" if harmless or verdict.leaf in wanted else "wrong"
    why = tuple(
        f"{e.id}: {dict(e.points)}" for e in incident.evidence if e.points and e.counted and e.state != "unknown"
    )
    return outcome(
        result,
        verdict.leaf or UNDETERMINED,
        leading,
        verdict.confidence,
        top1=leading in wanted or harmless,
        summary=incident.summary,
        why=why,
    )


def explain_text(rulebook: Rulebook, log: str) -> Assessment:
    """Take the text of a log through the walk, as `explain -` does."""
    intake = Intake(["-"], now=NOW, stdin=io.BytesIO(log.encode("utf-8", "surrogateescape")))
    return assess(rulebook, intake, (), lambda: intake.sources, node=None, now=NOW, notices=lambda: intake.notices)


def _looked_at(assessment: Assessment, bdf: str | None) -> Incident | None:
    address = normal_address(bdf) if bdf else None
    for incident in assessment.incidents:
        if address and incident.device and same_device(incident.device.pci, address):
            return incident
    return assessment.incidents[0] if assessment.incidents else None


def figures(outcomes: Iterable[Outcome]) -> Figures:
    """Count."""
    cases = list(outcomes)
    run = [o for o in cases if o.result != "skipped"]
    known = [o for o in run if o.known]
    decided = [o for o in known if o.result in ("right", "wrong") and o.leaf != "-"]
    decided += [o for o in known if o.result == "right" and o.leaf == "-"]
    right = [o for o in decided if o.result == "right"]
    wrong = [o for o in decided if o.result == "wrong"]
    unknown = [o for o in run if o.cause == "unknown"]
    left_open = [o for o in unknown if o.leaf in (UNDETERMINED, "-")]
    return Figures(
        known=len(known),
        decided=len(decided),
        right=len(right),
        wrong=len(wrong),
        missed=sum(o.result == "missed" for o in known),
        crashed=sum(o.result == "crashed" for o in run),
        accuracy=_share(len(right), len(decided)),
        coverage=_share(len(decided), len(known)),
        right_of_all=_share(len(right), len(known)),
        top1=_share(sum(o.top1 for o in known), len(known)),
        confident_wrong=sum(o.confidence >= CONFIDENT for o in wrong),
        unknown_left_open=_share(len(left_open), len(unknown)),
        calibration_error=_calibration([o for o in decided if o.leaf not in ("-", UNDETERMINED)]),
        skipped=len(cases) - len(run),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _calibration(decided: list[Outcome]) -> float | None:
    """Return the expected calibration error over ten bins: mean gap of confidence and share right, by bin size."""
    if not decided:
        return None
    bins: dict[int, list[Outcome]] = {}
    for o in decided:
        bins.setdefault(min(9, int(o.confidence * 10)), []).append(o)
    gaps = (abs(sum(o.confidence for o in group) - sum(o.result == "right" for o in group)) for group in bins.values())
    return sum(gaps) / len(decided)


def as_text(result: Figures, outcomes: list[Outcome], *, why: bool = True) -> str:
    """Render the figures, the confusion table and the list of misses."""

    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    lines = [
        f"cases             {len(outcomes)} ({result.skipped} have no log, {result.known} have a known cause)",
        f"accuracy          {share(result.accuracy)}  ({result.right} right of {result.decided} decided)",
        f"coverage          {share(result.coverage)}  (decided of known)",
        f"right of all      {share(result.right_of_all)}",
        f"top-1             {share(result.top1)}  (leading cause right, decided or not)",
        f"confident wrong   {result.confident_wrong}  (wrong at {CONFIDENT} or more)",
        f"unknown left open {share(result.unknown_left_open)}",
        f"calibration error {share(result.calibration_error)}",
        f"missed            {result.missed}  (no incident found)",
        f"crashed           {result.crashed}",
        "",
        "cause (rows) against verdict (columns)",
    ]
    table = Counter((o.cause, o.leaf) for o in outcomes if o.result != "skipped")
    leaves = sorted({leaf for _, leaf in table})
    short = {leaf: "none found" if leaf == "-" else leaf.rpartition(".")[2] for leaf in leaves}
    lines.append(f"{'':14}" + "".join(f"{short[leaf]:>14}" for leaf in leaves))
    for cause in LEAVES:
        row = [table.get((cause, leaf), 0) for leaf in leaves]
        if any(row):
            lines.append(f"{cause:14}" + "".join(f"{n or '.':>14}" for n in row))
    misses = [o for o in outcomes if o.result in ("wrong", "missed", "crashed", "open")]
    lines += ["", f"not right: {len(misses)}"]
    for o in sorted(misses, key=lambda o: (("crashed", "wrong", "missed", "open").index(o.result), o.id)):
        said = (
            f"{o.leaf} {o.confidence:.2f}"
            if o.leaf != UNDETERMINED
            else f"open, leading {o.leading} {o.confidence:.2f}"
        )
        lines.append(f"  {o.result:8} {o.id}: is {'/'.join(o.accepted)} [{o.grade}], said {said}: {o.summary}")
        if why:
            lines += [f"             {reason}" for reason in o.why]
    return "\n".join(lines)
