"""NVML is read whatever the driver does, through the real bindings and a library that misbehaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pynvml
import pytest

from probes import bounded, nvml, stuck
from probes.model import NODE, Entity, Missing, Reading, Source, Value
from probes.nvml_owed import BRIEF_OWED, OWED
from tests.fake_nvml import Scenario, build
from tests.patience import promptly

T = TypeVar("T")
MakeScenario = Callable[[int], Scenario]
ROOT = Path(nvml.__file__).parent.parent


def sweep(
    scenario: Scenario, library: Path, deadline: float = 20.0, state_dir: Path | None = None
) -> tuple[list[Reading], list[Entity], Source]:
    readings, entities, sources = nvml.sweep(deadline, library_env=scenario.env(library), state_dir=state_dir)
    assert len(sources) == 1
    return readings, entities, sources[0]


def of_gpu(readings: list[Reading], index: int) -> dict[str, Value]:
    mine = [reading for reading in readings if reading.entity.kind == "gpu" and reading.entity.index == index]
    return {reading.name: reading.value for reading in mine}


def of_node(readings: list[Reading]) -> dict[str, Value]:
    return {reading.name: reading.value for reading in readings if reading.entity == NODE}


def assert_healthy(values: dict[str, Value]) -> None:
    assert values["gpu.state"] == "ok"
    assert values["gpu.responsive"] is True
    assert values["gpu.ecc.uncorrected.volatile"] == 0
    assert values["gpu.nvlink.17.active"] is True


def running_children(of: int) -> list[int]:
    """The children of a process; the one that talks to NVML is a copy of it or a program of its own."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(") ")[2].split()[1])
        except OSError:
            continue
        if parent == of:
            found.append(int(stat.parent.name))
    return found


def test_a_healthy_gpu_answers_every_question(scenario: MakeScenario, fake_nvml: Path) -> None:
    """What the driver says arrives under its name, in base units, on a GPU known by its address."""
    made = scenario(2).set("driver.version", "580.65.06").set("cuda.version", 12080)
    made.gpu(1).set("temperature", 71).set("power", 312_500).set("clock.sm", 1755).set("serial", "42")
    made.gpu(1).set("ecc.dram.uncorrected.aggregate", 3).set("rows.pending", 1).set("sram.threshold-exceeded", 1)
    made.gpu(1).set("clock.reasons", 0x40 | 0x80).set("violation.thermal", 2_500_000_000).set("recovery-action", 4)
    made.gpu(1).set("nvlink.3.crc-flit", 5).set("nvlink.4.crc-data", 6).set("nvlink.9.active", 0)
    made.gpu(1).set("processes", "4242:1048576 4243").set("mig.mode", 1).set("fabric.state", 2)
    readings, entities, source = sweep(made, fake_nvml)
    assert source.readable
    assert source.reason is None
    assert of_node(readings) == {
        "driver.version": "580.65.06",
        "nvml.version": "13.580.65.06",
        "cuda.version": "12.8",
        "gpu.count": 2,
        "confidential.devtools": "off",
        "confidential.environment": "unavailable",
        "confidential.feature": "off",
        "confidential.ready": False,
        "nvml.error-records": 0,
    }
    assert entities[1] == Entity(
        "gpu", "0000:11:00.0", "GPU-00000000-0000-4000-8000-000000000001", "42", 1, "NVIDIA H100 80GB HBM3"
    )
    assert_healthy(of_gpu(readings, 0))
    found = of_gpu(readings, 1)
    expected = {
        "gpu.temperature": 71,
        "gpu.temperature.memory": 44,
        "gpu.power": 312.5,
        "gpu.clock.sm": 1_755_000_000,
        "gpu.ecc.mode": "on",
        "gpu.ecc.dram.uncorrected.aggregate": 3,
        "gpu.rows.pending": True,
        "gpu.rows.failure": False,
        "gpu.sram.threshold-exceeded": True,
        "gpu.slowdown.hw-thermal": True,
        "gpu.slowdown.power-brake": True,
        "gpu.slowdown.sw-power-cap": False,
        "gpu.violation.thermal": 2.5,
        "gpu.recovery-action": "drain-and-reset",
        "gpu.nvlink.errors.crc": 11,
        "gpu.nvlink.errors.replay": 0,
        "gpu.nvlink.9.active": False,
        "gpu.processes": 2,
        "gpu.mig.mode": "on",
        "gpu.fabric.state": "in-progress",
        "gpu.pcie.width": 16,
        "gpu.persistence": True,
    }
    assert expected == {name: found[name] for name in expected}
    assert {name for name, _ in OWED} <= set(found)


def test_a_brief_sweep_asks_what_shows_trouble_and_owes_no_more(scenario: MakeScenario, fake_nvml: Path) -> None:
    """A question of the whole table that hangs does not hold it up."""
    made = scenario(2).on("nvmlDeviceGetVbiosVersion", "hang")
    made.gpu(1).set("rows.failure", 1)
    readings, _, (source,) = nvml.sweep(20.0, library_env=made.env(fake_nvml), brief=True)

    first, second = of_gpu(readings, 0), of_gpu(readings, 1)
    assert source.readable
    assert [name for name, _ in BRIEF_OWED] == list(first)
    assert ("ok", True, False, True) == (
        first["gpu.state"],
        first["gpu.responsive"],
        first["gpu.rows.failure"],
        second["gpu.rows.failure"],
    )
    assert [] == [name for name, value in first.items() if isinstance(value, Missing)]


