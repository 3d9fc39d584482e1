"""The command in processes of its own, as users and cron run it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent.parent
Run = Callable[..., "subprocess.CompletedProcess[str]"]

STAND_IN = """
import sys, time, types
from probes.model import NODE, Entity, LogRecord, Missing, Reading, Source
class Probing:
    def __init__(self, readings, records, sources):
        self.records, self.result, self.later = records, lambda: (readings, sources), lambda: iter(())
def probe(deadline, **_):
{body}
sys.modules["probes.node"] = types.ModuleType("probes.node")
sys.modules["probes.node"].probe = probe
sys.modules["probes.node"].begin = lambda deadline, **_: Probing(*probe(deadline))
from triage.cli import main
sys.exit(main())
"""


def environment(**more: str) -> dict[str, str]:
    """Return the environment without what would colour or widen the output, or bring site rules along."""
    unwanted = ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TERM", "GPU_TRIAGE_DEBUG")
    fresh = {"GPU_TRIAGE_STATE_DIR": tempfile.mkdtemp(prefix="state-", dir=os.environ["GPU_TRIAGE_STATE_DIR"])}
    return {name: value for name, value in os.environ.items() if name not in unwanted} | fresh | more


def run_python(*words: str, stdin: str | bytes | None = "", env: dict[str, str] | None = None, **more: Any) -> Any:
    """Run Python in the project's root and return what came out, undecodable bytes kept visible."""
    given = stdin.encode("utf-8", "surrogateescape") if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [sys.executable, *words],
        input=given,
        capture_output=True,
        cwd=ROOT,
        env=environment(**(env or {})),
        timeout=120,
        **more,
    )
    texts = (stream.decode("utf-8", "backslashreplace") for stream in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, *texts)


@pytest.fixture
def run() -> Run:
    """Run `gpu-triage WORDS`."""
    return lambda *words, **more: run_python("-m", "triage", *words, **more)


@pytest.fixture
def run_with_node() -> Run:
    """Run `gpu-triage WORDS` on a node whose probe has this body."""

    def run(body: str, *words: str, **more: Any) -> Any:
        indented = "".join(f"    {line}\n" for line in body.strip().splitlines())
        return run_python("-c", STAND_IN.format(body=indented), *words, **more)

    return run


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A kernel log in which a GPU fell off the bus after bus errors."""
    path = tmp_path / "kern.log"
    lines = [
        "pcieport 0000:4d:01.0: AER: Uncorrectable (Fatal) error message received from 0000:4e:00.0",
        "NVRM: GPU at PCI:0000:4e:00: GPU-5b1e0c52-0000-0000-0000-000000000000",
        "NVRM: Xid (PCI:0000:4e:00): 79, pid=811, name=python, GPU has fallen off the bus.",
    ]
    plain = [f"usb 1-{n}: new high-speed USB device number {n} using xhci_hcd" for n in range(1, 60)]
    stamped = [
        f"2026-08-22T14:{n // 60:02d}:{n % 60:02d}.000000+00:00 gpu-0417 kernel: {x}\n"
        for n, x in enumerate(plain + lines)
    ]
    path.write_text("".join(stamped))
    return path
