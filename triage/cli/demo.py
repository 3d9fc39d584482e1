"""`gpu-triage demo`: real incidents, told chapter by chapter through the verbs that anybody would type."""

from __future__ import annotations

import io
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

from triage.cli import output
from triage.cli.exits import DONE, Refused
from triage.cli.options import Parser
from triage.render.color import wants_color
from triage.shipped import shipped

FIRST = "riser"


def parser() -> Parser:
    """Return the parser of this verb."""
    parsed = Parser(
        "demo",
        "Play a real incident through the real program; no GPU is needed. On a terminal each chapter waits for Enter,\n"
        "and the last offers the screens.",
        """
gpu-triage demo
gpu-triage demo --story bad-rollout
gpu-triage demo --story dying-hbm --screens
""",
        "0 done   2 bad arguments   130 interrupted",
    )
    parsed.add_argument("--story", choices=tuple(stories()), default=FIRST, help=f"which (default: {FIRST})")
    way = parsed.add_mutually_exclusive_group()
    way.add_argument("--list", action="store_true", help="say what the stories are, and play none")
    way.add_argument("--screens", action="store_true", help="open the screens on the story at once")
    return parsed


def main(words: Sequence[str]) -> int:
    """Play one story."""
    args = parser().parse_args(words)
    told = stories()
    if args.list:
        output.write("".join(f"{name:<13} {story['title']}\n" for name, story in told.items()))
        return DONE
    story = told[args.story]
    os.chdir(shipped("examples"))  # so that the commands are those that a reader of this folder would type
    if args.screens:
        return _typed(["tui", *shlex.split(story["screens"])])
    asks = output.is_terminal(sys.stdin) and output.is_terminal(sys.stdout)
    # what the chapters print is taken up before it is shown, so it cannot ask the terminal itself
    os.environ["COLUMNS"] = str(output.columns())
    if wants_color("auto", os.environ, output.is_terminal(sys.stdout)):
        os.environ["FORCE_COLOR"] = "1"
    output.write(f"{story['title']}\n{_wrapped('Source: ' + story['comes_from'])}\nFiles: {os.getcwd()}\n")
    for number, chapter in enumerate(story["chapters"], 1):
        said = _wrapped(f"[{number}/{len(story['chapters'])}] {chapter['says']}")
        output.write(f"\n{said}\n\n$ gpu-triage {chapter['run']}\n")
        output.write(_shown(chapter))
        if asks and number < len(story["chapters"]) and _answer("Enter: go on   q: stop") == "q":
            return DONE
    output.write(f"\n{_wrapped('How it ended: ' + story['how_it_ended'])}.\n")
    others = [name for name in told if name != args.story]
    output.write(f"Other stories: {', '.join(others)} (gpu-triage demo --story NAME).\n")
    if asks and _answer("s: the same on the screens   Enter: end") == "s":
        return _typed(["tui", *shlex.split(story["screens"])])
    return DONE


def stories() -> Mapping[str, Any]:
    """Return the stories by name.

    Raises:
        Refused: if this installation lacks them.
    """
    import yaml

    try:
        return dict(yaml.safe_load((shipped("examples") / "stories.yaml").read_text(encoding="utf-8")))
    except OSError as error:
        raise Refused(f"the stories cannot be read ({output.reason_of(error)}); install gpu-triage anew") from error


def _typed(words: list[str]) -> int:
    from triage.cli.dispatch import main as run

    return run(words)


def _shown(chapter: Mapping[str, Any]) -> str:
    """Return what the command of a chapter prints, or as many of its lines as the chapter wants."""
    with redirect_stdout(io.StringIO()) as printed:
        _typed(shlex.split(chapter["run"]))
    lines = printed.getvalue().splitlines(keepends=True)
    most = chapter.get("lines", len(lines))
    left = len(lines) - most
    return "".join(lines[:most]) + (f"  ... and {left} more lines\n" if left > 0 else "")


def _wrapped(text: str) -> str:
    from textwrap import fill

    return fill(text, output.columns(), break_on_hyphens=False, break_long_words=False)


def _answer(asked: str) -> str:
    output.write(f"\n-- {asked} -- ")
    try:
        return input().strip().lower()
    except EOFError:
        output.write("\n")
        return "q"
