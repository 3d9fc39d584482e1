"""A real Slurm on loopback: munged, slurmctld and some slurmd, started by hand and ended with the test.  Needs root."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.patience import WITHIN
from tests.ports import free_port

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sinfo", "srun", "scontrol", "runuser")


def needed() -> str | None:
    """Return why there can be no Slurm here, or None."""
    if os.geteuid() != 0:
        return "a cluster of Slurm needs root"
    for program in _PROGRAMS:
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            return f"Slurm needs {program} (apt install slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge)"
    return None


def need() -> None:
    """Skip loudly where there can be none; on a build machine that is a failure."""
    why = needed()
    if why is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)


class SlurmCluster:
    """`with SlurmCluster(folder, 4) as slurm:` has nodes g1 to g4, the first half in partition `left`, all in `all`.

    `more` are further lines of its configuration.
    """

    def __init__(self, folder: Path, nodes: int, more: Sequence[str] = ()) -> None:
        self.folder, self.nodes, self.more = folder, nodes, tuple(more)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._munge: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """What Slurm's commands need."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def run(self, *words: str, check: bool = True) -> str:
        """Run one of Slurm's commands."""
        done = subprocess.run(
            words, env={**os.environ, **self.environment}, capture_output=True, text=True, timeout=120, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def __enter__(self) -> SlurmCluster:
        try:
            self._up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGKILL)  # a slurmd that never registered ignores TERM for minutes
        for process in self._processes:
            process.wait()

    def _up(self) -> None:
        for name in ("state", "spool", "log"):
            (self.folder / name).mkdir(parents=True)
        self._start_munge()
        control, *ports = (free_port() for _ in range(self.nodes + 1))
        lines = [
            "ClusterName=test",
            "SlurmctldHost=localhost(127.0.0.1)",
            "SlurmUser=root",
            "SlurmdUser=root",
            "AuthType=auth/munge",
            "CredType=cred/munge",
            f"AuthInfo=socket={self._socket}",
            f"SlurmctldPort={control}",
            f"StateSaveLocation={self.folder}/state",
            f"SlurmdSpoolDir={self.folder}/spool/%n",
            f"SlurmctldPidFile={self.folder}/slurmctld.pid",
            f"SlurmdPidFile={self.folder}/slurmd.%n.pid",
            f"SlurmctldLogFile={self.folder}/log/slurmctld",
            f"SlurmdLogFile={self.folder}/log/%n",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "JobAcctGatherType=jobacct_gather/none",
            "AccountingStorageType=accounting_storage/none",
            "SwitchType=switch/none",
            "MpiDefault=none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core",
            "SchedulerType=sched/backfill",
            "SlurmdParameters=config_overrides",
            "ReturnToService=1",
            "KillWait=2",
            *self.more,
        ]
        host = socket.gethostname()
        lines += [
            f"NodeName=g{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=100 State=UNKNOWN"
            for number, port in enumerate(ports, 1)
        ]
        lines += [
            f"PartitionName=all Nodes=g[1-{self.nodes}] Default=YES State=UP",
            f"PartitionName=left Nodes=g[1-{self.nodes // 2}] State=UP",
        ]
        (self.folder / "slurm.conf").write_text("\n".join(lines) + "\n")
        conf = str(self.folder / "slurm.conf")
        self._start("slurmctld", "-D", "-f", conf)
        for number in range(1, self.nodes + 1):
            self._start("slurmd", "-D", "-N", f"g{number}", "-f", conf)
        until = time.monotonic() + WITHIN
        while self.run("sinfo", "-h", "-p", "all", "-t", "idle", "-o", "%D", check=False).strip() != str(self.nodes):
            logs = "".join(path.read_text(errors="replace")[-2000:] for path in (self.folder / "log").iterdir())
            assert time.monotonic() < until, logs
            time.sleep(0.2)

    @property
    def _socket(self) -> Path:
        return self.folder / "munge" / "socket"

    def _start_munge(self) -> None:
        """A munged of our own, so that one of this machine is neither needed nor touched."""
        folder = self.folder / "munge"
        folder.mkdir(mode=0o755)
        key = folder / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        words = [f"--key-file={key}", f"--socket={self._socket}", f"--pid-file={folder}/pid"]
        words += [f"--log-file={folder}/log", f"--seed-file={folder}/seed", "--num-threads=2", "--force"]
        self._start("munged", "--foreground", *words)
        until = time.monotonic() + WITHIN
        while not self._socket.exists():
            assert time.monotonic() < until, "munged did not start"
            assert self._processes[-1].poll() is None, (folder / "log").read_text() if (folder / "log").exists() else ""
            time.sleep(0.02)

    def _start(self, program: str, *words: str) -> None:
        path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        assert path is not None
        self._processes.append(
            subprocess.Popen(
                [path, *words],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )
