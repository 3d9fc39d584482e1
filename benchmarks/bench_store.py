"""A store of thirty days: how much a fleet's sweeps take, and how fast the report, the changes and a diff come out.

A generated fleet with 8 GPUs a node (`tests/generated_fleet.py`) is swept once
a day for thirty days, with sixty counters a GPU of which some move, and written
into a store.  Every question runs in a process of its own.  Precision and recall
of the report's verdicts are those of the same fleet, held against the truth.

    python benchmarks/bench_store.py [NODES ...] [--sweeps 30] [--store URL]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.bench_fleet import judge
from tests.generated_fleet import GPUS, Made, fleet
from tests.triage.fleet.places import DAY
from triage.fleet.gather import epoch
from triage.fleet.model import TIMED_OUT, Answer, Json, Part

DAYS = 30
SECONDS, MEMORY = 10.0, 1024.0
"""What a report may take at 10,000 nodes: seconds, and MiB at the most."""
NODES = 10_000
LEVELS = {
    "gpu.clock.sm.max": 1980.0, "gpu.memory.total": 8.5e10, "gpu.power.limit": 700.0, "gpu.pcie.width": 16.0,
    "gpu.pcie.generation": 5.0, "gpu.nvlink.links": 18.0, "gpu.temperature.slowdown": 87.0,
}  # fmt: skip
MOVING = ("gpu.temperature", "gpu.power", "gpu.clock.sm", "gpu.utilization", "gpu.memory.used")
STILL = tuple(f"gpu.counter.{n:02}" for n in range(60 - len(LEVELS) - len(MOVING)))


def sweeps(made: Made, count: int) -> Iterator[tuple[float, list[Answer]]]:
    """Yield so many sweeps, evenly over the thirty days: when each began, and what each node said."""
    of_node: dict[str, list[Answer]] = {}
    for each in made.answers:
        of_node.setdefault(each.node, []).append(each)
    rnd = random.Random(7)
    step = DAYS * DAY / count
    for n in range(1, count + 1):
        at = n * step
        told = []
        for said in of_node.values():
            answer = next((each for each in said if each.at is not None and at <= each.at), None)
            if answer is None:  # it vanished
                told.append(Answer(said[0].node, TIMED_OUT, "no answer within 30 seconds"))
                continue
            opened = tuple(open_ for open_ in answer.incidents if (epoch(open_["opened_at"]) or 0.0) < at)
            gpus = tuple(part._replace(numbers=numbers(part, rnd)) for part in answer.gpus)
            told.append(answer._replace(at=at, heard=(at - step, at), incidents=opened, gpus=gpus))
        yield at, told


def numbers(part: Part, rnd: random.Random) -> dict[str, float]:
    """Sixty numbers as NVML tells them: most never move, some always do."""
    seed = int(part.serial or 0)
    still = {name: float(seed % 97 if i == seed % len(STILL) else 0) for i, name in enumerate(STILL)}
    return {**LEVELS, **still, **{name: float(round(rnd.gauss(500, 80))) for name in MOVING}}


def write(nodes: int, count: int, url: str) -> Json:
    """Make the fleet and write it."""
    from triage.fleet.store import write as writing
    from triage.fleet.store.opened import Store

    made = fleet(nodes)
    seconds = 0.0
    with Store(url, 60.0) as store:
        for at, told in sweeps(made, count):
            swept = writing.Swept(f"{at:032.0f}", at, "bench", nodes)
            began = time.perf_counter()
            writing.put(store, swept, told)
            writing.end(store, swept, at, complete=True)
            seconds += time.perf_counter() - began
    return {"seconds": seconds, "answers": nodes * count}


def ask(what: str, nodes: int, url: str) -> Json:
    """Ask the store one thing, and say how long it took and what it needed."""
    from tests.triage.fleet.places import rulebook
    from triage.fleet.hypotheses import load
    from triage.fleet.store import look, read
    from triage.fleet.store.opened import Store

    book = rulebook()
    places = {f"gpu{n:05}": {"rack": f"r{n // 32}", "leaf": f"l{n // 16}"} for n in range(nodes)}
    began, spent = time.perf_counter(), time.process_time()
    with Store(url, 120.0) as store:
        if what == "report":
            told = look.report(store, read.ALL, book, load(book), now=31 * DAY, places=places)
        elif what == "changes":
            told = look.changes(store, read.ALL, now=31 * DAY)
        else:
            told = look.diff(store, "last-1", "last", now=31 * DAY)
    seconds, spent = time.perf_counter() - began, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if what == "report":
        judge(told, fleet(nodes).truth)
    return {"seconds": seconds, "spent": spent, "peak": peak}


def size(url: str) -> float:
    """MiB on the disk."""
    if "://" not in url:
        return sum(os.path.getsize(path) for path in (url, f"{url}-wal") if os.path.exists(path)) / 2**20
    import psycopg

    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        return float(row[0]) / 2**20 if row else 0.0


def measure(nodes: int, count: int, url: str) -> bool:
    """Print what one size takes, each part of it in a process of its own; true if the target is met."""

    def apart(what: str) -> Json:
        words = [sys.executable, __file__, "--one", what, str(nodes), "--sweeps", str(count), "--store", url]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        *shown, last = done.stdout.splitlines()
        print("\n".join(shown) + "\n" if shown else "", end="")
        found: Json = json.loads(last)
        return found

    wrote = apart("write")
    per = wrote["seconds"] / wrote["answers"]
    big = size(url)
    print(
        f"{nodes} nodes x {GPUS} GPUs x {count} sweeps: written in {wrote['seconds']:.0f} s"
        f" ({per * 1000:.2f} ms an answer), {big:.0f} MiB ({big * 2**20 / wrote['answers']:.0f} bytes an answer)"
    )
    met = True
    for what in ("report", "changes", "diff"):
        took = apart(what)
        within = took["seconds"] < SECONDS and took["peak"] < MEMORY
        met = met and (within or what != "report" or nodes < NODES)
        word = f" ({'met' if within else 'NOT MET'}: {SECONDS:g} s, {MEMORY:g} MiB)" if what == "report" else ""
        print(
            f"  {what}: {took['seconds']:.2f} s, {took['spent']:.2f} s of it on a processor"
            f" ({took['spent'] / nodes * 1000:.2f} ms a node), peak {took['peak']:.0f} MiB{word}"
        )
    return met


def main() -> int:
    parsed = argparse.ArgumentParser()
    parsed.add_argument("nodes", nargs="*", type=int, default=[100, 1000])
    parsed.add_argument("--sweeps", type=int, default=DAYS)
    parsed.add_argument("--store", help="an empty one; of several sizes the first takes it")
    parsed.add_argument("--one", help=argparse.SUPPRESS)
    args = parsed.parse_args()
    if args.one == "write":
        print(json.dumps(write(args.nodes[0], args.sweeps, args.store)))
        return 0
    if args.one:
        print(json.dumps(ask(args.one, args.nodes[0], args.store)))
        return 0
    met = True
    for nodes in args.nodes:
        with tempfile.TemporaryDirectory(prefix="bench-store-") as folder:
            met = measure(nodes, args.sweeps, args.store or f"{folder}/fleet.db") and met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
