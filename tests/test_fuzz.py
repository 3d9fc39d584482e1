"""A short run of what `make fuzz` runs for long: every seed, what was once found, and some mutations of each."""

from __future__ import annotations

import random
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.seeds import FOUND, seeds
from tests.fuzz.targets import TARGETS

LONGEST = 10
"""Seconds that one input may take."""
MUTATIONS = {"explain": 1, "fast": 1, "inputs": 2}
MEMORY = 4 << 30
"""Bytes of address space that the test may take on top of what the process has."""


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f"one input took more than {LONGEST} s")

    before = signal.signal(signal.SIGALRM, late)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def mutated(data: bytes, chosen: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chosen.randrange(1, 6)):
        place = chosen.randrange(len(changed) + 1)
        kind = chosen.randrange(5)
        if kind == 0:
            changed[place:place] = chosen.randbytes(chosen.randrange(1, 9))
        elif kind == 1:
            del changed[place : place + chosen.randrange(1, 60)]
        elif kind == 2:
            end = chosen.randrange(len(changed) + 1)
            changed[place:place] = changed[min(place, end) : max(place, end)][:2000]
        elif kind == 3:
            changed[place : place + 1] = chosen.choice(
                (b"\0", b"\n", b"\x1b[", b"\xff", b"\r\n", b"\xe2\x80\xae", b'"', b"{")
            )
        elif changed:
            changed[place % len(changed)] ^= 1 << chosen.randrange(8)
    return bytes(changed)


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_a_promise(name: str) -> None:
    target, chosen = TARGETS[name], random.Random(name)
    for seed in seeds(name):
        for data in (seed, *(mutated(seed, chosen) for _ in range(MUTATIONS.get(name, 3)))):
            signal.alarm(LONGEST)
            target(data)


def test_what_was_found_belongs_to_a_target() -> None:
    assert {path.name for path in FOUND.iterdir() if path.is_dir()} <= set(TARGETS)
