"""Every question that NVML is asked, and every way in which it may be answered: a value, or why there is none.

The tables that the probe walks are walked here as well, so that a row which is
added is tested with the others.  A fake GPU stands for each function, so that
one sweep asks them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pynvml
import pytest

from probes import nvml
from probes.model import LOST, NO_PERMISSION, NODE, NOT_SUPPORTED, TIMED_OUT, Missing, Reading, Value
from probes.nvml_calls import CALLS, FALLBACKS
from probes.nvml_fields import C2C_LINKS, FIELDS, NVLINK_ERRORS, NVLINKS
from probes.nvml_node import CPER, CPER_CALL, MIG_CALLS, NODE_CALLS
from probes.nvml_shapes import Call, Field, Link, Out
from tests.fake_nvml import Scenario

BRANCH = "615.10"  # a driver that knows every field
MOST_GPUS = 60
SYMBOLS: dict[str, str] = {"nvmlDeviceGetHandleByIndex": "nvmlDeviceGetHandleByIndex_v2"}
REFUSALS = {"NOT_SUPPORTED": NOT_SUPPORTED, "NO_PERMISSION": NO_PERMISSION, "GPU_IS_LOST": LOST}
ROWS: tuple[Field | Link, ...] = (*FIELDS, *NVLINKS, *C2C_LINKS)
LINKS = (*NVLINKS, *C2C_LINKS)
LINK_COUNTS = ("gpu.nvlink.links", "gpu.c2c.links")


def by_function(calls: Sequence[Call]) -> dict[str, list[Call]]:
    """What is asked, under the function that is tried first: one GPU each."""
    found: dict[str, list[Call]] = {}
    for call in calls:
        found.setdefault(call.ways[0][0], []).append(call)
    return found


ASKED = by_function(CALLS)
OLDER = by_function(FALLBACKS)
STAND_INS: dict[str, list[Field]] = {}
for _field in FIELDS:
    STAND_INS.setdefault(_field.out.name, []).append(_field)


def outs(calls: Sequence[Call]) -> list[Out]:
    return [out for call in calls for out in call.outs]


def ways(calls: Sequence[Call]) -> set[str]:
    return {function for call in calls for function, _ in call.ways}


def field(constant: str) -> int:
    number: int = getattr(pynvml, constant)
    return number


def refuse_stand_ins(made: Scenario, gpu: int, calls: Sequence[Call], code: str) -> None:
    """Let no field answer what these calls do not."""
    for out in outs(calls):
        for stand_in in STAND_INS.get(out.name, ()):
            made.gpu(gpu).field(field(stand_in.constant), f"!{code}")


def read(made: Scenario, library: Path, deadline: float = 60.0) -> list[Reading]:
    readings, _, _ = nvml.sweep(deadline, library_env=made.env(library))
    return readings


def of_gpu(readings: Sequence[Reading], index: int) -> dict[str, Value]:
    mine = [reading for reading in readings if reading.entity.kind == "gpu" and reading.entity.index == index]
    return {reading.name: reading.value for reading in mine}


@pytest.fixture
def make(tmp_path: Path) -> Callable[[str, int], Scenario]:
    def scenario(name: str, gpus: int) -> Scenario:
        return Scenario(tmp_path / name, gpus).set("driver.version", BRANCH)

    return scenario


Make = Callable[[str, int], Scenario]


# ---- values ---------------------------------------------------------------------------------------------------------


def raw_for(found: Sequence[Out]) -> int:
    """A number that none of the fake's healthy answers is, and that has a name where numbers are named."""
    return 1 if any(out.words for out in found) else 3


def meant(out: Out, raw: int, many: bool = False) -> Any:
    """What NVML's documentation makes of a number, told without the code that is tested."""
    if out.no is not None:
        return True
    if many:
        return raw if "retired" in out.name else 1  # the fake makes one process of a number
    if out.form is not None:
        return {
            "cuda-version": f"0.{raw // 10}",
            "hex": f"{raw:08x}",
            "return-code": "uninitialized",
            "byte": raw,
            "ber": 0.0,
        }[out.form]
    bits = raw if out.mask is None else (raw >> out.shift) & out.mask
    if out.words is not None:
        return out.words.get(bits, Missing(NOT_SUPPORTED))
    if out.unit == "flag":
        return bits != 0
    if out.unit == "text":
        return str(raw)
    return bits if out.scale is None else pytest.approx(bits * out.scale)


def test_every_function_gives_its_value_under_its_name(make: Make, fake_nvml: Path) -> None:
    made = make("values", len(ASKED))
    for gpu, (function, calls) in enumerate(ASKED.items()):
        made.gpu(gpu).on(function, f"value:{raw_for(outs(calls))}")
    readings = read(made, fake_nvml)

    for gpu, (function, calls) in enumerate(ASKED.items()):
        found = of_gpu(readings, gpu)
        raw = raw_for(outs(calls))
        for call in calls:
            for out in call.outs:
                assert meant(out, raw, call.many) == found[out.name], (function, out.name)
        assert "ok" == found["gpu.state"], function


