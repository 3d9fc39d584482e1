"""The tables of docs/reliability.md: what may go wrong or be sent, what is promised, and the tests that show it.

    python -m tests.matrix          runs exactly those tests

The page is the one place in which they are named; `make faults` and
`tests/test_matrix.py` read it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reliability.md"
HEADS = ("fault", "what others send")
"""The first column of the tables that are read."""


class Row(NamedTuple):
    """What may happen, what is promised then, and who shows it: node ids of pytest, or modules of `make soak`."""

    what: str
    promised: str
    shown: tuple[str, ...]


def rows(text: str) -> list[Row]:
    """Return the rows of the tables in the text of the page."""
    found: list[Row] = []
    reading = False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if len(cells) != 3:
            reading = False
        elif cells[0] in HEADS:
            reading = True
        elif reading and not set(cells[0]) <= set("-:"):
            found.append(Row(cells[0], cells[1], _shown(cells[2])))
    return found


def _shown(cell: str) -> tuple[str, ...]:
    """`probes/test_x.py::test_a`, `::test_b` names two tests of one file below tests/; `soak/x.py` a module."""
    names, file = [], ""
    for name in re.findall(r"`([^`]+)`", cell):
        path, _, test = name.partition("::")
        file = path or file
        names.append(f"tests/{file}::{test}" if test else f"tests/{file}")
    return tuple(names)


def tests() -> list[str]:
    """Return the node ids of all tests that are named, each once."""
    named = [name for row in rows(PAGE.read_text(encoding="utf-8")) for name in row.shown]
    return list(dict.fromkeys(name for name in named if "::" in name))


def main() -> int:
    """Run them."""
    return subprocess.run([sys.executable, "-m", "pytest", *tests()], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
