"""The rows of a table: a few that are made, or any number of which each is made when it is looked at.

Which rows pass a filter, and in what order, is found here without touching a
widget, so that a thread can do it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from tui.filters import Fields, Wanted
from tui.text import Span

MANY = 2000
"""Rows from which they are put in order in a thread; fewer take less time than a key may."""


class Row(NamedTuple):
    """One row: what it is (`key`), its cells in the order of the columns, and what a filter may ask of it."""

    key: str
    cells: tuple[Span, ...]
    fields: Fields
    rank: int = 0
    """How bad it is beside the other rows: the worst have the least, up to 255."""


class Rows(Protocol):
    """Rows by number, from zero."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def key(self, number: int) -> str:
        """Return what a row is."""
        ...

    def fields(self, number: int) -> Fields:
        """Return what a filter may ask of a row."""
        ...

    def rank(self, number: int) -> int:
        """Return how bad a row is: the worst have the least, up to 255."""
        ...

    def row(self, number: int) -> Row:
        """Return a row to draw."""
        ...


class Made:
    """Rows that are there already."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, number: int) -> str:
        """Return what a row is."""
        return self._rows[number].key

    def fields(self, number: int) -> Fields:
        """Return what a filter may ask of a row."""
        return self._rows[number].fields

    def rank(self, number: int) -> int:
        """Return how bad a row is."""
        return self._rows[number].rank

    def row(self, number: int) -> Row:
        """Return the row."""
        return self._rows[number]


class Plan(NamedTuple):
    """What is asked of a table: a filter, the column to sort by (None: as rows come), and whether turned round."""

    wanted: Wanted | None = None
    by: str | None = None
    turned: bool = False


class Shown(Sequence[Row]):
    """Rows in the order in which they stand on the screen; the two belong together and never change."""

    def __init__(self, rows: Rows, order: Sequence[int]) -> None:
        self.rows = rows
        self.order = order
        self._ranks = bytes(map(rows.rank, order))

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> Row:  # type: ignore[override]  # nobody slices them
        return self.rows.row(self.order[place])

    def __iter__(self) -> Iterator[Row]:
        return (self.rows.row(number) for number in self.order)

    def key(self, place: int) -> str:
        """Return what the row at a place is."""
        return self.rows.key(self.order[place])

    def worse(self, than: int, first: int, last: int) -> int:
        """Return how many rows from one place to before another are worse than the row at a third."""
        return sum(self._ranks.count(rank, first, last) for rank in range(self._ranks[than])) if self._ranks else 0

    def place(self, key: str | None) -> int | None:
        """Return where the row with this key stands, None if it is not shown."""
        if key is None:
            return None
        of = self.rows.key
        return next((place for place, number in enumerate(self.order) if of(number) == key), None)


def arranged(rows: Rows, plan: Plan) -> Shown:
    """Return the rows that are wanted, in the order that is asked for."""
    wanted, by = plan.wanted, plan.by
    numbers = [n for n in range(len(rows)) if wanted is None or wanted(rows.fields(n))]
    if by is not None:
        numbers.sort(key=lambda n: _sort_key(rows.fields(n), by))
    if plan.turned:
        numbers.reverse()
    return Shown(rows, array("Q", numbers))


def _sort_key(fields: Mapping[str, object], name: str) -> tuple[int, float, str]:
    """Numbers by size, words by alphabet, the unknown last."""
    value = fields.get(name)
    if value is None:
        return 2, 0.0, ""
    if isinstance(value, (int, float)):
        return 0, float(value), ""
    return 1, 0.0, str(value).lower()
