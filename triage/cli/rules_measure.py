"""`gpu-triage rules evaluate`, `fit`, `calibrate` and `replay`: the rulebook held against what really happened."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triage.cli import output
from triage.cli.exits import DONE, PARTIAL, UNREACHABLE, USAGE, Refused
from triage.cli.options import Parser, add_rules, overlays
from triage.cli.reports import load_rulebook
from triage.render.safe import safe

if TYPE_CHECKING:
    from triage.evaluate import Case
    from triage.fit import Study
    from triage.rulebook.model import Rulebook


def _add_corpora(parser: Parser, needed: str = "+") -> None:
    parser.add_argument(
        "corpus", nargs=needed, type=Path, metavar="CORPUS", help="labelled incidents, one JSON object a line"
    )
    add_rules(parser)


def _add_format(parser: Parser) -> None:
    parser.add_argument("--format", choices=("text", "json"), default="text", help="form of the output (default: text)")


def _corpora(paths: Sequence[Path]) -> list[list[Case]]:
    from triage.evaluate import read_corpus

    found = []
    for path in paths:
        try:
            found.append(list(read_corpus(path)))
        except OSError as error:
            raise Refused(f"cannot read {path}: {output.reason_of(error)}") from error
        except ValueError as error:
            raise Refused(str(error), USAGE) from error
    return found


def _rulebook(args: Any) -> Rulebook:
    """Load the rules and tell what a site changes in them: figures of other rules are other figures."""
    rulebook = load_rulebook(args.rules, overlays(args), whole=True)
    for notice in rulebook.notices:
        output.tell(notice)
    return rulebook


def _write(text: str) -> None:
    """Print text whose words come from files, which may be anybody's."""
    output.write("".join(f"{safe(line)}\n" for line in text.splitlines()))


def _write_json(value: dict[str, Any]) -> None:
    output.write(json.dumps(value, indent=2, ensure_ascii=True) + "\n")


# evaluate


def add_evaluate(parser: Parser) -> None:
    """Add the arguments of `rules evaluate`."""
    _add_corpora(parser, needed="*")
    parser.add_argument(
        "--history", type=Path, metavar="DIR", help="count what people disputed in the history of this directory"
    )
    parser.add_argument(
        "--baseline", action="store_true", help="hold a plain lookup of the Xid, in three public tables, against it"
    )
    _add_format(parser)


def evaluate(args: Any) -> int:
    """Print the figures of each corpus, and of all together where there are several, each incident once."""
    from triage.baseline import compare
    from triage.evaluate import judge
    from triage.figures import as_json, figures
    from triage.render.figures import details, heading, overall, side_by_side

    if not args.corpus and args.history is None:
        raise Refused("give labelled incidents, or --history DIR: gpu-triage rules evaluate corpus.jsonl")
    rulebook = _rulebook(args)
    people = [] if args.history is None else _people(args.history)
    corpora = _corpora(args.corpus)
    runs = [
        (str(path), cases, [judge(rulebook, case) for case in cases])
        for path, cases in zip(args.corpus, corpora, strict=True)
    ]
    if len(runs) > 1:
        once = {
            case["id"]: (case, outcome) for _, cases, said in runs for case, outcome in zip(cases, said, strict=True)
        }
        runs.append(("all", [case for case, _ in once.values()], [outcome for _, outcome in once.values()]))
    documents = []
    for name, cases, outcomes in runs:
        result = figures(outcomes)
        columns = {"rules": result}
        if args.baseline:
            columns |= compare(rulebook, cases)
        documents.append(
            {
                "corpus": name,
                "cases": len(cases),
                "figures": {column: as_json(found) for column, found in columns.items()},
                "outcomes": [outcome._asdict() for outcome in outcomes],
            }
        )
        if args.format == "text":
            parts = [heading(name, result, len(cases)), "", side_by_side(columns), ""]
            parts.append(overall(result) if name == "all" else details(result, outcomes))
            _write("\n".join(parts) + "\n\n")
    if args.format == "json":
        told = {"schema_version": 1, "kind": "evaluation", "rules": rulebook.digest, "corpora": documents}
        _write_json(told if args.history is None else {**told, "disputed": people})
    elif args.history is not None:
        _write(_people_text(args.history, people))
    return DONE


def _people(directory: Path) -> list[dict[str, Any]]:
    """Return by rule how many incidents the history has, and how many of their verdicts a person disputed."""
    import time

    from triage.history.people import counted, disputes
    from triage.history.place import Unavailable
    from triage.history.store import open_store

    try:
        with open_store(directory, now=time.time(), create=False) as store:
            said, incidents = disputes(store), counted(store)
    except Unavailable as error:
        raise Refused(str(error), UNREACHABLE) from error
    rules: dict[str, dict[str, Any]] = {}
    for rule in sorted({*incidents, *(each.rule for each in said)}):
        own = [each for each in said if each.rule == rule]
        rules[rule] = {
            "rule": rule,
            "incidents": max(incidents.get(rule, 0), len(own)),
            "disputed": len(own),
            "of_version": sorted({each.version for each in own if each.version is not None}),
            "said": [{"verdict": each.said, "was": each.was, "reason": each.reason} for each in own],
        }
    return sorted(rules.values(), key=lambda each: (-each["disputed"], each["rule"]))


