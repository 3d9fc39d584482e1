"""`fleet report` lets the logs of many nodes testify against each other."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.triage.cli.conftest import ROOT, Run, environment
from triage.schema import FLEET, REPORT

GSP = (
    "NVRM: Xid (PCI:0000:10:00): 119, pid=1811, name=python, Timeout after 6s of waiting for RPC response from"
    " GPU0 GSP! Expected function 76 (GSP_RM_CONTROL) (0x20800a4c 0x4)."
)
LOADED = (
    "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (root@)  Fri Jun  6 21:24:15 UTC 2025"
)
START = datetime(2026, 10, 1, tzinfo=timezone.utc)
NOW = "1793000000"


def log(path: Path, node: str, driver: str, *faults: tuple[float, str]) -> None:
    """A month of one node's kernel log."""
    lines = [
        (0.0, LOADED.format(driver)),
        *faults,
        (29.0, "usb 1-1: new high-speed USB device number 2 using xhci_hcd"),
    ]
    text = "".join(
        f"{(START + timedelta(days=day)).isoformat()} {node} kernel: {line}\n" for day, line in sorted(lines)
    )
    (path / f"{node}.log").write_text(text)


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Sixty nodes, of which twenty have a driver that fails on every third, and an inventory of their racks."""
    folder = tmp_path / "logs"
    folder.mkdir()
    rows = ["node,rack"]
    for n in range(60):
        node, new = f"gpu-{n:03}", n % 3 == 0
        faults = [(2.0 + n / 5, GSP)] if new and n % 2 == 0 else []
        log(folder, node, "570.99.99" if new else "550.54.15", *faults)
        rows.append(f"{node},r{n // 20}")
    (tmp_path / "racks.csv").write_text("\n".join(rows) + "\n")
    return folder


def report(run: Run, *words: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(run("fleet", "report", *words, "--now", NOW, "--format", "json").stdout)
    return told


def test_a_drivers_fault_is_seen_where_no_node_can_see_it(run: Run, fleet: Path) -> None:
    """One log alone leaves it open; all of them together do not."""
    alone = json.loads(run("explain", str(fleet / "gpu-000.log"), "--now", NOW, "--format", "json").stdout)
    together = report(run, str(fleet), "--inventory", str(fleet.parent / "racks.csv"))

    assert ["undetermined"] == [incident["verdict"]["family"] for incident in alone["incidents"]]
    assert {"driver"} == {incident["verdict"]["family"] for incident in together["incidents"]}
    assert ["10 of 20 nodes with driver version 570.99.99 show it, 0 of 40 others"] == [
        pattern["says"] for pattern in together["patterns"]
    ]
    assert 60 == together["nodes"]["told"]


def test_the_report_follows_its_schema(run: Run, fleet: Path) -> None:
    """And each of its incidents that of a node's report, with what the fleet added."""
    (fleet / "broken.log").write_bytes(b"\0\1\2" * 999)
    told = report(run, str(fleet))
    jsonschema.Draft202012Validator(json.loads(FLEET.read_text())).validate(told)
    schema = json.loads(REPORT.read_text())
    one = jsonschema.Draft202012Validator({"$ref": "#/$defs/incident", "$defs": schema["$defs"]})
    for incident in told["incidents"]:
        one.validate({name: value for name, value in incident.items() if name != "fleet"})

    assert 10 == len(told["incidents"])


def test_text_gathers_what_is_alike(run: Run, fleet: Path) -> None:
    """Ten incidents are one paragraph, with the counts and the next step."""
    done = run("fleet", "report", str(fleet), "--now", NOW)

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.count("CRITICAL  ") == 1
    assert "10 incidents on gpu-000, gpu-006" in done.stdout
    assert "10 of 20 nodes with driver version 570.99.99 show it, 0 of 40 others." in done.stdout
    assert all(len(line) <= 100 for line in done.stdout.splitlines())


def test_several_processes_say_the_same_as_one(run: Run, fleet: Path) -> None:
    """Byte for byte."""
    words = ("fleet", "report", str(fleet), "--now", NOW, "--format", "json")

    assert run(*words, "--jobs", "1").stdout == run(*words, "--jobs", "3").stdout


def test_what_cannot_be_read_is_said_and_the_rest_is_used(run: Run, fleet: Path) -> None:
    """A file of noise, one that is empty, and one that nobody may name."""
    (fleet / "noise.log").write_bytes(b"\0\1\2" * 999)
    (fleet / "empty.log").touch()
    done = run("fleet", "report", str(fleet), str(fleet / "none.log"), "--now", NOW)

    assert 4 == done.returncode
    assert "60 nodes" in done.stdout
    assert "3 could not be read" in done.stdout
    assert "binary data" in done.stdout


def test_a_capture_and_a_later_one_of_the_same_node_are_its_history(run: Run, fleet: Path) -> None:
    """The node is counted once."""
    early = fleet / "again"
    early.mkdir()
    text = (fleet / "gpu-000.log").read_text()
    (early / "gpu-000.log").write_text("".join(text.splitlines(keepends=True)[:2]))

    assert 60 == report(run, str(early / "gpu-000.log"), str(fleet / "gpu-000.log"), *[
        str(path) for path in sorted(fleet.glob("gpu-*.log"))[1:]
    ])["nodes"]["told"]  # fmt: skip


def test_a_node_that_the_inventory_does_not_know_is_noticed(run: Run, fleet: Path) -> None:
    """It takes part, but in no rack."""
    inventory = fleet.parent / "racks.csv"
    inventory.write_text("node,rack\ngpu-000,r0\n")

    assert "59 nodes are not in" in report(run, str(fleet), "--inventory", str(inventory))["notices"][0]


def test_a_fault_of_the_wanted_severity_decides_the_exit_code(run: Run, fleet: Path) -> None:
    assert 1 == run("fleet", "report", str(fleet), "--now", NOW, "--fail-on", "critical").returncode


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "say what to do"),
        (["sweepz"], 2, "unknown verb"),
        (["report"], 2, "name captures, logs or folders"),
        (["report", "/nowhere"], 3, ""),
        (["report", ".", "--inventory", "/nowhere.csv"], 2, "No such file"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(words: list[str], code: int, said: str, run: Run) -> None:
    done = run("fleet", *words)

    assert code == done.returncode
    assert said in done.stderr
    assert done.stderr.count("\n") <= 1


def test_it_draws_nothing_with_rich_or_textual(run: Run, fleet: Path) -> None:
    """A fleet is read where there is no screen."""
    from tests.triage.cli.conftest import run_python

    code = (
        "import sys; from triage.cli import main; main(['fleet', 'report', sys.argv[1], '--jobs', '1']);"
        " print(sorted({name.partition('.')[0] for name in sys.modules} & {'rich', 'textual'}))"
    )

    assert "[]" == run_python("-c", code, str(fleet)).stdout.splitlines()[-1]


@pytest.mark.parametrize("words", [("fleet", "report"), ("fleet", "early"), ("explain",)])
def test_captures_are_read_where_none_of_the_extras_is_installed(words: tuple[str, ...], fleet: Path) -> None:
    """What asks nodes and what keeps their answers are extras; whoever only reads what there is needs neither."""
    script = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('ClusterShell', 'sqlalchemy', 'alembic', 'psycopg', 'pyarrow')))\n"
        "from triage.cli import main\nsys.exit(main(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words, str(fleet), "--now", NOW],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert 0 == done.returncode, done.stderr
    assert "No module named" not in done.stdout + done.stderr
