"""New rules are read and linted by a process of their own, so that no watch waits for them or grows by them.

What they come to is kept where rulebooks are kept, so that taking them over is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from probes import bounded

LONGEST = 60.0
"""Seconds after which rules that are not read yet are refused."""
_MOST = 4096
_START = "import sys; from triage.watch.reload import main; main(sys.argv[1:])"


class Reload:
    """A process that reads the rules; `done` says what came of it."""

    def __init__(self, words: Sequence[str]) -> None:
        """Begin; the words are those of `words`."""
        import time

        self._until = time.monotonic() + LONGEST
        self._said = b""
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
        self._process = bounded.start([sys.executable, "-c", _START, *words], {**os.environ, "PYTHONPATH": path})
        self._listener = bounded.Listener(self._process)

    @property
    def descriptor(self) -> int:
        """What to wait on."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def done(self) -> str | None:
        """Return None while it reads, else what is wrong with the rules: nothing is the empty text."""
        import time

        chunk = self._listener.wait(0.0)
        self._said = (self._said + chunk.output)[:_MOST]
        if not chunk.ended and time.monotonic() < self._until:
            return None
        status = bounded.ended(self._process, 1.0) if chunk.ended else None
        self.close()
        said = self._said.decode("utf-8", "replace").strip()
        if status == 0:
            return ""
        if status is None:
            return "reading them took too long"
        return said or f"the process that read them failed ({status})"

    def close(self) -> None:
        """End it."""
        bounded.end(self._process)


def words(root: Path | None, overlays: Sequence[Path]) -> tuple[str, ...]:
    """Return what to tell a process about which rules are meant."""
    return tuple(str(path.absolute()) if path is not None else "" for path in (root, *overlays))


def main(given: Sequence[str]) -> None:
    """Read and lint rules, print the first thing that is wrong with them, and keep them if nothing is."""
    from triage.rulebook import cache, lint, load
    from triage.rulebook.problems import RulebookError

    root = Path(given[0]) if given[0] else None
    overlays = [Path(folder) for folder in given[1:]]
    try:
        errors = [problem for problem in lint.lint(load.load(root, overlays)) if problem.severity == "error"]
    except RulebookError as error:
        print(error)
        sys.exit(1)
    if errors:
        print(errors[0])
        sys.exit(1)
    cache.load(root, overlays)
