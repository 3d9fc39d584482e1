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
functions that the node is not to be asked, and `brief` if only what changes
quickly is asked.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Optional

from probes.model import LOST, NOT_SUPPORTED, Missing
from probes.nvml_bindings import (
    ALL_ONES,
    GARBAGE,
    REASONS,
    Answer,
    Bindings,
    Line,
    answer,
    field_value,
    plain,
    together,
    total,
)
from probes.nvml_calls import (
    BRIEF_CALLS,
    BRIEF_FALLBACKS,
    BRIEF_FIELDS,
    BRIEFLY,
    CALLS,
    CPER,
    CPER_CALL,
    FALLBACKS,
    MIG_CALLS,
    NODE_CALLS,
)
from probes.nvml_fields import C2C_LINKS, FIELDS, NVLINK_ERRORS, NVLINK_STATE, NVLINKS
from probes.nvml_shapes import Call, Field, Link, Out
from probes.pci import normal_address

MAX_GPUS = 256
MAX_MIG = 16
_UNKNOWN = Missing(NOT_SUPPORTED)
_STATE = Out("gpu.state", "text")
_GONE = {LOST: "lost", "error:RESET_REQUIRED": "reset-required"}


def _better(value: Answer, known: Missing) -> bool:
    """Whether an answer says more than that there is none: a value does, or that it exists and was refused."""
    return not isinstance(value, Missing) or known == _UNKNOWN


class _Gpu:
    """One GPU that is being asked, and what it has answered so far."""

    def __init__(self, nvml: Bindings, line: Line, number: int, handle: object, branch: int) -> None:
        self.nvml, self.line, self.number, self.handle, self.branch = nvml, line, number, handle, branch
        self.known: dict[str, Answer] = {}
        self.gone: Optional[str] = None  # `lost` or `reset-required`, once any answer said so

    def tell(self, out: Out, value: Answer) -> None:
        """Say an answer, unless there is one already that is as good."""
        if isinstance(value, Missing) and value.reason in _GONE:
            self.gone = self.gone or _GONE[value.reason]
        known = self.known.get(out.name, _UNKNOWN)
        if out.name not in self.known or (isinstance(known, Missing) and known != value and _better(value, known)):
            self.known[out.name] = value
            self.line.read(self.number, out.name, value, out.unit)

    def tell_mig(self, index: int, out: Out, value: Answer) -> None:
        """Say an answer of a MIG device; it is told from those of others by its number."""
        if isinstance(value, Missing) and value.reason in _GONE:
            self.gone = self.gone or _GONE[value.reason]
        self.line.read(self.number, f"{index} {out.name}", value, out.unit)

    def lacks(self, name: str) -> bool:
        """Whether nothing asked so far knows such a thing."""
        return self.known.get(name, Missing(NOT_SUPPORTED)) == Missing(NOT_SUPPORTED)

    def call(self, call: Call, *more: object) -> object:
        """Ask, and say all that comes of it."""
        result = self.nvml.ask(self.line, self.number, call, (self.handle, *more))
        if call.many and not isinstance(result, Missing):
            result = len(result)  # type: ignore[arg-type]
        for out in call.outs:
            self.tell(out, answer(self.nvml, out, result))
        return result

    def fields(self, wanted: Sequence[tuple[str, Optional[int], int]]) -> list[object]:
        """The values of fields in one call: each its constant, its scope, and the branch its id is good from."""
        module = self.nvml.module
        ids = [getattr(module, name, None) if self.branch >= since else None for name, _, since in wanted]
        asked = [id if scope is None else (id, scope) for id, (_, scope, _) in zip(ids, wanted) if id is not None]
        if not asked:
            return [Missing(NOT_SUPPORTED)] * len(wanted)
        self.line.begin(self.number, "nvmlDeviceGetFieldValues")
        try:
            values = iter(module.nvmlDeviceGetFieldValues(self.handle, asked))
        except Exception as failure:
            return [self.nvml.missing(failure)] * len(wanted)
        return [Missing(NOT_SUPPORTED) if id is None else field_value(self.nvml, next(values)) for id in ids]


def _read_fields(gpu: _Gpu, table: Sequence[Field] = FIELDS) -> None:
    results = gpu.fields([(field.constant, None, field.since) for field in table])
    for field, result in zip(table, results):
        gpu.tell(field.out, answer(gpu.nvml, field.out, result))


