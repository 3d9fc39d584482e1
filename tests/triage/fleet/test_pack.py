"""The probes that travel: the same bytes every time, and a capture from a Python that has nothing installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from probes import carry
from triage.fleet import model, pack, sweep
from triage.fleet.ways import Raw

OLDEST = Path.home() / ".pyenv/versions/3.9.18/bin/python"


def pythons() -> list[str]:
    """This Python, that of the system, and the oldest that is supported if it is here."""
    found = [sys.executable, shutil.which("python3.9"), shutil.which("python3", path="/usr/bin"), str(OLDEST)]
    return list(dict.fromkeys(path for path in found if path and Path(path).exists() and "shims" not in path))


def test_the_same_sources_are_the_same_bytes() -> None:
    words = [
        sys.executable,
        "-c",
        "import sys; from triage.fleet.pack import script; sys.stdout.buffer.write(script(9))",
    ]
    first, second = (subprocess.run(words, capture_output=True, check=True).stdout for _ in range(2))

    assert first == second == pack.script(9.0)


@pytest.mark.parametrize("python", pythons())
def test_a_bare_python_prints_a_capture(python: str, tmp_path: Path) -> None:
    """From its standard input, in a folder in which nothing is written."""
    done = subprocess.run(
        [python, "-I", "-S", "-"], input=pack.script(10.0), capture_output=True, cwd=tmp_path, check=True, timeout=120
    )
    outcome = sweep.judge("n1", Raw(done.stdout, done.stderr, 0, False, False, 1.0), 10.0)

    assert (model.ANSWERED, None) == (outcome.state, outcome.reason)
    assert [] == list(tmp_path.iterdir())


def test_a_python_that_is_too_old_says_so() -> None:
    """The first lines are all that it has to understand."""
    beginning = pack.script(1.0).decode().partition("import base64")[0]
    old = beginning.replace("sys.version_info < (3, 9)", "sys.version_info < (9, 9)")
    done = subprocess.run([sys.executable, "-"], input=old.encode(), capture_output=True, check=True)
    outcome = sweep.judge("n1", Raw(done.stdout, b"", 0, False, False, 1.0), 10.0)

    assert done.stdout.startswith(f"{carry.FAILED} old-python ".encode())
    assert model.NO_PYTHON == outcome.state
