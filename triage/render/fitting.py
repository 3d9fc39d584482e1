"""What fitting, calibrating and replaying found, as text and as the files that they propose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from triage.calibrate import LEAST_WRONG, Calibration, Quality
from triage.figures import Figures
from triage.fit import Change, Fitted, Fold
from triage.render.figures import share
from triage.replay import Difference, Moved
from triage.rulebook.model import Rulebook

COLUMNS = (
    ("known", "known"),
    ("accuracy", "accuracy"),
    ("coverage", "coverage"),
    ("of all", "right_of_all"),
    ("top-1", "top1"),
    ("conf.wrong", "confident_wrong"),
    ("left open", "unknown_left_open"),
    ("cal.error", "calibration_error"),
    ("Brier", "brier"),
    ("log loss", "log_loss"),
    ("macro all", "macro_right_of_all"),
    ("macro top", "macro_top1"),
)
_WIDTH = 11


def fitted_text(fitted: Fitted, rulebook: Rulebook) -> str:
    """Return the figures before and after, of each fold and overall, and the proposed changes."""
    lines = [f"{'':18}" + "".join(f"{title:>{_WIDTH}}" for title, _ in COLUMNS)]
    for number, fold in enumerate(fitted.folds, 1):
        lines += _fold(f"fold {number}", fold)
    lines += _fold("all held out", fitted.held_out)
    lines += _fold("fitted to all", fitted.all_cases)
    lines += ["", "A case that is held out is judged by points that never saw it; `fitted to all` saw every case."]
    lines += ["", f"proposed changes: {len(fitted.changes)}"]
    lines += [f"  {change_text(change, rulebook)}" for change in fitted.changes]
    if fitted.refused:
        lines += ["", f"refused, no better on cases of the same rule that were held out: {len(fitted.refused)}"]
        lines += [f"  {change_text(change, rulebook)}" for change in fitted.refused]
    return "\n".join(lines)


def change_text(change: Change, rulebook: Rulebook) -> str:
    """Return one change: place, evidence, cause, words, and what it rests on."""
    item = change.item if change.side == "seen" else f"{change.item} otherwise"
    words = f"{word(change.old, rulebook)} -> {word(change.new, rulebook)}"
    return (
        f"{change.place.path}:{change.place.line}: {item}: {change.leaf}: {words}"
        f" ({change.incidents} incidents, gain {change.gain:.2f})"
    )


def word(points: int, rulebook: Rulebook) -> str:
    """Return the word of these points: `strong`, `against weak`, `none`."""
    names = {value: name for name, value in rulebook.words.items()}
    return "none" if not points else ("against " if points < 0 else "") + names[abs(points)]


def overlay_files(fitted: Fitted, rulebook: Rulebook, why: str) -> dict[str, str]:
    """Return the changes as site rules, one file for each rule."""
    files = {}
    for rule in dict.fromkeys(change.rule for change in fitted.changes):
        changes = [change for change in fitted.changes if change.rule == rule]
        files[f"fitted-{rule}.yaml"] = "\n".join(_overlay(rule, changes, rulebook, why)) + "\n"
    return files


def calibration_text(found: Calibration) -> str:
    """Return what was measured, and the curve if one is proposed."""
    lines = [
        f"{found.verdicts} decided verdicts, {found.wrong} of them wrong",
        f"{'':12}{'cal.error':>11}{'Brier':>11}{'conf.wrong':>12}",
        _quality("as shown", found.as_shown),
        *(_quality(name, quality) for name, quality in found.tried.items()),
        "",
    ]
    if found.wrong < LEAST_WRONG:
        few = f"{LEAST_WRONG} wrong verdicts are needed to tell how doubt should be shown"
        return "\n".join([*lines, f"{few}: confidence stays as computed"])
    if found.chosen is None:
        return "\n".join([*lines, "no curve is better on cases that it has not seen: confidence stays as computed"])
    lines.append(f"proposed: {found.chosen}")
    return "\n".join([*lines, *(f"  computed {raw:.4f}  shown {level:.4f}" for raw, level in found.table)])


def calibration_file(found: Calibration, corpora: str) -> str:
    """Return the curve as a `calibration.yaml`."""
    held = found.tried[found.chosen or ""]
    source = (
        f"{found.chosen} curve over {found.verdicts} decided verdicts of {corpora}; calibration error on cases not"
        f" seen {held.error:.3f}, without it {found.as_shown.error:.3f}"
    )
    knots = "".join(f"  - {{raw: {raw}, shown: {level}}}\n" for raw, level in found.table)
    binding = "# yaml-language-server: $schema=schema/calibration.v1.json\n"
    return f"{binding}schema: 1\nsource: {_quoted(source)}\ntable:\n{knots}"


def difference_text(difference: Difference) -> str:
    """Return one changed verdict and what moved it."""
    where = f" on {difference.device}" if difference.device else ""
    before, after = difference.before or "nothing", difference.after or "nothing"
    lines = [f"{difference.what:10} {difference.case}: {difference.rule}{where}: {before} -> {after}"]
    if difference.before and difference.after:
        lines += [f"           {moved.id}: {_side(moved)}" for moved in difference.moved]
    return "\n".join(lines)


def difference_json(difference: Difference) -> dict[str, Any]:
    """Return one changed verdict as JSON values."""
    return {
        "case": difference.case,
        "what": difference.what,
        "rule": difference.rule,
        "device": difference.device,
        "before": difference.before,
        "after": difference.after,
        "moved": [_moved_json(moved) for moved in difference.moved],
    }


def _moved_json(moved: Moved) -> dict[str, Any]:
    sides = {"before": moved.before, "after": moved.after}
    return {
        "id": moved.id,
        **{name: side and {"state": side[0], "points": dict(side[1])} for name, side in sides.items()},
    }


def _side(moved: Moved) -> str:
    """Return what differs: the state where that changed, else only the causes whose points did."""
    (was, old), (now, new) = moved.before or ("not asked", {}), moved.after or ("not asked", {})
    leaves = sorted(leaf for leaf in {*old, *new} if old.get(leaf, 0) != new.get(leaf, 0))
    points = ", ".join(f"{leaf} {old.get(leaf, 0):+d} -> {new.get(leaf, 0):+d}" for leaf in leaves)
    states = was if was == now else f"{was} -> {now}"
    return f"{states}; {points}" if points else states


def _fold(name: str, fold: Fold) -> list[str]:
    return [_figures(name, fold.before), _figures("  fitted", fold.after)]


def _figures(name: str, result: Figures) -> str:
    cells = []
    for _, field in COLUMNS:
        value = getattr(result, field)
        cells.append(f"{value if isinstance(value, int) else share(value):>{_WIDTH}}")
    return f"{name:18}{''.join(cells)}"


def _quality(name: str, quality: Quality) -> str:
    return f"{name:12}{quality.error:11.3f}{quality.brier:11.3f}{quality.confident_wrong:12}"


def _overlay(rule: str, changes: list[Change], rulebook: Rulebook, why: str) -> Iterator[str]:
    yield "# yaml-language-server: $schema=overlay.v1.json"
    yield "schema: 1"
    yield f"extends: {rule}"
    yield f"why: {_quoted(why)}"
    yield "set:"
    trigger = [change for change in changes if change.item == "trigger"]
    if trigger:
        yield f"  trigger: {{{_weights(trigger, rulebook)}}}"
    items = dict.fromkeys(change.item for change in changes if change.item != "trigger")
    if items:
        yield "  evidence:"
    for item in items:
        own = [change for change in changes if change.item == item]
        seen = [change for change in own if change.side == "seen"]
        other = [change for change in own if change.side != "seen"]
        parts = [_weights(seen, rulebook)] if seen else []
        if other:
            parts.append(f"otherwise: {{{_weights(other, rulebook)}}}")
        yield f"    {item}: {{{', '.join(parts)}}}"


def _weights(changes: list[Change], rulebook: Rulebook) -> str:
    sides: dict[str, list[str]] = {}
    for change in sorted(changes, key=lambda change: change.leaf):
        side = "opposes" if change.new < 0 or (not change.new and change.old < 0) else "supports"
        name = word(abs(change.new), rulebook)
        sides.setdefault(side, []).append(f"{change.leaf}: {name}")
    return ", ".join(f"{side}: {{{', '.join(words)}}}" for side, words in sorted(sides.items()))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