@pytest.fixture
def soon_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call has hung after two seconds, so that there is time enough for all others on a machine that is busy."""
    monkeypatch.setattr(nvml, "CALL_BUDGET", 2.0)
    monkeypatch.setattr(nvml, "OPEN_BUDGET", 2.0)


@pytest.mark.usefixtures("soon_hung")
def test_a_gpu_that_hangs_for_ever_is_named_and_the_others_are_read(scenario: MakeScenario, fake_nvml: Path) -> None:
    """A hang in one call on one GPU ends within the deadline and costs only that GPU's answers."""
    made = scenario(4)
    made.gpu(2).on("nvmlDeviceGetTotalEccErrors", "hang")
    others = running_children(os.getpid())
    readings, entities, source = sweep(made, fake_nvml)
    stuck_gpu = of_gpu(readings, 2)
    assert Missing("timed-out") == stuck_gpu["nvml.nvmlDeviceGetTotalEccErrors"]
    assert Missing("timed-out") == stuck_gpu["gpu.responsive"]
    assert Missing("timed-out") == stuck_gpu["gpu.state"]
    assert 0 == stuck_gpu["gpu.ecc.uncorrected.volatile"]  # by a field, when it was asked again without that call
    assert stuck_gpu["gpu.vbios"] == "96.00.89.00.01"
    for index in (0, 1, 3):
        assert_healthy(of_gpu(readings, index))
    assert entities[2].pci == "0000:12:00.0"
    assert source.readable
    assert "0000:12:00.0" in str(source.reason)
    assert "nvmlDeviceGetTotalEccErrors" in str(source.reason)
    assert set() == {*running_children(os.getpid())} - {*others}


def test_a_gpu_that_crashes_nvml_is_named_and_the_others_are_read(scenario: MakeScenario, fake_nvml: Path) -> None:
    made = scenario(4)
    made.gpu(1).on("nvmlDeviceGetTotalEccErrors", "crash")
    readings, _, source = sweep(made, fake_nvml)
    crashed = of_gpu(readings, 1)
    assert Missing("error:SIGSEGV") == crashed["nvml.nvmlDeviceGetTotalEccErrors"]
    assert Missing("error:SIGSEGV") == crashed["gpu.responsive"]
    for index in (0, 2, 3):
        assert_healthy(of_gpu(readings, index))
    assert "GPU 1 (0000:11:00.0" in str(source.reason)
    assert "SIGSEGV" in str(source.reason)
    assert source.readable


def test_a_call_that_crashes_costs_what_no_other_call_tells(scenario: MakeScenario, fake_nvml: Path) -> None:
    """Also if it crashes on every GPU, and if another does on one of them."""
    made = scenario(3).on("nvmlDeviceGetRemappedRows_v2", "crash").on("nvmlDeviceGetTemperatureV", "abort")
    made.gpu(2).on("nvmlDeviceGetRowRemapperHistogram", "crash")
    readings, _, source = sweep(made, fake_nvml)
    crash = Missing("error:SIGSEGV")
    for index in range(3):
        found = of_gpu(readings, index)
        assert (crash, crash) == (found["nvml.nvmlDeviceGetRemappedRows_v2"], found["gpu.rows.corrected.inactive"])
        assert Missing("error:SIGABRT") == found["nvml.nvmlDeviceGetTemperatureV"]
        assert 38 == found["gpu.temperature"]  # asked the older way
        assert {crash} == {found["gpu.state"], found["gpu.responsive"]}
        assert (0, True) == (found["gpu.ecc.uncorrected.volatile"], found["gpu.nvlink.17.active"])
        assert (crash if index == 2 else 0) == found["gpu.rows.banks.none"]
    assert 7 == str(source.reason).count("crashed")


def test_a_child_that_somebody_killed_accuses_nobody(scenario: MakeScenario, fake_nvml: Path, tmp_path: Path) -> None:
    """The GPU is asked once more, and is well if it answers."""
    made = scenario(2)
    made.gpu(0).on("nvmlDeviceGetEccMode", f"block:{tmp_path / 'asked'} delay_ms:3000")
    others = set(running_children(os.getpid()))
    with ThreadPoolExecutor(1) as pool:
        swept = pool.submit(sweep, made, fake_nvml)
        assert _eventually((tmp_path / "asked").exists)
        made.clear("gpu.0.do.nvmlDeviceGetEccMode")
        for child in set(running_children(os.getpid())) - others:
            os.kill(child, signal.SIGKILL)
        readings, _, source = swept.result()
    assert_healthy(of_gpu(readings, 0))
    assert_healthy(of_gpu(readings, 1))
    assert source.readable


