"""DCGM's answers, in the form that dcgmi/Health.cpp and DcgmiOutput.cpp write, told by a program in dcgmi's place.

DCGM itself is in no public package index and needs a GPU, so its own daemon cannot be asked here.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from probes import dcgm
from probes.model import NODE, Entity, Missing, Source, Value

DISCOVERY = """\
2 GPUs found.
+--------+----------------------------------------------------------------------+
| GPU ID | Device Information                                                   |
+--------+----------------------------------------------------------------------+
| 0      | Name: NVIDIA H100 80GB HBM3                                          |
|        | PCI Bus ID: 00000000:4E:00.0                                         |
|        | Device UUID: GPU-11111111-2222-3333-4444-555555555555                |
+--------+----------------------------------------------------------------------+
| 1      | Name: NVIDIA H100 80GB HBM3                                          |
|        | PCI Bus ID: 00000000:9D:00.0                                         |
|        | Device UUID: GPU-11111111-2222-3333-4444-666666666666                |
+--------+----------------------------------------------------------------------+
"""
ERROR = "Detected 1 uncorrectable volatile ECC errors in GPU 1's memory."


def health(overall: str, gpus: dict[str, Any] | None = None) -> str:
    body: dict[str, Any] = {"Overall Health": {"value": overall}}
    if gpus is not None:
        body["GPU"] = {"children": gpus}
    return json.dumps({"body": body, "header": ["Health Monitor Report"]}, indent=3)


def failed(system: str = "Memory system", word: str = "Failure", error: str = ERROR) -> dict[str, Any]:
    lines = [error[:40], error[40:]]
    return {"value": word, "children": {"Errors": {"children": {system: {"value": word, "overflow": lines}}}}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc/77").mkdir(parents=True)
    (tmp_path / "proc/77/comm").write_text("nv-hostengine\n")
    return tmp_path


def tool(root: Path, said: str, discovery: str = DISCOVERY, then: str = "exit 0") -> list[str]:
    """A program in dcgmi's place; it notes how it was called."""
    (root / "health").write_text(said)
    (root / "discovery").write_text(discovery)
    path = root / "dcgmi"
    path.write_text(f'#!/bin/sh\necho "$@" >> {root}/asked\ncat {root}/"$1"\n{then}\n')
    path.chmod(0o755)
    return [str(path)]


def read(root: Path, ask: list[str], seconds: float = 10.0) -> tuple[dict[tuple[Entity, str], Value], Source]:
    told = dcgm.probe(time.monotonic() + seconds, root, ask)
    assert told is not None
    return {(reading.entity, reading.name): reading.value for reading in told.readings}, told.sources[0]


def test_a_failure_is_of_the_gpu_that_dcgm_numbers(root: Path) -> None:
    found, source = read(root, tool(root, health("Failure", {"1": failed()})))
    gpu = Entity("gpu", pci="0000:9d:00.0")

    assert {
        (NODE, "dcgm.health"): "failure",
        (gpu, "dcgm.health"): "failure",
        (gpu, "dcgm.memory.health"): "failure",
        (gpu, "dcgm.memory.error"): f"{ERROR[:40]} {ERROR[40:].strip()}",
    } == found
    assert source.readable
    assert source.reason is None


def test_a_healthy_node_is_one_word_and_one_call(root: Path) -> None:
    found, _ = read(root, tool(root, health("Healthy")))

    assert {(NODE, "dcgm.health"): "healthy"} == found
    assert "health -c -j\n" == (root / "asked").read_text()


def test_nothing_but_reading_is_asked_of_dcgm(root: Path) -> None:
    read(root, tool(root, health("Warning", {"0": failed(word="Warning")})))

    assert "health -c -j\ndiscovery -l\n" == (root / "asked").read_text()


def test_a_gpu_whose_address_is_not_told_is_still_told(root: Path) -> None:
    found, source = read(root, tool(root, health("Failure", {"1": failed()}), "nonsense"))

    assert "failure" == found[NODE, "dcgm.gpu-1.health"]
    assert source.reason is not None
    assert "which GPU" in source.reason


@pytest.mark.parametrize(
    ("said", "then", "why"),
    [
        ("Error: Health watches not enabled. Please enable watches. \n", "exit 255", "it watches nothing"),
        ("Error: unable to establish a connection to the specified host: localhost\n", "exit 1", "unable to establish"),
        ("", "exit 0", "not understood"),
        ("{", "exit 0", "not understood"),
        ('{"body": {"Overall Health": 7}}', "exit 0", "not understood"),
        ('{"body": []}', "exit 0", "not understood"),
        ("[" * 100_000, "exit 0", "not understood"),
        ('{"a":' * 100_000, "exit 0", "not understood"),
    ],
)
def test_a_dcgm_that_cannot_tell_is_unknown_with_a_reason(root: Path, said: str, then: str, why: str) -> None:
    found, source = read(root, tool(root, said, then=then))

    assert {True} == {isinstance(value, Missing) for value in found.values()}
    assert not source.readable
    assert why in str(source.reason)


def test_a_dcgm_that_hangs_is_left_in_time(root: Path) -> None:
    began = time.monotonic()
    _, source = read(root, tool(root, "", then="sleep 60"), 0.5)

    assert time.monotonic() - began < 30
    assert "it did not finish in time" == source.reason


def test_where_its_daemon_does_not_run_dcgm_is_not_asked(root: Path) -> None:
    ask = tool(root, health("Healthy"))
    (root / "proc/77/comm").write_text("bash\n")

    assert dcgm.probe(time.monotonic() + 1, root, ask) is None
    assert not (root / "asked").exists()
