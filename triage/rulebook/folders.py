"""Where rules stand: those of the program, and those of a site; apart, so that asking loads nothing that reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

RULES = Path(__file__).resolve().parents[2] / "rules"
"""The rulebook that comes with the program."""
SYSTEM = Path("/etc/gpu-triage/rules")
"""Where a node's own rules stand; those of one user in `$XDG_CONFIG_HOME/gpu-triage/rules`."""


def standard_folders(environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Return the folders that hold site rules on this machine: of the system, then of the user."""
    env = os.environ if environ is None else environ
    own = user_folder(env)
    folders = [SYSTEM, *([] if own is None else [own / "rules"])]
    return tuple(folder for folder in folders if _is_there(folder))


def user_folder(environ: Mapping[str, str]) -> Path | None:
    """Return where the user's own settings stand, whether it is there or not; None if the environment does not say."""
    home = environ.get("XDG_CONFIG_HOME") or (os.path.join(environ["HOME"], ".config") if environ.get("HOME") else "")
    # The XDG specification has relative paths ignored.
    return Path(home) / "gpu-triage" if os.path.isabs(home) else None


def _is_there(folder: Path) -> bool:
    """Whether a folder stands there for us; one that we may not even see (the home of another) is none of ours."""
    try:
        return folder.is_dir()
    except OSError:
        return False
