"""One GPU, asked everything that the tables of `probes.nvml_calls` and `probes.nvml_fields` hold.

What one answer says decides which other questions are worth asking: how many
links and fans there are, whether the GPU is split (MIG), and whether it is
still there at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Optional

from probes.model import LOST, NOT_SUPPORTED, Missing
from probes.nvml_bindings import ALL_ONES, Answer, Bindings, Line, answer, field_value, together, total
from probes.nvml_calls import CALLS, FALLBACKS
from probes.nvml_fields import C2C_LINKS, FIELDS, NVLINK_ERRORS, NVLINK_STATE, NVLINKS
from probes.nvml_node import MIG_CALLS
from probes.nvml_owed import BRIEF_CALLS, BRIEF_FALLBACKS, BRIEF_FIELDS
from probes.nvml_shapes import Call, Field, Link, Out

MAX_MIG = 16
GONE = {LOST: "lost", "error:RESET_REQUIRED": "reset-required"}
"""What a GPU's state is called where it says so itself."""
_UNKNOWN = Missing(NOT_SUPPORTED)
_STATE = Out("gpu.state", "text")


def _better(value: Answer, known: Missing) -> bool:
    """Whether an answer says more than that there is none: a value does, or that it exists and was refused."""
    return not isinstance(value, Missing) or known == _UNKNOWN


class Gpu:
    """One GPU that is being asked, and what it has answered so far."""

    def __init__(self, nvml: Bindings, line: Line, number: int, handle: object, branch: int) -> None:
        """Begin with nothing known; `branch` is the driver's (580)."""
        self.nvml, self.line, self.number, self.handle, self.branch = nvml, line, number, handle, branch
        self.known: dict[str, Answer] = {}
        self.gone: Optional[str] = None  # `lost` or `reset-required`, once any answer said so

    def tell(self, out: Out, value: Answer) -> None:
        """Say an answer, unless there is one already that is as good."""
        if isinstance(value, Missing) and value.reason in GONE:
            self.gone = self.gone or GONE[value.reason]
        known = self.known.get(out.name, _UNKNOWN)
        if out.name not in self.known or (isinstance(known, Missing) and known != value and _better(value, known)):
            self.known[out.name] = value
            self.line.read(self.number, out.name, value, out.unit)

    def tell_mig(self, index: int, out: Out, value: Answer) -> None:
        """Say an answer of a MIG device; it is told from those of others by its number."""
        if isinstance(value, Missing) and value.reason in GONE:
            self.gone = self.gone or GONE[value.reason]
        self.line.read(self.number, f"{index} {out.name}", value, out.unit)

    def lacks(self, name: str) -> bool:
        """Whether nothing asked so far knows such a thing, or what does was left out."""
        known = self.known.get(name, _UNKNOWN)
        return known == _UNKNOWN or known in self.nvml.left_out.values()

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
            return [_UNKNOWN] * len(wanted)
        function = "nvmlDeviceGetFieldValues"
        if (self.number, function) in self.nvml.left_out:
            return [self.nvml.left_out[self.number, function]] * len(wanted)
        self.line.begin(self.number, function)
        try:
            values = iter(module.nvmlDeviceGetFieldValues(self.handle, asked))
        except Exception as failure:
            return [self.nvml.missing(failure)] * len(wanted)
        return [Missing(NOT_SUPPORTED) if id is None else field_value(self.nvml, next(values)) for id in ids]


def _read_fields(gpu: Gpu, table: Sequence[Field] = FIELDS) -> None:
    results = gpu.fields([(field.constant, None, field.since) for field in table])
    for field, result in zip(table, results):
        gpu.tell(field.out, answer(gpu.nvml, field.out, result))


