"""Workers end with whom they work for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import until

ROOT = Path(__file__).parents[2]
POOL = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from triage.worker import end_with_parent

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, multiprocessing.get_context(sys.argv[1]), end_with_parent)
    pids = {pool.submit(os.getpid).result() for _ in range(9)}
    pool.submit(time.sleep, 600)  # one is at work when it happens
    print(*pids, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_workers_end_when_who_gave_them_work_is_killed(way: str, tmp_path: Path) -> None:
    """Each of them waits on a pipe of which it holds both ends."""
    program = tmp_path / "pool.py"
    program.write_text(POOL)
    with subprocess.Popen(
        [sys.executable, str(program), way], env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    ) as head:
        assert head.stdout is not None
        workers = head.stdout.readline().split()
        head.kill()

    assert workers
    until(lambda: not [pid for pid in workers if running(pid)])


def running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False
