"""From the words of the command line to one verb and its exit code.

No traceback ever reaches the user: what goes wrong is one line on standard
error, and whoever wants the details sets GPU_TRIAGE_DEBUG=1.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from probes.named import NamedTuple
from triage import __version__
from triage.cli import output
from triage.cli.exits import BUG, CHECK, DONE, INTERRUPTED, OUT_OF_MEMORY, SHORT_OF, USAGE, Refused


class Verb(NamedTuple):
    """A verb, the module that does it, and what it does in one line."""

    name: str
    module: str
    says: str


VERBS = (
    Verb("check", "triage.cli.check", "one health sweep of this node, for people and for monitoring"),
    Verb("watch", "triage.cli.watch", "follow this node and tell what opens, changes and ends, as NDJSON"),
    Verb("explain", "triage.cli.explain", "the verdict from logs, captures and bug reports of any machine"),
    Verb("fleet", "triage.cli.fleet", "many nodes at once, and what they testify against each other"),
    Verb("incidents", "triage.cli.incidents", "list, show, acknowledge and resolve what the sweeps of this node saw"),
    Verb("alert", "triage.cli.alert", "test whether alerts arrive; what of them waits"),
    Verb("doctor", "triage.cli.doctor", "what can and cannot be read here, why, and what would help"),
    Verb("collect", "triage.cli.collect", "all evidence of this node in one archive, for explain and tui elsewhere"),
    Verb("xid", "triage.cli.xid", "what an Xid code or a pasted log line means"),
    Verb("rules", "triage.cli.rules", "list, show, lint, test and evaluate the rulebook"),
    Verb(
        "install", "triage.cli.install", "print units, cron lines and configuration for the programs that run this one"
    ),
    Verb(
        "completion", "triage.cli.completion", "print what bash, zsh or fish need to complete the words of this program"
    ),
    Verb("config", "triage.cli.config", "what is set in config files and the environment, and where"),
    Verb("schema", "triage.cli.schema", "print the JSON Schema of what this program prints"),
    Verb("demo", "triage.cli.demo", "real incidents played through the real program; no GPU is needed"),
    Verb("tui", "triage.cli.tui", "the screens, on this node, on logs or on a stored report"),
)

OVERVIEW = """\
gpu-triage - is it the hardware, or is it the driver?

examples:
  gpu-triage demo                          a real incident, chapter by chapter
  gpu-triage explain /var/log/kern.log     why did a GPU fail? evidence for, against, and what to do
  dmesg | gpu-triage explain -             the same from a pipe
  gpu-triage check                         is this node well? one line, exit 0, 1, 2 or 3
  gpu-triage xid 79                        what does this code mean?

verbs:
{verbs}

`gpu-triage VERB --help` tells more; `gpu-triage` alone opens the screens; `gpu-triage --version`.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; never raises."""
    words = list(sys.argv[1:] if argv is None else argv)
    output.prepare()
    try:
        return _run(words)
    except Refused as refused:
        output.tell(refused.message)
        return refused.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # the one place where a mistake of ours is caught
        output.tell(bug(error))
        return BUG


def run() -> NoReturn:
    """Run the command as a process of its own, and end it with the exit code."""
    code = main()
    # Taking the interpreter apart costs a health check, and the reading of a log of 256 MiB, a twentieth of its time.
    # Other verbs may have something to do at the end, and so has whoever traces or profiles.
    ending = {"check": output.leave, "explain": output.finish}.get("".join(sys.argv[1:2]))
    if ending is not None and sys.gettrace() is None and sys.getprofile() is None:
        ending(code)
    sys.exit(code)


def bug(error: Exception) -> str:
    """Return one line that names the mistake and the place, or the whole traceback if debugging is on."""
    short = OUT_OF_MEMORY if isinstance(error, MemoryError) else SHORT_OF.get(getattr(error, "errno", None) or 0)
    if short is not None:
        return short
    from traceback import extract_tb, format_exception

    if os.environ.get("GPU_TRIAGE_DEBUG"):
        return "".join(format_exception(error))
    frames = extract_tb(error.__traceback__)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    what = str(error).partition("\n")[0][:200]
    return (
        f"internal error, {type(error).__name__}{place}: {what} - this is a bug in gpu-triage {__version__}; "
        "set GPU_TRIAGE_DEBUG=1 and run it again for the details to report"
    )


def overview() -> str:
    """Return the help of the command as a whole."""
    return OVERVIEW.format(verbs="\n".join(f"  {verb.name:<11} {verb.says}" for verb in VERBS))


def _run(words: list[str]) -> int:
    if not words:
        if not output.is_terminal(sys.stdout):
            output.tell(f"{output.no_screens()}; all else: `gpu-triage --help`")
            return USAGE
        words = ["tui"]
    first, rest = words[0], words[1:]
    if first in ("-h", "--help", "help"):
        if not rest:
            output.write(overview())
            return DONE
        first, rest = rest[0], ["--help"]
    if first in ("-V", "--version"):
        output.write(f"gpu-triage {__version__}\n")
        return DONE
    verb = next((verb for verb in VERBS if verb.name == first), None)
    if verb is None:
        raise Refused(_unknown(first))
    return _call(verb, rest)


def _call(verb: Verb, words: list[str]) -> int:
    if verb.name == "check":
        gc.disable()  # so short a life makes no garbage that is worth looking for
        _spare()
    try:
        return int(import_module(verb.module).main(words))
    except SystemExit as ended:  # argparse, after it has printed the help
        # Monitoring takes exit 0 for a healthy node, and help is no health.
        return CHECK["unknown"] if verb.name == "check" else int(ended.code or DONE)


def _spare() -> None:
    """Load pathlib and argparse without what they never need here: URLs of paths, and translations that nobody has.

    That is a twentieth of what a health check takes.
    """
    urls, texts = ModuleType("urllib.parse"), ModuleType("gettext")
    names: dict[str, object] = urls.__dict__
    names["quote_from_bytes"] = lambda *told, **named: import_module(urls.__name__).quote_from_bytes(*told, **named)
    texts.__dict__.update(gettext=str, ngettext=lambda one, many, number: one if number == 1 else many)
    spared = [module for module in (urls, texts) if module.__name__ not in sys.modules]
    for module in spared:
        sys.modules[module.__name__] = module
    try:
        import_module("pathlib")
        import_module("argparse")
    finally:
        for module in spared:
            del sys.modules[module.__name__]


def _unknown(word: str) -> str:
    from difflib import get_close_matches

    if word.startswith("-"):
        return f"unknown option '{word}'; options stand after the verb (see `gpu-triage --help`)"
    near = get_close_matches(word.lower(), [verb.name for verb in VERBS], n=1)
    if near:
        return f"unknown verb '{word}'; did you mean '{near[0]}'?"
    if os.path.exists(word):
        return f"unknown verb '{word}'; to explain that log: gpu-triage explain {word}"
    return f"unknown verb '{word}'; one of {', '.join(verb.name for verb in VERBS)} (see `gpu-triage --help`)"