@pytest.mark.usefixtures("soon_hung")
def test_several_sick_gpus_are_told_apart(scenario: MakeScenario, fake_nvml: Path) -> None:
    """A hang, a crash, a lost GPU and one that cannot be opened stand side by side with a healthy one."""
    made = scenario(5)
    made.gpu(0).on("nvmlDeviceGetPowerUsage", "hang")
    made.gpu(1).on("nvmlDeviceGetFieldValues", "crash")
    made.gpu(2).lost()
    made.gpu(3).on("nvmlDeviceGetHandleByIndex_v2", "UNKNOWN")
    readings, _, source = sweep(made, fake_nvml)
    assert Missing("timed-out") == of_gpu(readings, 0)["nvml.nvmlDeviceGetPowerUsage"]
    assert Missing("error:SIGSEGV") == of_gpu(readings, 1)["nvml.nvmlDeviceGetFieldValues"]
    assert of_gpu(readings, 2)["gpu.state"] == "lost"
    assert Missing("lost") == of_gpu(readings, 2)["gpu.temperature"]
    assert Missing("error:UNKNOWN") == of_gpu(readings, 3)["gpu.state"]
    assert_healthy(of_gpu(readings, 4))
    assert not source.readable  # of GPU 3 nothing is known; the others answered or are told to be at fault


@pytest.mark.parametrize(
    ("function", "field"),
    [("nvmlDeviceGetNvLinkErrorCounter", None), (None, pynvml.NVML_FI_DEV_MEMORY_TEMP), ("nvmlDeviceGetMigMode", None)],
)
@pytest.mark.parametrize(("code", "state"), [("GPU_IS_LOST", "lost"), ("RESET_REQUIRED", "reset-required")])
def test_a_gpu_that_goes_while_it_is_asked_is_not_well(
    scenario: MakeScenario, fake_nvml: Path, function: str | None, field: int | None, code: str, state: str
) -> None:
    """However late and in whatever question it says so; what it said before stays."""
    made = scenario(2)
    if function is not None:
        made.gpu(1).on(function, code)
        for known in (pynvml.NVML_FI_DEV_NVLINK_ECC_DATA_ERROR_COUNT_TOTAL,):
            made.gpu(1).field(known, "!NOT_SUPPORTED")  # so that the links are asked one by one
    if field is not None:
        made.gpu(1).field(field, f"!{code}")
    readings, _, source = sweep(made, fake_nvml)
    assert state == of_gpu(readings, 1)["gpu.state"]
    assert "96.00.89.00.01" == of_gpu(readings, 1)["gpu.vbios"]
    assert source.readable
    assert_healthy(of_gpu(readings, 0))


@pytest.mark.usefixtures("soon_hung")
@pytest.mark.parametrize("behaviour", ["crash", "hang"])
@pytest.mark.parametrize("function", ["nvmlSystemGetConfComputeState", "nvmlSystemGetCPER_v1"])
def test_what_the_node_can_do_without_costs_no_gpu(
    scenario: MakeScenario, fake_nvml: Path, behaviour: str, function: str
) -> None:
    """A library that fails in a question about the node is not asked it again, and every GPU is read."""
    readings, _, source = sweep(scenario(2).on(function, behaviour), fake_nvml)
    why = Missing("timed-out" if behaviour == "hang" else "error:SIGSEGV")
    name = "nvml.error-records" if "CPER" in function else "confidential.feature"
    assert why == of_node(readings)[name]
    assert "580.65.06" == of_node(readings)["driver.version"]
    assert_healthy(of_gpu(readings, 0))
    assert_healthy(of_gpu(readings, 1))
    assert source.readable
    assert f"in {function}, which was left out" in str(source.reason)


@pytest.mark.parametrize("code", ["UNKNOWN", "NO_PERMISSION", "IRQ_ISSUE", "INSUFFICIENT_POWER"])
def test_a_gpu_that_cannot_be_opened_is_not_taken_for_read(scenario: MakeScenario, fake_nvml: Path, code: str) -> None:
    """Nobody may say that it is well; the others are read all the same."""
    made = scenario(2)
    made.gpu(0).on("nvmlDeviceGetHandleByIndex_v2", code)
    readings, _, source = sweep(made, fake_nvml)
    why = Missing("no-permission" if code == "NO_PERMISSION" else f"error:{code}")
    assert (why, why) == (of_gpu(readings, 0)["gpu.state"], of_gpu(readings, 0)["gpu.responsive"])
    assert not source.readable
    assert f"GPU 0 could not be opened ({why.reason})" == source.reason
    assert_healthy(of_gpu(readings, 1))


