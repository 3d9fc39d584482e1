"""Whatever docs/reliability.md promises is shown by a test that exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from tests import matrix

ROOT = Path(__file__).parents[1]
ROWS = matrix.rows(matrix.PAGE.read_text(encoding="utf-8"))


@cache
def collected(file: str) -> frozenset[str]:
    """The tests of a file that pytest takes; all are functions of a module here."""
    assert Path(file).name.startswith("test_"), file
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(
        each.name
        for each in tree.body
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name.startswith("test_")
    )


def test_every_row_promises_something_and_names_who_shows_it() -> None:
    assert len(ROWS) > 60
    assert [] == [row.what for row in ROWS if not row.promised or not row.shown]
    assert len(ROWS) == len({row.what for row in ROWS})


def test_every_test_that_is_named_is_there() -> None:
    lost = [
        name
        for row in ROWS
        for name in row.shown
        if "::" in name and name.partition("::")[2] not in collected(name.partition("::")[0])
    ]
    assert [] == lost


def test_every_soak_that_is_named_is_run_by_make_soak() -> None:
    recipe = re.search(r"^soak:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    modules = {name.removesuffix(".py").replace("/", ".") for row in ROWS for name in row.shown if "::" not in name}
    assert modules
    assert modules <= set(re.findall(r"-m (tests\.soak\.\w+)", recipe[1]))
