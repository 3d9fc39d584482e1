"""NVML's bindings with errors as values: a call gives a result or the reason why there is none.

Everything a device says passes here, and is taken for hostile: text is cut and
made printable, numbers that a dying device answers are no readings.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from math import isfinite
from types import ModuleType
from typing import Any, Optional, Union

from probes.model import LOST, NO_PERMISSION, NOT_SUPPORTED, Missing
from probes.nvml_owed import NUMBERS
from probes.nvml_shapes import Call, Out

MAX_TEXT = 200
GARBAGE = Missing("error:garbage")
_UNKNOWN = Missing(NOT_SUPPORTED)
ALL_ONES = (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)  # what a register reads of a device that is gone; NVML's "not available"
REASONS = {
    "NOT_SUPPORTED": NOT_SUPPORTED,
    "FUNCTION_NOT_FOUND": NOT_SUPPORTED,
    "NO_PERMISSION": NO_PERMISSION,
    "GPU_IS_LOST": LOST,
}
_NEXT_WAY = ("FUNCTION_NOT_FOUND", "ARGUMENT_VERSION_MISMATCH", "DEPRECATED")
# What a library may have only under a name from before 2018 (Tegra's, an old driver's, a stand-in), which takes the
# same arguments; flags that `nvmlInit_v2` is handed besides are not looked at.
_OLDER = {
    "nvmlInitWithFlags": ("nvmlInit_v2", "nvmlInit"),
    "nvmlDeviceGetCount_v2": ("nvmlDeviceGetCount",),
    "nvmlDeviceGetHandleByIndex_v2": ("nvmlDeviceGetHandleByIndex",),
    "nvmlDeviceGetPciInfo_v3": ("nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo"),
}
_VALUE_TYPES = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
Answer = Union[int, float, str, bool, Missing]


class Line:
    """The way out: lines are gathered and written together with the next `begin`."""

    def __init__(self, fd: int) -> None:
        """Write to this descriptor."""
        self._fd = fd
        self._waiting: list[str] = []
        self._readings: list[tuple[object, ...]] = []
        self._of: Optional[int] = None

    def say(self, *words: object) -> None:
        """Say one line, after the readings that were told before it."""
        self._say_readings()
        self._waiting.append(json.dumps(words))

    def begin(self, gpu: Optional[int], function: str) -> None:
        """Say what is asked next, and see that it is heard before it is asked."""
        self._say_readings()
        self._waiting.append(f"?{'' if gpu is None else gpu} {function}")
        self.flush()

    def _say_readings(self) -> None:
        if self._readings:
            readings, self._readings = self._readings, []
            self._waiting.append(json.dumps(("read", self._of, time.time(), readings)))

    def read(self, gpu: Optional[int], name: str, value: Answer, unit: str) -> None:
        """Tell a reading of a GPU, or of the node."""
        if self._readings and self._of != gpu:
            self.say("more")
        self._of = gpu
        told = (None if value == _UNKNOWN else {"missing": value.reason}) if isinstance(value, Missing) else value
        number = NUMBERS.get((name, unit))
        self._readings.append((name, told, unit) if number is None else (number, told))

    def flush(self) -> None:
        """Write what was said."""
        data = ("\n".join(self._waiting) + "\n").encode()
        self._waiting.clear()
        while data:
            data = data[os.write(self._fd, data) :]


class Bindings:
    """The bindings, with errors as values."""

    def __init__(self, module: ModuleType, left_out: Sequence[str] = ()) -> None:
        """Take the module pynvml, whichever version it is; what is `left_out` is `gpu:function:why` each."""
        self.module = module
        self.left_out: dict[tuple[Optional[int], str], Missing] = {}
        for told in left_out:
            gpu, function, why = told.split(":", 2)
            self.left_out[int(gpu), function] = Missing(why)
        self.error: Any = module.NVMLError
        self.names: dict[int, str] = {}
        for name in dir(module):
            if name.startswith("NVML_ERROR_") and isinstance(getattr(module, name), int):
                self.names.setdefault(getattr(module, name), name[len("NVML_ERROR_") :])

    def find_older(self) -> None:
        """Let the bindings, which know the newest names only, find what this library has under an older one."""
        library = getattr(self.module, "nvmlLib", None)
        known = getattr(self.module, "_nvmlGetFunctionPointer_cache", None)
        if library is None or not isinstance(known, dict):
            return
        for name, olders in _OLDER.items():
            older = next((older for older in (name, *olders) if hasattr(library, older)), name)
            if older != name:
                known[name] = getattr(library, older)

    def name_of(self, code: int) -> str:
        """The name of an error without its prefix, or its number."""
        return self.names.get(code, str(code))

    def missing(self, failure: Exception) -> Missing:
        """What an exception of the bindings says about the value."""
        if isinstance(failure, UnicodeDecodeError):
            return GARBAGE
        if not isinstance(failure, self.error):
            return Missing(f"error:{type(failure).__name__}")
        return self.refusal(failure.value)

    def refusal(self, code: int) -> Missing:
        """What an error code says about the value."""
        name = self.name_of(code)
        return Missing(REASONS.get(name, f"error:{name}"))

    def constants(self, names: Sequence[Union[int, str]]) -> Optional[list[int]]:
        """The values of constants; a number is one already.  None if the bindings do not know one."""
        found = [name if isinstance(name, int) else getattr(self.module, name, None) for name in names]
        values = [value for value in found if value is not None]
        return values if len(values) == len(found) else None

    def ask(self, line: Line, gpu: Optional[int], call: Call, before: Sequence[object]) -> object:
        """The raw result of the first way that exists, or why there is none."""
        args = self.constants(call.args)
        if args is None:
            return Missing(NOT_SUPPORTED)
        outcome: object = _UNKNOWN
        spared: Optional[Missing] = None
        for function, structure in call.ways:
            ask = getattr(self.module, function, None)
            shape = getattr(self.module, structure, None) if structure else None
            if ask is None or (structure and shape is None):
                continue
            if (gpu, function) in self.left_out:
                spared = self.left_out[gpu, function]
                continue
            line.begin(gpu, function)
            filled = None if shape is None else shape()
            try:
                if filled is None:
                    return ask(*before, *args)
                ask(*before, *args, self.module.byref(filled))
                return filled
            except self.error as failure:
                if call.sized and self.name_of(failure.value) == "INSUFFICIENT_SIZE":
                    return filled
                outcome = self.missing(failure)
                if self.name_of(failure.value) not in _NEXT_WAY:
                    return outcome
            except Exception as failure:
                return self.missing(failure)
        return spared or outcome


def plain(text: Union[str, bytes]) -> str:
    """Text that came from a device: shortened, and without anything a terminal would obey."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return "".join(sign if sign.isprintable() else "?" for sign in text[:MAX_TEXT])


