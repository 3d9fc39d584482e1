"""What NVML says, without ever waiting for it.

NVML is asked by a child process (`probes.nvml_child`) that tells what it is
about to ask.  If a call does not come back, or takes the child with it, the
GPU it was put to is named, the child is killed (or left behind, if the driver
does not let it die), and another child asks the GPUs that are left.  The whole
ends within its deadline whatever the driver does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Optional

from probes import bounded, stuck
from probes.model import NODE, TIMED_OUT, Entity, Missing, Reading, Source, Value
from probes.nvml_calls import NODE_CALLS, OWED

# Seconds one call may take.  Without persistence mode the driver brings a GPU
# up when it is opened, which takes seconds on a healthy node.
CALL_BUDGET = 5.0
OPEN_BUDGET = 12.0
_SLOW_CALLS = ("import-pynvml", "nvmlInit", "nvmlDeviceGetHandleByIndex")
_BLAME_FROM = 0.5  # with less time left than this nobody is called unresponsive: time ran out
_GRACE = 0.3  # kept back of the deadline for a child to die in
_MAX_LINE = 1 << 20
_RESPONSIVE = "gpu.responsive"
NOT_REACHED = "error:not-reached"  # time was up, or NVML gone, before this GPU's turn came; it is not accused

_unkillable: set[int] = set()  # children of this process that were left behind

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
    "BINDINGS_NOT_INSTALLED": ("bindings-not-installed", "the Python module pynvml is missing; install nvidia-ml-py"),
    "UNKNOWN": (
        "unknown",
        "NVML failed with an unknown error; see the kernel log, and whether /dev/nvidia* is accessible",
    ),
}

_START = (
    "import sys; n = int(sys.argv[1]); sys.path[:] = sys.argv[2:n]; "
    "from probes.nvml_child import main; main(sys.argv[n:])"
)


class _Gpu(NamedTuple):
    """What has been heard of one GPU."""

    entity: Entity
    values: dict[str, tuple[Value, str, float]]


class _Heard:
    """What the children of one sweep have said so far."""

    def __init__(self) -> None:
        self.node: dict[str, tuple[Value, str, float]] = {}
        self.gpus: dict[int, _Gpu] = {}
        self.count: Optional[int] = None
        self.done: set[int] = set()
        self.fatal: Optional[tuple[str, str]] = None
        self.start()

    def start(self) -> None:
        """Another child begins."""
        self.ended = False
        self.asking: tuple[Optional[int], str] = (None, "start-up")

    def gpu(self, index: int) -> _Gpu:
        return self.gpus.setdefault(index, _Gpu(Entity("gpu", index=index), {}))

    def entity(self, index: Optional[int]) -> Optional[Entity]:
        return None if index is None else self.gpu(index).entity

    def take(self, line: bytes) -> bool:
        """Take in one line; true if it opened a new call."""
        kind, *words = json.loads(line)
        if kind == "begin":
            self.asking = (words[0], str(words[1]))
            return True
        if kind == "read":
            index, name, told, unit, at = words
            value = Missing(str(told["missing"])) if isinstance(told, dict) else told
            values = self.node if index is None else self.gpu(index).values
            values[name] = (value, unit, at)
        elif kind == "gpu":
            index, pci, uuid, serial, name = words
            self.gpus[index] = _Gpu(Entity("gpu", pci, uuid, serial, index, name), self.gpu(index).values)
        elif kind == "count":
            self.count = int(words[0])
        elif kind == "done":
            self.done.add(words[0])
        elif kind == "fatal":
            self.fatal = (str(words[0]), str(words[1]))
        elif kind == "end":
            self.ended = True
        return False


class _Ending(NamedTuple):
    """How a child ended: `why` is None (well), `timed-out` or `error:<what>`; `blame` if the call is at fault."""

    why: Optional[str]
    blame: bool = False
    errors: str = ""


def sweep(
    deadline: float,
    *,
    library_env: Optional[Mapping[str, str]] = None,
    state_dir: Optional[Path] = None,
) -> tuple[list[Reading], list[Entity], list[Source]]:
    """Ask NVML everything of every GPU, within `deadline` seconds.

    Every GPU that NVML lists is among the entities and owes every reading of
    `probes.nvml_calls.OWED`: what it did not give is `Missing` with the reason.
    A GPU that did not answer has `gpu.responsive` missing, and the call that
    hung or crashed as `nvml.<function>`.  `library_env` is added to the child's
    environment.  `state_dir` (a directory that need not exist) remembers
    children that could not be killed, so that no other joins them.
    """
    started, until = time.time(), time.monotonic() + deadline - min(_GRACE, deadline / 10)
    hung = _left_over(state_dir)
    if hung:
        return _refuse(hung, started)
    heard = _Heard()
    notes: list[str] = []
    failed: dict[int, str] = {}
    while True:
        heard.start()
        ending = _ask(heard, sorted(heard.done | set(failed)), until, library_env, state_dir, notes)
        index, function = heard.asking
        if ending.why is None or not ending.blame or index is None:
            break
        failed[index] = ending.why
        gpu = heard.gpu(index)
        for name, unit in ((f"nvml.{function}", "text"), (_RESPONSIVE, "flag")):
            gpu.values[name] = (Missing(ending.why), unit, time.time())
        notes.append(f"{_called(gpu.entity)} {_did(ending.why)} in {function}")
        if heard.count is not None and len(heard.done) + len(failed) >= heard.count:
            ending = _Ending(None)
            break
    return _conclude(heard, ending, failed, notes, started)


def _conclude(
    heard: _Heard, ending: _Ending, failed: Mapping[int, str], notes: list[str], started: float
) -> tuple[list[Reading], list[Entity], list[Source]]:
    """Turn what was heard into readings, and what was not into missing ones."""
    now = time.time()
    readings: list[Reading] = []
    reason: Optional[str] = None
    unanswered = Missing(ending.why or "error:unanswered")
    if heard.fatal is not None:
        word, reason = _remedy(*heard.fatal)
        readings.append(Reading(NODE, "nvml.error", word, "text", now))
        unanswered = Missing(f"error:{heard.fatal[0]}")
    elif heard.count is None:
        index, function = heard.asking
        reason = f"NVML {_did(unanswered.reason)} in {function}; {_advice(unanswered.reason, ending.errors)}"
        readings.append(Reading(NODE, f"nvml.{function}", unanswered, "text", now))
    elif ending.why is not None:
        left = [str(index) for index in range(heard.count) if index not in heard.done and index not in failed]
        _, function = heard.asking
        notes.append(f"NVML {_did(unanswered.reason)} in {function} before GPU {', '.join(left)} was read")
    for call in NODE_CALLS:
        out = call.outs[0]
        readings.append(_reading(NODE, out.name, heard.node.get(out.name, (unanswered, out.unit, now))))
    if heard.count is not None:
        readings.append(Reading(NODE, "gpu.count", heard.count, "count", now))
    for index in range(heard.count or 0):
        readings += _owed(heard.gpu(index), index in heard.done, Missing(failed.get(index, NOT_REACHED)), now)
    entities = [heard.gpu(index).entity for index in range(heard.count or 0)]
    if notes:
        reason = "; ".join([reason, *notes] if reason else notes)
    version = heard.node.get("nvml.version")
    origin = f"libnvidia-ml.so.1 {version[0]}" if version and isinstance(version[0], str) else "libnvidia-ml.so.1"
    readable = heard.count is not None
    return readings, entities, [Source("nvml", origin, readable, started, now, len(readings), reason=reason)]


def _owed(gpu: _Gpu, done: bool, otherwise: Missing, now: float) -> list[Reading]:
    """All readings of one GPU: those it owes first, then what else it said."""
    values = dict(gpu.values)
    if done:
        values.setdefault(_RESPONSIVE, (True, "flag", now))
        state = values.get("gpu.state", (otherwise,))[0]
        if isinstance(state, Missing):
            otherwise = state
        elif state != "ok":
            otherwise = Missing(state if isinstance(state, str) else str(state))
    owed = [_reading(gpu.entity, name, values.pop(name, (otherwise, unit, now))) for name, unit in OWED]
    return owed + [_reading(gpu.entity, name, value) for name, value in values.items()]


def _reading(entity: Entity, name: str, value: tuple[Value, str, float]) -> Reading:
    return Reading(entity, name, *value)


def _ask(
    heard: _Heard,
    skip: list[int],
    until: float,
    library_env: Optional[Mapping[str, str]],
    state_dir: Optional[Path],
    notes: list[str],
) -> _Ending:
    """Let one child ask all GPUs but those in `skip`, and see that it ends."""
    try:
        process = bounded.start(_command(skip), {**os.environ, **(library_env or {})})
    except OSError as failure:
        return _Ending(f"error:{failure.strerror}")
    wall_end = time.time() + max(0.0, until - time.monotonic())
    if state_dir is not None:
        _try_note(state_dir, process.pid, wall_end, None, None, notes)
    ending = _Ending("error:unanswered")
    try:
        ending = _listen(process, heard, until)
    finally:
        ended = bounded.end(process, min(_GRACE, max(0.05, until + _GRACE - time.monotonic())))
        if state_dir is not None and ended:
            stuck.forget(state_dir, process.pid)
        elif state_dir is not None:
            index, function = heard.asking
            _try_note(state_dir, process.pid, time.time(), function, heard.entity(index), notes)
    if not ended:
        _unkillable.add(process.pid)
        notes.append(f"the child asking it (pid {process.pid}) cannot be killed and was left behind")
    return ending


def _listen(process: subprocess.Popen[bytes], heard: _Heard, until: float) -> _Ending:
    listener, rest, errors = bounded.Listener(process), b"", b""
    call_until = _call_until(heard.asking[1], until)
    while True:
        chunk = listener.wait(min(call_until, until))
        errors = (errors + chunk.errors)[-500:]
        *lines, rest = (rest + chunk.output).split(b"\n")
        try:
            for line in lines:
                if heard.take(line):
                    call_until = _call_until(heard.asking[1], until)
        except (ValueError, TypeError, KeyError, IndexError):
            return _Ending("error:garbled", True)
        if heard.ended or heard.fatal is not None:
            return _Ending(None)
        if len(rest) > _MAX_LINE:
            return _Ending("error:garbled", True)
        if chunk.ended:
            return _Ending(_status(process, until), True, errors.decode("utf-8", "replace"))
        if chunk.timed_out or time.monotonic() >= until:
            return _Ending(TIMED_OUT, chunk.timed_out and call_until < until)


def _call_until(function: str, until: float) -> float:
    """When a call that begins now has hung: half the time that is left, so that there is time for the others."""
    now = time.monotonic()
    left = until - now
    if left < _BLAME_FROM:
        return until
    return now + min(OPEN_BUDGET if function in _SLOW_CALLS else CALL_BUDGET, left / 2)


def _status(process: subprocess.Popen[bytes], until: float) -> str:
    try:
        status = process.wait(max(0.05, min(1.0, until - time.monotonic())))
    except subprocess.TimeoutExpired:
        return TIMED_OUT
    if status >= 0:
        return f"error:exit-{status}"
    try:
        return f"error:{signal.Signals(-status).name}"
    except ValueError:
        return f"error:signal-{-status}"


def _command(skip: list[int]) -> list[str]:
    """How to start the child: isolated from the user's environment, writing no byte code, with our own import path."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = [here, *(os.path.abspath(entry) for entry in sys.path if entry and os.path.abspath(entry) != here)]
    python = sys.executable or "/usr/bin/python3"
    indices = [str(index) for index in skip]
    return [python, "-I", "-S", "-B", "-c", _START, str(len(path) + 2), *path, str(os.getpid()), *indices]


