"""Results of DCGM's diagnostic in the forms that its versions 2, 3 and 4 print (dcgmi/Diag.cpp of each)."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from probes import dcgm, dcgm_diag
from probes.around import begin
from probes.dcgm_diag import Finding
from probes.model import NODE, Entity
from tests.probes.test_dcgm import DISCOVERY, health, tool

PLACES = {0: "0000:4e:00.0", 1: "0000:9d:00.0"}
FAULTY = "Found 3 faulty memory elements on GPU 1"


def warning(code: int, text: str) -> dict[str, Any]:
    return {"error_category": 10, "error_id": code, "error_severity": 2, "warning": text}


def of_gpu(number: int, status: str, *warnings: dict[str, Any]) -> dict[str, Any]:
    result = {"entity_group": "GPU", "entity_group_id": 1, "entity_id": number, "status": status}
    return {**result, "warnings": list(warnings)} if warnings else result


def ran(name: str, *results: dict[str, Any], summary: Any = None) -> dict[str, Any]:
    return {"name": name, "results": list(results), "test_summary": summary or {"status": "Pass"}}


FOUR = {
    "DCGM Diagnostic": {
        "test_categories": [
            {"category": "Deployment", "tests": [ran("software", of_gpu(0, "Pass"), of_gpu(1, "Pass"))]},
            {
                "category": "Hardware",
                "tests": [
                    ran(
                        "memory",
                        {**of_gpu(0, "Pass"), "info": ["GPU 0 Allocated 84825604096 bytes"]},
                        of_gpu(1, "Fail", warning(52, FAULTY)),
                        summary={"status": "Fail", "warnings": [warning(52, FAULTY)]},
                    )
                ],
            },
            {"category": "Stress", "tests": [ran("targeted_stress", of_gpu(0, "Skip"), of_gpu(1, "Skip"))]},
        ]
    },
    "entity_groups": [
        {
            "entity_group": "GPU",
            "entity_group_id": 1,
            "entities": [
                {"device_id": "2330", "entity_id": 0, "serial_num": "1650000000001"},
                {"device_id": "2330", "entity_id": 1, "serial_num": "1650000000002"},
            ],
        }
    ],
    "metadata": {"Driver Version Detected": "570.148.08", "version": "4.2.3"},
}
THREE = {
    "DCGM GPU Diagnostic": {
        "test_categories": [
            {
                "category": "Deployment",
                "tests": [
                    None,
                    {
                        "name": "Persistence Mode",
                        "results": [
                            {
                                "gpu_id": 1,
                                "status": "Fail",
                                # what DCGM 3 prints of its first tests has `warnings` for `warning`
                                "warnings": [None, {"error_id": 29, "warnings": "Persistence mode is disabled."}],
                            }
                        ],
                    },
                ],
            },
            {
                "category": "Integration",
                "tests": [
                    {
                        "name": "PCIe",
                        "results": [
                            {"gpu_id": "0", "status": "Pass", "info": "GPU to Host bandwidth: 13.6 GB/s"},
                            {"gpu_id": "1", "status": "Fail", "warnings": [warning(46, "width 8X")]},
                        ],
                    }
                ],
            },
        ],
        "version": "3.3.5",
    }
}
TWO = {
    "DCGM GPU Diagnostic": {
        "test_categories": [
            {
                "category": "Hardware",
                "tests": [
                    {"name": "GPU Memory", "results": [{"gpu_ids": "1", "status": "Fail", "warnings": FAULTY}]},
                    {"name": "Denylist", "results": [{"status": "Pass"}]},
                    {"name": "NVML Library", "results": [{"gpu_ids": "0,1", "status": "PASS"}]},
                ],
            }
        ]
    }
}


def parsed(told: Any) -> dcgm_diag.Result:
    result = dcgm_diag.parse("Successfully ran diagnostic for group.\n" + json.dumps(told))
    assert result is not None
    return result


def test_dcgm_4_says_what_failed_on_which_gpu_once() -> None:
    """Its summary of a test repeats what it said of each GPU."""
    result = parsed(FOUR)
    failed = [finding for finding in result.findings if finding.status == "fail"]

    assert [Finding("memory", "fail", "gpu", 1, ((52, FAULTY),))] == failed
    assert ("4.2.3", {0: "1650000000001", 1: "1650000000002"}) == (result.version, result.serials)


def test_what_dcgm_4_says_of_no_entity_stands_in_its_summary() -> None:
    told = {"DCGM Diagnostic": {"test_categories": [{"tests": [
        ran("software", summary={"status": "Fail", "warnings": [warning(23, "nouveau")]})]}]}}  # fmt: skip

    assert (Finding("software", "fail", "", 0, ((23, "nouveau"),)),) == parsed(told).findings


def test_dcgm_3_and_2_are_understood() -> None:
    three, two = parsed(THREE), parsed(TWO)

    assert ["29", "46"] == [str(code) for f in three.findings for code, _ in f.errors]
    assert ["Persistence mode is disabled.", "width 8X"] == [text for f in three.findings for _, text in f.errors]
    assert Finding("GPU Memory", "fail", "gpu", 1, ((None, FAULTY),)) == two.findings[0]
    assert [("", 0), ("gpu", 0), ("gpu", 1)] == [(f.group, f.number) for f in two.findings[1:]]


def test_of_repeated_runs_the_last_counts() -> None:
    assert parsed(THREE).findings == parsed({"iterations": [FOUR, THREE]}).findings


def test_a_finding_is_a_record_of_its_gpu_and_every_test_a_reading() -> None:
    result = parsed(FOUR)
    records = dcgm_diag.records(result, 7.0, PLACES)
    told = {(r.entity, r.name): r.value for r in dcgm_diag.readings(result, 7.0, PLACES)}

    assert [f"dcgm diag: gpu 0000:9d:00.0 | memory | fail | 52 | {FAULTY}"] == [record.message for record in records]
    assert [("dcgm", False, 7.0)] == [(record.identifier, record.kernel, record.at) for record in records]
    assert {
        "dcgm.diag": "fail", "dcgm.diag.software": "pass", "dcgm.diag.memory": "fail",
        "dcgm.diag.targeted-stress": "skip",
    } == {name: value for (entity, name), value in told.items() if entity == Entity("gpu", pci=PLACES[1])}  # fmt: skip


def test_a_gpu_without_an_address_keeps_its_number() -> None:
    result = parsed(FOUR)

    assert dcgm_diag.records(result, 7.0, {})[0].message.startswith("dcgm diag: gpu #1 | memory | fail | 52 |")
    assert "dcgm.diag.gpu-1" in {reading.name for reading in dcgm_diag.readings(result, 7.0, {})}


def test_a_failure_without_a_word_is_a_failure() -> None:
    told = {"DCGM Diagnostic": {"test_categories": [{"tests": [ran("memory", of_gpu(0, "Fail"))]}]}}

    assert ["it failed without saying why"] == [text for f in parsed(told).findings for _, text in f.errors]


@pytest.mark.parametrize(
    "said",
    [
        "", "{", "[]", "{}", '{"DCGM Diagnostic": 7}', '{"a":' * 100_000, "Error: Unable to connect\n",
        json.dumps(health("Healthy")),
    ],
)  # fmt: skip
def test_what_is_no_result_is_none(said: str) -> None:
    assert dcgm_diag.parse(said) is None


@pytest.mark.parametrize(
    "category",
    [
        7, None, {"tests": 7}, {"tests": [7, None]}, {"tests": [{"name": 7, "results": [None]}]},
        {"tests": [{"name": "x", "results": [{"status": "Maybe"}]}]},
        {"tests": [{"name": "x", "results": [{"status": "Fail", "gpu_ids": {}, "warnings": {"error_id": True}}]}]},
        {"tests": [{"name": "x|\x1b[31m", "results": [{"status": "Fail", "gpu_id": "-1", "warnings": ["\0|\n"]}]}]},
        {"tests": [{"name": "x", "results": [{"status": "Fail", "entity_group": 1, "entity_id": 1 << 80}]}]},
    ],
)  # fmt: skip
def test_nonsense_within_a_result_breaks_nothing(category: Any) -> None:
    result = parsed({"DCGM Diagnostic": {"test_categories": [category]}})
    records = dcgm_diag.records(result, 0.0, PLACES)

    assert all(record.message.isprintable() and record.message.count(" | ") == 4 for record in records)


def write(root: Path, told: Any, age: float = 0.0) -> Path:
    path = root / "var/lib/gpu-triage/dcgm-diag.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told))
    path.chmod(0o644)
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_a_result_that_was_kept_is_read_with_its_time_and_the_addresses_of_dcgm(tmp_path: Path) -> None:
    (tmp_path / "proc/77").mkdir(parents=True)
    (tmp_path / "proc/77/comm").write_text("nv-hostengine\n")
    write(tmp_path, FOUR, age=3600)
    told = dcgm.probe(time.monotonic() + 10, tmp_path, tool(tmp_path, health("Healthy"), DISCOVERY))
    assert told is not None
    record = told.records[0]

    assert record.message.startswith("dcgm diag: gpu 0000:9d:00.0 | memory | fail | 52")
    assert record.at is not None
    assert 3590 < time.time() - record.at < 3700
    assert [("dcgm", True), ("dcgm-diag", True)] == [(source.kind, source.readable) for source in told.sources]
    assert "diag" not in (tmp_path / "asked").read_text()


def test_a_result_is_read_where_dcgm_itself_is_gone(tmp_path: Path) -> None:
    write(tmp_path, FOUR)
    readings, records, sources = begin(time.monotonic() + 10, tmp_path).result(time.monotonic() + 10)

    assert 1 == len(records)
    assert "which GPU each number means" in str(sources[0].reason)
    assert (NODE, "dcgm.diag.gpu-1.memory", "fail") in {(r.entity, r.name, r.value) for r in readings}


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.chmod(0o666), "others than root may write it"),
        (lambda path: path.write_text("no"), "not what dcgmi diag --json prints"),
        (lambda path: path.write_text('{"DCGM Diagnostic": {"runtime_error": "nvvs died"}}'), "nvvs died"),
        (lambda path: path.write_bytes(b" " * (5 << 20)), "larger than 4 MiB"),
        (lambda path: os.utime(path, (1e9, 1e9)), "days old"),
        (lambda path: (path.unlink(), path.mkdir()), "s a directory"),
        (pipe, "it is not a file"),
    ],
)
def test_a_result_that_cannot_be_trusted_is_left_out_and_said(tmp_path: Path, spoil: Any, why: str) -> None:
    path = write(tmp_path, FOUR)
    spoil(path)
    readings, records, source = dcgm_diag.probe(path, PLACES)

    assert ([], [], False) == (readings, records, source.readable)
    assert why in str(source.reason)
