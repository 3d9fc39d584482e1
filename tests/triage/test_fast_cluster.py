"""The workers of a real Dask cluster read the logs, and the report is that of one process."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.patience import until
from tests.triage.cli.conftest import ROOT, environment, run_python
from triage import fast_cluster
from triage.cli.exits import Refused
from triage.cli.reports import from_logs, load_rulebook

NOW = 1764165600.0


def started(log: Path, words: list[str], sign: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start a part of the cluster and wait for what it says when it is ready."""
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-m", *words], stdout=out, stderr=out, cwd=ROOT, env=environment())
    until(lambda: process.poll() is not None or re.search(sign, log.read_text(errors="replace")))
    found = re.search(sign, log.read_text(errors="replace"))
    if found:
        return process, found[1]
    process.kill()
    raise AssertionError(f"{' '.join(words)} did not start: {log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("dask")
    quiet = ["--no-dashboard"]
    head, address = started(
        folder / "head.log",
        ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *quiet],
        r"Scheduler at: +(tcp://\S+)",
    )
    workers = []
    try:
        for number in range(2):
            words = ["distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", *quiet]
            words += ["--local-directory", str(folder)]
            workers.append(started(folder / f"worker{number}.log", words, r"Registered to: +(\S+)")[0])
        yield address
    finally:
        for process in (*workers, head):
            process.kill()
            process.wait()


def line(second: int, text: str) -> str:
    return f"2025-11-26T12:{second // 60:02d}:{second % 60:02d}Z n1 kernel: {text}\n"


@pytest.fixture
def logs(tmp_path: Path) -> list[str]:
    noise = "".join(line(n % 3600, f"usb 1-1: line {n}") for n in range(3000))
    xid = line(1800, "NVRM: Xid (PCI:0000:01:00): 79, pid=1, GPU has fallen off the bus.")
    aer = line(1799, "pcieport 0000:00:01.0: AER: Uncorrectable (Fatal) error message received from 0000:01:00.0")
    oops = line(3000, "BUG: kernel NULL pointer dereference, address: 0000000000000008")
    rip = line(3000, "RIP: 0010:nv_foo+0x12/0x40 [nvidia]")
    (tmp_path / "folder").mkdir()
    written = {
        "a.log": (noise + aer).encode(),
        "b.log.gz": gzip.compress((xid + noise).encode()),
        "crash1.log": (noise + oops).encode(),
        "crash2.log": (rip + noise).encode(),
        "folder/c.log": (xid.replace("0000:01", "0000:81") + noise).encode(),
    }
    for name, data in written.items():
        (tmp_path / name).write_bytes(data)
    return [str(tmp_path / name) for name in ("a.log", "b.log.gz", "crash1.log", "crash2.log", "folder", "none.log")]


def report(paths: list[str], **more: Any) -> dict[str, Any]:
    return from_logs(load_rulebook(None, []), paths, now=NOW, tz_offset=0.0, **more)


def test_the_report_of_a_cluster_is_that_of_one_process(scheduler: str, logs: list[str]) -> None:
    alone = report(logs, jobs=1)
    assert 3 <= len(alone["incidents"])
    assert alone == report(logs, cluster=scheduler)


def test_a_worker_that_dies_costs_nothing_but_time(scheduler: str, logs: list[str], tmp_path: Path) -> None:
    extra, _ = started(
        tmp_path / "worker.log",
        ["distributed.cli.dask_worker", scheduler, "--nthreads", "1", "--no-nanny", "--no-dashboard"],
        r"Registered to: +(\S+)",
    )
    alone = report(logs, jobs=1)
    os.kill(extra.pid, 9)
    assert alone == report(logs, cluster=scheduler)
    extra.wait(120)


def test_a_fleet_that_a_cluster_reads_says_what_it_says_to_one_process(scheduler: str) -> None:
    words = ["explain", str(ROOT / "examples" / "rollout"), "--format", "json", "--now", "1700000000"]
    code = "import sys; from triage.cli import run; sys.argv = ['gpu-triage', *sys.argv[1:]]; run()"
    alone, shared = (
        subprocess.run(
            [sys.executable, "-c", code, *words, *more],
            cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120,
        )
        for more in ([], ["--cluster", scheduler])
    )  # fmt: skip

    assert (0, 0) == (alone.returncode, shared.returncode), shared.stderr
    assert alone.stdout == shared.stdout
    assert "follows-driver" in alone.stdout


def test_a_fleet_without_its_cluster_is_told_in_one_line() -> None:
    code = (
        "import sys; from triage import fast_cluster; from triage.cli import run\n"
        "fast_cluster.CONNECT = '1s'; sys.argv = ['gpu-triage', *sys.argv[1:]]; run()"
    )
    words = ["fleet", "report", "rollout", "--cluster", "tcp://127.0.0.1:9"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=ROOT / "examples", env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert (2, 1) == (done.returncode, done.stderr.count("\n"))
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in done.stderr


def test_no_cluster_is_told_in_one_line(logs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_cluster, "CONNECT", "1s")
    with pytest.raises(Refused, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 .*; check the address"):
        report(logs, cluster="tcp://127.0.0.1:9")


def test_without_the_package_the_remedy_is_told(logs: list[str]) -> None:
    code = (
        "import sys; sys.modules['distributed'] = None; from triage.cli import run;"
        f"sys.argv = ['gpu-triage', 'explain', {logs[0]!r}, '--cluster', 'tcp://x:1']; sys.exit(run())"
    )
    done = run_python("-c", code)
    assert 2 == done.returncode
    assert "pip install 'gpu-triage[cluster]'" in done.stderr