def _try_note(
    state_dir: Path, pid: int, until: float, call: Optional[str], gpu: Optional[Entity], notes: list[str]
) -> None:
    try:
        stuck.note(state_dir, pid, until, call, gpu)
    except OSError as failure:
        note = f"the child could not be noted in {state_dir} ({failure.strerror})"
        if note not in notes:
            notes.append(note)


def _left_over(state_dir: Optional[Path]) -> list[stuck.Stuck]:
    """Children of earlier sweeps, of this process or another, that still hang."""
    found: list[stuck.Stuck] = []
    if state_dir is not None:
        # if it is not ours to read, that is noted when a child starts
        with contextlib.suppress(OSError):
            found = stuck.still_stuck(state_dir)
    known = {child.pid for child in found}
    ours = [pid for pid in bounded.left_behind() if pid in _unkillable and pid not in known]
    return found + [stuck.Stuck(pid, time.time(), None, None) for pid in ours]


def _refuse(hung: list[stuck.Stuck], now: float) -> tuple[list[Reading], list[Entity], list[Source]]:
    """Start no other child beside those that hang; what they hang on is still evidence."""
    readings: list[Reading] = []
    entities: list[Entity] = []
    for child in hung:
        entity = child.gpu or NODE
        call = f"nvml.{child.call}" if child.call else "nvml.sweep"
        readings.append(Reading(entity, call, Missing(TIMED_OUT), "text", now))
        if child.gpu is not None and child.gpu not in entities:
            entities.append(child.gpu)
            readings.append(Reading(entity, _RESPONSIVE, Missing(TIMED_OUT), "flag", now))
            readings.append(Reading(entity, "gpu.state", Missing(TIMED_OUT), "text", now))
    first = hung[0]
    where = f" in {first.call}" if first.call else ""
    which = f" on {_called(first.gpu)}" if first.gpu else ""
    reason = (
        f"process {first.pid} of an earlier sweep still hangs{where}{which}; no other was started beside it; "
        "reset the GPU or reboot the node"
    )
    return readings, entities, [Source("nvml", "libnvidia-ml.so.1", False, now, now, len(readings), reason=reason)]


def _called(gpu: Entity) -> str:
    names = [name for name in (gpu.pci, gpu.uuid) if name]
    return f"GPU {gpu.index}" + (f" ({', '.join(names)})" if names else "")


def _did(why: str) -> str:
    if why == TIMED_OUT:
        return "did not answer"
    return f"crashed ({why[6:]})" if why.startswith("error:SIG") else f"failed ({why[6:] or why})"


def _advice(why: str, errors: str) -> str:
    if why == TIMED_OUT:
        return "the driver hangs: see the kernel log, and reboot the node if it stays so"
    said = " ".join(errors.split()[-30:])
    return f"it said: {said}" if said else "see the kernel log"


def _remedy(error: str, text: str) -> tuple[str, str]:
    if error in _REMEDIES:
        return _REMEDIES[error]
    return error.lower().replace("_", "-"), f"NVML could not be used ({error}); see the kernel log"