def test_every_older_way_gives_its_value_where_no_field_does(make: Make, fake_nvml: Path) -> None:
    made = make("older", len(OLDER))
    for gpu, (function, calls) in enumerate(OLDER.items()):
        made.gpu(gpu).on(function, "value:3")
        refuse_stand_ins(made, gpu, calls, "NOT_SUPPORTED")
    readings = read(made, fake_nvml)

    for gpu, (function, calls) in enumerate(OLDER.items()):
        for call in calls:
            for out in call.outs:
                assert meant(out, 3, call.many) == of_gpu(readings, gpu)[out.name], (function, out.name)


def test_every_field_gives_its_value_under_its_name(make: Make, fake_nvml: Path) -> None:
    """And stands in for a call that does not know it."""
    made = make("fields", 1)
    standing_in = {out.name for calls in (CALLS, FALLBACKS) for out in outs(calls)} & set(STAND_INS)
    for calls in (CALLS, FALLBACKS):
        for call in calls:
            if standing_in & {out.name for out in call.outs}:
                for function, _ in call.ways:
                    made.gpu(0).on(function, "NOT_SUPPORTED")
    asked = [row for row in FIELDS if row.out.name not in LINK_COUNTS]
    for row in asked:
        made.gpu(0).field(field(row.constant), raw_for([row.out]))
    found = of_gpu(read(made, fake_nvml), 0)

    assert len(standing_in) > 15
    assert {row.out.name: meant(row.out, raw_for([row.out])) for row in asked} == {
        row.out.name: found[row.out.name] for row in asked
    }


def together(row: Link, links: int) -> Any:
    """What so many links make of the number 3 (1 where it is a yes) each."""
    value = meant(row.out, 3)
    return value * links if row.whole == "sum" and isinstance(value, int) else value


def test_every_field_of_a_link_gives_what_the_links_make_together(make: Make, fake_nvml: Path) -> None:
    made = make("links", 1)
    made.gpu(0).set("nvlink.links", 4).field(pynvml.NVML_FI_DEV_C2C_LINK_COUNT, 2)
    for row in LINKS:
        made.gpu(0).field(field(row.constant), 3)
    found = of_gpu(read(made, fake_nvml), 0)

    for row in LINKS:
        assert together(row, 2 if row in C2C_LINKS else 4) == found[row.out.name], row.out.name
    assert 3 == found["gpu.nvlink.3.errors.symbol"]


@pytest.mark.parametrize("number", range(len(NVLINK_ERRORS)))
def test_every_link_error_is_told_in_the_way_of_its_generation(make: Make, fake_nvml: Path, number: int) -> None:
    """By a field for each link, by one for all of them, or by a call for each."""
    name, scoped, totals, counters = NVLINK_ERRORS[number]
    made = make("errors", 3)
    for gpu in range(3):
        made.gpu(gpu).set("nvlink.links", 2)
        for constant in (*totals, *([scoped] if scoped else [])):
            made.gpu(gpu).field(field(constant), "!NOT_SUPPORTED")
    for constant in totals:
        made.gpu(0).field(field(constant), 3)
    if scoped:
        made.gpu(1).field(field(scoped), 3)
    made.gpu(2).on("nvmlDeviceGetNvLinkErrorCounter", "value:3")
    readings = read(made, fake_nvml)

    assert 3 * len(totals) == of_gpu(readings, 0)[name]
    assert (6 if scoped else 0) == of_gpu(readings, 1)[name]
    if name != "gpu.nvlink.errors.ecc":  # the fake has as many links as it is told, so a counter gives 3 too
        assert 2 * 3 * len(counters) == of_gpu(readings, 2)[name]


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "reason"), REFUSALS.items())
def test_every_function_that_refuses_is_missing_with_its_reason(
    make: Make, fake_nvml: Path, code: str, reason: str
) -> None:
    """Never zero; and a GPU that says it is lost is never well."""
    asked = {**ASKED, **OLDER}
    assert len(asked) <= MOST_GPUS
    made = make("refusals", len(asked))
    for gpu, calls in enumerate(asked.values()):
        for function in ways(calls):
            made.gpu(gpu).on(function, code)
        refuse_stand_ins(made, gpu, calls, "NOT_SUPPORTED")
    readings = read(made, fake_nvml)

    for gpu, (function, calls) in enumerate(asked.items()):
        found = of_gpu(readings, gpu)
        for out in outs(calls):
            assert Missing(reason) == found[out.name], (function, out.name)
        assert ("lost" if code == "GPU_IS_LOST" else "ok") == found["gpu.state"], function


