"""The process that waits for NVML's events, so that nothing else has to.

It registers for what happens on each GPU and then waits, a second at a time.
Like `probes.nvml_child` it says what it is about to do before it does it, in
lines that are `?` or one JSON array each:

    ?gpu function                         asked next; gpu is the index, or nothing for the node
    ["gpu", index, pci, uuid, serial, name]
    ["registered", index, [kind...]]      what this GPU will tell
    ["refused", index, reason]            this GPU will tell nothing
    ["ready"]                             from here on nothing is missed
    ["event", index, kind, data, at, [gpu instance, compute instance] or null]
    ["failed", reason]                    one wait failed; it goes on
    ["fatal", error, text]                NVML cannot be used at all

A `? nvmlEventSetWait_v2` comes every second, and is the sign of life.
"""

from __future__ import annotations

import os
import time
from collections.abc import Container, Mapping, Sequence
from typing import Any, Optional

from probes.model import NOT_SUPPORTED, Missing
from probes.nvml_bindings import Bindings, Line
from probes.nvml_child import connect, die_with_parent, identity, refuse
from probes.nvml_gpu import GONE
from probes.nvml_shapes import Call

KINDS: Mapping[str, str] = {
    "nvmlEventTypeXidCriticalError": "xid",
    "nvmlEventTypeSingleBitEccError": "ecc-corrected",
    "nvmlEventTypeDoubleBitEccError": "ecc-uncorrected",
    "nvmlEventTypeSingleBitEccErrorStorm": "ecc-corrected-storm",
    "nvmlEventTypeDramRetirementEvent": "memory-retired",
    "nvmlEventTypeDramRetirementFailure": "memory-retirement-failed",
    "nvmlEventTypeNonFatalPoisonError": "poison-contained",
    "nvmlEventTypeFatalPoisonError": "poison-uncontained",
    "nvmlEventTypeGpuUnavailableError": "gpu-unavailable",
    "nvmlEventTypeGpuRecoveryAction": "recovery-action",
    "nvmlEventTypePowerSourceChange": "power-source",
}
"""The events that are asked for, where the bindings and the GPU know them; the data of `xid` is its number."""
TICK = 1000
"""Milliseconds of one wait."""
_NO_INSTANCE = 0xFFFFFFFF
_PAUSE = 0.5  # seconds after a wait that failed, so that one that fails at once does not keep a processor busy


def listen(line: Line) -> None:
    """Register for everything and tell what happens, for ever."""
    opened = connect(line)
    if opened is None:
        return
    nvml, count = opened
    waiting = nvml.ask(line, None, Call((("nvmlEventSetCreate", ""),), ()), ())
    if isinstance(waiting, Missing):
        refuse(nvml, line, waiting)
        return
    module = nvml.module
    kinds = {getattr(module, name): kind for name, kind in KINDS.items() if isinstance(getattr(module, name, 0), int)}
    kinds.pop(0, None)
    owners = {}
    split = set()
    for gpu in range(count):
        handle = _register(nvml, line, gpu, waiting, kinds)
        if handle is not None:
            owners[_address(module, handle)] = gpu
            mode = nvml.ask(line, gpu, Call((("nvmlDeviceGetMigMode", ""),), ()), (handle,))
            if isinstance(mode, list) and mode[0] == 1:
                split.add(gpu)
    if not owners:
        line.say("fatal", NOT_SUPPORTED, "no GPU offers events")
        return
    line.say("ready")
    while _wait(nvml, line, waiting, kinds, owners, split):
        pass
    line.say("fatal", NOT_SUPPORTED, "the library cannot wait for events")


def _register(nvml: Bindings, line: Line, gpu: int, waiting: object, kinds: Mapping[int, str]) -> object:
    """The handle of a GPU that will tell something, else None; the GPU, and what it will tell, is said."""
    handle = nvml.ask(line, gpu, Call((("nvmlDeviceGetHandleByIndex", ""),), ()), (gpu,))
    if isinstance(handle, Missing):
        line.say("gpu", gpu, None, None, None, None)
        line.say("refused", gpu, handle.reason)
        return None
    line.say("gpu", gpu, *identity(nvml, line, gpu, handle))
    # a name is remembered by the library; whether the GPU itself is there is seen by what only it knows
    there = nvml.ask(line, gpu, Call((("nvmlDeviceGetMemoryInfo", ""),), ()), (handle,))
    if isinstance(there, Missing) and there.reason in GONE:
        line.say("refused", gpu, there.reason)
        return None
    offered = nvml.ask(line, gpu, Call((("nvmlDeviceGetSupportedEventTypes", ""),), ()), (handle,))
    wanted = 0
    for kind in kinds:
        wanted |= kind
    mask = wanted & offered if isinstance(offered, int) else offered
    answer: object = Missing(NOT_SUPPORTED)
    if isinstance(mask, int) and mask:
        answer = nvml.ask(line, gpu, Call((("nvmlDeviceRegisterEvents", ""),), ()), (handle, mask, waiting))
    elif isinstance(mask, Missing):
        answer = mask
    if isinstance(answer, Missing):
        line.say("refused", gpu, answer.reason)
        return None
    line.say("registered", gpu, [kind for bit, kind in kinds.items() if isinstance(mask, int) and mask & bit])
    return handle


def _wait(
    nvml: Bindings,
    line: Line,
    waiting: object,
    kinds: Mapping[int, str],
    owners: Mapping[int, int],
    split: Container[Optional[int]],
) -> bool:
    """Tell what happened in one wait; false if there is no waiting here."""
    event: Any = nvml.ask(line, None, Call((("nvmlEventSetWait_v2", ""),), (), (TICK,)), (waiting,))
    if isinstance(event, Missing):
        if event.reason not in ("error:TIMEOUT", NOT_SUPPORTED):
            line.say("failed", event.reason)
            line.flush()
            time.sleep(_PAUSE)
        return event.reason != NOT_SUPPORTED
    gpu: Optional[int] = owners.get(_address(nvml.module, event.device))
    kind = kinds.get(event.eventType, f"unknown-{event.eventType}")
    instance = (event.gpuInstanceId, event.computeInstanceId)
    mig = None if _NO_INSTANCE in instance or gpu not in split else instance  # some say 0 where there is none
    line.say("event", gpu, kind, int(event.eventData), time.time(), mig)
    return True


def _address(module: Any, handle: Any) -> int:
    """What tells one handle from another; NVML gives a GPU the same one each time."""
    return int(module.cast(handle, module.c_void_p).value or 0)


def serve(fd: int, _: Sequence[str], parent: int) -> None:
    """Tell what happens on this descriptor, and do not outlive the parent."""
    die_with_parent(parent)
    line = Line(fd)
    listen(line)
    line.flush()


def main(arguments: Sequence[str]) -> None:
    """Run: the parent's process id."""
    fd = os.dup(1)
    os.dup2(2, 1)  # whatever the driver's library prints must not stand among the events
    serve(fd, arguments[1:], int(arguments[0]))
    os._exit(0)