def test_mig_devices_are_entities_at_the_address_of_their_gpu(scenario: MakeScenario, fake_nvml: Path) -> None:
    """How the GPU is cut, and what each part holds, uses and suffers; what one refuses is missing there alone."""
    made = scenario(2)
    made.gpu(1).set("mig.mode", 1).set("mig.devices", 2).set("mig.0.processes", "4242:1048576 4243")
    made.gpu(1).set("mig.1.slices.gpu", 3).set("mig.1.slices.compute", 2).set("mig.1.memory.used", 7)
    made.gpu(1).set("mig.1.ecc.sram.uncorrected.volatile", 5).set("mig.0.ecc.sram.uncorrected.volatile", "unsupported")
    made.gpu(1).set("mig.1.name", "NVIDIA H100 80GB HBM3 MIG 2c.3g.40gb")
    readings, gpus, _ = sweep(made, fake_nvml)
    parts = {reading.entity for reading in readings if reading.entity.kind == "mig"}
    _, second = sorted(parts, key=lambda entity: entity.index or 0)
    assert Entity("mig", gpus[1].pci, "MIG-00000000-0000-4000-8000-000100000001", None, 1, second.name) == second
    assert "NVIDIA H100 80GB HBM3 MIG 2c.3g.40gb" == second.name
    told = {(reading.entity.index, reading.name): reading.value for reading in readings if reading.entity in parts}
    assert {
        (0, "mig.gpu-instance"): 1,
        (0, "mig.compute-instance"): 0,
        (0, "mig.slices.gpu"): 1,
        (0, "mig.slices.compute"): 1,
        (0, "mig.multiprocessors"): 16,
        (0, "mig.memory.total"): 10468982784,
        (0, "mig.memory.used"): 4194304,
        (0, "mig.ecc.sram.uncorrected.volatile"): Missing("not-supported"),
        (0, "mig.processes"): 2,
        (1, "mig.gpu-instance"): 2,
        (1, "mig.compute-instance"): 0,
        (1, "mig.slices.gpu"): 3,
        (1, "mig.slices.compute"): 2,
        (1, "mig.multiprocessors"): 16,
        (1, "mig.memory.total"): 10468982784,
        (1, "mig.memory.used"): 7,
        (1, "mig.ecc.sram.uncorrected.volatile"): 5,
        (1, "mig.processes"): 0,
    } == told
    assert 2 == of_gpu(readings, 1)["gpu.mig.devices"]
    assert 0 == of_gpu(readings, 0)["gpu.mig.devices"]


def test_a_mig_device_that_cannot_be_opened_is_named(scenario: MakeScenario, fake_nvml: Path) -> None:
    made = scenario(1)
    made.gpu(0).set("mig.mode", 1).on("nvmlDeviceGetMigDeviceHandleByIndex", "NO_PERMISSION")
    readings, _, _ = sweep(made, fake_nvml)
    states = [(r.entity.index, r.value) for r in readings if r.name == "mig.state"]
    assert [(index, Missing("no-permission")) for index in range(7)] == states


def test_a_gpu_without_a_sensor_has_no_temperature_of_it(scenario: MakeScenario, fake_nvml: Path) -> None:
    """Not zero, and not what the GPU before it said, which the bindings would keep."""
    made = scenario(2)
    made.gpu(1).set("thermal.sensors", 0)
    readings, _, _ = sweep(made, fake_nvml)
    assert 38 == of_gpu(readings, 0)["gpu.temperature.sensor"]
    assert Missing("not-supported") == of_gpu(readings, 1)["gpu.temperature.sensor"]


def test_the_deadline_holds_when_every_gpu_hangs(scenario: MakeScenario, fake_nvml: Path) -> None:
    """Those whose turn did not come are not accused of anything."""
    made = scenario(8).on("nvmlDeviceGetEccMode", "hang")
    readings, entities, source = promptly(4.5, lambda: sweep(made, fake_nvml, deadline=4.0))
    assert len(entities) == 8
    assert all(entity.pci for entity in entities)
    accused = [index for index in range(8) if "nvml.nvmlDeviceGetEccMode" in of_gpu(readings, index)]
    assert 0 < len(accused) < 8
    assert list(range(len(accused))) == accused
    assert Missing(nvml.NOT_REACHED) == of_gpu(readings, 7)["gpu.responsive"]
    assert "before GPU" in str(source.reason)
    assert not source.readable


def test_nobody_is_accused_when_there_was_no_time_to_answer(scenario: MakeScenario, fake_nvml: Path) -> None:
    """A deadline too short for a verdict on a GPU is the caller's, not the GPU's."""
    readings, _, source = sweep(scenario(2).on("nvmlDeviceGetEccMode", "hang"), fake_nvml, deadline=0.5)
    assert [] == [reading for reading in readings if reading.entity != NODE and reading.name.startswith("nvml.")]
    assert Missing("timed-out") not in [reading.value for reading in readings if reading.name == "gpu.responsive"]
    assert "did not answer" in str(source.reason)


@pytest.mark.usefixtures("soon_hung")
def test_a_hang_while_a_gpu_is_opened_leaves_it_without_a_name(scenario: MakeScenario, fake_nvml: Path) -> None:
    made = scenario(2)
    made.gpu(0).on("nvmlDeviceGetHandleByIndex_v2", "hang")
    readings, entities, _ = sweep(made, fake_nvml)
    assert Entity("gpu", index=0) == entities[0]
    assert Missing("timed-out") == of_gpu(readings, 0)["nvml.nvmlDeviceGetHandleByIndex"]
    assert_healthy(of_gpu(readings, 1))


