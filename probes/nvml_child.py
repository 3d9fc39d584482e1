"""The process that talks to NVML, so that nothing else has to.

A call into a sick driver may hang for ever or kill the caller.  This program
therefore says what it is about to ask before it asks, and streams each answer
at once; `probes.nvml` listens, and draws its conclusions when it hears no more.

One JSON array a line on standard output:

    ["begin", gpu, function]              gpu is the index, or null for the node
    ["count", n]                          how many GPUs NVML lists
    ["gpu", index, pci, uuid, serial, name]
    ["read", gpu, name, value, unit, at]  value may be {"missing": reason}
    ["done", gpu]                         all questions on this GPU were answered
    ["fatal", error, text]                NVML cannot be used at all
    ["end"]

Arguments: the indices of GPUs that are not to be asked anything.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Sequence
from math import isfinite
from types import ModuleType
from typing import Any, Optional, Union

from probes.model import LOST, NO_PERMISSION, NOT_SUPPORTED, Missing
from probes.nvml_calls import CALLS, FIELDS, NODE_CALLS, NVLINK_ERRORS, Call, Out
from probes.pci import normal_address

MAX_TEXT = 200
MAX_GPUS = 256
GARBAGE = Missing("error:garbage")
_ALL_ONES = (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)  # what a register reads of a device that is gone; NVML's "not available"
_REASONS = {
    "NOT_SUPPORTED": NOT_SUPPORTED,
    "FUNCTION_NOT_FOUND": NOT_SUPPORTED,
    "NO_PERMISSION": NO_PERMISSION,
    "GPU_IS_LOST": LOST,
}
_NEXT_WAY = ("FUNCTION_NOT_FOUND", "ARGUMENT_VERSION_MISMATCH", "DEPRECATED")
_VALUE_TYPES = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
_SIGNED = (4, 5)

Answer = Union[int, float, str, bool, Missing]


class _Line:
    """The way out: lines are gathered and written together with the next `begin`."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting: list[str] = []

    def say(self, *words: object) -> None:
        self._waiting.append(json.dumps(words))

    def begin(self, gpu: Optional[int], function: str) -> None:
        self.say("begin", gpu, function)
        self.flush()

    def read(self, gpu: Optional[int], name: str, value: Answer, unit: str) -> None:
        told = {"missing": value.reason} if isinstance(value, Missing) else value
        self.say("read", gpu, name, told, unit, time.time())

    def flush(self) -> None:
        data = ("\n".join(self._waiting) + "\n").encode()
        self._waiting.clear()
        while data:
            data = data[os.write(self._fd, data) :]


class _Nvml:
    """The bindings, with errors as values."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.error: Any = module.NVMLError
        self.names: dict[int, str] = {}
        for name in dir(module):
            if name.startswith("NVML_ERROR_") and isinstance(getattr(module, name), int):
                self.names.setdefault(getattr(module, name), name[len("NVML_ERROR_") :])

    def name_of(self, code: int) -> str:
        return self.names.get(code, str(code))

    def missing(self, failure: Exception) -> Missing:
        """What an exception of the bindings says about the value."""
        if isinstance(failure, UnicodeDecodeError):
            return GARBAGE
        if not isinstance(failure, self.error):
            return Missing(f"error:{type(failure).__name__}")
        return self.refusal(failure.value)

    def refusal(self, code: int) -> Missing:
        name = self.name_of(code)
        return Missing(_REASONS.get(name, f"error:{name}"))

    def constants(self, names: Sequence[str]) -> Optional[list[int]]:
        values = [value for value in (getattr(self.module, name, None) for name in names) if value is not None]
        return values if len(values) == len(names) else None

    def ask(self, line: _Line, gpu: Optional[int], call: Call, before: Sequence[object]) -> object:
        """The raw result of the first way that exists, or why there is none."""
        args = self.constants(call.args)
        if args is None:
            return Missing(NOT_SUPPORTED)
        outcome: object = Missing(NOT_SUPPORTED)
        for function, structure in call.ways:
            ask = getattr(self.module, function, None)
            shape = getattr(self.module, structure, None) if structure else None
            if ask is None or (structure and shape is None):
                continue
            line.begin(gpu, function)
            try:
                if shape is None:
                    return ask(*before, *args)
                filled = shape()
                ask(*before, *args, self.module.byref(filled))
                return filled
            except self.error as failure:
                outcome = self.missing(failure)
                if self.name_of(failure.value) not in _NEXT_WAY:
                    return outcome
            except Exception as failure:
                return self.missing(failure)
        return outcome


def plain(text: Union[str, bytes]) -> str:
    """Text that came from a device: shortened, and without anything a terminal would obey."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return "".join(sign if sign.isprintable() else "?" for sign in text[:MAX_TEXT])


def answer(nvml: _Nvml, out: Out, result: object) -> Answer:
    """The value of one reading in a call's result."""
    try:
        return _answer(nvml, out, result)
    except (TypeError, ValueError, IndexError):  # the bindings decode a structure's text when it is looked at
        return GARBAGE


