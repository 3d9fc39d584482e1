"""A fleet of real sshd on loopback: each with its own address, host key, host name, processes and peculiarities.

Needs root, openssh-server and `unshare`.  Every node is a process namespace of
its own, so that whatever runs on it ends with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.patience import WITHIN
from tests.ports import free_port

ROOT = Path(__file__).parent.parent
SSHD = "/usr/sbin/sshd"

DEAD = "dead"
"""Nothing listens there."""
STOPPED = "stopped"
"""Takes connections and never says a word."""
FORGED = "forged"
"""Has another host key than the known one."""
BARE = "bare"
"""Has a shell and nothing else."""
INSTALLED = "installed"
"""Has gpu-triage."""

SAYS = {
    "hangs": "sleep 600",
    "closes": "exec >&- 2>&-; sleep 600",
    "floods": "head -c 100000000 /dev/zero",
    "babbles": "yes 'NVRM: Xid (PCI:0000:4e:00): 79, fell off' | head -c 100000000",
    "garbage": r"printf 'hello\033[31m operator\n'",
    "cut": "cat >/dev/null; echo GPU-TRIAGE-CAPTURE; echo H4sIAAAAAAAAA; echo GPU-TRIAGE-END",
    "forges": "cat >/dev/null; echo GPU-TRIAGE-CAPTURE; echo aGVsbG8= | base64; echo GPU-TRIAGE-END",
    "fails": "echo 'disk is full' >&2; exit 7",
    "greets": r"""printf 'Welcome!\nGPU-TRIAGE\n\n'; eval "$SSH_ORIGINAL_COMMAND"; printf 'Good-bye'""",
}
"""What is run in place of what is asked."""


def needed() -> str | None:
    """Return why there can be no such fleet here, or None."""
    if os.geteuid() != 0:
        return "a fleet of sshd needs root"
    for program in (SSHD, "ssh", "ssh-keygen", "unshare", "setpriv"):
        if shutil.which(program) is None:
            return f"a fleet of sshd needs {program} (apt install openssh-server openssh-client util-linux)"
    return None


def need() -> None:
    """Skip loudly where there can be no such fleet; on a build machine that is a failure."""
    why = needed()
    if why is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)


class SshFleet:
    """`with SshFleet(folder, names, {name: peculiarity}) as fleet:` and `ssh -F fleet.config NAME`."""

    def __init__(self, folder: Path, names: list[str], odd: Mapping[str, str] = {}, port: int = 0) -> None:
        assert len(names) < 250
        self.folder, self.names, self.odd = folder, names, odd
        self.config = folder / "ssh_config"
        self._port = port or free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> SshFleet:
        try:
            self._up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.kill()  # and with it, by --kill-child, all that runs in its namespace
        for process in self._processes.values():
            process.wait()

    def _up(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        Path("/run/sshd").mkdir(exist_ok=True)
        self._key("id")
        (self.folder / "authorized_keys").write_bytes((self.folder / "id.pub").read_bytes())
        known = []
        config = []
        for number, name in enumerate(self.names, 1):
            address = f"127.0.2.{number}"
            self._key(name)
            known_key = "id" if self.odd.get(name) == FORGED else name
            known.append(
                f"[{address}]:{self._port} {' '.join((self.folder / f'{known_key}.pub').read_text().split()[:2])}"
            )
            config.append(f"Host {name}\n  HostName {address}\n")
            if self.odd.get(name) != DEAD:
                self._start(name, address)
        (self.folder / "known_hosts").write_text("\n".join(known) + "\n")
        config.append(
            f"Host *\n  Port {self._port}\n  User root\n  IdentityFile {self.folder}/id\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n  LogLevel ERROR\n"
            "  StrictHostKeyChecking no\n  GSSAPIAuthentication no\n  KexAlgorithms curve25519-sha256\n"
        )  # whoever sweeps must check host keys even where the configuration does not want it
        self.config.write_text("".join(config))
        for number, name in enumerate(self.names, 1):
            if self.odd.get(name) != DEAD:
                self._wait(f"127.0.2.{number}", name)
        for name, process in self._processes.items():
            if self.odd.get(name) == STOPPED:
                os.kill(_child(process.pid), signal.SIGSTOP)

    def _key(self, name: str) -> None:
        if not (self.folder / name).exists():
            asked = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.folder / name)]
            subprocess.run(asked, check=True, stdin=subprocess.DEVNULL)

    def _start(self, name: str, address: str) -> None:
        odd = self.odd.get(name, "")
        forced = SAYS.get(odd, "")
        if odd in (BARE, INSTALLED):
            forced = f'PATH={self._programs(odd)}; export PATH; eval "$SSH_ORIGINAL_COMMAND"'
        (self.folder / f"{name}.conf").write_text(
            f"ListenAddress {address}\nPort {self._port}\nHostKey {self.folder}/{name}\nPidFile none\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nStrictModes no\nUsePAM no\nUseDNS no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            "PrintLastLog no\nPrintMotd no\nX11Forwarding no\nLogLevel ERROR\n"
            "MaxStartups 100\n" + (f"ForceCommand {forced}\n" if forced else "")
        )
        # a shell's start-up file of this machine has no business in a node, and may take long
        begin = (
            'hostname "$1"; [ ! -e /root/.bashrc ] || mount --bind /dev/null /root/.bashrc; '
            'exec /usr/sbin/sshd -D -e -f "$2"'
        )
        # however this process ends, its nodes end with it
        words = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--uts",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ]
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [*words, "sh", "-c", begin, "sh", name, str(self.folder / f"{name}.conf")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def _programs(self, odd: str) -> Path:
        """A folder with the few programs that such a node has."""
        folder = self.folder / f"{odd}-bin"
        folder.mkdir(exist_ok=True)
        wanted = ("sh",) if odd == BARE else ("sh", "base64")
        for name in wanted:
            found = shutil.which(name)
            assert found is not None
            if not (folder / name).exists():
                (folder / name).symlink_to(found)
        if odd == INSTALLED:
            tool = folder / "gpu-triage"
            tool.write_text(
                f"#!/bin/sh\nexport PYTHONPATH={ROOT} GPU_TRIAGE_STATE_DIR={self.folder}/state\n"
                f'exec {sys.executable} -m triage "$@"\n'
            )
            tool.chmod(0o755)
        return folder

    def _wait(self, address: str, name: str) -> None:
        until = time.monotonic() + WITHIN
        while True:
            try:
                socket.create_connection((address, self._port), timeout=5).close()
                return
            except OSError:
                log = (self.folder / f"{name}.log").read_text(errors="replace")
                assert time.monotonic() < until, f"{name}: no sshd: {log}"
                assert self._processes[name].poll() is None, f"{name}: no sshd: {log}"
                time.sleep(0.02)


def _child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
