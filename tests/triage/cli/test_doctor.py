"""`doctor` on nodes made of files: what can be read, what cannot, why, and what would help."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probes import access
from probes.access_node import Access
from tests.fake_nvml import Scenario
from tests.probes.redfish_bmc import PASSWORD, USER, pages, running
from tests.triage.cli.conftest import Run
from tests.triage.history.sweeps import START, at, open_memory, sweep
from triage import doctor
from triage.cli.doctor import report, text
from triage.history.store import FILE
from triage.render.layout import Look

PRINTS = "#!/bin/sh\necho '{line}'\n"
REFUSES = "#!/bin/sh\necho '{line}' >&2\nexit 1\n"


def put(root: Path, path: str, content: str = "", mode: int = 0o644) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    file.chmod(mode)


def device(root: Path, address: str, kind: str, config: int = 256, aer: bool = True) -> None:
    folder = f"sys/bus/pci/devices/{address}"
    put(root, f"{folder}/vendor", "0x10de\n")
    put(root, f"{folder}/class", f"{kind}\n")
    put(root, f"{folder}/config", "x" * config)
    if aer:
        put(root, f"{folder}/aer_dev_correctable", "TOTAL_ERR_COR 0\n")


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node of two GPUs and an NVSwitch on which everything runs."""
    root = tmp_path / "root"
    for address in ("0000:4e:00.0", "0000:9d:00.0"):
        device(root, address, "0x030200")
    device(root, "0000:a0:00.0", "0x068000")
    put(root, "dev/kmsg", "6,0,0,-;Linux version 6.1.0\n")
    put(root, "dev/ipmi0")
    put(root, "proc/1/stack")
    (root / "proc/1/fd").mkdir()
    for pid, name in enumerate(("nvidia-persiste", "nv-fabricmanage", "nv-hostengine", "slurmd"), 100):
        put(root, f"proc/{pid}/comm", f"{name}\n")
    (root / "sys/devices/system/edac/mc/mc0").mkdir(parents=True)
    put(root, "usr/bin/journalctl", PRINTS.format(line='{"MESSAGE": "Linux version 6.1.0"}'), 0o755)
    put(root, "usr/bin/dmesg", PRINTS.format(line="<6>[    0.000000] Linux version 6.1.0"), 0o755)
    for name in ("ipmitool", "scontrol", "dcgmi"):
        put(root, f"usr/bin/{name}", "", 0o755)
    return root


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A node of one GPU for a user who may read nothing."""
    root = tmp_path / "bare"
    device(root, "0000:4e:00.0", "0x030200", config=64, aer=False)
    device(root, "0000:a0:00.0", "0x068000", aer=False)
    put(root, "dev/kmsg")
    put(root, "dev/ipmi0")
    put(root, "proc/1/stack")
    (root / "proc/1/fd").mkdir()
    put(root, "sys/firmware/dmi/entries/42-0/raw")
    put(
        root,
        "usr/bin/journalctl",
        REFUSES.format(line="No journal files were opened due to insufficient permissions."),
        0o755,
    )
    put(root, "usr/bin/dmesg", REFUSES.format(line="dmesg: read kernel buffer failed: Operation not permitted"), 0o755)
    put(root, "usr/bin/nv-hostengine", "", 0o755)
    put(root, "usr/bin/ipmitool", "", 0o755)
    put(root, "usr/bin/scontrol", "", 0o755)
    return root


def refuse(path: str, _flags: int) -> int:
    raise PermissionError(13, "Permission denied", path)


def look(root: Path, env: dict[str, str], attempt: Callable[[str, int], int] = os.open) -> list[Access]:
    return access.look(10.0, root=root, attempt=attempt, library_env=env)


def told(found: list[Access], tmp_path: Path) -> str:
    shown = text(found, Look(100)) + json.dumps(report(found, "gpu-0417", START), indent=1) + "\n"
    return shown.replace(str(tmp_path), "TMP")


def test_a_node_on_which_everything_can_be_read(
    node: Path, fake_nvml: Path, scenario: Any, tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    """Each source with what there is."""
    found = look(node, scenario(2).env(fake_nvml))

    assert doctor.well(found)
    assert {"readable"} == {a.state for a in found} - {"absent"}
    golden("doctor_all.txt", told(found, tmp_path))


def test_a_node_on_which_nothing_can_be_read(
    bare: Path, tmp_path: Path, golden: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source with why not, and what would help."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = look(bare, {"LD_LIBRARY_PATH": str(tmp_path)}, refuse)
    if found[0].state != "unreadable":
        pytest.skip("this machine has a driver of its own")

    assert not doctor.well(found)
    assert [] == [a.source for a in found if a.state in ("unreadable", "partly") and not (a.why and a.remedy)]
    golden("doctor_none.txt", told(found, tmp_path))


def test_a_gpu_that_hangs_does_not_hold_the_doctor_up(node: Path, fake_nvml: Path, scenario: Any) -> None:
    """It is told which, and the other sources are looked at."""
    hung: Scenario = scenario(2)
    hung.gpu(1).on("nvmlDeviceGetTotalEccErrors", "hang")
    found = access.look(6.0, root=node, library_env=hung.env(fake_nvml))

    nvml = next(a for a in found if a.source == "nvml")
    assert ("partly", True) == (nvml.state, "did not answer" in (nvml.why or ""))
    assert "slurm" in {a.source for a in found}


def test_when_time_is_up_the_rest_is_not_looked_at(node: Path) -> None:
    """And says so; a deadline is a promise."""
    found = access.look(0.0, root=node)

    assert {"time was up"} == {a.why for a in found}


@pytest.mark.parametrize(
    ("damage", "state", "said"),
    [
        ("none", "readable", None),
        ("missing", "readable", "no sweep was written yet"),
        ("noise", "unreadable", "it is no SQLite file"),
        ("foreign", "unreadable", "it is not one of gpu-triage"),
        ("newer", "unreadable", "it is of version 9, and this program knows"),
        ("open", "unreadable", "others can write the state directory"),
    ],
)
def test_the_history_is_looked_at_without_opening_it(tmp_path: Path, damage: str, state: str, said: str | None) -> None:
    """Nothing is made or changed."""
    directory = tmp_path / "s"
    with open_memory(directory) as memory:
        sweep(memory, at(0))
    file = directory / FILE
    data = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "noise":
        file.write_bytes(b"x" * 500)
    elif damage in ("foreign", "newer"):
        place, value = (68, b"abcd") if damage == "foreign" else (60, b"\0\0\0\x09")
        data[place : place + 4] = value
        file.write_bytes(data)
    elif damage == "open":
        directory.chmod(0o777)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    found = doctor.state(directory)

    assert (state, True) == (found.state, said is None or said in (found.why or ""))
    assert (state == "unreadable") == (found.state == "unreadable" and bool(found.remedy))
    assert before == {path.name: path.read_bytes() for path in directory.iterdir()}


def test_site_rules_that_are_wrong_are_told(tmp_path: Path) -> None:
    """They would be missing from every verdict."""
    (tmp_path / "bad.yaml").write_text("schema: 1\nid: [\n")
    assert ["readable", "absent"] == [a.state for a in doctor.rules(None, ())]
    assert ["readable"] != [a.state for a in doctor.rules(None, (tmp_path,))][1:]


@pytest.mark.parametrize(
    ("environ", "tty", "encoding", "state"),
    [
        ({"TERM": "xterm-256color"}, True, "utf-8", "readable"),
        ({"TERM": "xterm-256color"}, True, "ANSI_X3.4-1968", "partly"),
        ({"TERM": "dumb"}, True, "utf-8", "unreadable"),
        ({}, True, "utf-8", "unreadable"),
        ({"TERM": "xterm"}, False, "utf-8", "absent"),
    ],
)
def test_the_terminal(environ: dict[str, str], tty: bool, encoding: str, state: str) -> None:
    """Where the screens cannot be drawn there is a reason."""
    found = doctor.terminal(environ, tty, encoding)

    assert (state, state == "readable") == (found.state, found.why is None)


@pytest.mark.parametrize(
    ("password", "state", "why"),
    [(PASSWORD, "readable", ""), ("wrong", "unreadable", "it does not take the account")],
)
def test_an_account_of_the_management_controller_is_tried(
    node: Path, fake_nvml: Path, scenario: Any, password: str, state: str, why: str
) -> None:
    with running(pages()) as bmc:
        url = f"http://127.0.0.1:{bmc.server_address[1]}"
        put(node, "etc/gpu-triage/redfish", f"url = {url}\nuser = {USER}\npassword = {password}\n", 0o600)
        (told,) = [found for found in look(node, scenario(1).env(fake_nvml)) if found.source == "redfish"]

    assert (state, why) == (told.state, told.why or "")
    assert password not in repr(told)


def test_a_kept_result_of_the_diagnostic_is_looked_at(node: Path, fake_nvml: Path, scenario: Any) -> None:
    put(node, "var/lib/gpu-triage/dcgm-diag.json", "half a res", 0o644)
    (told,) = [found for found in look(node, scenario(1).env(fake_nvml)) if found.source == "dcgm-diag"]

    assert ("unreadable", "write it anew") == (told.state, told.remedy)


def test_the_command_says_it_in_both_forms_with_one_exit_code(run: Run, tmp_path: Path) -> None:
    """0 if a verdict has all it needs, else 3; and nothing is written."""
    words = ["doctor", "--deadline", "10", "--state-dir", str(tmp_path / "s")]
    plain = run(*words)
    machine = run(*words, "--format", "json")
    found = json.loads(machine.stdout)

    assert (plain.returncode, machine.returncode) == ((0, 0) if found["well"] else (3, 3))
    assert {"nvml", "kernel-log", "pci", "edac", "dcgm", "ipmi", "slurm", "fabric-manager", "history", "rules"} <= {
        source["source"] for source in found["sources"]
    }
    assert plain.stdout.startswith("NEEDED FOR A VERDICT\n")
    assert not (tmp_path / "s").exists()