def _answer(nvml: _Nvml, out: Out, result: object) -> Answer:
    if isinstance(result, Missing):
        return result
    if out.needs is not None and not getattr(result, out.needs):
        return Missing(NOT_SUPPORTED)
    if isinstance(out.pick, str):
        result = getattr(result, out.pick, Missing(NOT_SUPPORTED))
    elif out.pick is not None:
        result = result[out.pick]  # type: ignore[index]
    if isinstance(result, Missing):
        return result
    if isinstance(result, float):
        return result if isfinite(result) else GARBAGE
    if isinstance(result, (str, bytes)):
        return plain(result)
    number: int = int(result)  # type: ignore[call-overload]
    if number in _ALL_ONES:
        return GARBAGE
    if out.mask is not None:
        number &= out.mask
    if out.form == "return-code":
        return nvml.name_of(number).lower().replace("_", "-") if number else "success"
    if out.form == "cuda-version":
        return f"{number // 1000}.{number % 1000 // 10}"
    if out.words is not None:
        # a newer driver may have values that have no name here yet: they are kept by number
        return out.words.get(number) or (Missing(NOT_SUPPORTED) if number == 0 else f"unknown-{number}")
    if out.unit == "flag":
        return bool(number)
    value = number if out.scale is None else round(number * out.scale, 9)
    return value if out.limits is None or out.limits[0] <= value <= out.limits[1] else GARBAGE


def _field_value(nvml: _Nvml, value: Any) -> object:
    if value.nvmlReturn:
        return nvml.refusal(value.nvmlReturn)
    member = _VALUE_TYPES.get(value.valueType)
    return GARBAGE if member is None else getattr(value.value, member)


def _fields(
    nvml: _Nvml, line: _Line, gpu: int, handle: object, wanted: Sequence[tuple[str, Optional[int]]]
) -> list[object]:
    """The values of fields, each a constant's name and a scope, in one call."""
    ids = [getattr(nvml.module, name, None) for name, _ in wanted]
    known = [field if scope is None else (field, scope) for field, (_, scope) in zip(ids, wanted) if field is not None]
    line.begin(gpu, "nvmlDeviceGetFieldValues")
    try:
        values = iter(nvml.module.nvmlDeviceGetFieldValues(handle, known) if known else ())
    except Exception as failure:
        return [nvml.missing(failure)] * len(wanted)
    return [Missing(NOT_SUPPORTED) if field is None else _field_value(nvml, next(values)) for field in ids]


def _read_fields(nvml: _Nvml, line: _Line, gpu: int, handle: object, branch: int) -> int:
    """Read `FIELDS`; returns the number of NVLinks."""
    links = 0
    results = _fields(nvml, line, gpu, handle, [(field.constant, None) for field in FIELDS])
    for field, result in zip(FIELDS, results):
        value = Missing(NOT_SUPPORTED) if branch < field.since else answer(nvml, field.out, result)
        line.read(gpu, field.out.name, value, field.out.unit)
        if field.out.name == "gpu.nvlink.links" and isinstance(value, int):
            links = value
    return links


def _read_links(nvml: _Nvml, line: _Line, gpu: int, handle: object, links: int) -> None:
    for link in range(links):
        out = Out(f"gpu.nvlink.{link}.active", "flag")
        state = nvml.ask(line, gpu, Call((("nvmlDeviceGetNvLinkState", ""),), (out,)), (handle, link))
        line.read(gpu, out.name, answer(nvml, out, state), "flag")
    wanted: list[tuple[str, Optional[int]]] = []
    for _, scoped, totals, _ in NVLINK_ERRORS:
        wanted += [(total, None) for total in totals]
        wanted += [(scoped, link) for link in range(links)]
    results = iter(_fields(nvml, line, gpu, handle, wanted))
    for name, _, totals, counters in NVLINK_ERRORS:
        total = _sum([next(results) for _ in totals])
        each = _sum([next(results) for _ in range(links)])
        value = total if isinstance(each, Missing) else each
        if isinstance(value, Missing) and value.reason == NOT_SUPPORTED and links:
            calls = [Call((("nvmlDeviceGetNvLinkErrorCounter", ""),), (), (counter,)) for counter in counters]
            value = _sum([nvml.ask(line, gpu, call, (handle, link)) for call in calls for link in range(links)])
        line.read(gpu, name, value, "count")


def _sum(values: Sequence[object]) -> Union[int, Missing]:
    """The sum of those that could be read; if none could, why."""
    numbers = [value for value in values if isinstance(value, int) and value not in _ALL_ONES]
    if numbers:
        return sum(numbers)
    reasons = [value for value in values if isinstance(value, Missing)]
    return reasons[0] if reasons else Missing(NOT_SUPPORTED) if not values else GARBAGE


