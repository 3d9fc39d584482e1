"""Many writers of one store, as a program of its own: prints the sweep and node of each answer once it is acknowledged.

python -m tests.triage.fleet.store.writers ADDRESS FIRST THREADS ROUNDS
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from tests.triage.fleet.places import DAY
from tests.triage.fleet.store.made import answer, failing, swept
from triage.fleet.store import write
from triage.fleet.store.opened import Store

NODES = 3
SHARED = 7
"""Number of the sweep into which all write the same nodes."""


def main(address: str, first: int, threads: int, rounds: int) -> None:
    """Write, each thread its own sweeps and all of them one together."""
    open_ = failing("w0", 9 * DAY)

    def one(writer: int) -> None:
        with Store(address, 60.0) as store:
            for turn in range(rounds):
                day = 10.0 + turn
                own = swept(1000 * writer + turn, day)
                told = [answer(f"w{n}", day, incidents=(open_,) if n == 0 else ()) for n in range(NODES)]
                write.put(store, own, told)
                write.put(store, swept(SHARED, 5.0), [answer(f"w{turn % NODES}", 5.0)])
                lines = "".join(f"{own.key} {each.node}\n" for each in told)
                sys.stdout.write(lines)
                sys.stdout.flush()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(one, range(first, first + threads)))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