def test_a_slow_driver_is_waited_for(scenario: MakeScenario, fake_nvml: Path) -> None:
    readings, _, source = sweep(scenario(2).on("nvmlDeviceGetEccMode", "delay_ms:400"), fake_nvml)
    assert source.reason is None
    assert_healthy(of_gpu(readings, 1))


def test_every_error_of_nvml_is_a_reason_and_never_a_zero(scenario: MakeScenario, fake_nvml: Path) -> None:
    """Each GPU refuses the same call with another code, and each reading says which."""
    names = sorted({name[11:] for name in dir(pynvml) if name.startswith("NVML_ERROR_")})
    reasons = {
        "NOT_SUPPORTED": "not-supported",
        "FUNCTION_NOT_FOUND": "not-supported",
        "NO_PERMISSION": "no-permission",
        "GPU_IS_LOST": "lost",
    }
    made = scenario(len(names))
    for index, name in enumerate(names):
        made.gpu(index).on("nvmlDeviceGetPowerUsage", name)
    readings, _, _ = sweep(made, fake_nvml)
    expected = {name: Missing(reasons.get(name, f"error:{name}")) for name in names}
    assert len(names) > 25
    assert expected == {name: of_gpu(readings, index)["gpu.power"] for index, name in enumerate(names)}
    states = {name: of_gpu(readings, index)["gpu.state"] for index, name in enumerate(names)}
    assert [name for name in names if states[name] != "ok"] == ["GPU_IS_LOST", "RESET_REQUIRED"]


def test_a_field_that_is_refused_keeps_its_reason(scenario: MakeScenario, fake_nvml: Path) -> None:
    made = scenario(1)
    made.gpu(0).field(pynvml.NVML_FI_DEV_MEMORY_TEMP, "!NO_PERMISSION")
    made.gpu(0).field(pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION, 77)
    values = of_gpu(sweep(made, fake_nvml)[0], 0)
    assert Missing("no-permission") == values["gpu.temperature.memory"]
    assert values["gpu.recovery-action"] == "unknown-77"


def test_a_field_whose_number_meant_something_else_in_an_old_driver_is_not_asked_of_it(
    scenario: MakeScenario, fake_nvml: Path
) -> None:
    made = scenario(1).set("driver.version", "550.54.15")
    made.gpu(0).field(pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN, 10**9)
    assert Missing("not-supported") == of_gpu(sweep(made, fake_nvml)[0], 0)["gpu.violation.hw-thermal"]
    made.set("driver.version", "580.65.06")
    assert of_gpu(sweep(made, fake_nvml)[0], 0)["gpu.violation.hw-thermal"] == 1.0


def test_nonsense_from_a_driver_is_missing_and_reaches_no_terminal(scenario: MakeScenario, fake_nvml: Path) -> None:
    made = scenario(2)
    for function in (
        "nvmlDeviceGetName",
        "nvmlDeviceGetUUID",
        "nvmlDeviceGetPciInfo_v3",
        "nvmlDeviceGetTemperatureV",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetTotalEccErrors",
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetCurrPcieLinkWidth",
    ):
        made.gpu(1).on(function, "garbage")
    made.gpu(1).set("vbios", "96\x1b[2J\x07")
    readings, entities, source = sweep(made, fake_nvml)
    values = of_gpu(readings, 1)
    for name in (
        "gpu.name",
        "gpu.power",
        "gpu.ecc.uncorrected.volatile",
        "gpu.temperature.memory",
        "gpu.pcie.width",
        "gpu.recovery-action",
    ):
        assert Missing("error:garbage") == values[name], name
    assert values["gpu.vbios"] == "96?[2J?"
    assert (None, None) == (entities[1].pci, entities[1].uuid)
    assert source.readable
    assert_healthy(of_gpu(readings, 0))


def test_a_nonsense_number_of_gpus_is_not_believed(scenario: MakeScenario, fake_nvml: Path) -> None:
    readings, entities, source = sweep(scenario(1).on("nvmlDeviceGetCount_v2", "garbage"), fake_nvml)
    assert not source.readable
    assert [] == entities
    assert of_node(readings)["nvml.error"] == "garbage"


def test_an_old_driver_lacks_functions(scenario: MakeScenario, tmp_path: Path) -> None:
    """What it lacks is not supported, or is asked the older way."""
    old = build(
        tmp_path / "old",
        omit=(
            "nvmlDeviceGetTemperatureV",
            "nvmlDeviceGetCurrentClocksEventReasons",
            "nvmlDeviceGetSramEccErrorStatus",
            "nvmlDeviceGetGpuFabricInfoV",
        ),
    )
    values = of_gpu(sweep(scenario(1), old)[0], 0)
    assert values["gpu.temperature"] == 38
    assert values["gpu.slowdown.hw-thermal"] is False
    assert Missing("not-supported") == values["gpu.sram.threshold-exceeded"]
    assert Missing("not-supported") == values["gpu.fabric.state"]
    assert values["gpu.state"] == "ok"