def _identity(nvml: _Nvml, line: _Line, gpu: int, handle: object) -> tuple[Optional[str], ...]:
    def text(function: str, pick: Optional[str] = None) -> Optional[str]:
        out = Out("gpu.name", "text", pick=pick)
        value = answer(nvml, out, nvml.ask(line, gpu, Call(((function, ""),), (out,)), (handle,)))
        if function == "nvmlDeviceGetName":
            line.read(gpu, out.name, value, out.unit)
        return value if isinstance(value, str) and value.isascii() else None

    address = text("nvmlDeviceGetPciInfo", "busId")
    return (
        normal_address(address) if address else None,
        text("nvmlDeviceGetUUID"),
        text("nvmlDeviceGetSerial"),
        text("nvmlDeviceGetName"),
    )


def _read_gpu(nvml: _Nvml, line: _Line, gpu: int, handle: object, branch: int) -> None:
    for call in CALLS:
        result = nvml.ask(line, gpu, call, (handle,))
        if call.many and not isinstance(result, Missing):
            result = len(result)  # type: ignore[arg-type]
        for out in call.outs:
            line.read(gpu, out.name, answer(nvml, out, result), out.unit)
        if isinstance(result, Missing) and result.reason in (LOST, "error:RESET_REQUIRED"):
            # Nothing better will come, and a device that is gone is not to be prodded.
            state: Answer = "lost" if result.reason == LOST else "reset-required"
            line.read(gpu, "gpu.state", state, "text")
            return
    links = _read_fields(nvml, line, gpu, handle, branch)
    _read_links(nvml, line, gpu, handle, links)
    line.read(gpu, "gpu.state", "ok", "text")


def _open(nvml: _Nvml, line: _Line, gpu: int) -> object:
    """The handle of a GPU, or None after saying why there is none."""
    way = Call((("nvmlDeviceGetHandleByIndex", ""),), ())
    handle = nvml.ask(line, gpu, way, (gpu,))
    if isinstance(handle, Missing):
        line.say("gpu", gpu, None, None, None, None)
        line.read(gpu, "gpu.state", "lost" if handle.reason == LOST else handle, "text")
        line.read(gpu, "nvml.nvmlDeviceGetHandleByIndex", handle, "text")
        line.say("done", gpu)
        return None
    line.say("gpu", gpu, *_identity(nvml, line, gpu, handle))
    return handle


def _branch(version: Answer) -> int:
    """The driver branch (580 of `580.65.06`), or 0."""
    head = str(version).partition(".")[0]
    return int(head) if head.isdigit() else 0


def sweep(line: _Line, skip: Sequence[int]) -> None:
    """Ask everything of the table of every GPU but those in `skip`."""
    line.begin(None, "import-pynvml")
    try:
        module = importlib.import_module("pynvml")
    except ImportError as failure:
        line.say("fatal", "BINDINGS_NOT_INSTALLED", plain(str(failure)))
        return
    nvml = _Nvml(module)
    started = nvml.ask(line, None, Call((("nvmlInit", ""),), ()), ())
    count = nvml.ask(line, None, Call((("nvmlDeviceGetCount", ""),), ()), ()) if started is None else started
    if isinstance(count, int) and count > MAX_GPUS:
        count = GARBAGE
    if isinstance(count, Missing):
        line.say("fatal", _error_name(nvml, count), count.reason)
        return
    line.say("count", count)
    branch = 0
    for call in NODE_CALLS:
        value = answer(nvml, call.outs[0], nvml.ask(line, None, call, ()))
        line.read(None, call.outs[0].name, value, call.outs[0].unit)
        if call.outs[0].name == "driver.version":
            branch = _branch(value)
    # All GPUs are opened and named before any is examined, so that one that
    # hangs later can be named, and so can those that were not reached.
    asked = [gpu for gpu in range(int(count)) if gpu not in skip]  # type: ignore[call-overload]
    handles = [(gpu, _open(nvml, line, gpu)) for gpu in asked]
    for gpu, handle in handles:
        if handle is not None:
            _read_gpu(nvml, line, gpu, handle, branch)
            line.say("done", gpu)


def _error_name(nvml: _Nvml, missing: Missing) -> str:
    plainly = {reason: name for name, reason in _REASONS.items() if name != "FUNCTION_NOT_FOUND"}
    return plainly.get(missing.reason) or missing.reason.partition(":")[2]


def _die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent goes, so that no orphan is left asking."""
    import ctypes

    PR_SET_PDEATHSIG, SIGKILL = 1, 9
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def main(arguments: Sequence[str]) -> None:
    """Run: the parent's process id, then the indices to skip."""
    _die_with_parent(int(arguments[0]))
    fd = os.dup(1)
    os.dup2(2, 1)  # whatever the driver's library prints must not stand among the answers
    line = _Line(fd)
    sweep(line, [int(index) for index in arguments[1:]])
    line.say("end")
    line.flush()
    sys.stdout.flush()
    os._exit(0)  # unloading a sick driver's library can hang or crash; there is nothing left to lose
