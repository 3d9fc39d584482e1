"""How often early signs are right: generated counters of 1000 nodes with 8 GPUs, ten daily sweeps, several seeds.

Prints, by sign, how many of the boards that were made sick are found and how many well ones are named with them; and
the false alarms of fleets in which nothing is wrong.

    python benchmarks/bench_early.py [NODES [SEEDS]]
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.generated_counters import GPUS, SICK, readings
from triage.fleet.early import MODEL, Early, Observation, load, look


def said(nodes: int, sick: dict[str, str], seed: int) -> Early:
    """Judge one fleet."""
    told = readings(nodes, sick, seed=seed)
    return look((Observation(c.at, c.gpu, c.node, {**c.facts, MODEL: "H100"}, c.numbers) for c in told), load())


def main(nodes: int, seeds: int) -> None:
    """Print the table."""
    found = dict.fromkeys(SICK, 0)
    made = dict.fromkeys(SICK, 0)
    wrong = dict.fromkeys([sign.id for sign in load().all], 0)
    quiet = 0
    began = time.perf_counter()
    for seed in range(seeds):
        rnd = random.Random(seed)
        chosen = rnd.sample(range(nodes * GPUS), max(len(SICK), nodes * GPUS // 400))
        sick = {f"GPU-{number:05}": SICK[place % len(SICK)] for place, number in enumerate(chosen)}
        seen = {(each.sign.id, each.gpu) for each in said(nodes, sick, seed).seen}
        for gpu, ill in sick.items():
            made[ill] += 1
            found[ill] += (ill, gpu) in seen
        for sign, gpu in seen:
            wrong[sign] += sick.get(gpu) != sign
        quiet += len(said(nodes, {}, 1000 + seed).seen)
    each = (time.perf_counter() - began) / seeds / 2
    print(f"{seeds} seeds, {nodes} nodes x {GPUS} GPUs, 10 sweeps; {each:.1f} s a fleet")
    for ill in SICK:
        print(f"  {ill:<18} {found[ill]:>4} of {made[ill]:>4} found, {wrong[ill]} well GPUs named")
    print(
        f"  nothing wrong: {quiet} signs in {seeds} fleets ({quiet / seeds / nodes / GPUS * 1e6:.2f} in a million GPUs)"
    )


if __name__ == "__main__":
    main(*map(int, (sys.argv[1:] + ["1000", "3"][len(sys.argv) - 1 :])[:2]))
