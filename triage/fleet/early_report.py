"""Early signs as one object of plain JSON values, and as text."""

from __future__ import annotations

from collections.abc import Sequence

from triage import __version__
from triage.fleet.early_values import Early, Seen
from triage.fleet.gather import silent_of
from triage.fleet.model import ANSWERED, Answer, Json
from triage.render.layout import Look, fill
from triage.report import TOOL, iso

SCHEMA_VERSION = 1

NOTHING = "nothing could be compared; it takes captures of several sweeps, or of many GPUs of one model (fleet sweep)"
"""What is said where no comparison could be made, which is not that all is well."""
BACKWARDS = (
    "GPUs stand out as well when time runs backwards: they were cured, or chance does more here than is usual;"
    " take as many of the signs above for chance."
)


def to_early_report(found: Early, answers: Sequence[Answer], *, generated_at: float, complete: bool = True) -> Json:
    """Return the signs, worst first, with what could not be compared and who said nothing."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "fleet-early",
        "tool": {"name": TOOL, "version": __version__},
        "generated_at": iso(generated_at),
        "complete": complete,
        "nodes": len({answer.node for answer in answers if answer.state == ANSWERED}),
        "gpus": found.gpus,
        "tests": found.tests,
        "backwards": found.backwards,
        "signs": [_told(seen) for seen in found.seen],
        "not_judged": [{"id": sign, "gpus": gpus, "reason": reason} for sign, gpus, reason in found.not_judged],
        "silent": [
            {"node": answer.node, "state": answer.state, "reason": answer.reason} for answer in silent_of(answers)[0]
        ],
    }


def _told(seen: Seen) -> Json:
    return {
        "id": seen.sign.id,
        "of": seen.of,
        "gpu": seen.gpu,
        "node": seen.node,
        "against": seen.against,
        "at": iso(seen.at),
        "value": seen.value,
        "expected": _rounded(seen.expected),
        "chance": None if seen.chance is None else _rounded(seen.chance),
        "distance": None if seen.distance is None else _rounded(seen.distance),
        "says": seen.says,
        "why": seen.sign.why,
        "do": seen.sign.do,
    }


def render(report: Json, look: Look) -> str:
    """Return the report as text."""
    silent = f", {len(report['silent'])} could not be read" if report["silent"] else ""
    lines = fill(
        look, [("", f"{report['gpus']} GPUs of {report['nodes']} nodes{silent}; {report['tests']} comparisons")]
    )
    lines += ["", "EARLY SIGNS (no verdicts: nothing failed yet)"]
    if not report["signs"]:
        said = "none that chance would not show as often" if report["tests"] else NOTHING
        lines += fill(look, [("", said)], "  ")
    for sign in report["signs"]:
        chance = f"; by chance {sign['chance']:g}" if sign["chance"] is not None else ""
        lines += fill(look, [("", f"- {sign['node']} {sign['gpu']}: {sign['says']}{chance}.")], "  ", "    ")
        lines += fill(look, [("", sign["why"]), ("", sign["do"])], "    ")
    if report["backwards"]:
        lines += fill(look, [("", f"{report['backwards']} {BACKWARDS}")], "  ")
    if report["not_judged"]:
        lines += ["", "NOT COMPARED"]
        for each in report["not_judged"]:
            lines += fill(look, [("", f"- {each['id']}: {each['gpus']} GPUs ({each['reason']})")], "  ", "    ")
    return "\n".join(lines) + "\n"


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