@pytest.mark.parametrize(("code", "reason"), REFUSALS.items())
def test_every_field_that_is_refused_is_missing_with_its_reason(
    make: Make, fake_nvml: Path, code: str, reason: str
) -> None:
    made = make("fields", 2)
    for function in {function for calls in (CALLS, FALLBACKS) for function in ways(calls)}:
        if {out.name for calls in (CALLS, FALLBACKS) for c in calls if function in ways([c]) for out in c.outs} & set(
            STAND_INS
        ):
            made.gpu(0).on(function, "NOT_SUPPORTED")
    for row in FIELDS:
        made.gpu(0).field(field(row.constant), f"!{code}")
    made.gpu(1).field(pynvml.NVML_FI_DEV_C2C_LINK_COUNT, 2)
    for link in LINKS:
        made.gpu(1).field(field(link.constant), f"!{code}")
    readings = read(made, fake_nvml)

    for row in FIELDS:
        assert Missing(reason) == of_gpu(readings, 0)[row.out.name], row.out.name
    for link in LINKS:
        assert Missing(reason) == of_gpu(readings, 1)[link.out.name], link.out.name
    state = "lost" if code == "GPU_IS_LOST" else "ok"
    assert (state, state) == (of_gpu(readings, 0)["gpu.state"], of_gpu(readings, 1)["gpu.state"])


@pytest.mark.parametrize(("code", "reason"), REFUSALS.items())
def test_every_question_of_a_mig_device_that_is_refused_is_missing_with_its_reason(
    make: Make, fake_nvml: Path, code: str, reason: str
) -> None:
    """And a GPU whose part says that it is lost is lost."""
    alone = [call for call in MIG_CALLS if not ways([call]) & ways(CALLS)]
    made = make("mig", 1)
    made.gpu(0).set("mig.mode", 1).set("mig.devices", 1)
    for function in ways(alone):
        made.gpu(0).on(function, code)
    readings = read(made, fake_nvml)
    found = {reading.name: reading.value for reading in readings if reading.entity.kind == "mig"}

    assert 2 < len(alone)
    assert {out.name: Missing(reason) for out in outs(alone)} == {out.name: found[out.name] for out in outs(alone)}
    assert ("lost" if code == "GPU_IS_LOST" else "ok") == of_gpu(readings, 0)["gpu.state"]


# ---- ends -----------------------------------------------------------------------------------------------------------


def ends() -> dict[str, tuple[str, list[Out]]]:
    """What is called on a GPU under its name in the library, and what is lost with it."""
    found = {function: (function, outs(calls)) for function, calls in {**ASKED, **OLDER}.items()}
    every_field = [row.out for row in ROWS if row.out.name not in {o.name for o in outs(CALLS)}]
    found["nvmlDeviceGetFieldValues"] = ("nvmlDeviceGetFieldValues", every_field)
    return found


def stands_in(function: str, out: Out) -> bool:
    """Whether a field, an older function or another call tells what this one did not."""
    others = {row.out.name for row in FIELDS} | {o.name for calls in OLDER.values() for o in outs(calls)}
    return out.name in others or len(ways(ASKED.get(function, ()))) > 1


