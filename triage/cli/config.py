"""`gpu-triage config`: what is set in files and in the environment, and where."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from probes.named import NamedTuple
from triage.cli import output, settings
from triage.cli.exits import DONE, Refused
from triage.cli.options import Parser
from triage.render.safe import safe

PARSERS = {
    "check": "triage.cli.check",
    "watch": "triage.cli.watch",
    "explain": "triage.cli.explain",
    "fleet": "triage.cli.fleet_sweep",
    "incidents": "triage.cli.incidents",
    "doctor": "triage.cli.doctor",
    "collect": "triage.cli.collect",
    "tui": "triage.cli.tui",
}
"""Verbs whose options can be set for good, and the module with their parser."""


class Told(NamedTuple):
    """One option of one verb: its value, and where that comes from."""

    verb: str
    name: str
    value: Any
    origin: str


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "config",
        "Show what is set for good, and which file and line or variable of the environment did it. Nearer wins: the\n"
        "command line, then GPU_TRIAGE_..., then ~/.config/gpu-triage/config.yaml, then /etc/gpu-triage/config.yaml.",
        """
gpu-triage config show
gpu-triage config show tui
gpu-triage config show --all
gpu-triage config show --format json
""",
        "0 done   2 bad arguments, or a config file is wrong",
    )
    parsed.add_argument("what", choices=("show",), help="what to do")
    parsed.add_argument("verb", nargs="?", choices=tuple(PARSERS), help="of this verb alone")
    parsed.add_argument("--all", action="store_true", help="what nobody has set too, with its default")
    parsed.add_argument("--format", choices=("text", "json"), default="text", help="form of the output (default: text)")
    return parsed


def main(words: Sequence[str]) -> int:
    """Show the settings."""
    args = parser().parse_args(words)
    told = [each for verb in ([args.verb] if args.verb else PARSERS) for each in _of(verb)]
    shown = [each for each in told if args.all or each.origin != "default"]
    if args.format == "json":
        listed = [{**each._asdict(), "value": _plain(each.value)} for each in shown]
        output.write(json.dumps({"schema_version": 1, "kind": "config", "settings": listed}, indent=2) + "\n")
        return DONE
    read = ", ".join(map(str, settings.files(os.environ))) or "none"
    output.write(f"config files: {safe(read)}\n" + ("" if shown else "nothing is set; --all shows the defaults\n"))
    for each in shown:
        value = json.dumps(_plain(each.value))
        output.write(f"{each.verb:<10} {safe(each.name):<22} {safe(value):<24} {safe(each.origin)}\n")
    return DONE


def _of(verb: str) -> Iterator[Told]:
    try:
        options = import_module(PARSERS[verb]).parser()
    except ImportError as error:
        raise Refused(f"{verb}: {error}") from error
    known = settings.apply(options, verb, os.environ)
    defaults = {
        text.removeprefix("--"): action.default for action in options._actions for text in action.option_strings
    }
    for name in sorted(settings.NAMES & defaults.keys()):
        yield Told(verb, name, defaults[name], known[name].origin if name in known else "default")
    if verb == "tui":
        for action, setting in sorted(settings.keymap(os.environ).items()):
            yield Told(verb, f"keymap {action}", setting.value, setting.origin)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
