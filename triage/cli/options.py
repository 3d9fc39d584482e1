"""The options that verbs share, their values checked where they enter."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from triage.cli import settings
from triage.cli.exits import Refused
from triage.cli.output import columns, is_terminal, write
from triage.render.color import CHOICES, colored, plain, wants_color
from triage.render.layout import Look

if TYPE_CHECKING:
    from triage.window import Window

_ZONE = r"([+-])([0-9]{2}):?([0-9]{2})?"
LONGEST_DEADLINE = 3600.0


class Parser(argparse.ArgumentParser):
    """A parser whose help leads with examples and whose refusals are raised, not printed."""

    def __init__(self, verb: str, says: str, examples: str, exits: str) -> None:
        super().__init__(
            prog=f"gpu-triage {verb}",
            description=f"{says}\n\nexamples:\n{_indented(examples)}",
            epilog=f"exit codes:\n{_indented(exits)}",
            # told its width, because finding it out loads what packs archives, and every option asks for a formatter
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=columns() - 2),
            allow_abbrev=False,
        )
        self._verb = verb.partition(" ")[0]

    def parse_args(self, words: Sequence[str], namespace: None = None) -> argparse.Namespace:  # type: ignore[override]
        """Parse the words; what they do not say is as config files and the environment set it."""
        if not {"-h", "--help"} & set(words):  # help stays readable whatever is wrong with a file
            settings.apply(self, self._verb, os.environ)
        return super().parse_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting, so that `check` can keep its own contract."""
        raise Refused(f"{message}{self._meant(message)} (see `{self.prog} --help`)")

    def _meant(self, message: str) -> str:
        """Return which known word is nearest to the one that is refused, if one is near."""
        from triage.rulebook.problems import did_you_mean

        chosen = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)$", message)
        if chosen is not None:
            return did_you_mean(chosen[1], (word.strip("'") for word in chosen[2].split(", ")))
        head, _, word = message.partition("unrecognized arguments: ")
        if not head and word.startswith("--"):
            return did_you_mean(re.split(r"[\s=]", word, maxsplit=1)[0], self._option_string_actions)
        return ""

    def print_help(self, file: object = None) -> None:
        """Print the help the way all data is printed, so that a closed pipe ends it quietly."""
        write(self.format_help())


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.strip().splitlines()).rstrip("\n")


def add_cluster(parsed: argparse.ArgumentParser) -> None:
    """Add --cluster."""
    parsed.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="have the workers of this Dask scheduler (tcp://host:8786) read the files; they must see them too",
    )


def add_output(parser: argparse.ArgumentParser, formats: tuple[str, ...] = ("text", "json", "ndjson", "ecs")) -> None:
    """Add --format, --color and --ascii."""
    parser.add_argument("--format", choices=formats, default="text", help="form of the output (default: text)")
    parser.add_argument("--color", choices=CHOICES, default="auto", help="colour the text (default: on a terminal)")
    parser.add_argument("--ascii", action="store_true", help="print nothing beyond ASCII")


def add_rules(parser: argparse.ArgumentParser) -> None:
    """Add --rules, and --rules-overlay and --no-overlays for the rules of a site."""
    parser.add_argument("--rules", type=Path, metavar="DIR", help="use this rulebook instead of the built-in one")
    parser.add_argument(
        "--rules-overlay",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="add the site rules of this folder to those of the system and the user; repeatable",
    )
    parser.add_argument(
        "--no-overlays", action="store_true", help="leave out the site rules of the system and the user"
    )


def add_history(parser: argparse.ArgumentParser, *, optional: bool = True) -> None:
    """Add --state-dir and, where it can do without, --no-history."""
    parser.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        help="where the history stands (default: /var/lib/gpu-triage as root, else below XDG_STATE_HOME)",
    )
    if optional:
        parser.add_argument("--no-history", action="store_true", help="neither ask the history nor write to it")


def state_directory(args: argparse.Namespace) -> Path | None:
    """Return the state directory that is meant, or None for no history."""
    if getattr(args, "no_history", False):
        return None
    from triage.history.place import default_directory

    given: Path | None = args.state_dir
    return default_directory() if given is None else given


