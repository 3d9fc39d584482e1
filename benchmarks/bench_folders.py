"""A fleet from what its nodes send: sweeps' folders of captures, read by the commands that people type.

A generated fleet with 8 GPUs a node, three sweeps in thirty days (`tests/generated_captures.py`), is written as `fleet
sweep` leaves it.  Then `fleet report` reads the folders, `fleet store add` brings them into a store, and `fleet report`
reads that.  Prints precision and recall for each injected cause, time and peak memory of each.

    python benchmarks/bench_folders.py [NODES ...] [--store URL] [--dir FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.bench_fleet import judge
from tests.generated_captures import BEGIN, Swept, cause_of, make
from tests.generated_fleet import SWEEPS, fleet
from tests.triage.fleet.places import DAY

NOW = str(round(BEGIN + (SWEEPS[-1] + 1) * DAY))


def timed(what: str, nodes: int, *words: str, out: Path) -> None:
    """Run a command of the program, and print what it took; what it prints goes into a file."""
    began = time.perf_counter()
    with out.open("wb") as file:
        child = subprocess.Popen([sys.executable, "-m", "triage", *words], stdout=file, stderr=subprocess.DEVNULL)
        _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 4):
        sys.exit(f"{' '.join(words)}: exit {child.returncode}")
    spent = used.ru_utime + used.ru_stime
    print(
        f"  {what:<28} {time.perf_counter() - began:7.1f} s, {spent:7.1f} s of processors"
        f" ({spent / nodes * 1000:.1f} ms a node), peak of a process {used.ru_maxrss / 1024:.0f} MiB"
    )


def right(out: Path, swept: Swept) -> None:
    """Print precision and recall of a report, and what of it was not made or is missing."""
    report = json.loads(out.read_bytes())
    made, causes = [], {}
    for incident in report["incidents"]:
        known, cause = cause_of(swept, incident)
        if known:
            made.append(incident)
            causes[f"{incident['fingerprint']}@{incident['opened_at']}"] = cause
    others = len(report["incidents"]) - len(made)
    print(f"  {report['nodes']['told']} nodes, {len(made)} incidents of {len(swept.truth)} made, {others} others")
    judge({**report, "incidents": made}, causes)


def main() -> None:
    """Make, read, and judge each size."""
    parsed = argparse.ArgumentParser()
    parsed.add_argument("nodes", nargs="*", type=int, default=[1000])
    parsed.add_argument("--store", help="an empty one; of several sizes the first takes it")
    parsed.add_argument("--dir", help="where there is room (about 25 KiB a node)")
    args = parsed.parse_args()
    for nodes in args.nodes:
        with tempfile.TemporaryDirectory(prefix="bench-folders-", dir=args.dir) as name:
            folder = Path(name)
            began = time.perf_counter()
            swept = make(fleet(nodes), folder)
            size = sum(entry.stat().st_size for path in swept.folders for entry in path.iterdir())
            print(
                f"{nodes} nodes x {len(SWEEPS)} sweeps: {size / 2**20:.0f} MiB of captures,"
                f" made in {time.perf_counter() - began:.0f} s"
            )
            measure(nodes, folder, swept, args.store or str(folder / "fleet.db"))


def measure(nodes: int, folder: Path, swept: Swept, store: str) -> None:
    """Read the folders, then bring them into a store and read that."""
    out = folder / "report.json"
    paths = list(map(str, swept.folders))
    told: tuple[Any, ...] = ("--inventory", str(swept.inventory), "--now", NOW)
    timed("fleet report FOLDERS", nodes, "fleet", "report", *paths, *told, "--format", "json", out=out)
    right(out, swept)
    timed("fleet store add FOLDERS", nodes, "fleet", "store", "add", *paths, *told, "--store", store, out=out)
    timed("fleet report --store", nodes, "fleet", "report", "--store", store, *told, "--format", "json", out=out)
    right(out, swept)


if __name__ == "__main__":
    main()