@pytest.mark.parametrize(
    ("code", "error", "remedy"),
    [
        ("LIB_RM_VERSION_MISMATCH", "version-mismatch", "reload the nvidia modules"),
        ("DRIVER_NOT_LOADED", "driver-not-loaded", "modprobe nvidia"),
        ("NO_PERMISSION", "no-permission", "run as root"),
        ("UNKNOWN", "unknown", "kernel log"),
        ("IN_USE", "in-use", "kernel log"),
    ],
)
def test_a_driver_that_refuses_is_a_source_with_a_remedy(
    scenario: MakeScenario, fake_nvml: Path, code: str, error: str, remedy: str
) -> None:
    readings, entities, source = sweep(scenario(2).on("nvmlInitWithFlags", code), fake_nvml)
    assert not source.readable
    assert remedy in str(source.reason)
    assert "\n" not in str(source.reason)
    assert [] == entities
    assert of_node(readings)["nvml.error"] == error
    assert Missing(f"error:{code}") == of_node(readings)["driver.version"]


def test_a_node_without_the_library_says_so(scenario: MakeScenario, tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_bytes(b"")  # so that none installed on this machine is found instead
    readings, _, source = sweep(scenario(1), tmp_path)
    assert not source.readable
    assert "libnvidia-ml.so.1" in str(source.reason)
    assert of_node(readings)["nvml.error"] == "library-not-found"


def test_a_library_that_lacks_what_every_driver_has_is_told_to(scenario: MakeScenario, tmp_path: Path) -> None:
    """One that is too old, or that somebody put in the way."""
    readings, _, source = sweep(scenario(1), build(tmp_path / "odd", omit=("nvmlDeviceGetCount_v2",)))
    assert not source.readable
    assert "lacks what every driver since 2018 has" in str(source.reason)
    assert of_node(readings)["nvml.error"] == "library-incomplete"


def test_a_node_without_the_bindings_says_so(
    scenario: MakeScenario, fake_nvml: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if not Path(entry, "pynvml.py").exists()])
    _, _, source = sweep(scenario(1), fake_nvml)
    assert not source.readable
    assert "nvidia-ml-py" in str(source.reason)


def test_a_hang_before_any_gpu_is_a_fact_of_the_node(scenario: MakeScenario, fake_nvml: Path) -> None:
    made = scenario(2).on("nvmlInitWithFlags", "hang")
    readings, _, source = promptly(2.0, lambda: sweep(made, fake_nvml, deadline=2.0))
    assert Missing("timed-out") == of_node(readings)["nvml.nvmlInit"]
    assert not source.readable


def test_a_node_whose_driver_lists_no_gpu_is_readable(scenario: MakeScenario, fake_nvml: Path) -> None:
    readings, entities, source = sweep(scenario(0), fake_nvml)
    assert source.readable
    assert [] == entities
    assert of_node(readings)["gpu.count"] == 0


def test_what_changes_between_sweeps_is_seen(scenario: MakeScenario, fake_nvml: Path) -> None:
    made = scenario(1)
    assert of_gpu(sweep(made, fake_nvml)[0], 0)["gpu.ecc.uncorrected.volatile"] == 0
    made.gpu(0).set("ecc.uncorrected.volatile", 7)
    assert of_gpu(sweep(made, fake_nvml)[0], 0)["gpu.ecc.uncorrected.volatile"] == 7
    made.gpu(0).lost()
    assert of_gpu(sweep(made, fake_nvml)[0], 0)["gpu.state"] == "lost"


def test_the_fake_delivers_events_to_the_real_bindings(scenario: MakeScenario, fake_nvml: Path) -> None:
    """An Xid that happens while a program waits arrives once, at who registered for it."""
    made = scenario(2)
    code = (
        "import pynvml as n, sys\n"
        "n.nvmlInit(); s = n.nvmlEventSetCreate(); h = n.nvmlDeviceGetHandleByIndex(1)\n"
        "n.nvmlDeviceRegisterEvents(h, n.nvmlEventTypeXidCriticalError, s); print('ready', flush=True)\n"
        "e = n.nvmlEventSetWait_v2(s, 60000); print(n.nvmlDeviceGetIndex(e.device), e.eventData)\n"
        "try: n.nvmlEventSetWait_v2(s, 20)\n"
        "except n.NVMLError_Timeout: print('no more')\n"
    )
    env = {**os.environ, **made.env(fake_nvml)}
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        made.event(gpu=0, data=13).event(gpu=1, data=79)
        assert program.communicate(timeout=120)[0] == "1 79\nno more\n"


def test_what_the_library_prints_stands_among_no_answers(scenario: MakeScenario, fake_nvml: Path) -> None:
    made = scenario(2).on("nvmlDeviceGetEccMode", "print:[]")
    readings, _, source = sweep(made, fake_nvml)
    assert source.reason is None
    assert_healthy(of_gpu(readings, 1))