def _read_links(gpu: _Gpu, table: Sequence[Link], links: int) -> None:
    """Read what each link says; the first one tells which fields this generation has."""
    first = gpu.fields([(link.constant, 0, link.since) for link in table]) if links else []
    found: dict[str, list[Answer]] = {link.constant: [answer(gpu.nvml, link.out, v)] for link, v in zip(table, first)}
    here = [link for link in table if links and found[link.constant] != [Missing(NOT_SUPPORTED)]]
    asked = [(link, number) for link in here for number in range(1, links)]
    rest = gpu.fields([(link.constant, number, link.since) for link, number in asked]) if asked else []
    for (link, _), value in zip(asked, rest):
        found[link.constant].append(answer(gpu.nvml, link.out, value))
    for link in table:
        values = found.get(link.constant, [])
        gpu.tell(link.out, together(link.whole, values))
        for number, value in enumerate(values if link.each else ()):
            known_together = not isinstance(gpu.known[link.out.name], Missing)
            if (isinstance(value, Missing) and known_together) or (not isinstance(value, (Missing, str)) and value):
                gpu.tell(link.out._replace(name=_of_link(link.out.name, number)), value)


def _of_link(name: str, link: int) -> str:
    """`gpu.nvlink.errors.crc` of link 3 is `gpu.nvlink.3.errors.crc`."""
    device, family, what = name.split(".", 2)
    return f"{device}.{family}.{link}.{what}"


def _read_nvlinks(gpu: _Gpu) -> None:
    count = gpu.known.get("gpu.nvlink.links")
    links = count if isinstance(count, int) else 0
    _read_states(gpu, links)
    wanted: list[tuple[str, Optional[int], int]] = []
    for _, scoped, totals, _ in NVLINK_ERRORS:
        wanted += [(total, None, 0) for total in totals]
        wanted += [(scoped, link, 535) for link in range(links)] if scoped else []
    results = iter(gpu.fields(wanted))
    for name, scoped, totals, counters in NVLINK_ERRORS:
        all_links = total([next(results) for _ in totals])
        each = [next(results) for _ in range(links)] if scoped else []
        value = all_links if isinstance(total(each), Missing) else total(each)
        if value == Missing(NOT_SUPPORTED) and links:
            calls = [Call((("nvmlDeviceGetNvLinkErrorCounter", ""),), (), (counter,)) for counter in counters]
            each = []
            for link in range(links):
                each.append(total([gpu.nvml.ask(gpu.line, gpu.number, call, (gpu.handle, link)) for call in calls]))
                if each[0] == Missing(NOT_SUPPORTED):
                    break  # then no other link of this generation has it either
            value = total(each)
        gpu.tell(Out(name, "count"), value)
        for link, number in enumerate(each):
            if isinstance(number, int) and number and number not in ALL_ONES:
                gpu.tell(Out(_of_link(name, link), "count"), number)
    _read_links(gpu, NVLINKS, links)


def _read_states(gpu: _Gpu, links: int) -> None:
    field = NVLINK_STATE
    states = gpu.fields([(field.constant, link, field.since) for link in range(links)]) if links else []
    for link, state in enumerate(states):
        out = Out(f"gpu.nvlink.{link}.active", "flag")
        value = answer(gpu.nvml, out, state)
        if value == Missing(NOT_SUPPORTED):
            gpu.call(Call((("nvmlDeviceGetNvLinkState", ""),), (out,)), link)
        else:
            gpu.tell(out, value)


def _read_fans(gpu: _Gpu) -> None:
    """The slowest fan counts; each has a reading of its own."""
    count = gpu.known.get("gpu.fans")
    speeds: list[Answer] = [count] if isinstance(count, Missing) else []
    for fan in range(count if isinstance(count, int) else 0):
        out = Out(f"gpu.fan.{fan}.speed", "ratio", scale=1e-2, limits=(0.0, 2.0))
        gpu.call(Call((("nvmlDeviceGetFanSpeed_v2", ""),), (out,)), fan)
        speeds.append(gpu.known[out.name])
    gpu.tell(Out("gpu.fan.speed", "ratio"), together("least", speeds))


def _read_mig(gpu: _Gpu) -> None:
    """The MIG devices of a GPU that is split, each named and asked like a GPU of its own."""
    total = Out("gpu.mig.devices", "count")
    if gpu.known.get("gpu.mig.mode") != "on":
        mode = gpu.known.get("gpu.mig.mode", Missing(NOT_SUPPORTED))
        gpu.tell(total, mode if isinstance(mode, Missing) else 0)
        return
    most = gpu.nvml.ask(gpu.line, gpu.number, Call((("nvmlDeviceGetMaxMigDeviceCount", ""),), ()), (gpu.handle,))
    found = 0
    for index in range(min(most, MAX_MIG) if isinstance(most, int) else 0):
        way = Call((("nvmlDeviceGetMigDeviceHandleByIndex", ""),), ())
        handle = gpu.nvml.ask(gpu.line, gpu.number, way, (gpu.handle, index))
        if handle == Missing("error:NOT_FOUND"):
            continue
        found += 1
        gpu.line.say("mig", gpu.number, index, *_mig_names(gpu, handle))
        if isinstance(handle, Missing):
            gpu.tell_mig(index, Out("mig.state", "text"), handle)
            continue
        for call in MIG_CALLS:
            result = gpu.nvml.ask(gpu.line, gpu.number, call, (handle,))
            if call.many and not isinstance(result, Missing):
                result = len(result)  # type: ignore[arg-type]
            for out in call.outs:
                gpu.tell_mig(index, out, answer(gpu.nvml, out, result))
    gpu.tell(total, most if isinstance(most, Missing) else found)