def chunks(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for first in range(0, len(rows), size):
        yield rows[first : first + size]


@pytest.mark.parametrize(("behaviour", "why"), [("crash", "error:SIGSEGV"), ("hang", TIMED_OUT)])
def test_every_function_that_does_not_come_back_is_named(
    make: Make, fake_nvml: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, why: str
) -> None:
    """It costs what no other call says of its GPU and nothing else, and that GPU is never well."""
    monkeypatch.setattr(nvml, "CALL_BUDGET", 1.5)
    rows = list(ends().items())
    healthy: dict[str, Value] = {}
    parts = list(enumerate(chunks(rows, 4)))

    def walk(part: tuple[int, Sequence[tuple[str, tuple[str, list[Out]]]]]) -> list[tuple[str, list[Out], Any]]:
        number, mine = part
        made = make(f"ends-{number}", len(mine) + 1)
        for gpu, (symbol, _) in enumerate(mine):
            made.gpu(gpu).on(symbol, behaviour)
            for calls in OLDER.values():
                if symbol in ways(calls):
                    refuse_stand_ins(made, gpu, calls, "NOT_SUPPORTED")
        readings = read(made, fake_nvml, 120.0)
        assert "ok" == of_gpu(readings, len(mine))["gpu.state"]
        healthy.update(of_gpu(readings, len(mine)))
        return [(name, lost, of_gpu(readings, gpu)) for gpu, (_, (name, lost)) in enumerate(mine)]

    with ThreadPoolExecutor(len(parts)) as pool:
        walked = [row for rows in pool.map(walk, parts) for row in rows]

    assert len(rows) == len(walked)
    for name, lost, found in walked:
        for reading in (f"nvml.{name}", "gpu.state", "gpu.responsive"):
            assert Missing(why) == found[reading], (name, reading)
        for out in lost:
            otherwise = healthy.get(out.name) if stands_in(name, out) else None
            instead = Missing(NOT_SUPPORTED) if name in OLDER else otherwise
            assert found[out.name] in (Missing(why), instead), (name, out.name)
        if name != "nvmlDeviceGetHandleByIndex":
            assert 20 < sum(not isinstance(value, Missing) for value in found.values()), name


# ---- the node -------------------------------------------------------------------------------------------------------


def of_node(readings: Sequence[Reading]) -> dict[str, Value]:
    return {reading.name: reading.value for reading in readings if reading.entity == NODE}


NODE_OUTS = [*outs(NODE_CALLS), CPER]


def test_every_question_of_the_node_gives_its_value(make: Make, fake_nvml: Path) -> None:
    made = make("node", 1)
    for function in {**by_function(NODE_CALLS), CPER_CALL: []}:
        made.on(function, "value:1")
    found = of_node(read(made, fake_nvml))

    assert {out.name: meant(out, 1) for out in NODE_OUTS} == {out.name: found[out.name] for out in NODE_OUTS}


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [*REFUSALS.items(), ("crash", "error:SIGSEGV"), ("abort", "error:SIGABRT"), ("hang", TIMED_OUT)],
)
def test_no_question_of_the_node_costs_a_gpu(
    make: Make, fake_nvml: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, why: str
) -> None:
    """Each is missing with its reason, and every GPU is read."""
    monkeypatch.setattr(nvml, "CALL_BUDGET", 1.5)
    made = make("node", 2)
    for function in {*ways(NODE_CALLS), CPER_CALL}:
        made.on(function, behaviour)
    readings, _, (source,) = nvml.sweep(60.0, library_env=made.env(fake_nvml))
    found = of_node(readings)

    assert {out.name: Missing(why) for out in NODE_OUTS} == {out.name: found[out.name] for out in NODE_OUTS}
    assert ("ok", "ok") == (of_gpu(readings, 0)["gpu.state"], of_gpu(readings, 1)["gpu.state"])
    assert source.readable


# ---- numbers --------------------------------------------------------------------------------------------------------


def test_the_bits_are_those_of_the_bindings() -> None:
    """A mask is a number in our tables; what it is called stands in NVIDIA's."""
    reasons = {
        "gpu.idle": "GpuIdle",
        "gpu.slowdown.application-clocks": "ApplicationsClocksSetting",
        "gpu.slowdown.sw-power-cap": "SwPowerCap",
        "gpu.slowdown.hw": "HwSlowdown",
        "gpu.slowdown.sync-boost": "SyncBoost",
        "gpu.slowdown.sw-thermal": "SwThermalSlowdown",
        "gpu.slowdown.hw-thermal": "HwThermalSlowdown",
        "gpu.slowdown.power-brake": "HwPowerBrakeSlowdown",
        "gpu.slowdown.display-clocks": "DisplayClockSetting",
    }
    masks = {out.name: out.mask for out in outs(CALLS) if out.mask is not None and out.unit == "flag" and not out.words}
    assert {name: getattr(pynvml, f"nvmlClocksEventReason{word}") for name, word in reasons.items()} == {
        name: mask for name, mask in masks.items() if name in reasons
    }
    assert {"gpu.slowdown.board-limit", "gpu.slowdown.reliability"} == set(masks) - set(reasons)
    shifts = {
        "gpu.fabric.degraded-bandwidth": "DEGRADED_BW",
        "gpu.fabric.route-recovery": "ROUTE_RECOVERY",
        "gpu.fabric.route-unhealthy": "ROUTE_UNHEALTHY",
        "gpu.fabric.access-timeout-recovery": "ACCESS_TIMEOUT_RECOVERY",
        "gpu.fabric.fault": "INCORRECT_CONFIGURATION",
    }
    prefix = "NVML_GPU_FABRIC_HEALTH_MASK_SHIFT_"
    assert {name: getattr(pynvml, prefix + word) for name, word in shifts.items()} == {
        out.name: out.shift for out in outs(CALLS) if out.name in shifts
    }


def test_the_bindings_know_every_row() -> None:
    """Else it would be not supported for ever, and no test would say so."""
    constants = [row.constant for row in ROWS]
    constants += [str(arg) for call in (*CALLS, *FALLBACKS) for arg in call.args if isinstance(arg, str)]
    structures = [shape for call in (*CALLS, *FALLBACKS, *NODE_CALLS) for _, shape in call.ways if shape]
    functions = [f for f in ways([*CALLS, *FALLBACKS, *NODE_CALLS]) if not f.endswith("_v2")]
    assert [] == [name for name in (*constants, *structures, *functions) if not hasattr(pynvml, name)]