def test_a_child_does_not_outlive_the_sweep_that_was_killed(
    scenario: MakeScenario, fake_nvml: Path, tmp_path: Path
) -> None:
    """Whoever kills the check (a time limit of a scheduler) leaves no process asking the driver."""
    made = scenario(1).on("nvmlDeviceGetEccMode", f"block:{tmp_path / 'hangs'} hang")  # makes the file, then hangs
    code = "from probes import nvml; nvml.sweep(60)"
    env = {**os.environ, **made.env(fake_nvml)}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env) as parent:
        assert _eventually((tmp_path / "hangs").exists)
        child = running_children(parent.pid)
        parent.kill()
    assert child
    assert _eventually(lambda: not any(stuck.start_of(pid) for pid in child))


def _eventually(holds: Callable[[], T], seconds: float = 60.0) -> T:
    until = time.monotonic() + seconds
    while not (answer := holds()) and time.monotonic() < until:
        time.sleep(0.02)
    return answer


# ---- children that cannot be killed -----------------------------------------------------------------------------


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_child_that_still_hangs_is_not_joined_by_another(
    scenario: MakeScenario, fake_nvml: Path, tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    """What it hangs on stays evidence, and the sweep answers at once."""
    gpu = Entity("gpu", pci="0000:4e:00.0", uuid="GPU-4e", index=3)
    stuck.note(tmp_path / "state", sleeper.pid, time.time() - 60, "nvmlDeviceGetTotalEccErrors", gpu)
    made = scenario(1).on("nvmlInitWithFlags", "hang")
    readings, entities, source = promptly(10.0, lambda: sweep(made, fake_nvml, 20, tmp_path / "state"))
    assert not source.readable
    assert str(sleeper.pid) in str(source.reason)
    assert "0000:4e:00.0" in str(source.reason)
    assert [gpu] == entities
    found = {reading.name: reading.value for reading in readings if reading.entity == gpu}
    assert Missing("timed-out") == found["gpu.responsive"]
    assert Missing("timed-out") == found["nvml.nvmlDeviceGetTotalEccErrors"]


def test_a_child_of_a_sweep_that_is_still_running_keeps_no_other_from_running(
    scenario: MakeScenario, fake_nvml: Path, tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    stuck.note(tmp_path / "state", sleeper.pid, time.time() + 60)
    assert sweep(scenario(1), fake_nvml, state_dir=tmp_path / "state")[2].readable


def test_a_process_that_took_over_the_number_is_not_taken_for_the_child(
    scenario: MakeScenario, fake_nvml: Path, tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    state = tmp_path / "state"
    stuck.note(state, sleeper.pid, time.time() - 60)
    (path,) = state.iterdir()
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "start": record["start"] - 1}))
    assert sweep(scenario(1), fake_nvml, state_dir=state)[2].readable
    assert [] == list(state.iterdir())


