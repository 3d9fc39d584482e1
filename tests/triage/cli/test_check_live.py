"""`check` as a whole, on a node whose NVML is the fake one and whose kernel log is the real one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_nvml import Scenario
from tests.kernel_ring import address
from tests.soak.kill_checks import torment

KMSG = "/dev/kmsg"
DEADLINE = 30.0


def check(env: dict[str, str], *words: str) -> tuple[int, dict[str, Any], float]:
    """Run the real command; return its exit code, report and duration."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "triage", "check", "--format", "json", "--deadline", str(DEADLINE), *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, json.loads(done.stdout), time.monotonic() - began


def incidents(report: dict[str, Any], rule: str) -> list[dict[str, Any]]:
    return [incident for incident in report["incidents"] if incident["rule"]["id"] == rule]


@pytest.mark.parametrize(("behaviour", "said"), [("hang", "timed-out"), ("crash", "error:SIGSEGV")])
def test_a_gpu_that_hangs_or_kills_the_query_is_named_and_the_others_are_reported(
    fake_nvml: Path, scenario: Callable[[int], Scenario], behaviour: str, said: str
) -> None:
    """Within the deadline, whatever the driver does."""
    nodes = scenario(4)
    nodes.gpu(2).on("nvmlDeviceGetTotalEccErrors", behaviour)

    code, report, seconds = check(nodes.env(fake_nvml))

    (incident,) = incidents(report, "nvml-unresponsive")
    assert (2, "critical", 2) == (code, report["status"], incident["where"]["gpu"]["index"])
    assert said == incident["evidence"][0]["source"]["missing"]
    assert {0, 1, 2, 3} <= {gpu["index"] for gpu in report["gpus"]}
    assert seconds < DEADLINE + 20


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        ("UNKNOWN", "nvml-unresponsive"),
        ("IRQ_ISSUE", "nvml-unresponsive"),
        ("INSUFFICIENT_POWER", "power-cables"),
        ("RESET_REQUIRED", "recovery-action"),
        ("NO_PERMISSION", None),
    ],
)
def test_a_gpu_that_cannot_be_opened_is_never_ok(
    fake_nvml: Path, scenario: Callable[[int], Scenario], error: str, rule: str | None
) -> None:
    """It is an incident where NVML says what is wrong with it, and else keeps the node from being well."""
    nodes = scenario(3)
    nodes.gpu(1).on("nvmlDeviceGetHandleByIndex_v2", error)

    _, report, _ = check(nodes.env(fake_nvml), "--no-history")

    source = next(source for source in report["sources"] if source["kind"] == "nvml")
    assert rule is None or incidents(report, rule)
    assert report["status"] != "ok"
    assert error != "NO_PERMISSION" or "GPU 1 could not be opened (no-permission)" == source["reason"]


def test_a_library_that_ends_every_query_is_never_ok(fake_nvml: Path, scenario: Callable[[int], Scenario]) -> None:
    """However it does so: each GPU of which nothing could be asked is an incident."""
    nodes = scenario(2).on("nvmlDeviceGetEccMode", "abort")

    code, report, _ = check(nodes.env(fake_nvml), "--no-history")

    assert [0, 1] == sorted(i["where"]["gpu"]["index"] for i in incidents(report, "nvml-unresponsive"))
    assert (2, "critical") == (code, report["status"])


def test_a_check_that_is_killed_loses_nothing_that_it_reported(tmp_path: Path) -> None:
    """At any moment of its life; a few times here, `make soak` does it a thousand times."""
    if shutil.which("cc") is None:
        pytest.skip("the fake NVML needs a C compiler (cc)")
    outcome = torment(tmp_path, 12, seed=3)

    assert 12 == outcome.early + outcome.late
    assert outcome.early > 0


def test_counters_alone_make_an_incident(fake_nvml: Path, scenario: Callable[[int], Scenario]) -> None:
    """A failed row remap needs no line in the log."""
    nodes = scenario(2)
    nodes.gpu(1).set("rows.failure", 1)

    code, report, _ = check(nodes.env(fake_nvml))

    (incident,) = incidents(report, "gpu-memory")
    assert (2, "hardware.gpu", 1) == (code, incident["verdict"]["leaf"], incident["where"]["gpu"]["index"])


def test_a_line_written_to_the_kernel_log_becomes_an_incident(
    fake_nvml: Path, scenario: Callable[[int], Scenario]
) -> None:
    """And is marked as injected, because the kernel did not write it itself."""
    if not os.access(KMSG, os.W_OK | os.R_OK):
        pytest.skip(f"{KMSG} cannot be written here; run the tests as root of a machine with a kernel log")
    code, gpu = 990 + os.getpid() % 9, address()
    line = f"<3>NVRM: Xid (PCI:{gpu}): {code}, pid='<unknown>', name=<unknown>, written by a test of gpu-triage\n"
    with open(KMSG, "wb", buffering=0) as log:
        log.write(line.encode())

    exit_code, report, _ = check(scenario(1).env(fake_nvml))

    found = [i for i in incidents(report, "xid-other") if i["where"]["gpu"]["pci"] == f"{gpu}.0"]
    assert len(found) == 1
    assert f"Xid {code}" in found[0]["summary"] or str(code) in found[0]["summary"]
    assert found[0]["evidence"][0]["source"]["injected"] is True
    assert exit_code in (1, 2)


def test_without_a_driver_the_status_is_unknown(tmp_path: Path) -> None:
    """Not ok, and it says what it could still read."""
    code, report, _ = check({"LD_LIBRARY_PATH": str(tmp_path), "FAKE_NVML_SCENARIO": ""})

    nvml = next(source for source in report["sources"] if source["kind"] == "nvml")
    if nvml["readable"]:
        pytest.skip("this machine has a driver of its own")
    assert "NVIDIA" in nvml["reason"]
    assert any(source["readable"] for source in report["sources"])
    assert (code, report["status"]) in ((3, "unknown"), (1, "warning"), (2, "critical"))
