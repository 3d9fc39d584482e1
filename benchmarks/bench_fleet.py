"""How well and how fast a fleet testifies: generated fleets of 100 to 10,000 nodes with 8 GPUs, 30 days, three sweeps.

Prints, per injected cause, precision and recall of the verdicts; how many
incidents of the background were drawn into a pattern; the hardware verdicts
over the driver rollout, of which there must be none; and time and peak memory by
size.  Each size runs in a process of its own.

    python benchmarks/bench_fleet.py [NODES ...]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.generated_fleet import fleet
from tests.triage.fleet.places import rulebook
from triage.fleet.gather import gather
from triage.fleet.hypotheses import load
from triage.fleet.report import to_fleet_report
from triage.fleet.testify import find

Said = tuple[str, "str | None", set[str]]
"""Family, leaf, and what the fleet said."""
SIZES = (100, 1000, 10_000)
RIGHT = {
    "rollout": ("driver", None, {"follows-driver", "after-driver-change"}),
    "board": ("hardware", "hardware.gpu", {"follows-board"}),
    "rack": ("site", None, {"follows-rack", "burst-in-rack"}),
    "job": ("workload", None, {"follows-user"}),
    "vbios": ("driver", "driver.firmware", {"follows-vbios"}),
}
"""The family, the leaf where the cause names one, and the evidence that must have said so."""
PRECISION, RECALL = 0.95, 0.90


def run(nodes: int) -> None:
    """Make a fleet, judge it, and print what came out."""
    made = fleet(nodes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    findings = find(gather(made.answers, made.places), load(rulebook()))
    report = to_fleet_report(findings, made.answers, rulebook(), generated_at=31 * 86400.0)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{nodes} nodes: {seconds:.2f} s ({seconds / nodes * 1000:.2f} ms a node), peak {peak / 1024:.0f} MiB"
        f" ({(peak - before) / 1024:.0f} MiB of it for the report), {len(report['incidents'])} incidents"
    )
    judge(report, made.truth)


def judge(report: dict, truth: Mapping[str, str | None]) -> None:  # type: ignore[type-arg]
    """Print precision and recall; the truth is told by `fingerprint@opened_at`."""
    said: dict[str | None, list[Said]] = {}
    for incident in report["incidents"]:
        verdict = incident["verdict"]
        cause = truth[f"{incident['fingerprint']}@{incident['opened_at']}"]
        names = set(incident["fleet"]["evidence"])
        seen = {item["id"] for item in incident["evidence"] if item["id"] in names and item["state"] == "seen"}
        said.setdefault(cause, []).append((verdict["family"], verdict["leaf"], seen))
    print("  injected   incidents  precision  recall")
    for cause, right in RIGHT.items():
        own = [fits(verdict, right) for verdict in said.get(cause, ())]
        claimed = [
            other == cause
            for other, verdicts in said.items()
            if other is not None
            for verdict in verdicts
            if fits(verdict, right)
        ]
        precision = sum(claimed) / len(claimed) if claimed else None
        recall = sum(own) / len(own) if own else None
        met = (precision or 0) >= PRECISION and (recall or 0) >= RECALL
        print(
            f"  {cause:<10} {len(own):>9}  {_share(precision):>9}  {_share(recall):>6}  {'met' if met else 'NOT MET'}"
        )
    background = said.get(None, [])
    drawn = sum(1 for *_, seen in background if seen)
    hardware = sum(1 for family, *_ in said.get("rollout", ()) if family == "hardware")
    print(f"  background: {len(background)} incidents, {drawn} drawn into a pattern")
    print(f"  hardware verdicts over the driver rollout: {hardware} (must be 0)")


def fits(verdict: Said, right: tuple[str, str | None, set[str]]) -> bool:
    """Whether a verdict names this family (and leaf, if one is asked for) because of the right pattern."""
    return verdict[0] == right[0] and right[1] in (None, verdict[1]) and bool(verdict[2] & right[2])


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        run(int(sys.argv[2]))
    else:
        for size in map(int, sys.argv[1:] or SIZES):
            subprocess.run([sys.executable, __file__, "--one", str(size)], check=True)
