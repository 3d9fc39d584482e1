"""What a site or a person has set once and for all: config files, and variables of the environment.

A setting is a long option without its dashes.  Whoever is nearer wins: the
command line, then GPU_TRIAGE_..., then the user's config.yaml, then the
system's; each tells its place, so that `config show` can.  At the top of a file a
setting is for every verb that knows it, below a verb's name for that one:

    timezone: "+02:00"
    check:
      deadline: 10
    tui:
      keymap: {incident.rule: R}
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probes.named import NamedTuple
from triage.cli.exits import Refused
from triage.rulebook.folders import user_folder

if TYPE_CHECKING:
    from triage.rulebook.model import Place
    from triage.rulebook.problems import Problem
    from triage.rulebook.yamlload import Document

SYSTEM = Path("/etc/gpu-triage/config.yaml")
FILE = "GPU_TRIAGE_CONFIG"
"""Names one file instead of those of the system and the user; empty is for none."""
PREFIX = "GPU_TRIAGE_"

NAMES = frozenset({
    "alerts", "ascii", "color", "deadline", "every", "fail-on", "fanout", "format", "inventory", "jobs", "listen",
    "no-alerts", "no-events", "no-history", "no-overlays", "often", "port", "quiet", "refresh", "rules",
    "rules-overlay", "ssh-config", "state-dir", "theme", "timezone", "user", "via",
})  # fmt: skip
"""Options that can be set for good.  What acts or writes once (--apply, --force, --output) is asked for each time."""
ONE_WORD = frozenset({"alerts", "color", "state-dir", "theme", "timezone", "rules", "inventory", "listen"})
"""Settings that a variable of the environment can give to every verb."""


class Setting(NamedTuple):
    """A value and where it was set: a place in a file, or a variable."""

    value: Any
    origin: str


def files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the config files that are there, the nearest first."""
    named = environ.get(FILE)
    if named is not None:
        return (Path(named),) if named else ()
    own = user_folder(environ)
    found = [] if own is None else [own / SYSTEM.name]
    return tuple(path for path in (*found, SYSTEM) if os.path.exists(path))


def settings(verb: str, names: Sequence[str], environ: Mapping[str, str]) -> dict[str, Setting]:
    """Return what is set for a verb, of the options with these names.

    Raises:
        Refused: if a file cannot be used, with every place that is wrong.
    """
    found: dict[str, Setting] = {}
    for name in ONE_WORD & set(names):
        variable = PREFIX + name.upper().replace("-", "_")
        if environ.get(variable):
            found[name] = Setting(environ[variable], variable)
    for path in files(environ):
        for name, setting in _of_file(path, verb):
            if name in names:
                found.setdefault(name, setting)
    return found


def apply(parser: argparse.ArgumentParser, verb: str, environ: Mapping[str, str]) -> dict[str, Setting]:
    """Make what is set the default of the parser's options; return it.

    Raises:
        Refused: if a value is none that the option takes.
    """
    options = {text.removeprefix("--"): action for action in parser._actions for text in action.option_strings}
    known = settings(verb, [name for name in options if name in NAMES], environ)
    for name, setting in known.items():
        action = options[name]
        action.default = _checked(parser, action, name, setting)
    return known


def _checked(parser: argparse.ArgumentParser, action: argparse.Action, name: str, setting: Setting) -> Any:
    value = setting.value
    if action.nargs == 0:
        if value in (True, False, "true", "false"):
            return value in (True, "true")
        raise Refused(f"{setting.origin}: {name} is true or false")
    if isinstance(action, argparse._AppendAction):
        listed = value if isinstance(value, list) else [value]
        return [_taken(parser, action, name, each, setting.origin) for each in listed]
    return _taken(parser, action, name, value, setting.origin)


def _taken(parser: argparse.ArgumentParser, action: argparse.Action, name: str, value: Any, origin: str) -> Any:
    if isinstance(value, (dict, list, bool)) or value is None:
        raise Refused(f"{origin}: {name} is one value")
    try:
        taken = parser._get_value(action, str(value))
        parser._check_value(action, taken)
    except argparse.ArgumentError as error:
        raise Refused(f"{origin}: {name}: {error.message}") from None
    return taken


def keymap(environ: Mapping[str, str]) -> dict[str, Setting]:
    """Return which keys are set for which actions of the screens."""
    found: dict[str, Setting] = {}
    for path in files(environ):
        for name, setting in _of_file(path, "tui"):
            if name == "keymap":
                for action, keys in setting.value.items():
                    found.setdefault(action, Setting(keys, f"{setting.origin} {action}"))
    return found


def _of_file(path: Path, verb: str) -> Iterator[tuple[str, Setting]]:
    """Yield what a file sets for a verb: first what is below its name, then what is for all."""
    from triage.cli.dispatch import VERBS
    from triage.rulebook.problems import Problem, did_you_mean, shown
    from triage.rulebook.yamlload import Map, at

    problems: list[Problem] = []
    document = _read(path, problems)
    if document is None:
        raise Refused("\n".join(map(str, problems)))
    verbs = {each.name for each in VERBS}
    own: list[tuple[str, Setting]] = []
    common: list[tuple[str, Setting]] = []

    def wrong(place: Place, message: str) -> None:
        problems.append(Problem(place, message))

    root = document.root
    for name, value in root.items():
        if name in verbs:
            if not isinstance(value, Map):
                wrong(document.place(name), f"{name} holds settings, one a line")
                continue
            for inner, set_to in value.items():
                place = document.place(name, inner)
                if inner == "keymap" and name == "tui":
                    if not isinstance(set_to, dict) or not all(
                        isinstance(keys, (str, int)) for keys in set_to.values()
                    ):
                        wrong(place, "keymap holds actions and their keys, like incident.rule: R")
                        continue
                elif inner not in NAMES:
                    misnamed = at(document.path, value.key_marks[inner])
                    wrong(misnamed, f"no setting {shown(inner)}{did_you_mean(inner, {*NAMES, 'keymap'})}")
                    continue
                if name == verb:
                    own.append((inner, Setting(set_to, str(place))))
        elif name in NAMES:
            common.append((name, Setting(value, str(document.place(name)))))
        else:
            wrong(
                at(document.path, root.key_marks[name]),
                f"no setting {shown(name)}{did_you_mean(name, {*NAMES, *verbs})}",
            )
    if problems:
        raise Refused("\n".join(map(str, sorted(problems))))
    yield from own
    yield from common


def _read(path: Path, problems: list[Problem]) -> Document | None:
    from triage.rulebook.model import Place
    from triage.rulebook.problems import Problem
    from triage.rulebook.yamlload import read

    refusal = _not_ours(path)
    if refusal is not None:
        problems.append(Problem(Place(str(path), 1, 1), refusal))
        return None
    _, document = read(path, str(path), problems)
    if document is not None and not isinstance(document.root, dict):
        problems.append(Problem(document.place(), "holds settings, one a line, like timezone: UTC"))
    return None if problems else document


def _not_ours(path: Path) -> str | None:
    """Say why a file is not believed: what root does must not be set by others."""
    try:
        status = os.stat(path)
    except OSError as error:
        return f"cannot be read: {(error.strerror or str(error)).lower()}"
    if os.geteuid() == 0 and (status.st_uid != 0 or status.st_mode & 0o022):
        return "belongs to, or can be changed by, others than root; chown root and chmod go-w it"
    return None