def _mig_names(gpu: _Gpu, handle: object) -> tuple[Optional[str], Optional[str]]:
    """The UUID and the name of a MIG device, each None if it did not say; the name tells how it is cut (1g.10gb)."""
    if isinstance(handle, Missing):
        return None, None
    out = Out("mig.name", "text")
    told = [
        answer(gpu.nvml, out, gpu.nvml.ask(gpu.line, gpu.number, Call(((function, ""),), (out,)), (handle,)))
        for function in ("nvmlDeviceGetUUID", "nvmlDeviceGetName")
    ]
    uuid, name = (value if isinstance(value, str) and value.isascii() else None for value in told)
    return uuid, name


def identity(nvml: Bindings, line: Line, gpu: int, handle: object) -> tuple[Optional[str], ...]:
    """Ask a GPU who it is: its PCI address, UUID, serial number and name, each None if it did not say."""

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


def _read_calls(gpu: _Gpu, calls: Sequence[Call] = CALLS) -> None:
    for call in calls:
        gpu.call(call)
        if gpu.gone:
            return


def _read_fallbacks(gpu: _Gpu, calls: Sequence[Call] = FALLBACKS) -> None:
    for call in calls:
        if gpu.lacks(call.outs[0].name):
            gpu.call(call)


def _read_c2c(gpu: _Gpu) -> None:
    links = gpu.known.get("gpu.c2c.links")
    _read_links(gpu, C2C_LINKS, links if isinstance(links, int) else 0)


_PARTS = (_read_calls, _read_fans, _read_fields, _read_fallbacks, _read_nvlinks, _read_c2c, _read_mig)
_BRIEF_PARTS = (
    partial(_read_calls, calls=BRIEF_CALLS),
    partial(_read_fields, table=BRIEF_FIELDS),
    partial(_read_fallbacks, calls=BRIEF_FALLBACKS),
)


def _read_gpu(gpu: _Gpu, brief: bool) -> None:
    """Ask everything; of a device that is gone nothing better will come, and it is not to be prodded."""
    for read in _BRIEF_PARTS if brief else _PARTS:
        read(gpu)
        if gpu.gone:
            break
    gpu.tell(_STATE, gpu.gone or "ok")


def _open(nvml: Bindings, line: Line, gpu: int) -> object:
    """The handle of a GPU, or None after saying why there is none."""
    way = Call((("nvmlDeviceGetHandleByIndex", ""),), ())
    handle = nvml.ask(line, gpu, way, (gpu,))
    if isinstance(handle, Missing):
        line.say("gpu", gpu, None, None, None, None)
        line.read(gpu, "gpu.state", _GONE.get(handle.reason, handle), "text")
        line.read(gpu, "nvml.nvmlDeviceGetHandleByIndex", handle, "text")
        line.say("done", gpu)
        return None
    line.say("gpu", gpu, *identity(nvml, line, gpu, handle))
    return handle


def _branch(version: Answer) -> int:
    """The driver branch (580 of `580.65.06`), or 0."""
    head = str(version).partition(".")[0]
    return int(head) if head.isdigit() else 0


def connect(line: Line) -> Optional[tuple[Bindings, int]]:
    """Start NVML and count its GPUs; None if it cannot be used, which then was told."""
    line.begin(None, "import-pynvml")
    try:
        module = importlib.import_module("pynvml")
    except ImportError as failure:
        line.say("fatal", "BINDINGS_NOT_INSTALLED", plain(str(failure)))
        return None
    nvml = Bindings(module)
    started = nvml.ask(line, None, Call((("nvmlInit", ""),), ()), ())
    count = nvml.ask(line, None, Call((("nvmlDeviceGetCount", ""),), ()), ()) if started is None else started
    if isinstance(count, int) and count <= MAX_GPUS:
        return nvml, count
    refuse(nvml, line, count if isinstance(count, Missing) else GARBAGE)
    return None


def refuse(nvml: Bindings, line: Line, why: Missing) -> None:
    """Tell that NVML cannot be used."""
    line.say("fatal", error_name(nvml, why), why.reason)


def sweep(line: Line, skip: Sequence[str], brief: bool = False) -> None:
    """Ask everything of the table, or only what a `brief` sweep asks.

    Not asked are the GPUs (by index) and the functions of the node that are in `skip`.
    """
    opened = connect(line)
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
            _read_gpu(_Gpu(nvml, line, gpu, handle, branch), brief)
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
