"""The option that names who is alerted, and what it comes to."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from triage.cli import output
from triage.cli.exits import Refused

if TYPE_CHECKING:
    from triage.alert.config import Target


def add_alerts(parser: argparse.ArgumentParser, *, optional: bool = True) -> None:
    """Add --alerts and, where it can do without, --no-alerts."""
    parser.add_argument(
        "--alerts",
        type=Path,
        metavar="FILE",
        help="who is alerted (default: alerts.yaml in ~/.config/gpu-triage or /etc/gpu-triage, if it is there)",
    )
    if optional:
        parser.add_argument("--no-alerts", action="store_true", help="alert nobody")


def alerts_file(args: argparse.Namespace) -> Path | None:
    """Return the file that says who is alerted, read and found good; None if nobody is.

    Raises:
        Refused: with everything that is wrong with it.
    """
    if getattr(args, "no_alerts", False):
        return None
    from triage.alert.config import standard_file

    path: Path | None = args.alerts
    if path is None:
        path = standard_file()
        if path is not None and path.exists() and not os.access(path, os.R_OK):
            output.tell(f"nobody is alerted: {path} is for others to read")
            return None
    if path is not None:
        targets_of(path)
        path = path.absolute()
    return path


def targets_of(path: Path) -> tuple[Target, ...]:
    """Return the targets that a file names.

    Raises:
        Refused: with everything that is wrong with it.
    """
    from triage.alert.config import load
    from triage.rulebook.problems import RulebookError

    try:
        return load(path)
    except RulebookError as error:
        raise Refused(str(error)) from error
