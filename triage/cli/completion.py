"""`gpu-triage completion`: what a shell needs to finish verbs, options and their choices; made from the parsers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

from probes.named import NamedTuple
from triage.cli import output
from triage.cli.config import PARSERS
from triage.cli.exits import DONE
from triage.cli.options import Parser

SHELLS = ("bash", "zsh", "fish")
_MORE: Mapping[str, str] = {
    "xid": "triage.cli.xid",
    "demo": "triage.cli.demo",
    "install": "triage.cli.install",
    "config": "triage.cli.config",
    "schema": "triage.cli.schema",
    "completion": "triage.cli.completion",
}


class Word(NamedTuple):
    """Something that can stand after a verb: an option or a sub-verb, what it takes, and what it says."""

    text: str
    choices: tuple[str, ...]
    takes: bool
    says: str


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "completion",
        "Print what a shell needs to complete the words of this program.",
        """
source <(gpu-triage completion bash)
gpu-triage completion bash > /etc/bash_completion.d/gpu-triage
gpu-triage completion zsh > ~/.zfunc/_gpu-triage        (with that folder in fpath)
gpu-triage completion fish > ~/.config/fish/completions/gpu-triage.fish
""",
        "0 done   2 bad arguments",
    )
    parsed.add_argument("shell", choices=SHELLS, help="for which shell")
    return parsed


def main(words: Sequence[str]) -> int:
    """Print the script."""
    shell = parser().parse_args(words).shell
    known = dict(verbs())
    output.write({"bash": bash, "zsh": zsh, "fish": fish}[shell](known))
    return DONE


def verbs() -> Iterator[tuple[str, list[Word]]]:
    """Yield each verb with the words that can follow it."""
    from triage.cli.dispatch import VERBS

    modules, subs = {**PARSERS, **_MORE}, sub_verbs()
    for verb in VERBS:
        found = [Word(name, (), False, "") for name in subs.get(verb.name, ())]
        if verb.name in modules:
            found += list(_options(import_module(modules[verb.name]).parser()))
        yield verb.name, found


def sub_verbs() -> Mapping[str, Mapping[str, str]]:
    """Return what each verb that has verbs of its own can do, and what that does, in one line."""
    from triage.cli import fleet
    from triage.cli.rules import ACTIONS

    return {
        "fleet": {verb.name: " ".join(verb.says.split()) for verb in fleet.VERBS},
        "rules": {name: says for name, (says, *_) in ACTIONS.items()},
    }


def _options(parsed: argparse.ArgumentParser) -> Iterator[Word]:
    for action in parsed._actions:
        if action.help == argparse.SUPPRESS:
            continue
        choices = tuple(str(choice) for choice in action.choices or ())
        says = " ".join((action.help or "").split())
        if action.option_strings:
            yield Word(max(action.option_strings, key=len), choices, action.nargs != 0, says)
        else:
            yield from (Word(choice, (), False, "") for choice in choices)


def bash(known: Mapping[str, Sequence[Word]]) -> str:
    """Return the script for bash."""
    words = [f'    {name}) words="{" ".join(word.text for word in found)}" ;;' for name, found in known.items()]
    chosen = [
        f'    {name}/{word.text}) COMPREPLY=($(compgen -W "{" ".join(word.choices)}" -- "$cur")); return ;;'
        for name, found in known.items()
        for word in found
        if word.choices
    ]
    taken = sorted({f"{name}/{word.text}" for name, found in known.items() for word in found if word.takes})
    lines = [
        "# bash completion of gpu-triage, made by: gpu-triage completion bash",
        "_gpu_triage() {",
        '  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" verb="${COMP_WORDS[1]}" words=""',
        "  COMPREPLY=()",
        '  if [ "$COMP_CWORD" -eq 1 ]; then',
        f'    COMPREPLY=($(compgen -W "{" ".join(known)} --help --version" -- "$cur")); return',
        "  fi",
        '  case "$verb/$prev" in',
        *chosen,
        f'    {"|".join(taken)}) COMPREPLY=($(compgen -f -- "$cur")); return ;;',
        "  esac",
        '  case "$verb" in',
        *words,
        "  esac",
        '  COMPREPLY=($(compgen -W "$words" -- "$cur"))',
        '  if [ "${cur#-}" = "$cur" ]; then COMPREPLY+=($(compgen -f -- "$cur")); fi',
        "}",
        "complete -o filenames -F _gpu_triage gpu-triage",
    ]
    return "\n".join(lines) + "\n"


def zsh(known: Mapping[str, Sequence[Word]]) -> str:
    """Return the script for zsh."""
    from triage.cli.dispatch import VERBS

    says = {verb.name: verb.says for verb in VERBS}
    lines = [
        "#compdef gpu-triage",
        "# zsh completion of gpu-triage, made by: gpu-triage completion zsh",
        "_gpu_triage() {",
    ]
    lines += ["  local -a verbs", "  verbs=("]
    lines += [f"    {_quoted(f'{name}:{says[name]}')}" for name in known]
    lines += ["  )", "  if (( CURRENT == 2 )); then _describe verb verbs; return; fi", "  local verb=$words[2]"]
    lines += ["  shift words; (( CURRENT-- ))", "  case $verb in"]
    for name, found in known.items():
        options = [word for word in found if word.text.startswith("-")]
        plain = [word.text for word in found if not word.text.startswith("-")]
        specs = [_quoted(_zsh_option(word)) for word in options]
        rest = _quoted(f"*:word:({' '.join(plain)})") if plain else "'*:file:_files'"
        lines.append(f"    {name}) _arguments {' '.join(specs)} {rest} ;;")
    lines += [
        "  esac",
        "}",
        'if [ "$funcstack[1]" = "_gpu-triage" ]; then _gpu_triage "$@"; else compdef _gpu_triage gpu-triage; fi',
    ]
    return "\n".join(lines) + "\n"


def _zsh_option(word: Word) -> str:
    says = word.says.replace("[", "(").replace("]", ")").replace(":", " ")
    takes = f":value:({' '.join(word.choices)})" if word.choices else ":value:_files" if word.takes else ""
    return f"*{word.text}[{says}]{takes}"


def fish(known: Mapping[str, Sequence[Word]]) -> str:
    """Return the script for fish."""
    from triage.cli.dispatch import VERBS

    lines = ["# fish completion of gpu-triage, made by: gpu-triage completion fish"]
    lines += [
        f"complete -c gpu-triage -f -n __fish_use_subcommand -a {verb.name} -d {_quoted(verb.says)}" for verb in VERBS
    ]
    for name, found in known.items():
        when = f"-n '__fish_seen_subcommand_from {name}'"
        for word in found:
            if not word.text.startswith("--"):
                if not word.text.startswith("-"):
                    lines.append(f"complete -c gpu-triage {when} -a {word.text}")
                continue
            takes = f" -x -a {_quoted(' '.join(word.choices))}" if word.choices else " -r" if word.takes else ""
            lines.append(f"complete -c gpu-triage {when} -l {word.text[2:]}{takes} -d {_quoted(word.says)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "'\\''") + "'"