def answer(nvml: Bindings, out: Out, result: object) -> Answer:
    """The value of one reading in a call's result."""
    try:
        return _answer(nvml, out, result)
    except (TypeError, ValueError, IndexError):  # the bindings decode a structure's text when it is looked at
        return GARBAGE


def _answer(nvml: Bindings, out: Out, result: object) -> Answer:
    if isinstance(result, Missing):
        return False if out.no is not None and result.reason == f"error:{out.no}" else result
    if out.needs is not None and not getattr(result, out.needs):
        return Missing(NOT_SUPPORTED)
    for step in out.pick if isinstance(out.pick, tuple) else () if out.pick is None else (out.pick,):
        result = getattr(result, step, Missing(NOT_SUPPORTED)) if isinstance(step, str) else result[step]  # type: ignore[index]
        if isinstance(result, Missing):
            return result
    if out.no is not None and result is None:
        return True
    if isinstance(result, float):
        return result if isfinite(result) else GARBAGE
    if out.form == "byte":
        result = ord(result)  # type: ignore[arg-type]
    if isinstance(result, (str, bytes)):
        return plain(result) or _UNKNOWN
    number: int = int(result)  # type: ignore[call-overload]
    if number in ALL_ONES:
        return GARBAGE
    if out.mask is not None:
        number = number >> out.shift & out.mask
    if out.form is not None and out.form != "byte":
        return _formed(nvml, out.form, number)
    if out.words is not None:
        word = out.words.get(number)
        if word is not None:
            return word
        # a newer driver may have values that have no name here yet: they are kept by number
        return Missing(NOT_SUPPORTED) if number == 0 else GARBAGE if out.unit == "flag" else f"unknown-{number}"
    if out.unit == "flag":
        return bool(number)
    value = number if out.scale is None else round(number * out.scale, 9)
    return value if out.limits is None or out.limits[0] <= value <= out.limits[1] else GARBAGE


def _formed(nvml: Bindings, form: str, number: int) -> Answer:
    if form == "return-code":
        return nvml.name_of(number).lower().replace("_", "-") if number else "success"
    if form == "cuda-version":
        return f"{number // 1000}.{number % 1000 // 10}"
    if form == "hex":
        return f"{number:08x}"
    # A bit error rate as nvml.h packs it: bits 0 to 7 are the exponent, 8 to 11 the mantissa.
    return float(f"{number >> 8 & 0xF}e-{number & 0xFF}")


def field_value(nvml: Bindings, value: Any) -> object:
    """The raw value of a field, or why there is none."""
    of = nvml.module.Structure.__getattribute__  # that of the bindings looks for text, which takes as long as all this
    code, kind = of(value, "nvmlReturn"), of(value, "valueType")
    if code:
        # a field that the bindings know and the driver does not
        return _UNKNOWN if nvml.name_of(code) == "INVALID_ARGUMENT" else nvml.refusal(code)
    told = of(value, "value")
    if not (kind or of(value, "timestamp") or of(value, "latencyUsec") or told.ullVal):
        return _UNKNOWN  # as the bindings made it: the library passed over it, and that is no zero
    member = _VALUE_TYPES.get(kind)
    return GARBAGE if member is None else getattr(told, member)


def together(whole: str, values: Sequence[Answer]) -> Answer:
    """What links say together: those that could be read; if none could, why."""
    numbers = [value for value in values if isinstance(value, (int, float))]
    if numbers:
        return sum(numbers) if whole == "sum" else max(numbers) if whole == "most" else min(numbers)
    reasons = [value for value in values if isinstance(value, Missing)]
    return reasons[0] if reasons else Missing(NOT_SUPPORTED)


def total(values: Sequence[object]) -> Union[int, Missing]:
    """The sum of those that could be read; if none could, why."""
    numbers = [value for value in values if isinstance(value, int) and value not in ALL_ONES]
    if numbers:
        return sum(numbers)
    reasons = [value for value in values if isinstance(value, Missing)]
    return reasons[0] if reasons else Missing(NOT_SUPPORTED) if not values else GARBAGE
