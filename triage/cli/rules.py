"""`gpu-triage rules`: the rulebook listed, shown, linted and tested; what measures it is in `rules_measure`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from triage.cli import output, rules_explain, rules_measure
from triage.cli.exits import DONE, FOUND, Refused
from triage.cli.options import Parser, add_rules, overlays
from triage.cli.reports import load_rulebook
from triage.render.safe import safe
from triage.rulebook.model import Rulebook

SCHEMAS = ("rule", "causes", "signals", "xid", "modules", "overlay", "calibration")
EXITS = """
0 done, nothing wrong          1 a test failed or there is none, or lint found an error
2 bad arguments, or the rulebook cannot be loaded
"""


def main(words: Sequence[str]) -> int:
    """Run one of the sub-verbs."""
    if not words:
        raise Refused(f"rules: say what to do: {', '.join(ACTIONS)} (see `gpu-triage rules --help`)")
    first, rest = words[0], words[1:]
    if first in ("-h", "--help"):
        output.write(_overview())
        return DONE
    if first not in ACTIONS:
        raise Refused(f"rules: unknown verb '{first}'{_meant(first, ACTIONS)} (see `gpu-triage rules --help`)")
    says, examples, prepare, act = ACTIONS[first]
    parser = Parser(f"rules {first}", says, examples, EXITS)
    prepare(parser)
    return act(parser.parse_args(rest))


def _overview() -> str:
    listed = "\n".join(f"  {name:<10} {says}" for name, (says, *_) in ACTIONS.items())
    shown = "\n".join(f"  {example}" for _, examples, *_ in ACTIONS.values() for example in examples.splitlines()[:1])
    codes = "\n".join(f"  {line}" for line in EXITS.strip().splitlines())
    return f"usage: gpu-triage rules VERB ...\n\nexamples:\n{shown}\n\nverbs:\n{listed}\n\nexit codes:\n{codes}\n"


def _meant(word: str, known: Iterable[str]) -> str:
    from triage.rulebook.problems import did_you_mean

    return did_you_mean(word, known)


def _ids(rulebook: Rulebook, asked: Sequence[str]) -> Sequence[str]:
    known = [rule.id for rule in rulebook.rules]
    for word in asked:
        if word not in known:
            raise Refused(f"there is no rule '{word}'{_meant(word, known)} (see `gpu-triage rules list`)")
    return asked


def _write(text: str) -> None:
    """Print text whose words come from rule files, which may be anybody's."""
    output.write("".join(f"{safe(line)}\n" for line in text.splitlines()))


def _add_ids(parser: Parser) -> None:
    parser.add_argument("ids", nargs="*", metavar="RULE", help="rules by id (default: all)")
    add_rules(parser)


def _add_list(parser: Parser) -> None:
    parser.add_argument("--format", choices=("text", "json"), default="text", help="form of the output (default: text)")
    add_rules(parser)


def _list(args: Any) -> int:
    rulebook = load_rulebook(args.rules, overlays(args), whole=True)
    from triage.rulebook.show import list_json, list_text

    if args.format == "json":
        from triage.render.machine import to_json

        output.write(to_json(list_json(rulebook)))
    else:
        _write(list_text(rulebook))
    return DONE


def _add_id(parser: Parser) -> None:
    parser.add_argument("id", metavar="RULE", help="the rule's id")
    add_rules(parser)


def _show(args: Any) -> int:
    rulebook = load_rulebook(args.rules, overlays(args), whole=True)
    (wanted,) = _ids(rulebook, [args.id])
    from triage.rulebook.show import show_text

    _write(show_text(rulebook, wanted))
    return DONE


def _lint(args: Any) -> int:
    rulebook = load_rulebook(args.rules, overlays(args), whole=True)
    from triage.rulebook.lint import lint

    problems = sorted(lint(rulebook))
    _write("".join(f"{problem.place}: {problem.severity}: {problem.message} [{problem.id}]\n" for problem in problems))
    errors = sum(problem.severity == "error" for problem in problems)
    output.tell(f"{len(rulebook.rules)} rules: {errors} errors, {len(problems) - errors} warnings")
    return FOUND if errors else DONE


def _test(args: Any) -> int:
    from triage.rulebook.try_rules import run_tests

    rulebook = load_rulebook(args.rules, overlays(args), whole=True)
    results = run_tests(rulebook, _ids(rulebook, args.ids))
    failed = [result for result in results if result.problems]
    for result in failed:
        problems = "".join(f"\n    {problem}" for problem in result.problems)
        _write(f"FAILED {result.rule}: {result.test.name} ({result.test.place}){problems}")
    _write(f"{len(results)} tests of {len({result.rule for result in results})} rules: {len(failed)} failed")
    # Where nothing was tested, nothing has passed.
    return FOUND if failed or not results else DONE


def _add_schema(parser: Parser) -> None:
    parser.add_argument("of", nargs="?", choices=SCHEMAS, default="rule", help="whose schema (default: rule)")


def _schema(args: Any) -> int:
    from triage.rulebook.shape import SCHEMAS as FOLDER

    output.write((FOLDER / f"{args.of}.v1.json").read_text(encoding="utf-8"))
    return DONE


Action = tuple[str, str, Callable[[Parser], object], Callable[[Any], int]]

ACTIONS: Mapping[str, Action] = {
    "list": ("List the rules.", "gpu-triage rules list\ngpu-triage rules list --format json", _add_list, _list),
    "show": ("Show one rule in plain words.", "gpu-triage rules show gpu-off-bus", _add_id, _show),
    "lint": (
        "Say what is wrong with the rule files, and where.",
        "gpu-triage rules lint\ngpu-triage rules lint --rules ./my-rules",
        add_rules,
        _lint,
    ),
    "test": (
        "Run the tests that stand in the rule files.",
        "gpu-triage rules test\ngpu-triage rules test gpu-off-bus",
        _add_ids,
        _test,
    ),
    "explain": (
        "Print the sum behind a verdict, line by line: of a rule, or of what logs say.",
        "gpu-triage rules explain kern.log --incident 1\ngpu-triage rules explain gpu-off-bus",
        rules_explain.add,
        rules_explain.run,
    ),
    "evaluate": (
        "Run labelled incidents through the rules and say how often they were right.",
        "gpu-triage rules evaluate corpus.jsonl\ngpu-triage rules evaluate one.jsonl two.jsonl --baseline",
        rules_measure.add_evaluate,
        rules_measure.evaluate,
    ),
    "fit": (
        "Fit the points of evidence to labelled incidents and propose changes; nothing is written unless asked.",
        "gpu-triage rules fit corpus.jsonl\ngpu-triage rules fit corpus.jsonl --write ./fitted",
        rules_measure.add_fit,
        rules_measure.fit,
    ),
    "calibrate": (
        "Fit the shown confidence to labelled incidents and say whether it gets better on cases not seen.",
        "gpu-triage rules calibrate corpus.jsonl",
        rules_measure.add_calibrate,
        rules_measure.calibrate,
    ),
    "replay": (
        "List every verdict over stored logs that another rulebook or overlay would change.",
        "gpu-triage rules replay --from /var/log/gpu-incidents --rules ./new-rules",
        rules_measure.add_replay,
        rules_measure.replay,
    ),
    "schema": (
        "Print the JSON Schema of a kind of rule file, for editors.",
        "gpu-triage rules schema rule > rule.v1.json",
        _add_schema,
        _schema,
    ),
}
"""Per sub-verb: what it does, examples, its arguments, and the function that does it."""
