"""All sources of a node under one deadline, each GPU under one entity."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from probes import node, nvml
from probes.model import NODE, Entity, Missing, Reading, Value
from tests.fake_nvml import Scenario
from tests.patience import promptly
from tests.probes.test_host import GPU, bind, pci, write

MakeScenario = Callable[[int], Scenario]
XID_79 = "NVRM: Xid (PCI:0000:11:00): 79, pid=1, name=x, GPU has fallen off the bus."


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host with three GPUs bound to the driver, at the addresses the fake NVML gives its GPUs."""
    folder = tmp_path / "root"
    write(folder, "proc/sys/kernel/hostname", "node042\n")
    write(folder, "sys/module/nvidia/version", "580.65.06\n")
    for number in range(3):
        pci(folder, f"0000:1{number}:00.0", kind=GPU)
        bind(folder, f"0000:1{number}:00.0", "nvidia")
        write(folder, f"dev/nvidia{number}", "")
    write(folder, "dev/kmsg", f"5,0,0,-;Linux version 6.1\n3,1,9000000,-;{XID_79}\n")
    return folder


def probe(
    made: Scenario, library: Path, root: Path, deadline: float = 20.0
) -> tuple[list[Reading], list[str], dict[str, bool]]:
    readings, records, sources = node.probe(
        deadline, root=root, kmsg=str(root / "dev/kmsg"), library_env=made.env(library)
    )
    return readings, [record.message for record in records], {source.kind: source.readable for source in sources}


def values(readings: list[Reading], entity: Entity) -> dict[str, Value]:
    return {reading.name: reading.value for reading in readings if reading.entity == entity}


def test_all_sources_are_read_and_a_gpu_is_one_entity(scenario: MakeScenario, fake_nvml: Path, root: Path) -> None:
    readings, messages, readable = probe(scenario(3), fake_nvml, root)
    assert {"kernel-log": True, "nvml": True, "host": True, "jobs": True} == readable
    assert ["Linux version 6.1", XID_79] == messages
    gpus = {reading.entity for reading in readings if reading.entity.kind == "gpu"}
    assert {"0000:10:00.0", "0000:11:00.0", "0000:12:00.0"} == {gpu.pci for gpu in gpus}
    assert len(gpus) == 3
    for gpu in gpus:
        found = values(readings, gpu)
        assert ("ok", "nvidia", True) == (found["gpu.state"], found["pci.driver"], found["gpu.listed"])
    assert values(readings, NODE)["host.name"] == "node042"


def test_a_gpu_on_the_bus_that_nvml_does_not_list_is_noticed(
    scenario: MakeScenario, fake_nvml: Path, root: Path
) -> None:
    readings, _, _ = probe(scenario(2), fake_nvml, root)
    missing = values(readings, Entity("gpu", pci="0000:12:00.0"))
    assert missing["gpu.listed"] is False
    assert missing["pci.driver"] == "nvidia"
    assert "gpu.state" not in missing


def test_a_gpu_that_a_container_may_not_see_is_not_called_missing(
    scenario: MakeScenario, fake_nvml: Path, root: Path
) -> None:
    (root / "dev/nvidia2").unlink()
    readings, _, _ = probe(scenario(2), fake_nvml, root)
    assert Missing("no-permission") == values(readings, Entity("gpu", pci="0000:12:00.0"))["gpu.listed"]


def test_the_one_gpu_that_cannot_be_opened_is_the_one_that_is_not_named(
    scenario: MakeScenario, fake_nvml: Path, root: Path
) -> None:
    """NVML gives no address of a GPU it cannot open; the bus shows which it must be."""
    made = scenario(3)
    made.gpu(1).lost()
    readings, _, _ = probe(made, fake_nvml, root)
    lost = values(readings, Entity("gpu", pci="0000:11:00.0", index=1))
    assert lost["gpu.state"] == "lost"
    assert lost["pci.driver"] == "nvidia"


def test_two_gpus_that_cannot_be_opened_are_not_guessed(scenario: MakeScenario, fake_nvml: Path, root: Path) -> None:
    """Each has a place of its own, for what one says is neither the other's nor the node's."""
    made = scenario(3)
    made.gpu(0).lost()
    made.gpu(1).on("nvmlDeviceGetHandleByIndex_v2", "UNKNOWN")
    readings, _, _ = probe(made, fake_nvml, root)
    first, second = (Entity("gpu", pci=f"#{index} of unknown address", index=index) for index in (0, 1))
    assert values(readings, first)["gpu.state"] == "lost"
    assert values(readings, second)["gpu.state"] == Missing("error:UNKNOWN")
    assert values(readings, Entity("gpu", pci="0000:10:00.0"))["gpu.listed"] is False


def test_without_nvml_the_loaded_module_is_the_driver(scenario: MakeScenario, fake_nvml: Path, root: Path) -> None:
    made = scenario(3).on("nvmlInitWithFlags", "LIB_RM_VERSION_MISMATCH")
    readings, messages, readable = probe(made, fake_nvml, root)
    assert {"kernel-log": True, "nvml": False, "host": True, "jobs": True} == readable
    assert values(readings, NODE)["driver.version"] == "580.65.06"
    assert values(readings, NODE)["nvml.error"] == "version-mismatch"
    assert not [reading for reading in readings if reading.name == "gpu.listed"]  # unknown, not false
    assert XID_79 in messages


def test_a_driver_that_hangs_keeps_nothing_else_from_being_read(
    scenario: MakeScenario, fake_nvml: Path, root: Path
) -> None:
    made = scenario(3).on("nvmlInitWithFlags", "hang")
    readings, messages, readable = promptly(2.5, lambda: probe(made, fake_nvml, root, 2.0))
    assert {"kernel-log": True, "nvml": False, "host": True, "jobs": True} == readable
    assert Missing("timed-out") == values(readings, NODE)["nvml.nvmlInit"]
    assert XID_79 in messages


def test_a_probe_that_is_broken_is_a_source_that_says_so(
    scenario: MakeScenario, fake_nvml: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(nvml, "sweep", broken)
    _, _, sources = node.probe(5, root=root, kmsg=str(root / "dev/kmsg"))
    (source,) = [source for source in sources if source.kind == "nvml"]
    assert (False, "the NVML probe failed: RuntimeError: out of order") == (source.readable, source.reason)
