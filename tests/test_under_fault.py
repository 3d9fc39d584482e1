"""The command where the machine lacks something: /proc, a writable disk, memory, processes, system calls, root.

Nothing is pretended: each world is made with mounts, limits or a filter of system
calls, and the real program runs in it with a fake driver.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import confined
from tests.fake_nvml import Scenario
from triage.cli.exits import OUT_OF_MEMORY

ROOT = Path(__file__).parents[1]
Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]
LOG = str(ROOT / "examples/double-bit-error.log")
OURS = "internal error"
"""What is said of a mistake of this program."""


@pytest.fixture
def node(scenario: Callable[[int], Scenario]) -> Scenario:
    return scenario(4)


@pytest.fixture
def run(fake_nvml: Path, node: Scenario, tmp_path: Path, warm_cache: Path) -> Run:
    """Run `gpu-triage WORDS` behind these prefixes; whatever happens it may not call it a mistake of ours."""
    shutil.copytree(warm_cache, tmp_path / "cache")
    environ = {
        **os.environ,
        **node.env(fake_nvml),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "GPU_TRIAGE_STATE_DIR": str(tmp_path / "state"),
    }

    def call(*words: str, within: Sequence[str] = (), **more: str) -> Done:
        command = [*within, sys.executable, "-m", "triage", *words]
        done = subprocess.run(
            command, cwd=ROOT, env={**environ, **more}, capture_output=True, encoding="utf-8", timeout=120
        )
        assert OURS not in done.stdout + done.stderr
        assert "Traceback" not in done.stdout + done.stderr
        return done

    return call


def report(done: Done) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def source(told: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(each for each in told["sources"] if each["kind"] == kind)


@pytest.fixture(scope="session")
def deny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return confined.build(tmp_path_factory.mktemp("deny"))


@pytest.mark.parametrize("lacking", [("/proc",), ("/sys",)])
def test_where_proc_or_sys_cannot_be_seen_no_node_is_ok(run: Run, lacking: tuple[str, ...]) -> None:
    """Whatever else could be read is told."""
    done = run("check", "--format", "json", within=confined.hidden(*lacking))
    told = report(done)
    host = source(told, "host")

    assert "ok" != told["status"]
    assert (False, f"nothing is to be seen below {' and '.join(lacking)}; mount what is missing here") == (
        host["readable"],
        host["reason"],
    )
    assert source(told, "nvml")["readable"]
    assert 4 == len([gpu for gpu in told["gpus"] if gpu["uuid"]])


def test_without_any_device_the_reasons_are_said(run: Run) -> None:
    done = run("check", "--format", "json", within=confined.hidden("/dev"))
    told = report(done)

    assert (3, "unknown") == (done.returncode, told["status"])
    assert "/dev/kmsg" in source(told, "kernel-log")["reason"]
    assert not source(told, "kernel-log")["readable"]


def test_on_a_file_system_that_is_read_only_everything_but_the_history_is_there(run: Run, tmp_path: Path) -> None:
    """As in a container whose root is read-only."""
    (tmp_path / "ro").mkdir()
    within = confined.mounted(f"mount -t tmpfs -o ro,mode=0700 none {tmp_path}/ro\nmount -o remount,bind,ro /")
    places = {name: str(tmp_path / "ro") for name in ("XDG_CACHE_HOME", "GPU_TRIAGE_STATE_DIR")}
    told = report(run("check", "--format", "json", within=within, **places))
    explained = run("explain", LOG, within=within, **places)

    assert ["no history: the history cannot be used: read-only file system"] == told["notices"]
    assert [True, True, True] == [source(told, kind)["readable"] for kind in ("kernel-log", "nvml", "host")]
    assert (0, "") == (explained.returncode, explained.stderr)
    assert explained.stdout.startswith("CRITICAL")


def test_a_full_disk_costs_what_is_written_and_is_said_and_nothing_half_written_stays(run: Run, tmp_path: Path) -> None:
    """Metrics, archive and cache; the old metrics stand."""
    full = tmp_path / "full"
    full.mkdir()
    fill = f"mount -t tmpfs -o size=40k,mode=0700 none {full}\necho old > {full}/x.prom\n"
    fill += f"dd if=/dev/zero of={full}/fill bs=1k count=64 2>/dev/null || true"
    shown = confined.mounted(fill)
    shown[-2] = shown[-2].replace(
        'exec "$@"', f'code=0; "$@" || code=$?; cd {full}; ls >&2; cat x.prom >&2; exit $code'
    )

    metrics = run("check", "--format", "prometheus", "--output", f"{full}/x.prom", within=shown)
    archive = run("collect", "--output", f"{full}/x.tar.gz", within=shown)
    cached = run("check", "--no-history", "--format", "json", within=shown, XDG_CACHE_HOME=str(full))

    assert (
        3,
        f"gpu-triage: cannot write {full}/x.prom: No space left on device; make room there\nfill\nx.prom\nold\n",
    ) == (
        metrics.returncode,
        metrics.stderr,
    )
    assert metrics.stdout.startswith("GPU-TRIAGE UNKNOWN: cannot write")
    assert 4 == archive.returncode
    assert (
        f"cannot write {full}/x.tar.gz: No space left on device; make room there\nfill\nx.prom\nold\n" in archive.stderr
    )
    assert [] == report(cached)["notices"]


def test_on_a_disk_that_is_slow_a_check_says_what_it_says_else_and_keeps_it(run: Run, tmp_path: Path) -> None:
    slow = confined.slow_disk(tmp_path, 100)
    told = [run("check", "--format", "json", "--deadline", "100", **more) for more in ({}, slow, slow)]

    assert 1 == len({done.returncode for done in told})
    assert 1 == len({report(done)["status"] for done in told})
    assert [[], [], []] == [report(done)["notices"] for done in told]
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "history.db")) as db:
        assert (3,) == db.execute("SELECT count(*) FROM sweep").fetchone()


def test_a_disk_that_hangs_keeps_no_answer_back(run: Run, tmp_path: Path) -> None:
    """A process that is held up in the kernel hears no alarm; a thread of it answers."""
    done = run("check", "--deadline", "3", **confined.slow_disk(tmp_path, 3_600_000))

    assert 3 == done.returncode
    assert done.stdout.startswith("GPU-TRIAGE UNKNOWN: no answer within 3 s")
    assert 1 == len(done.stdout.splitlines())


def test_without_memory_it_says_so_in_one_line(run: Run) -> None:
    """A check as its monitor wants to hear it."""
    check = run("check", within=confined.limited("as", 26 << 20))
    explain = run("explain", LOG, within=confined.limited("as", 26 << 20))

    assert (3, "") == (check.returncode, check.stderr.replace(f"gpu-triage: {OUT_OF_MEMORY}\n", ""))
    assert [f"GPU-TRIAGE UNKNOWN: {OUT_OF_MEMORY}"] == [line.partition(" | ")[0] for line in check.stdout.splitlines()]
    assert ("", f"gpu-triage: {OUT_OF_MEMORY}\n") == (explain.stdout, explain.stderr)


def test_when_the_kernel_kills_the_child_for_its_memory_no_gpu_is_accused(run: Run, node: Scenario) -> None:
    """As the OOM killer does: it takes any process; which one was in the midst of a question says nothing of a GPU."""
    node.on("nvmlDeviceGetTotalEccErrors", "kill")

    told = report(run("check", "--format", "json"))

    assert "ok" != told["status"]
    assert not [each for each in told["incidents"] if each["rule"]["id"].startswith("nvml")]


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.EPERM])
def test_where_no_process_and_no_thread_can_be_started_the_rest_is_read(run: Run, deny: Path, error: int) -> None:
    """The limit of a unit, of a container or of the machine is reached."""
    done = run("check", "--format", "json", within=confined.denied(deny, confined.STARTS, error))
    told = report(done)

    assert "ok" != told["status"]
    assert "the NVML probe failed: can't start new thread" == source(told, "nvml")["reason"]
    assert [True, True] == [source(told, kind)["readable"] for kind in ("kernel-log", "host")]


def test_a_sweep_of_a_fleet_that_can_start_nothing_says_what_is_too_little(
    run: Run, deny: Path, tmp_path: Path
) -> None:
    within = confined.denied(deny, confined.STARTS, errno.EAGAIN)
    done = run("fleet", "sweep", "--nodes", "n1", "--output", str(tmp_path / "out"), within=within)

    assert 0 != done.returncode
    assert "too few are allowed (ulimit -u, TasksMax= of a unit)" in done.stderr


@pytest.mark.parametrize("files", [7, 12, 20])
def test_few_descriptors_leave_something_unknown_and_crash_nothing(run: Run, files: int) -> None:
    done = run("check", "--format", "json", within=confined.limited("nofile", files))

    assert done.returncode in (0, 1, 2, 3)
    if done.returncode == 0:
        assert "ok" == report(done)["status"]


FORBIDDEN = (
    "socket", "ptrace", "process_vm_readv", "syslog", "setpriority", "pidfd_open", "memfd_create", "inotify_init1",
    "mount", "unshare", "bpf", "perf_event_open", "sched_setaffinity", "ioprio_set", "kcmp", "prctl",
)  # fmt: skip


@pytest.mark.parametrize("calls", [FORBIDDEN, ("flock",), ("fsync", "fdatasync")], ids=["seccomp", "locks", "sync"])
def test_what_seccomp_forbids_it_does_without(run: Run, deny: Path, calls: tuple[str, ...]) -> None:
    """Everything is read; what a container usually forbids, and then some."""
    told = report(run("check", "--format", "json", within=confined.denied(deny, calls)))

    assert [True, True, True] == [source(told, kind)["readable"] for kind in ("kernel-log", "nvml", "host")]


@pytest.fixture
def readable(fake_nvml: Path, node: Scenario) -> Iterator[dict[str, str]]:
    """The fake driver where everybody may read it."""
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(fake_nvml, name, dirs_exist_ok=True)
        shutil.copy(node.path, name)
        Path(name).chmod(0o755)
        yield {"LD_LIBRARY_PATH": name, "FAKE_NVML_SCENARIO": f"{name}/{node.path.name}"}


def test_who_is_not_root_gets_what_he_may_read_and_hears_what_he_may_not(run: Run, readable: dict[str, str]) -> None:
    """The driver and the host are open to all; the kernel log, and the history of root, are not."""
    within = confined.nobody()
    if subprocess.run([*within, sys.executable, "-c", "import triage.cli, yaml"], cwd=ROOT).returncode:
        pytest.skip("nobody may not read this checkout or its Python")
    restricted = Path("/proc/sys/kernel/dmesg_restrict").read_text().strip() == "1"
    done = run("check", "--format", "json", within=within, **readable)
    told = report(done)
    log = source(told, "kernel-log")
    explained = run("explain", LOG, within=within)
    doctor = run("doctor", within=within, **readable)

    assert [True, True] == [source(told, kind)["readable"] for kind in ("nvml", "host")]
    assert 4 == len([gpu for gpu in told["gpus"] if gpu["uuid"]])
    assert [True] == [notice.startswith("no history: ") for notice in told["notices"]]
    assert (0, "") == (explained.returncode, explained.stderr)
    if restricted:
        assert (3, "unknown", False) == (done.returncode, told["status"], log["readable"])
        assert "run as root or grant CAP_SYSLOG" in log["reason"]
        assert "CAP_SYSLOG" in doctor.stdout
