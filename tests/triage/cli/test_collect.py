"""`collect`: one archive that explains itself elsewhere, written whole or not at all."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.fake_nvml import Scenario
from tests.triage.cli.conftest import ROOT, Run, environment
from triage.capture import Capture
from triage.cli.collect import _to_stdout
from triage.cli.exits import Refused

NODE = """
gpu = Entity("gpu", "0000:4e:00.0", "GPU-5b1e0c52-1234-5678-9abc-def012345678", "1650123004410", 0, "NVIDIA H100")
at = 1771977600.0
lines = ["Linux version 6.8.0", *(f"usb 1-{n}: new device" for n in range(40)),
         "NVRM: Xid (PCI:0000:4e:00): 79, pid=811, name=alice_train, GPU has fallen off the bus."]
records = [LogRecord(line, at - 600 + n, float(n), origin="/dev/kmsg", line=n, text=line)
           for n, line in enumerate(lines)]
readings = [Reading(gpu, "gpu.rows.failure", True, "flag", at), Reading(NODE, "host.name", "trinity042", "text", at)]
return readings, iter(records), [Source("kernel-log", "/dev/kmsg", True, at - 600, at, len(records), True)]
"""
NOW = "1771977600"


@pytest.fixture
def node(run_with_node: Run) -> Run:
    """Run a verb on a node with a GPU that fell off the bus."""
    return lambda *words, **more: run_with_node(NODE, *words, **more)


def without_time(report: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(report)
    del told["generated_at"], told["tool"]
    return told


def test_the_path_is_printed_and_the_file_is_the_owners_alone(node: Run, tmp_path: Path) -> None:
    done = node("collect", "-o", str(tmp_path), "--now", NOW)
    path = Path(done.stdout.strip())

    assert (0, "") == (done.returncode, done.stderr)
    assert tmp_path == path.parent
    assert re.fullmatch(r"gpu-triage-[\w.-]+-20260225T000000Z\.tar\.gz", path.name)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert [path] == list(tmp_path.iterdir())


def test_explain_says_of_the_archive_what_it_would_have_said_there(node: Run, run: Run, tmp_path: Path) -> None:
    """Twice the same, from a file and from a pipe."""
    path = tmp_path / "c.tar.gz"
    node("collect", "-o", str(path), "--now", NOW)
    first = run("explain", str(path), "--format", "json")
    piped = run("explain", "-", "--format", "json", stdin=path.read_bytes())

    rules = {incident["rule"]["id"] for incident in json.loads(first.stdout)["incidents"]}
    assert {"gpu-off-bus", "gpu-memory"} <= rules
    assert without_time(first.stdout) == without_time(piped.stdout)
    assert 0 == first.returncode


def test_nothing_is_replaced_unless_asked(node: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.tar.gz"
    path.write_text("precious")
    refused = node("collect", "-o", str(path))

    assert (2, "precious") == (refused.returncode, path.read_text())
    assert "--force" in refused.stderr
    assert 0 == node("collect", "-o", str(path), "--force").returncode
    assert tarfile.is_tarfile(path)
    assert [path] == list(tmp_path.iterdir())


def test_a_link_is_not_followed(node: Run, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("precious")
    link.symlink_to(target)

    assert 2 == node("collect", "-o", str(link)).returncode
    assert 0 == node("collect", "-o", str(link), "--force").returncode
    assert "precious" == target.read_text()


def test_what_cannot_be_written_leaves_nothing_behind(node: Run, tmp_path: Path) -> None:
    done = node("collect", "-o", str(tmp_path / "missing" / "c.tar.gz"))

    assert 4 == done.returncode
    assert "No such file or directory" in done.stderr
    if os.path.exists("/dev/full"):
        assert 2 == node("collect", "-o", "/dev/full").returncode
    assert [] == list(tmp_path.iterdir())


def test_standard_output_carries_the_archive_and_a_terminal_is_spared(node: Run, tmp_path: Path) -> None:
    script = f"import sys; sys.argv = ['x', 'collect', '-o', '-', '--now', '{NOW}']"
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\nfrom triage.cli import main\nsys.exit(main())"],
        cwd=ROOT, env=environment(), capture_output=True, timeout=120,
    )  # fmt: skip
    path = tmp_path / "c.tar.gz"
    path.write_bytes(done.stdout)

    with tarfile.open(path) as tar:
        assert "manifest.json" == tar.getnames()[0]


def test_an_archive_for_a_standard_output_that_is_closed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(Refused, match="cannot write: standard output is closed"):
        _to_stdout(cast(Capture, None))


def test_redacted_it_names_nobody_and_says_the_same(node: Run, run: Run, tmp_path: Path) -> None:
    """Not in its bytes and not in its name; made on the node or from the full archive later."""
    full, here = tmp_path / "full.tar.gz", tmp_path / "here.tar.gz"
    node("collect", "-o", str(full), "--now", NOW)
    assert 0 == node("collect", "--redact", "-o", str(here), "--now", NOW).returncode
    later = run("collect", "--redact-existing", str(full), "-o", str(tmp_path))

    verdicts = []
    for path in (full, here, Path(later.stdout.strip())):
        incidents = json.loads(run("explain", str(path), "--format", "json").stdout)["incidents"]
        verdicts.append([(i["rule"], i["verdict"], i["severity"]) for i in incidents])
        if path != full:
            with tarfile.open(path) as tar:
                held = b"".join(tar.extractfile(m).read() for m in tar if m.isreg())  # type: ignore[union-attr]
            for secret in (b"alice", b"trinity042", b"1650123004410", b"5b1e0c52", os.uname().nodename.encode() + b"."):
                assert secret not in held
            assert os.uname().nodename not in path.name.split("-")
    assert verdicts[0] == verdicts[1] == verdicts[2]
    assert verdicts[0]


def test_only_a_capture_can_be_redacted(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text("[1.0] a\n")
    done = run("collect", "--redact-existing", str(log), "-o", str(tmp_path))

    assert 2 == done.returncode
    assert "not an archive of `gpu-triage collect`" in done.stderr
    assert 2 == run("collect", "--redact-existing", str(tmp_path / "missing")).returncode


def test_a_node_without_a_driver_is_collected_and_what_is_missing_is_said(run: Run, tmp_path: Path) -> None:
    """Neither root nor NVML are needed."""
    done = run("collect", "-o", str(tmp_path), env={"LD_LIBRARY_PATH": str(tmp_path), "FAKE_NVML_SCENARIO": ""})
    explained = run("explain", done.stdout.strip(), "--format", "json")
    sources = {source["kind"]: source for source in json.loads(explained.stdout)["sources"]}

    if sources["nvml"]["readable"]:
        pytest.skip("this machine has a driver of its own")
    assert 4 == done.returncode
    assert "nvml could not be read: libnvidia-ml.so.1" in done.stderr
    assert sources["host"]["readable"]


def test_a_gpu_that_hangs_is_in_the_archive_as_one_that_hangs(
    run: Run, fake_nvml: Path, scenario: Callable[[int], Scenario], tmp_path: Path
) -> None:
    """And the archive comes within the deadline."""
    nodes = scenario(3)
    nodes.gpu(1).on("nvmlDeviceGetTotalEccErrors", "hang")
    done = run("collect", "--deadline", "8", "-o", str(tmp_path), env=nodes.env(fake_nvml))
    report = json.loads(run("explain", done.stdout.strip(), "--format", "json").stdout)

    (incident,) = [i for i in report["incidents"] if i["rule"]["id"] == "nvml-unresponsive"]
    assert 1 == incident["where"]["gpu"]["index"]
