"""One node's capture or log becomes its answer, whatever is wrong with it."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from probes.model import NODE, Missing, Reading, Source
from tests.triage.fleet.places import rulebook
from triage.assess import assess
from triage.fleet import read
from triage.fleet.model import ANSWERED, FAILED, Answer
from triage.fleet.read import read_all, read_one

FIXTURES = Path(__file__).parents[2] / "fixtures"
LOG = (
    "2026-10-01T00:00:00+00:00 gpu-0417 kernel: Linux version 6.8.0 (buildd@x) #1 SMP\n"
    "2026-10-02T00:00:00+00:00 gpu-0417 kernel: NVRM: Xid (PCI:0000:10:00): 79, GPU has fallen off the bus.\n"
)
NOW = 1_793_000_000.0


def one(path: Path) -> Answer:
    return read_one(str(path), rulebook(), now=NOW, tz_offset=0.0)


def test_a_log_says_whose_it_is_and_what_happened(tmp_path: Path) -> None:
    """The host of its lines is the node, and the time of its lines was heard."""
    path = tmp_path / "whatever.log"
    path.write_text(LOG)
    answer = one(path)

    assert ("gpu-0417", ANSWERED, "critical") == (answer.node, answer.state, answer.status)
    assert ["gpu-off-bus"] == [incident["rule"]["id"] for incident in answer.incidents]
    assert answer.heard is not None
    assert 86400.0 == answer.heard[1] - answer.heard[0]


def test_lines_without_a_host_are_of_the_node_that_the_file_is_named_after(tmp_path: Path) -> None:
    """As whoever collected them named it."""
    path = tmp_path / "gpu-0007.dmesg.txt"
    path.write_text("[  12.345678] NVRM: Xid (PCI:0000:10:00): 79, GPU has fallen off the bus.\n")

    assert "gpu-0007" == one(path).node


def test_a_capture_tells_its_parts_and_facts() -> None:
    """With what NVML said of each GPU, and when it was taken."""
    answer = one(FIXTURES / "h200-healthy-redacted.tar.gz")

    assert ANSWERED == answer.state
    assert answer.at is not None
    assert "580.159.04" == answer.facts["driver.version"]
    (gpu,) = answer.gpus
    assert gpu.facts["gpu.vbios"]
    assert gpu.numbers["gpu.temperature"] > 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.touch(), ""),
        (lambda path: path.write_bytes(b"\0\1\2" * 999), "binary data"),
        (os.mkfifo, "neither a file nor a folder"),
        (lambda path: path.symlink_to(path), "symbolic links"),
    ],
)
def test_what_cannot_be_read_is_an_answer_with_its_reason(make: object, said: str, tmp_path: Path) -> None:
    """Nothing waits, nothing raises."""
    path = tmp_path / "gpu-0009.log"
    make(path)  # type: ignore[operator]
    answer = one(path)

    assert ("gpu-0009", FAILED) == (answer.node, answer.state)
    assert said in str(answer.reason)


def test_a_mistake_of_ours_costs_one_node_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is said to be ours."""
    path = tmp_path / "gpu-0009.log"
    path.write_text(LOG)
    monkeypatch.setattr(read, "answer_of", lambda *_, **__: 1 / 0)

    assert "internal error, ZeroDivisionError" in str(one(path).reason)


def test_a_process_that_dies_is_said_and_what_came_before_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the kernel ends it when memory runs out."""
    paths = []
    for n in range(40):
        path = tmp_path / f"gpu-{n:04}.log"
        path.write_text(LOG.replace("gpu-0417", f"gpu-{n:04}"))
        paths.append(str(path))
    plain = read.read_one

    def deadly(path: str, *args: object, **more: object) -> Answer:
        if path.endswith("0039.log"):
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(read, "read_one", deadly)
    answers = list(read_all(paths, rulebook(), root=None, overlays=(), now=NOW, tz_offset=0.0, jobs=2))

    assert 40 == len(answers)
    assert FAILED == answers[-1].state
    assert "out of memory" in str(answers[-1].reason)
    assert [f"gpu-{n:04}" for n in range(40)] == [answer.node for answer in answers]


def test_a_folder_of_one_nodes_files_is_one_answer(tmp_path: Path) -> None:
    """A journal and a bug report of the same machine belong together."""
    folder = tmp_path / "gpu-0417"
    folder.mkdir()
    (folder / "kern.log").write_text(LOG)
    shutil.copy(folder / "kern.log", folder / "copy.log")

    assert ("gpu-0417", ANSWERED) == (one(folder).node, one(folder).state)


def test_what_the_kernel_was_told_is_a_fact_of_its_node_also_if_it_is_a_flag() -> None:
    """So that a fleet can tell when it changed; a flag that could not be read is none."""
    readings = [
        Reading(NODE, "kernel.parameter.nomodeset", True, "flag", NOW),
        Reading(NODE, "kernel.parameter.other", False, "flag", NOW),
        Reading(NODE, "kernel.parameter.unread", Missing("no-permission"), "flag", NOW),
        Reading(NODE, "driver.device.nvidiactl", True, "flag", NOW),
    ]
    source = Source("nvml", "nvml", True)
    found = assess(rulebook(), [], readings, [source], node="g1", now=NOW)
    told = read.answer_of(found, readings, NOW, rulebook(), now=NOW)

    assert {"kernel.parameter.nomodeset": "set", "kernel.parameter.other": "not set"} == told.facts
