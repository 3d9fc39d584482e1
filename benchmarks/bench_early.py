"""How often early signs are right: generated counters of many nodes with 8 GPUs in daily sweeps, over several seeds.

Prints how many of the boards that were made sick are found, by sign and by how much they count more in a day; how
many well ones are named with them; and the false alarms of fleets in which nothing is wrong, for four ways in which
errors come: by and by, in bursts, in single days that never come back, and more on all boards from one day on.

    python benchmarks/bench_early.py [NODES [SEEDS [SWEEPS [FIRST_SEED]]]]
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.generated_counters import GPUS, PLAIN, Kind, readings
from triage.fleet.early import load, look
from triage.fleet.early_values import MODEL, Early, Observation

LADDER = {
    "corrected-errors": (4.0, 8.0, 15.0, 30.0, 60.0, 120.0),
    "replays": (12.0, 25.0, 50.0, 100.0, 200.0, 400.0),
    "remaps": (0.1, 0.2, 0.4, 0.8, 1.5, 3.0),
}
"""What a sick board counts more in a day."""
LEVELS = ("slow", "link-errors")
KINDS = {
    "by and by": PLAIN,
    "in heavy bursts": Kind(bursts=1.5),
    "in single days": Kind(once=0.0005),
    "more on all from one day on": Kind(rises=4.0),
}
SHARE = 800
"""One in so many boards is sick."""


def said(nodes: int, sick: Mapping[str, str], seed: int, sweeps: int, kind: Kind, rates: Mapping[str, float]) -> Early:
    """Judge one fleet."""
    told = readings(nodes, sick, sweeps=sweeps, seed=seed, kind=kind, rates=rates)
    return look((Observation(c.at, c.gpu, c.node, {**c.facts, MODEL: "H100"}, c.numbers) for c in told), load())


def main(nodes: int, seeds: int, sweeps: int, first: int) -> None:
    """Print the tables."""
    cells = [(sign, rate) for sign, ladder in LADDER.items() for rate in ladder] + [(sign, 0.0) for sign in LEVELS]
    print(f"{seeds} seeds, {nodes} nodes x {GPUS} GPUs, {sweeps} daily sweeps; sick boards begin in the middle")
    for name, kind in KINDS.items():
        found = dict.fromkeys(cells, 0)
        made = dict.fromkeys(cells, 0)
        wrong = quiet = backwards = 0
        began = time.perf_counter()
        for seed in range(first, first + seeds):
            rnd = random.Random(seed)
            chosen = rnd.sample(range(nodes * GPUS), max(len(cells), nodes * GPUS // SHARE))
            ill = {f"GPU-{number:05}": cells[place % len(cells)] for place, number in enumerate(chosen)}
            sick = {gpu: sign for gpu, (sign, _) in ill.items()}
            seen = {
                (each.sign.id, each.gpu)
                for each in said(nodes, sick, seed, sweeps, kind, {gpu: rate for gpu, (_, rate) in ill.items()}).seen
            }
            for gpu, cell in ill.items():
                made[cell] += 1
                found[cell] += (cell[0], gpu) in seen
            wrong += sum(1 for sign, gpu in seen if sick.get(gpu) != sign)
            well = said(nodes, {}, 1000 + seed, sweeps, kind, {})
            quiet += len(well.seen)
            backwards += well.backwards
        each = (time.perf_counter() - began) / seeds / 2
        print(f"errors come {name} ({each:.1f} s a fleet)")
        for sign, ladder in LADDER.items():
            shares = "  ".join(f"{rate:g}/d {found[sign, rate]}/{made[sign, rate]}" for rate in ladder)
            print(f"  {sign:<18} {shares}")
        print("  " + "; ".join(f"{sign} {found[sign, 0.0]}/{made[sign, 0.0]}" for sign in LEVELS))
        print(f"  well boards named beside sick ones: {wrong}; with nothing wrong: {quiet}, backwards {backwards}")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main(*map(int, (sys.argv[1:] + ["1000", "3", "10", "100"][len(sys.argv) - 1 :])[:4]))
