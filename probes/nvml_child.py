"""The process that talks to NVML, so that nothing else has to.

A call into a sick driver may hang for ever or kill the caller.  This program
therefore says what it is about to ask before it asks, and streams each answer
at once; `probes.nvml` listens, and draws its conclusions when it hears no more.

Lines on standard output, `?` or one JSON array each:

    ?gpu function                         asked next; gpu is the index, or nothing for the node
    ["count", n]                          how many GPUs NVML lists
    ["gpu", index, pci, uuid, serial, name]
    ["mig", gpu, index, uuid, name]       a MIG device of this GPU; the names of its readings begin with its index
    ["read", gpu, at, [reading...]]       [name, value, unit], or [place in OWED, value];
                                          a value may be {"missing": reason};
                                          null is missing because it is not supported, as half of them are
    ["done", gpu]                         all questions on this GPU were answered
    ["fatal", error, text]                NVML cannot be used at all
    ["more"]                              nothing
    ["end"]

Arguments: the indices of GPUs that are not to be asked anything, the names of
functions that the node is not to be asked, `gpu:function:why` for what a GPU is
not to be asked, and `brief` if only what changes quickly is asked.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Optional

from probes.model import NOT_SUPPORTED, Missing
from probes.nvml_bindings import GARBAGE, REASONS, Answer, Bindings, Line, answer, plain
from probes.nvml_gpu import GONE, Gpu, read
from probes.nvml_node import CPER, CPER_CALL, NODE_CALLS
from probes.nvml_owed import BRIEFLY
from probes.nvml_shapes import Call, Out
from probes.pci import normal_address

MAX_GPUS = 256


def identity(nvml: Bindings, line: Line, gpu: int, handle: object) -> tuple[Optional[str], ...]:
    """Ask a GPU who it is: its PCI address, UUID, serial number and name, each None if it did not say."""

    def text(function: str) -> Optional[str]:
        out = Out("gpu.name", "text")
        value = answer(nvml, out, nvml.ask(line, gpu, Call(((function, ""),), (out,)), (handle,)))
        if function == "nvmlDeviceGetName":
            line.read(gpu, out.name, value, out.unit)
        return value if isinstance(value, str) and value.isascii() else None

    return (
        _address(nvml, nvml.ask(line, gpu, Call((("nvmlDeviceGetPciInfo", ""),), ()), (handle,))),
        text("nvmlDeviceGetUUID"),
        text("nvmlDeviceGetSerial"),
        text("nvmlDeviceGetName"),
    )


def _address(nvml: Bindings, told: object) -> Optional[str]:
    """The PCI address in what NVML tells of it, in full, as older libraries have it, or in numbers."""
    for pick in ("busId", "busIdLegacy"):
        text = answer(nvml, Out("", "text", pick=pick), told)
        address = normal_address(text) if isinstance(text, str) else None
        if address:
            return address
    domain, bus, slot = (answer(nvml, Out("", "count", pick=pick), told) for pick in ("domain", "bus", "device"))
    if (
        isinstance(domain, int)
        and isinstance(bus, int)
        and isinstance(slot, int)
        and 0 <= slot < 32
        and (domain or bus)
    ):
        return normal_address(f"{domain:08x}:{bus:02x}:{slot:02x}.0")
    return None


def _open(nvml: Bindings, line: Line, gpu: int) -> object:
    """The handle of a GPU, or None after saying why there is none."""
    way = Call((("nvmlDeviceGetHandleByIndex", ""),), ())
    handle = nvml.ask(line, gpu, way, (gpu,))
    if isinstance(handle, Missing):
        line.say("gpu", gpu, None, None, None, None)
        line.read(gpu, "gpu.state", GONE.get(handle.reason, handle), "text")
        line.read(gpu, "nvml.nvmlDeviceGetHandleByIndex", handle, "text")
        line.say("done", gpu)
        return None
    line.say("gpu", gpu, *identity(nvml, line, gpu, handle))
    return handle


def _branch(version: Answer) -> int:
    """The driver branch (580 of `580.65.06`), or 0."""
    head = str(version).partition(".")[0]
    return int(head) if head.isdigit() else 0


def connect(line: Line, left_out: Sequence[str] = ()) -> Optional[tuple[Bindings, int]]:
    """Start NVML and count its GPUs; None if it cannot be used, which then was told."""
    line.begin(None, "import-pynvml")
    try:
        module = _bindings()
    except ImportError as failure:
        line.say("fatal", "BINDINGS_NOT_INSTALLED", plain(str(failure)))
        return None
    nvml = Bindings(module, left_out)
    begin = Call((("nvmlInit", ""),), ())
    started = nvml.ask(line, None, begin, ())
    nvml.find_older()
    if started == Missing(NOT_SUPPORTED):
        started = nvml.ask(line, None, begin, ())
    count = nvml.ask(line, None, Call((("nvmlDeviceGetCount", ""),), ()), ()) if started is None else started
    if isinstance(count, int) and count <= MAX_GPUS:
        return nvml, count
    refuse(nvml, line, count if isinstance(count, Missing) else GARBAGE)
    return None


def _bindings() -> ModuleType:
    """Load pynvml without `ctypes.util`, which takes longer than all else here and loads programs that run others.

    It wants one function of it, and that only on Windows.

    Raises:
        ImportError: if it is not installed.
    """
    name = "ctypes.util"
    if name in sys.modules:
        return importlib.import_module("pynvml")
    stand_in = ModuleType(name)
    stand_in.find_library = lambda library: importlib.import_module(name).find_library(library)  # type: ignore[attr-defined]
    sys.modules[name] = stand_in
    try:
        return importlib.import_module("pynvml")
    finally:
        sys.modules.pop(name, None)


def refuse(nvml: Bindings, line: Line, why: Missing) -> None:
    """Tell that NVML cannot be used."""
    line.say("fatal", error_name(nvml, why), why.reason)


def sweep(line: Line, skip: Sequence[str], brief: bool = False) -> None:
    """Ask everything of the table, or only what a `brief` sweep asks.

    Not asked are the GPUs (by index) and the functions of the node that are in `skip`.
    """
    opened = connect(line, [word for word in skip if ":" in word])
    if opened is None:
        return
    nvml, count = opened
    line.say("count", count)
    branch = 0
    for call in NODE_CALLS:
        if any(function in skip for function, _ in call.ways):
            continue
        result = nvml.ask(line, None, call, ())
        for out in call.outs:
            value = answer(nvml, out, result)
            line.read(None, out.name, value, out.unit)
            if out.name == "driver.version":
                branch = _branch(value)
    if CPER_CALL not in skip:
        line.read(None, CPER.name, _error_records(nvml, line), CPER.unit)
    # All GPUs are opened and named before any is examined, so that one that
    # hangs later can be named, and so can those that were not reached.
    asked = [gpu for gpu in range(count) if str(gpu) not in skip]
    handles = [(gpu, _open(nvml, line, gpu)) for gpu in asked]
    for gpu, handle in handles:
        if handle is not None:
            read(Gpu(nvml, line, gpu, handle, branch), brief)
            line.say("done", gpu)


def _error_records(nvml: Bindings, line: Line) -> Answer:
    """The bytes of platform error records (CPER) that wait; asked for their size alone, which reads none."""
    module = nvml.module
    ask, shape = getattr(module, CPER_CALL, None), getattr(module, "c_nvmlGetCPER_v1_t", None)
    if ask is None or shape is None:
        return Missing(NOT_SUPPORTED)
    line.begin(None, CPER_CALL)
    try:
        filled = shape()
        filled.cursor.cperTypeMask = module.NVML_CPER_ACCESS_TYPE_GPU
        ask(filled)
    except nvml.error as failure:
        if nvml.name_of(failure.value) != "INSUFFICIENT_SIZE":
            return nvml.missing(failure)
    except Exception as failure:
        return nvml.missing(failure)
    return answer(nvml, CPER, filled)


def error_name(nvml: Bindings, missing: Missing) -> str:
    """Return NVML's own name for why a value is missing."""
    plainly = {reason: name for name, reason in REASONS.items() if name != "FUNCTION_NOT_FOUND"}
    return plainly.get(missing.reason) or missing.reason.partition(":")[2]


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent goes, so that no orphan is left asking."""
    import ctypes

    PR_SET_PDEATHSIG, SIGKILL, PR_SET_NAME = 1, 9, 15
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    ctypes.CDLL(None).prctl(PR_SET_NAME, b"gpu-triage-nvml", 0, 0, 0)  # what `ps` shows of one that hangs
    if os.getppid() != parent:
        os._exit(1)


def serve(fd: int, words: Sequence[str], parent: int) -> None:
    """Ask everything but what is in `words`, answer on this descriptor, and do not outlive the parent."""
    die_with_parent(parent)
    line = Line(fd)
    sweep(line, [word for word in words if word != BRIEFLY], BRIEFLY in words)
    line.say("end")
    line.flush()


def main(arguments: Sequence[str]) -> None:
    """Run: the parent's process id, then what to skip."""
    fd = os.dup(1)
    os.dup2(2, 1)  # whatever the driver's library prints must not stand among the answers
    serve(fd, arguments[1:], int(arguments[0]))
    sys.stdout.flush()
    os._exit(0)  # unloading a sick driver's library can hang or crash; there is nothing left to lose