@pytest.mark.parametrize("torn", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff\xfe"])
def test_a_torn_note_is_thrown_away(scenario: MakeScenario, fake_nvml: Path, tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "nvml-7.json").write_bytes(torn)
    assert sweep(scenario(1), fake_nvml, state_dir=tmp_path)[2].readable
    assert [] == list(tmp_path.glob("nvml-*"))


def test_a_state_directory_that_cannot_be_made_is_said_and_stops_nothing(
    scenario: MakeScenario, fake_nvml: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    _, entities, source = sweep(scenario(1), fake_nvml, state_dir=tmp_path / "file" / "state")
    assert source.readable
    assert len(entities) == 1
    assert "could not be noted" in str(source.reason)


@pytest.fixture
def frozen(tmp_path: Path) -> Iterator[Path]:
    """A frozen file system: whoever writes to it sleeps uninterruptibly, as behind a stuck driver."""
    needed = [tool for tool in ("mkfs.ext4", "mount", "umount", "fsfreeze") if bounded.find_program(tool) is None]
    if needed or os.geteuid() != 0:
        pytest.skip(f"an unkillable process needs root and {', '.join(needed) or 'the right to mount'}")
    image, mount = tmp_path / "image", tmp_path / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(8 << 20)
    try:
        subprocess.run([str(bounded.find_program("mkfs.ext4")), "-q", image], check=True)
        subprocess.run([str(bounded.find_program("mount")), "-o", "loop", image, mount], check=True)
    except subprocess.CalledProcessError as failure:
        pytest.skip(f"an unkillable process needs a loop mount, which failed here: {failure}")
    freeze, unmount = str(bounded.find_program("fsfreeze")), str(bounded.find_program("umount"))
    subprocess.run([freeze, "-f", mount], check=True)
    try:
        yield mount
    finally:
        subprocess.run([freeze, "-u", mount], check=True)
        until = time.monotonic() + 60
        while bounded.left_behind() and time.monotonic() < until:
            time.sleep(0.02)
        subprocess.run([unmount, mount], check=True)


def test_a_child_that_cannot_be_killed_is_left_behind_and_remembered(
    scenario: MakeScenario, fake_nvml: Path, tmp_path: Path, frozen: Path
) -> None:
    """The kernel does not let it die; the sweep ends all the same, and the next one starts no second one."""
    made, state = scenario(3), tmp_path / "state"
    made.gpu(1).on("nvmlDeviceGetTotalEccErrors", f"block:{frozen / 'x'}")
    readings, entities, source = sweep(made, fake_nvml, 4.0, state)
    assert Missing("timed-out") == of_gpu(readings, 1)["nvml.nvmlDeviceGetTotalEccErrors"]
    assert_healthy(of_gpu(readings, 0))
    assert_healthy(of_gpu(readings, 2))
    assert "cannot be killed" in str(source.reason)
    (left,) = bounded.left_behind()
    assert Path(f"/proc/{left}/stat").read_text().rpartition(") ")[2][0] == "D"
    (known,) = stuck.still_stuck(state, time.time() + 1)
    assert (left, "nvmlDeviceGetTotalEccErrors", entities[1]) == (known.pid, known.call, known.gpu)
    again, _, refused = sweep(made, fake_nvml, 3.0, state)
    assert not refused.readable
    assert [left] == bounded.left_behind()
    assert Missing("timed-out") in [reading.value for reading in again if reading.entity == entities[1]]


def test_a_real_driver_answers_where_there_is_one() -> None:
    """The same sweep without any fake: every GPU is named, and owes nothing."""
    if not Path("/dev/nvidiactl").exists():
        pytest.skip("no NVIDIA driver is loaded here (/dev/nvidiactl)")
    readings, entities, (source,) = nvml.sweep(60.0)
    assert source.readable
    assert entities
    for entity in entities:
        assert entity.pci is not None
        assert str(entity.uuid).startswith("GPU-")
        values = of_gpu(readings, entity.index or 0)
        assert {name for name, _ in OWED} <= set(values)
        assert values["gpu.state"] == "ok"
        assert isinstance(values["gpu.temperature"], int)


def test_a_child_that_cannot_be_started_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    _, entities, (source,) = nvml.sweep(5.0, library_env={})
    assert [] == entities
    assert not source.readable
    assert "No such file" in str(source.reason)


# ---- where it must run ----------------------------------------------------------------------------------------------


def test_it_runs_from_an_archive(scenario: MakeScenario, fake_nvml: Path, tmp_path: Path) -> None:
    """The probes and the bindings in one zip file are all that a node needs."""
    archive = _pack(tmp_path)
    assert_gpus_seen_by(Path(sys.executable), archive, scenario(2), fake_nvml)


def test_it_runs_on_python_3_9(scenario: MakeScenario, fake_nvml: Path, tmp_path: Path) -> None:
    installed = [*Path("~/.pyenv/versions").expanduser().glob("3.9.*/bin/python"), shutil.which("python3.9")]
    python = next((path for path in installed if path is not None), None)
    if python is None:
        pytest.skip("no Python 3.9 is installed here")
    assert_gpus_seen_by(Path(python), _pack(tmp_path), scenario(2), fake_nvml)


def _pack(directory: Path) -> Path:
    archive = directory / "probes.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for path in (ROOT / "probes").glob("*.py"):
            bundle.write(path, f"probes/{path.name}")
        bundle.write(pynvml.__file__, "pynvml.py")
    return archive


def assert_gpus_seen_by(python: Path, archive: Path, made: Scenario, library: Path) -> None:
    made.gpu(1).on("nvmlDeviceGetTotalEccErrors", "crash")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from probes import node\n"
        "readings, records, sources = node.probe(20, kmsg='/nonexistent')\n"
        "print(*[f'{r.entity.pci} {r.value}' for r in readings if r.name == 'gpu.state'], sep='\\n')\n"
    )
    run = subprocess.run(
        [python, "-I", "-S", "-B", "-c", code, archive],
        env={**os.environ, **made.env(library)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.stderr == ""
    assert run.stdout == "0000:10:00.0 ok\n0000:11:00.0 Missing(reason='error:SIGSEGV')\n"


@pytest.mark.parametrize("module", sorted(path.stem for path in (ROOT / "probes").glob("*.py")))
def test_probes_load_nothing_but_the_standard_library(module: str) -> None:
    """Neither the bindings nor psutil before they are needed, and of the standard library nothing slow."""
    code = f"import sys; import probes.{module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    bare = subprocess.run([sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True)
    loaded -= {name.partition(".")[0] for name in bare.stdout.split()}  # what this interpreter's site loads
    assert set() == loaded - set(sys.stdlib_module_names) - {"probes"}
    assert set() == loaded & {"asyncio", "dataclasses", "inspect", "logging", "ctypes", "argparse"}


def test_what_a_child_and_its_parent_both_need_is_loaded_before_they_part() -> None:
    """Else each loads it on its own, which both pay for."""

    def loaded(what: str) -> set[str]:
        code = f"import sys, probes.nvml; before = set(sys.modules); {what}; print(*set(sys.modules) - before)"
        run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        return set(run.stdout.split())

    child = loaded("from probes import nvml_child; nvml_child._bindings()")
    parent = loaded("import probes.node, probes.records_journal")
    assert "pynvml" in child
    assert "probes.host" in parent
    assert set() == child & parent
