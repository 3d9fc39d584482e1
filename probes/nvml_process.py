"""The processes that ask NVML: how they are started, and what is known of those that hang.

Each is a copy of this process where that is safe, else a program of its own,
isolated from the user's environment.  One that cannot be killed is remembered,
so that no other is started to hang beside it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import struct
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from probes import bounded, pci, stuck
from probes.model import Entity

_OF_BOTH = (struct, threading, pci)
"""What a child and its parent will both need: loaded here, before they part, it is loaded once."""

GRACE = 0.3
"""Seconds that a child gets to die in."""

_NEEDS_RELOAD = "restart what uses the GPUs and reload the nvidia modules, or reboot the node"
_REMEDIES = {
    "LIB_RM_VERSION_MISMATCH": (
        "version-mismatch",
        f"the NVIDIA library and the loaded kernel module are of different versions; {_NEEDS_RELOAD}",
    ),
    "DRIVER_NOT_LOADED": (
        "driver-not-loaded",
        "the nvidia kernel module is not loaded; see the kernel log for why, or run modprobe nvidia",
    ),
    "LIBRARY_NOT_FOUND": (
        "library-not-found",
        "libnvidia-ml.so.1 was not found; install the NVIDIA driver's libraries",
    ),
    "NO_PERMISSION": ("no-permission", "the driver refused access; run as root or give access to /dev/nvidia*"),
    "NOT_SUPPORTED": (
        "library-incomplete",
        "libnvidia-ml.so.1 lacks what every driver since 2018 has: it is too old, or not NVIDIA's; "
        "see where it comes from: ldconfig -p | grep nvidia-ml",
    ),
    "BINDINGS_NOT_INSTALLED": ("bindings-not-installed", "the Python module pynvml is missing; install nvidia-ml-py"),
    "UNKNOWN": (
        "unknown",
        "NVML failed with an unknown error; see the kernel log, and whether /dev/nvidia* is accessible",
    ),
}

_START = (
    "import sys; n = int(sys.argv[1]); sys.path[:] = sys.argv[2:n]; "
    "from importlib import import_module; import_module(sys.argv[n]).main(sys.argv[n + 1:])"
)

_unkillable: set[int] = set()  # children of this process that were left behind


def start(
    module: str,
    words: list[str],
    seconds: float,
    library_env: Optional[Mapping[str, str]],
    state_dir: Optional[Path],
    notes: list[str],
) -> bounded.Process:
    """Start a process that runs `serve` of this module and should have ended after so many seconds.

    `notes` gets what could not be written down.

    Raises:
        OSError: if it cannot be started.
    """
    parent = os.getpid()

    def work(fd: int) -> None:
        importlib.import_module(module).serve(fd, words, parent)

    process: bounded.Process
    # the loader looks at LD_LIBRARY_PATH only when a program starts
    if library_env is None and bounded.may_fork():
        process = bounded.fork(work)
    else:
        process = bounded.start(_command(module, words), {**os.environ, **(library_env or {})})
    if state_dir is not None:
        note(state_dir, process.pid, time.time() + max(0.0, seconds), None, None, notes)
    return process


def end(
    process: bounded.Process,
    grace: float,
    state_dir: Optional[Path],
    call: Optional[str],
    gpu: Optional[Entity],
    notes: list[str],
) -> None:
    """End a child; one that the kernel does not let die is left behind, and written down with what it hangs on."""
    if bounded.end(process, grace):
        if state_dir is not None:
            stuck.forget(state_dir, process.pid)
        return
    if state_dir is not None:
        note(state_dir, process.pid, time.time(), call, gpu, notes)
    _unkillable.add(process.pid)
    notes.append(f"the child asking it (pid {process.pid}) cannot be killed and was left behind")


def _command(module: str, words: list[str]) -> list[str]:
    """How to start the child: isolated from the user's environment, writing no byte code, with our own import path."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = [here, *(os.path.abspath(entry) for entry in sys.path if entry and os.path.abspath(entry) != here)]
    python = sys.executable or "/usr/bin/python3"
    return [python, "-I", "-S", "-B", "-c", _START, str(len(path) + 2), *path, module, str(os.getpid()), *words]


def note(state_dir: Path, pid: int, until: float, call: Optional[str], gpu: Optional[Entity], notes: list[str]) -> None:
    """Write down that a child talks to the driver and until when; or say that it could not be."""
    try:
        stuck.note(state_dir, pid, until, call, gpu)
    except OSError as failure:
        told = f"the child could not be noted in {state_dir} ({failure.strerror})"
        if told not in notes:
            notes.append(told)


def left_over(state_dir: Optional[Path]) -> list[stuck.Stuck]:
    """Children of earlier sweeps, of this process or another, that still hang."""
    found: list[stuck.Stuck] = []
    if state_dir is not None:
        # if it is not ours to read, that is noted when a child starts
        with contextlib.suppress(OSError):
            found = stuck.still_stuck(state_dir)
    known = {child.pid for child in found}
    ours = [pid for pid in bounded.left_behind() if pid in _unkillable and pid not in known]
    return found + [stuck.Stuck(pid, time.time(), None, None) for pid in ours]


def asked(line: bytes) -> tuple[Optional[int], str]:
    """Which GPU (None: the node) is asked what, in a child's line that says so."""
    index, _, function = line[1:].decode("ascii", "replace").partition(" ")
    return int(index) if index.isdigit() else None, function


def called(gpu: Entity) -> str:
    """How messages name a GPU."""
    names = [name for name in (gpu.pci, gpu.uuid) if name]
    return f"GPU {gpu.index}" + (f" ({', '.join(names)})" if names else "")


def remedy(error: str, text: str) -> tuple[str, str]:
    """A word for an error that keeps NVML from being used at all, and what would help."""
    if error in _REMEDIES:
        return _REMEDIES[error]
    return error.lower().replace("_", "-"), f"NVML could not be used ({error}); see the kernel log"
