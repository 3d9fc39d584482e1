"""What is read beside the driver reaches the report, a capture, and the report that is made of that elsewhere."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from probes import node
from probes.model import LogRecord, Reading, Source
from tests.probes.redfish_bmc import PASSWORD, USER, Bmc, entry, pages, running
from tests.probes.test_dcgm_diag import FOUR
from tests.probes.test_dcgm_diag import write as keep_result
from tests.probes.test_infiniband import card
from tests.probes.test_jobs import SLURM, process
from triage.assess import assess
from triage.capture import Capture, read, write
from triage.found import Found
from triage.redact import redact
from triage.render.layout import Look
from triage.render.text import render
from triage.report import to_report
from triage.rulebook.load import load
from triage.streams import blocks

SEL = """\
#!/bin/sh
[ "$2" = time ] && exec date -u '+%m/%d/%Y %H:%M:%S'
printf '   1 | %s | Power Supply #0x02 | Failure detected | Asserted\\n' "$(date -u '+%m/%d/%Y | %H:%M:%S')"
"""
DCGM = """\
#!/bin/sh
[ "$1" = discovery ] && exec printf '| 0      | Name: X |\\n|   | PCI Bus ID: 00000000:19:00.0 |\\n'
echo '{"body": {"Overall Health": {"value": "Failure"}, "GPU": {"children": {"0": {"value": "Failure",
 "children": {"Errors": {"children": {"Memory system": {"value": "Failure", "overflow": ["1 DBE"]}}}}}}}}}'
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A node whose job holds a GPU while a port is lost, a power supply fails and DCGM complains."""
    root = tmp_path / "root"
    for folder in ("sys/module/nvidia", "dev", "usr/bin", "proc/77"):
        (root / folder).mkdir(parents=True)
    (root / "sys/module/nvidia/refcnt").write_text("3\n")
    (root / "dev/ipmi0").touch()
    (root / "proc/77/comm").write_text("nv-hostengine\n")
    for name, script in (("ipmitool", SEL), ("dcgmi", DCGM)):
        (root / "usr/bin" / name).write_text(script)
        (root / "usr/bin" / name).chmod(0o755)
    keep_result(root, FOUR)
    card(root, "mlx5_0", "0000:18:00.0", "1: DOWN", "2: Polling", link_downed="3")
    process(root, 100, "merger_model", SLURM.format(4711), "SLURM_JOB_USER=alice\0")
    return root


@pytest.fixture
def bmc(root: Path) -> Iterator[Bmc]:
    """A management controller that the node has an account of, and that lost a power supply's input."""
    with running(pages(entry(2, "The power input for power supply 2 is lost."))) as found:
        url = f"http://localhost:{found.server_address[1]}"
        (root / "etc/gpu-triage").mkdir(parents=True)
        (root / "etc/gpu-triage/redfish").write_text(f"url = {url}\nuser = {USER}\npassword = {PASSWORD}\n")
        (root / "etc/gpu-triage/redfish").chmod(0o600)
        yield found


Seen = tuple[Sequence[Reading], Sequence[LogRecord], Sequence[Source]]


@pytest.fixture
def seen(root: Path, tmp_path: Path, bmc: Bmc) -> Seen:
    nowhere = {"LD_LIBRARY_PATH": str(tmp_path)}
    readings, records, sources = node.probe(20, root=root, kmsg=str(root / "dev/kmsg"), library_env=nowhere)
    return readings, list(records), sources


def report(seen: Seen, now: float) -> dict[str, Any]:
    rulebook = load()
    found = assess(rulebook, seen[1], seen[0], seen[2], node="node042", now=now)
    return to_report(found, generated_at=now, tool_version="1", causes=rulebook.causes)


def again(capture: Capture) -> Seen:
    file = io.BytesIO()
    write(capture, file)
    file.seek(0)
    found = Found("x")
    records = list(read(blocks(file), found))
    return found.readings, records, found.sources


def test_each_source_opens_its_incident_and_the_process_is_shown_with_its_job(seen: Seen) -> None:
    told = report(seen, time.time())
    rules = {incident["rule"]["id"]: incident for incident in told["incidents"]}

    assert {"network-card", "host-hardware", "dcgm-health", "dcgm-diag"} <= set(rules)
    assert "hardware.power" == rules["host-hardware"]["verdict"]["leading"]["leaf"]
    assert "0000:19:00.0" == rules["dcgm-health"]["where"]["gpu"]["pci"]
    assert "hardware.gpu" == rules["dcgm-diag"]["verdict"]["leaf"]
    assert ("4711", "alice", "slurm") == tuple(told["processes"][0][name] for name in ("job", "user", "scheduler"))
    assert "merger_model (100): slurm job 4711, user alice" in render(told, Look(100))


def test_a_capture_gives_the_same_report_elsewhere(seen: Seen) -> None:
    now = time.time()
    capture = Capture(now, "node042", "1", "r", *seen)

    assert report(seen, now) == report(again(capture), now)


def test_a_redacted_capture_gives_the_same_verdicts_and_names_nobody(seen: Seen) -> None:
    now = time.time()
    capture = Capture(now, "node042", "1", "r", *seen)
    redacted = redact(capture)
    verdicts = [[incident["verdict"] for incident in report(each, now)["incidents"]]
                for each in (seen, again(redacted))]  # fmt: skip
    shown = json.dumps(report(again(redacted), now)) + repr(redacted.readings)

    assert verdicts[0] == verdicts[1]
    assert [] == [name for name in ("4711", "alice", "merger_model", "b8ce:f603:0012:3456") if name in shown]
    assert PASSWORD not in shown + repr(seen)
    assert "localhost" not in repr([source for source in seen[2] if source.kind == "redfish"])


def test_a_source_beside_that_hangs_does_not_hold_a_check_up_nor_make_the_node_unknown(
    root: Path, tmp_path: Path
) -> None:
    (root / "usr/bin/ipmitool").write_text("#!/bin/sh\nexec sleep 60\n")
    began = time.monotonic()
    probing = node.begin(
        20, root=root, kmsg=str(root / "dev/kmsg"), library_env={"LD_LIBRARY_PATH": str(tmp_path)}, grace=0.3
    )
    list(probing.later())
    _, sources = probing.result()
    late = [source for source in sources if source.kind == "bmc"]

    assert time.monotonic() - began < 30
    assert [(False, "it did not answer in time; gpu-triage collect waits longer")] == [
        (source.readable, source.reason) for source in late
    ]
    beside = [Source("host", "/", True), *late]
    assert "ok" == assess(load(), [], [], beside, node="n", now=time.time()).status