def _read_links(gpu: Gpu, table: Sequence[Link], count: Answer) -> None:
    """Read what each link says; the first one tells which fields this generation has."""
    links, unread = (0, [count]) if isinstance(count, Missing) else (int(count), [])
    first = gpu.fields([(link.constant, 0, link.since) for link in table]) if links else []
    found: dict[str, list[Answer]] = {link.constant: [answer(gpu.nvml, link.out, v)] for link, v in zip(table, first)}
    here = [link for link in table if links and found[link.constant] != [Missing(NOT_SUPPORTED)]]
    asked = [(link, number) for link in here for number in range(1, links)]
    rest = gpu.fields([(link.constant, number, link.since) for link, number in asked]) if asked else []
    for (link, _), value in zip(asked, rest):
        found[link.constant].append(answer(gpu.nvml, link.out, value))
    for link in table:
        values = found.get(link.constant, unread)
        gpu.tell(link.out, together(link.whole, values))
        for number, value in enumerate(values if link.each else ()):
            known_together = not isinstance(gpu.known[link.out.name], Missing)
            if (isinstance(value, Missing) and known_together) or (not isinstance(value, (Missing, str)) and value):
                gpu.tell(link.out._replace(name=_of_link(link.out.name, number)), value)


def _of_link(name: str, link: int) -> str:
    """`gpu.nvlink.errors.crc` of link 3 is `gpu.nvlink.3.errors.crc`."""
    device, family, what = name.split(".", 2)
    return f"{device}.{family}.{link}.{what}"


def _read_nvlinks(gpu: Gpu) -> None:
    count = gpu.known.get("gpu.nvlink.links", _UNKNOWN)
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
    _read_links(gpu, NVLINKS, count)


def _read_states(gpu: Gpu, links: int) -> None:
    field = NVLINK_STATE
    states = gpu.fields([(field.constant, link, field.since) for link in range(links)]) if links else []
    for link, state in enumerate(states):
        out = Out(f"gpu.nvlink.{link}.active", "flag")
        value = answer(gpu.nvml, out, state)
        if value == Missing(NOT_SUPPORTED):
            gpu.call(Call((("nvmlDeviceGetNvLinkState", ""),), (out,)), link)
        else:
            gpu.tell(out, value)


def _read_fans(gpu: Gpu) -> None:
    """The slowest fan counts; each has a reading of its own."""
    count = gpu.known.get("gpu.fans")
    speeds: list[Answer] = [count] if isinstance(count, Missing) else []
    for fan in range(count if isinstance(count, int) else 0):
        out = Out(f"gpu.fan.{fan}.speed", "ratio", scale=1e-2, limits=(0.0, 2.0))
        gpu.call(Call((("nvmlDeviceGetFanSpeed_v2", ""),), (out,)), fan)
        speeds.append(gpu.known[out.name])
    gpu.tell(Out("gpu.fan.speed", "ratio"), together("least", speeds))


def _read_mig(gpu: Gpu) -> None:
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


def _mig_names(gpu: Gpu, handle: object) -> tuple[Optional[str], Optional[str]]:
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


def _read_calls(gpu: Gpu, calls: Sequence[Call] = CALLS) -> None:
    for call in calls:
        gpu.call(call)
        if gpu.gone:
            return


def _read_fallbacks(gpu: Gpu, calls: Sequence[Call] = FALLBACKS) -> None:
    for call in calls:
        if gpu.lacks(call.outs[0].name):
            gpu.call(call)


def _read_c2c(gpu: Gpu) -> None:
    _read_links(gpu, C2C_LINKS, gpu.known.get("gpu.c2c.links", _UNKNOWN))


_PARTS = (_read_calls, _read_fans, _read_fields, _read_fallbacks, _read_nvlinks, _read_c2c, _read_mig)
_BRIEF_PARTS = (
    partial(_read_calls, calls=BRIEF_CALLS),
    partial(_read_fields, table=BRIEF_FIELDS),
    partial(_read_fallbacks, calls=BRIEF_FALLBACKS),
)


def read(gpu: Gpu, brief: bool) -> None:
    """Ask everything; of a device that is gone nothing better will come, and it is not to be prodded."""
    for part in _BRIEF_PARTS if brief else _PARTS:
        part(gpu)
        if gpu.gone:
            break
    gpu.tell(_STATE, gpu.gone or "ok")