def _people_text(directory: Path, rules: Sequence[dict[str, Any]]) -> str:
    lines = [f"what people said of verdicts, by the history in {directory}", ""]
    lines.append(f"  {'rule':<24} incidents  disputed")
    for each in rules:
        lines.append(f"  {each['rule']:<24} {each['incidents']:>9}  {each['disputed']:>8}")
        lines += [f"      {said['verdict']} -> {said['was'] or '?'}: {said['reason']}" for said in each["said"]]
    return "\n".join(lines if rules else [*lines[:1], "  no incident yet"]) + "\n"


# fit and calibrate


def add_fit(parser: Parser) -> None:
    """Add the arguments of `rules fit`."""
    from triage.fit import FOLDS, LEAST

    _add_corpora(parser)
    parser.add_argument(
        "--folds", type=int, default=FOLDS, metavar="N", help=f"parts of the cross-validation (default: {FOLDS})"
    )
    parser.add_argument(
        "--least", type=int, default=LEAST, metavar="N", help=f"incidents that a change must help (default: {LEAST})"
    )
    parser.add_argument(
        "--write", type=Path, metavar="DIR", help="write the changes as site rules to this folder (default: nothing)"
    )


def fit(args: Any) -> int:
    """Print what fitting is worth on cases not seen, and the changes it proposes."""
    from triage.fit import fit as fitting
    from triage.render.fitting import fitted_text, overlay_files

    rulebook, read = _studies(args)
    _folds(args.folds, read)
    if args.least < 2:
        raise Refused("--least must be 2 or more: one incident must not decide")
    fitted = fitting(rulebook, read, folds=args.folds, least=args.least)
    _write(fitted_text(fitted, rulebook))
    if args.write is not None:
        corpora = ", ".join(path.name for path in args.corpus)
        written = _save(args.write, overlay_files(fitted, rulebook, f"Fitted to {len(read)} incidents of {corpora}."))
        output.tell(f"{written} files written to {args.write}; try them with --rules-overlay {args.write}")
    return DONE


def add_calibrate(parser: Parser) -> None:
    """Add the arguments of `rules calibrate`."""
    from triage.fit import FOLDS

    _add_corpora(parser)
    parser.add_argument(
        "--folds", type=int, default=FOLDS, metavar="N", help=f"parts of the cross-validation (default: {FOLDS})"
    )
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="write the curve, if one is better, as a calibration.yaml"
    )


def calibrate(args: Any) -> int:
    """Print how good shown confidences are, what curves would change, and which is proposed."""
    from triage.calibrate import calibrate as calibrating
    from triage.render.fitting import calibration_file, calibration_text

    rulebook, read = _studies(args)
    _folds(args.folds, read)
    found = calibrating(rulebook, read, args.folds)
    _write(calibration_text(found))
    if args.write is not None:
        if not found.table:
            output.tell(f"nothing written to {args.write}: no curve is better than none")
        else:
            corpora = ", ".join(path.name for path in args.corpus)
            _save(args.write.parent, {args.write.name: calibration_file(found, corpora)})
    return DONE


def _studies(args: Any) -> tuple[Rulebook, list[Study]]:
    from triage.fit import studies

    rulebook = _rulebook(args)
    corpora = _corpora(args.corpus)
    return rulebook, studies(rulebook, (case for cases in corpora for case in cases))


def _folds(folds: int, read: Sequence[Study]) -> None:
    if not 2 <= folds <= len(read):
        raise Refused(f"--folds is {folds}; it must be from 2 to the number of cases, {len(read)}")


def _save(folder: Path, files: dict[str, str]) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refused(output.unwritten(folder, error), PARTIAL) from error
    return len(files)


# replay


def add_replay(parser: Parser) -> None:
    """Add the arguments of `rules replay`."""
    parser.add_argument(
        "--from",
        dest="stored",
        nargs="+",
        required=True,
        metavar="DIR|FILE",
        help="stored logs, folders of them, or labelled incidents (*.jsonl)",
    )
    parser.add_argument(
        "--old", type=Path, metavar="DIR", help="the rulebook to start from (default: the built-in one, as shipped)"
    )
    add_rules(parser)
    parser.add_argument("--all", action="store_true", help="also verdicts that change in nothing but their confidence")
    _add_format(parser)


def replay(args: Any) -> int:
    """Print every verdict that differs between the old rulebook and the new one."""
    from triage.render.fitting import difference_json, difference_text
    from triage.replay import Replay

    old = load_rulebook(args.old, whole=True)
    new = _rulebook(args)
    run = Replay(old, new, args.stored)
    found = []
    for difference in run:
        found.append(difference)
        if args.format == "text" and (args.all or difference.what != "confidence"):
            _write(difference_text(difference))
    for reason in run.unread:
        output.tell(f"not read: {reason}")
    if args.format == "json":
        _write_json(
            {
                "schema_version": 1,
                "kind": "replay",
                "old": old.digest,
                "new": new.digest,
                "logs": run.logs,
                "unread": run.unread,
                "differences": [difference_json(difference) for difference in found],
            }
        )
    only = sum(difference.what == "confidence" for difference in found)
    output.tell(f"{run.logs} logs: {len(found)} verdicts differ, {only} of them in nothing but their confidence")
    if run.unread:
        return PARTIAL if run.logs else UNREACHABLE
    return DONE
