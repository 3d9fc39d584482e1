"""Worlds that lack something: no /proc, a full, slow or read-only disk, system calls that the kernel refuses.

Each is a prefix of a command; the program behind it is the real one and what it
lacks it lacks really.  They need root (a mount namespace) or a C compiler.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.needed import missing

SOURCE = Path(__file__).with_name("deny.c")
STARTS = ("fork", "vfork", "clone", "clone3")
"""The system calls by which processes and threads begin."""
NOBODY = 65534


def mounted(script: str) -> list[str]:
    """Run a command where `script` (sh) has mounted or hidden something, seen by nobody else."""
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"]
    if subprocess.run([*words, "mount -t tmpfs none /mnt"], capture_output=True).returncode:
        missing("mounting needs root, CAP_SYS_ADMIN and `unshare` of util-linux")
    return [*words, f'{script}\nexec "$@"', "sh"]


def hidden(*folders: str) -> list[str]:
    """Run a command to which these folders are empty."""
    return mounted("\n".join(f"mount -t tmpfs -o ro none {folder}" for folder in folders))


def denied(program: Path, calls: Iterable[str], error: int = errno.EPERM) -> list[str]:
    """Run a command to which the kernel refuses these system calls; `program` is what `build` returned."""
    return [str(program), str(error), ",".join(calls)]


def deadly(program: Path, calls: Iterable[str]) -> list[str]:
    """Run a command that the kernel ends at the first of these system calls."""
    return [str(program), "0", ",".join(calls)]


def limited(what: str, most: int) -> list[str]:
    """Run a command under a limit (prlimit): `as` bytes of addresses, `nofile` descriptors, `nproc` processes."""
    if shutil.which("prlimit") is None:
        missing("prlimit of util-linux is missing")
    return ["prlimit", f"--{what}={most}"]


def nobody() -> list[str]:
    """Run a command as a user who owns nothing."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        missing("becoming nobody needs root and setpriv of util-linux")
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]


def build(folder: Path) -> Path:
    """Compile what makes the kernel refuse system calls."""
    if shutil.which("cc") is None:
        missing("a C compiler (cc) is missing")
    program = folder / "deny"
    subprocess.run(["cc", "-Wall", "-Werror", "-O1", "-o", program, SOURCE], check=True)
    return program


def slow_disk(folder: Path, milliseconds: int) -> dict[str, str]:
    """Return the environment of a program whose disk takes so long to keep what it is asked to keep."""
    if shutil.which("cc") is None:
        missing("a C compiler (cc) is missing")
    library = folder / "slow_disk.so"
    source = SOURCE.with_name("slow_disk.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library), "SLOW_DISK_MS": str(milliseconds)}
