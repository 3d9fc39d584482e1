"""An NVML that others wrote: fewer and older names, careless answers.

What it does not say is no zero, and no other GPU's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from probes import node, nvml
from probes.model import Entity, Missing, Reading, Value
from probes.pci import without_address

SOURCE = Path(__file__).parents[1] / "fake_nvml" / "foreign_nvml.c"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign")
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wno-stringop-truncation", "-Werror", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run(["cc", *flags, "-o", folder / "libnvidia-ml.so.1", SOURCE], check=True)
    return folder


def of(readings: list[Reading], gpu: Entity) -> dict[str, Value]:
    return {reading.name: reading.value for reading in readings if reading.entity == gpu}


def test_it_is_read_by_the_names_it_has(library: Path) -> None:
    readings, gpus, (source,) = nvml.sweep(20.0, library_env={"LD_LIBRARY_PATH": str(library)})

    assert source.readable
    assert source.reason is None
    name = "X" * 96
    assert [
        Entity("gpu", "0000:3b:00.0", "Card:A", None, 0, name),
        Entity("gpu", "10001:86:03.0", "Card:B", None, 1, name),
        Entity("gpu", None, "Card:C", None, 2, name),
    ] == [gpu._replace(name=(gpu.name or "")) for gpu in gpus]
    assert [(False, 40), (True, 41), (False, 42)] == [
        (of(readings, gpu)["gpu.rows.failure"], of(readings, gpu)["gpu.temperature"]) for gpu in gpus
    ]


def test_what_it_passes_over_is_no_zero(library: Path) -> None:
    readings, gpus, _ = nvml.sweep(20.0, library_env={"LD_LIBRARY_PATH": str(library)})
    found = of(readings, gpus[0])

    assert 55 == found["gpu.temperature.memory"]
    assert Missing("error:4711") == found["gpu.power"]
    told = {name for name, value in found.items() if not isinstance(value, Missing)}
    rows = {"gpu.rows.corrected", "gpu.rows.uncorrected", "gpu.rows.pending", "gpu.rows.failure"}
    assert {
        *("gpu.state", "gpu.responsive", "gpu.name", "gpu.temperature", "gpu.temperature.memory"),
        *rows,
    } == told


def test_a_gpu_without_an_address_keeps_its_readings_for_itself(library: Path, tmp_path: Path) -> None:
    """They are neither the node's nor those of another GPU, and the report shows it."""
    readings, _, _ = node.probe(20.0, root=tmp_path, kmsg="/nonexistent", library_env={"LD_LIBRARY_PATH": str(library)})
    nameless = {reading.entity for reading in readings if reading.entity.pci == without_address(2)}

    assert ["Card:C"] == [gpu.uuid for gpu in nameless]
    run = subprocess.run(
        [sys.executable, "-m", "triage", "check", "--format", "json", "--state-dir", tmp_path / "state"],
        env={**os.environ, "LD_LIBRARY_PATH": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert '"uuid": "Card:C"' in run.stdout
    assert without_address(2) not in run.stdout
    assert '"id": "gpu-memory"' in run.stdout  # of GPU 1
