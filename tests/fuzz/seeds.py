"""What fuzzing starts from: the incidents, fixtures and rules that are in the tree, and what it once found."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz import answers, single_seeds

ROOT = Path(__file__).parents[2]
FOUND = Path(__file__).parent / "found"
"""Inputs that once broke a promise, a folder for each target."""
LARGEST = 1 << 16
"""Bytes of a seed; longer files are cut."""


def _logs(every: int) -> Iterator[bytes]:
    for path in sorted((ROOT / "tests/incidents").glob("*.jsonl")):
        for number, line in enumerate(path.read_text("utf-8").splitlines()):
            if number % every == 0:
                yield (json.loads(line)["log"] or "").encode("utf-8", "surrogateescape")


def _files() -> Iterator[bytes]:
    for folder in ("tests/triage/sections/data", "tests/fixtures", "examples"):
        for path in sorted((ROOT / folder).iterdir()):
            if path.is_file():
                yield path.read_bytes()


def _packed() -> Iterator[bytes]:
    log = next(_logs(1))
    yield from (pack(log) for pack in (gzip.compress, bz2.compress, lzma.compress))
    yield log.decode("utf-8", "replace").encode("utf-16")


def seeds(name: str) -> Iterator[bytes]:
    """Yield the seeds of a target."""
    for path in sorted((FOUND / name).glob("*")):
        yield path.read_bytes()
    if name in ("records", "fast"):
        yield from _logs(5)
    elif name == "explain":
        yield from _logs(10)
    elif name == "inputs":
        yield from (data[:LARGEST] for data in (*_files(), *_packed(), *_logs(30)))
    elif name == "rules":
        for path in sorted((ROOT / "rules").rglob("*.yaml")):
            yield path.read_bytes()[:LARGEST]
    elif name == "words":
        for text in ('gpu:0 state!=lost "a b" xid>78', "2025-11-26 03:10 +02:00", "2h", "03:10", '-"x'):
            yield text.encode()
        for log in _logs(40):
            yield b"\x1f" + log[:300]
    elif name == "nodes":
        for number, text in enumerate(
            ("node,rack\nn1,r1\n", '[{"node": "n1", "rack": "r1"}]', "- {node: n1, rack: r1}\n")
        ):
            yield bytes((number,)) + text.encode()
    elif name in answers.TARGETS:
        yield from answers.seeds(name)
    else:
        yield from single_seeds.seeds(name)


def cut(seed: bytes, size: int) -> Iterator[bytes]:
    """Yield a seed in pieces of at most so many bytes, each overlapping the next by half, so that all is reached."""
    for start in range(0, max(1, len(seed) - size // 2), max(1, size // 2)):
        yield seed[start : start + size]
