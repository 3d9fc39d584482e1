"""The figures of labelled corpora as text: side by side where other readers of the same logs are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from triage.evaluate import LEAVES
from triage.figures import CONFIDENT, Figures, Outcome
from triage.model import UNDETERMINED

ROWS: tuple[tuple[str, str, str], ...] = (
    ("accuracy", "accuracy", "right of decided"),
    ("coverage", "coverage", "decided of known"),
    ("right of all", "right_of_all", "right of known"),
    ("top-1", "top1", "leading cause right, decided or not"),
    ("confident wrong", "confident_wrong", f"wrong at {CONFIDENT} or more"),
    ("unknown left open", "unknown_left_open", "undetermined where nobody knows"),
    ("calibration error", "calibration_error", "ten bins, decided verdicts"),
    ("Brier score", "brier", "decided verdicts, right or wrong"),
    ("log loss", "log_loss", "accepted leaves, decided or not"),
    ("macro accuracy", "macro_accuracy", "the same, each cause class counting once"),
    ("macro coverage", "macro_coverage", ""),
    ("macro right of all", "macro_right_of_all", ""),
    ("macro top-1", "macro_top1", ""),
    ("missed", "missed", "no incident found"),
    ("crashed", "crashed", ""),
)


def side_by_side(columns: Mapping[str, Figures]) -> str:
    """Return the table of figures, a column for each reader."""
    names = list(columns)
    width = max(9, *(len(name) + 2 for name in names))
    lines = ["".join([" " * 18, *(f"{name:>{width}}" for name in names)])] if len(names) > 1 else []
    for title, field, says in ROWS:
        cells = "".join(f"{_cell(getattr(columns[name], field)):>{width}}" for name in names)
        lines.append(f"{title:18}{cells}  {says}".rstrip())
    return "\n".join(lines)


def details(result: Figures, outcomes: Sequence[Outcome], *, why: bool = True) -> str:
    """Return the reliability, the classes, the confusion table and the list of misses."""
    return "\n".join([overall(result), "", *_confusion(outcomes), "", *_misses(outcomes, why)])


def overall(result: Figures) -> str:
    """Return the reliability table and the cause classes."""
    return "\n".join([*_reliability(result), "", *_classes(result)])


def heading(name: str, result: Figures, cases: int) -> str:
    """Return the line that says what was run."""
    return (
        f"{name}: {cases} cases, {result.skipped} have no log, {result.known} have a known cause;"
        f" {result.right} right of {result.decided} decided"
    )


def share(value: float | None) -> str:
    """Return a share with three digits, `-` where there was nothing to count."""
    return "-" if value is None else f"{value:.3f}"


def _cell(value: float | int | None) -> str:
    return str(value) if isinstance(value, int) else share(value)


def _reliability(result: Figures) -> Iterator[str]:
    yield "said       verdicts   mean  right"
    for b in result.bins:
        yield f"{b.low:.1f} to {b.high:.1f} {b.count:8}  {b.said:.3f}  {b.right:.3f}"


def _classes(result: Figures) -> Iterator[str]:
    yield f"{'cause':14}{'known':>7}{'decided':>9}{'right':>7}{'top-1':>7}"
    for name, c in result.classes.items():
        yield f"{name:14}{c.known:7}{c.decided:9}{c.right:7}{c.top1:7}"


def _confusion(outcomes: Sequence[Outcome]) -> Iterator[str]:
    yield "cause (rows) against verdict (columns)"
    table = Counter((o.cause, o.leaf) for o in outcomes if o.result != "skipped")
    leaves = sorted({leaf for _, leaf in table})
    short = {leaf: "none found" if leaf == "-" else leaf.rpartition(".")[2] for leaf in leaves}
    yield f"{'':14}" + "".join(f"{short[leaf]:>14}" for leaf in leaves)
    for cause in LEAVES:
        row = [table.get((cause, leaf), 0) for leaf in leaves]
        if any(row):
            yield f"{cause:14}" + "".join(f"{n or '.':>14}" for n in row)


def _misses(outcomes: Sequence[Outcome], why: bool) -> Iterator[str]:
    order = ("crashed", "wrong", "missed", "open")
    misses = [o for o in outcomes if o.result in order]
    yield f"not right: {len(misses)}"
    for o in sorted(misses, key=lambda o: (order.index(o.result), o.id)):
        said = f"{o.leaf} {o.confidence:.2f}"
        if o.leaf == UNDETERMINED:
            said = f"open, leading {o.leading} {o.confidence:.2f}"
        yield f"  {o.result:8} {o.id}: is {'/'.join(o.accepted)} [{o.grade}], said {said}: {o.summary}"
        if why:
            yield from (f"             {reason}" for reason in o.why)
