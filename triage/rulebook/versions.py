"""Compares driver versions with the table of faults that some of them have.

A row speaks only of the branches that it names: that a branch is newer than the
fix of another does not tell that it has it, for branches are made long before
they are released.
"""

from __future__ import annotations

from triage.rulebook.model import DriverBug

NEVER = "never"
"""What stands for a version where a branch ended, or is known, without the fix."""


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers, which compare as the versions follow each other."""
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def branch(version: str) -> str:
    """Return the branch of a version: `570` of `570.86.15`."""
    return version.partition(".")[0]


def affected(bug: DriverBug, version: str) -> bool | None:
    """Return whether a driver version has a bug; None if nothing is said of its branch."""
    fixed = bug.fixed.get(branch(version))
    if fixed is None:
        return None
    since = bug.since.get(branch(version))
    if since is not None and numbers(version) < numbers(since):
        return False
    return fixed == NEVER or numbers(version) < numbers(fixed)


def fixes(bug: DriverBug) -> str:
    """Return the versions that fixed it, such as `570.169 and 575.64`."""
    *most, last = [version for version in bug.fixed.values() if version != NEVER]
    return f"{', '.join(most)} and {last}" if most else last