def overlays(args: argparse.Namespace) -> tuple[Path, ...]:
    """Return the folders of site rules; another rulebook than the built-in one takes only those that are named."""
    from triage.rulebook.folders import standard_folders

    standard = () if args.no_overlays or args.rules is not None else standard_folders()
    return (*standard, *args.rules_overlay)


def add_logs(parser: argparse.ArgumentParser) -> None:
    """Add --timezone, and --now for tests."""
    parser.add_argument(
        "--timezone",
        type=zone,
        default=0.0,
        metavar="ZONE",
        help="zone of logs whose times name none: UTC or +02:00 (default: UTC)",
    )
    add_now(parser)


def add_window(parser: argparse.ArgumentParser) -> None:
    """Add --since and --until."""
    for name, side in (("--since", "from"), ("--until", "until")):
        parser.add_argument(
            name,
            metavar="TIME",
            help=f"of logs, only records {side} then: '2026-11-26 03:10', 03:10, 2h (ago), @EPOCH or now",
        )


def window(args: argparse.Namespace, now: float) -> Window | None:
    """Return the stretch of time that was asked for, if one was.

    Raises:
        Refused: if a time is none, or nothing lies between the two.
    """
    if args.since is None and args.until is None:
        return None
    from triage.window import Window, moment

    try:
        since, until = (None if text is None else moment(text, now, args.timezone) for text in (args.since, args.until))
    except ValueError as error:
        raise Refused(str(error)) from None
    if since is not None and until is not None and since > until:
        raise Refused(f"--since {args.since} is after --until {args.until}; swap them")
    return Window(since, until)


def add_now(parser: argparse.ArgumentParser) -> None:
    """Add --now, which fixes the clock for tests and replays."""
    parser.add_argument("--now", type=epoch, help=argparse.SUPPRESS)


def look(args: argparse.Namespace) -> Look:
    """Return how text is to be drawn for these arguments, this environment and this terminal."""
    paint = colored if wants_color(args.color, os.environ, is_terminal(sys.stdout)) else plain
    return Look(columns(), paint, args.ascii)


def whole(text: str) -> int:
    """Return a number of lines that may be shown around another."""
    from triage.context import MOST

    if not text.isdecimal() or int(text) > MOST:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 0 to {MOST}")
    return int(text)


def zone(text: str) -> float:
    """Return seconds east of UTC for `UTC`, `Z`, `+02`, `+0200` or `+02:00`."""
    if text.upper() in ("UTC", "Z"):
        return 0.0
    match = re.fullmatch(_ZONE, text)
    hours, minutes = (int(match[2]), int(match[3] or 0)) if match else (99, 0)
    if not match or hours > 15 or minutes > 59:
        raise argparse.ArgumentTypeError(f"'{text}' is not a zone; write UTC or an offset like +02:00")
    return (hours * 3600.0 + minutes * 60.0) * (-1 if match[1] == "-" else 1)


def epoch(text: str) -> float:
    """Return UTC epoch seconds."""
    return _finite(text, "a time in seconds since 1970")


def jobs(text: str) -> int:
    """Return a number of processes, from 1 to 1024."""
    if not (text.isdecimal() and len(text) < 5 and 1 <= int(text) <= 1024):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of processes from 1 to 1024")
    return int(text)


def deadline(text: str) -> float:
    """Return a time limit in seconds, above zero and at most an hour."""
    seconds = _finite(text, "a number of seconds")
    if not 0 < seconds <= LONGEST_DEADLINE:
        raise argparse.ArgumentTypeError(f"'{text}' is not above 0 and at most {LONGEST_DEADLINE:.0f} seconds")
    return seconds


def seconds(text: str) -> float:
    """Return a time between two readings, from a second to a day."""
    value = _finite(text, "a number of seconds")
    if not 1 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"'{text}' is not between 1 and 86400 seconds")
    return value


def _finite(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise argparse.ArgumentTypeError(f"'{text}' is not {what}")
    return value
