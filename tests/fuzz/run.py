"""Fuzzes one target, guided by coverage: `python -m tests.fuzz.run TARGET [--seconds N]` (and more, see --help).

Needs atheris (libFuzzer for Python; x86-64 wheels).  What breaks a promise is
written to `tests/fuzz/found/TARGET`, where the tests run it from then on.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path

LONGEST = 10
"""Seconds that one input may take."""
MEMORY = 2048
"""MiB that the process may take."""


def main() -> None:
    """Fuzz until the time is over or something is found."""
    parser = argparse.ArgumentParser(description="Fuzz a reader, guided by coverage.")
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=-1, help="stop after so many inputs")
    parser.add_argument("--size", type=int, default=16384, help="longest input in bytes")
    parser.add_argument(
        "--corpus", type=Path, default=Path(".fuzz"), help="where inputs that reached new code are kept"
    )
    args = parser.parse_args()
    import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

    with atheris.instrument_imports(include=["probes", "triage", "tui"]):
        from tests.fuzz import seeds, targets
    if args.target not in targets.TARGETS:
        parser.error(f"no target '{args.target}'; there are {', '.join(targets.TARGETS)}")
    corpus = args.corpus / args.target
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds.seeds(args.target):
        for piece in seeds.cut(seed, args.size):
            (corpus / hashlib.sha256(piece).hexdigest()[:16]).write_bytes(piece)
    found = seeds.FOUND / args.target
    found.mkdir(parents=True, exist_ok=True)
    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-max_total_time={args.seconds}",
            f"-runs={args.runs}",
            f"-timeout={LONGEST}",
            f"-rss_limit_mb={MEMORY}",
            f"-max_len={args.size}",
            f"-artifact_prefix={found}/",
            "-print_final_stats=1",
            "-verbosity=1",
        ],
        targets.TARGETS[args.target],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
