"""The host is read from a tree of files that stands for /."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from probes import host
from probes.model import NODE, Entity, Missing, Source, Value

GPU, BRIDGE, AUDIO = "0x030200", "0x068000", "0x040300"


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def pci(root: Path, address: str, kind: str = GPU, port: str | None = None, **files: str) -> None:
    """A PCI device as sysfs shows it: a link into the tree of buses, below the port it hangs on."""
    bus = root / "sys/devices/pci0000:00"
    place = f"{bus.relative_to(root)}/{port + '/' if port else ''}{address}"
    defaults = {
        "vendor": "0x10de",
        "device": "0x2330",
        "class": kind,
        "current_link_speed": "32.0 GT/s PCIe",
        "max_link_speed": "32.0 GT/s PCIe",
        "current_link_width": "16",
        "max_link_width": "16",
        "numa_node": "1",
    }
    for name, text in {**defaults, **files}.items():
        write(root, f"{place}/{name}", text + "\n")
    link = root / "sys/bus/pci/devices" / address
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(root / place)


def bind(root: Path, address: str, driver: str) -> None:
    folder = root / "sys/bus/pci/drivers" / driver
    folder.mkdir(parents=True, exist_ok=True)
    (root / "sys/bus/pci/devices" / address / "driver").symlink_to(folder)


def read(root: Path, deadline: float = 10.0) -> tuple[dict[tuple[Entity, str], Value], Source]:
    readings, source = host.probe(deadline, root)
    found = {(reading.entity, reading.name): reading.value for reading in readings}
    assert len(found) == len(readings)  # nothing is said twice
    return found, source


def node(root: Path) -> dict[str, Value]:
    return {name: value for (entity, name), value in read(root)[0].items() if entity == NODE}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write(tmp_path, "proc/sys/kernel/hostname", "node042\n")
    write(tmp_path, "proc/sys/kernel/osrelease", "5.15.0-91-generic\n")
    write(tmp_path, "proc/sys/kernel/tainted", "4097\n")
    write(tmp_path, "proc/stat", "cpu  1 2 3\nbtime 1700000000\nprocesses 7\n")
    write(tmp_path, "proc/uptime", "86400.50 1.0\n")
    write(tmp_path, "proc/loadavg", "3.25 2.00 1.00 1/200 4242\n")
    write(tmp_path, "proc/meminfo", "MemTotal:       1048576 kB\nMemFree: 1 kB\nMemAvailable:    524288 kB\n")
    write(tmp_path, "sys/module/nvidia/version", "580.65.06\n")
    write(tmp_path, "sys/module/nvidia/taint", "OE\n")
    (tmp_path / "sys/module/nouveau").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-caps"):
        write(tmp_path, f"dev/{name}", "")
    return tmp_path


def test_the_host_is_described(tree: Path) -> None:
    write(tree, "sys/devices/system/edac/mc/mc0/ce_count", "3\n")
    write(tree, "sys/devices/system/edac/mc/mc0/ue_count", "0\n")
    write(tree, "sys/devices/system/edac/mc/mc1/ce_count", "4\n")
    write(tree, "sys/devices/system/edac/mc/mc1/ue_count", "1\n")
    found = node(tree)
    expected = {
        "host.name": "node042",
        "kernel.release": "5.15.0-91-generic",
        "kernel.taint": "PO",
        "host.boot-time": 1_700_000_000,
        "host.uptime": 86400.5,
        "host.load": 3.25,
        "host.memory.total": 1 << 30,
        "host.memory.available": 1 << 29,
        "module.nvidia": "580.65.06",
        "module.nvidia_uvm": "absent",
        "module.nouveau": "loaded",
        "driver.module-version": "580.65.06",
        "driver.flavour": "open",
        "driver.devices": 2,
        "driver.device.nvidiactl": True,
        "edac.corrected": 7,
        "edac.uncorrected": 1,
        "host.processes.blocked": 0,
    }
    assert expected == {name: found[name] for name in expected}


def test_a_module_that_is_not_free_is_proprietary(tree: Path) -> None:
    write(tree, "sys/module/nvidia/taint", "POE\n")
    assert node(tree)["driver.flavour"] == "proprietary"


def test_an_empty_host_is_unknown_and_never_zero(tmp_path: Path) -> None:
    """What cannot be read is missing, and so is whether a module is loaded where no module can be seen."""
    found = node(tmp_path)
    for name in (
        "host.memory.total",
        "host.boot-time",
        "kernel.release",
        "driver.flavour",
        "pci.gpus",
        "edac.corrected",
        "module.nvidia",
        "driver.devices",
        "driver.device.nvidiactl",
        "service.fabricmanager",
        "host.processes.blocked",
        "host.processes.blocked.gpu",
    ):
        assert isinstance(found[name], Missing), name
    source = host.probe(5.0, tmp_path)[1]
    assert (False, "nothing is to be seen below /proc and /sys; mount what is missing here") == (
        source.readable,
        source.reason,
    )


def test_a_module_that_is_not_among_those_loaded_is_absent(tree: Path) -> None:
    assert ("580.65.06", "absent") == (node(tree)["module.nvidia"], node(tree)["module.nvidia_uvm"])


@pytest.mark.parametrize(
    ("namespace", "first", "why"),
    [
        ("pid:[4026531836]", True, None),
        ("pid:[4026532501]", True, "error:only the processes of this container are seen"),
        ("pid:[4026531836]", False, "no-permission"),
    ],
)
def test_a_daemon_that_may_be_out_of_sight_is_not_called_stopped(
    tree: Path, namespace: str, first: bool, why: str | None
) -> None:
    """In a container only its own processes are seen, and with hidepid only one's own."""
    (tree / "proc/self/ns").mkdir(parents=True)
    (tree / "proc/self/ns/pid").symlink_to(namespace)
    if first:
        write(tree, "proc/1/stat", "1 (init) S 0 1 1")
    write(tree, "proc/100/stat", "100 (nv-fabricmanage) S 1 1")
    found = node(tree)

    assert "running" == found["service.fabricmanager"]
    assert ("not-running" if why is None else Missing(why)) == found["service.dcgm"]
    assert (0 if why is None else Missing(why)) == found["host.processes.blocked"]


@pytest.mark.parametrize("nonsense", ["", "\0", "x y z", "\x1b[2J", "-", "9" * 5000])
def test_nonsense_in_files_is_missing(tree: Path, nonsense: str) -> None:
    for path in ("uptime", "loadavg", "meminfo", "stat", "sys/kernel/tainted"):
        write(tree, f"proc/{path}", nonsense)
    pci(tree, "0000:4e:00.0", current_link_speed=nonsense, current_link_width=nonsense, aer_dev_fatal=nonsense)
    found = read(tree)[0]
    gpu = Entity("gpu", pci="0000:4e:00.0")
    for name in ("pci.link.speed", "pci.link.width", "pci.aer.fatal"):
        assert isinstance(found[gpu, name], Missing), name
    assert not any("\x1b" in str(value) for value in found.values())


def test_gpus_are_seen_on_the_bus_with_their_link_and_its_errors(tree: Path) -> None:
    """Each GPU, and the port it hangs on, whether or not the driver knows it."""
    pci(
        tree,
        "0000:4e:00.0",
        port="0000:4d:01.0",
        aer_dev_correctable="RxErr 5\nBadTLP 2\nTOTAL_ERR_COR 7\n",
        current_link_speed="2.5 GT/s PCIe",
    )
    bind(tree, "0000:4e:00.0", "nvidia")
    pci(tree, "0000:4e:00.1", kind=AUDIO)
    pci(tree, "0000:5f:00.0", kind=GPU)
    pci(tree, "0000:60:00.0", kind=BRIDGE)
    pci(tree, "0000:61:00.0", vendor="0x8086")
    write(tree, "sys/devices/pci0000:00/0000:4d:01.0/current_link_width", "8\n")
    write(tree, "sys/devices/pci0000:00/0000:4d:01.0/aer_dev_fatal", "TOTAL_ERR_FATAL 1\n")
    found, _ = read(tree)
    gpu = Entity("gpu", pci="0000:4e:00.0")
    assert found[NODE, "pci.gpus"] == 2
    assert found[gpu, "pci.driver"] == "nvidia"
    assert found[gpu, "pci.link.speed"] == 2.5e9
    assert found[gpu, "pci.link.speed.max"] == 32e9
    assert found[gpu, "pci.link.width"] == 16
    assert found[gpu, "pci.aer.correctable"] == 7
    assert Missing("not-supported") == found[gpu, "pci.aer.fatal"]
    assert found[gpu, "pci.numa-node"] == 1
    assert found[gpu, "pci.port"] == "0000:4d:01.0"
    assert found[Entity("port", pci="0000:4d:01.0"), "pci.link.width"] == 8
    assert found[Entity("port", pci="0000:4d:01.0"), "pci.aer.fatal"] == 1
    assert found[Entity("gpu", pci="0000:5f:00.0"), "pci.driver"] == "none"
    assert (Entity("switch", pci="0000:60:00.0"), "pci.driver") in found
    assert not [entity for entity, _ in found if entity.pci in ("0000:4e:00.1", "0000:61:00.0")]


def test_a_gpu_that_fell_off_the_bus_does_not_answer(tree: Path) -> None:
    """A device that is gone reads as all ones: 63 lanes of unknown speed, which are no lanes."""
    pci(tree, "0000:4e:00.0", current_link_speed="Unknown", current_link_width="63")
    found, _ = read(tree)
    gpu = Entity("gpu", pci="0000:4e:00.0")
    assert found[gpu, "pci.answers"] is False
    assert Missing("lost") == found[gpu, "pci.link.width"]
    assert Missing("lost") == found[gpu, "pci.link.speed"]


def process(root: Path, pid: int, state: str, name: str = "python3", opened: tuple[str, ...] = ()) -> None:
    write(root, f"proc/{pid}/stat", f"{pid} ({name}) {state} 1 1 1 0 -1 4194560\n")
    folder = root / f"proc/{pid}/fd"
    folder.mkdir()
    for number, target in enumerate(opened):
        (folder / str(number)).symlink_to(target)


def test_blocked_processes_that_hold_a_gpu_are_named(tree: Path) -> None:
    """A name may hold anything; a process that ends while it is looked at is no error."""
    process(tree, 10, "S", opened=("/dev/nvidia0",))
    process(tree, 11, "D", name="evil) R (\x1b[2J", opened=("/dev/null", "/dev/nvidia1"))
    process(tree, 12, "D", name="nfsd", opened=("/srv/x",))
    process(tree, 13, "D", name="nv_queue")
    write(tree, "proc/13/stack", "[<0>] os_acquire_semaphore+0x2a/0x40 [nvidia]\n[<0>] rm_ioctl+0x10/0x20 [nvidia]\n")
    (tree / "proc/14").mkdir()
    found, _ = read(tree)
    assert found[NODE, "host.processes.blocked"] == 3
    assert found[NODE, "host.processes.blocked.gpu"] == 2
    evil = Entity("process", index=11, name="evil) R (?[2J")
    assert found[evil, "process.gpu-open"] is True
    assert found[Entity("process", index=12, name="nfsd"), "process.gpu-open"] is False
    assert found[Entity("process", index=13, name="nv_queue"), "process.in-driver"] is True


def test_many_blocked_processes_are_counted_and_not_all_examined(tree: Path) -> None:
    for pid in range(100, 300):
        process(tree, pid, "D")
    found, _ = read(tree)
    assert found[NODE, "host.processes.blocked"] == 200
    assert len([name for _, name in found if name == "process.state"]) == host.MAX_BLOCKED


def test_time_that_is_up_is_said(tree: Path) -> None:
    readings, source = host.probe(0.0, tree)
    assert [] == readings
    assert not source.readable
    assert "time was up" in str(source.reason)


def test_time_that_is_up_where_proc_is_hidden_too_is_one_of_two_reasons(tmp_path: Path) -> None:
    """Whoever mounts /proc and looks again shall not then learn that the time does not suffice either."""
    (tmp_path / "sys/module").mkdir(parents=True)
    source = host.probe(0.0, tmp_path)[1]
    assert (
        "nothing is to be seen below /proc; mount what is missing here; time was up before kernel was read"
        == source.reason
    )


def test_a_host_without_a_name_is_known_by_its_machine_id(tree: Path) -> None:
    """The id itself is confidential and does not appear."""
    write(tree, "proc/sys/kernel/hostname", "localhost\n")
    write(tree, "etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    name = host.node_name(tree)
    assert name.startswith("machine-")
    assert "0123456789" not in name
    write(tree, "etc/machine-id", "ffff456789abcdef0123456789abcdef\n")
    assert name != host.node_name(tree)


def test_this_host_is_read(tmp_path: Path) -> None:
    """The real files of the machine that runs the test."""
    found = {name: value for (entity, name), value in read(Path("/"))[0].items() if entity == NODE}
    assert os.uname().release == found["kernel.release"]
    assert isinstance(found["host.memory.total"], int)
    assert found["host.memory.total"] > 1 << 20
    assert isinstance(found["host.boot-time"], int)
    assert found["host.boot-time"] < time.time()


def test_a_real_process_that_holds_a_file_is_seen(tmp_path: Path) -> None:
    """The same look at a real process, whose state is whatever it is."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as running:
        state = host._state(Path(f"/proc/{running.pid}"))
        holds = host._holds_gpu(Path(f"/proc/{running.pid}"))
        running.kill()
    assert state is not None
    assert state[0] in "RSD"
    assert holds is False


def test_memory_that_an_old_kernel_does_not_tell_is_worked_out_where_psutil_is_installed(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that is only visited may not have it, and then does not know."""
    (tree / "proc/meminfo").write_text("MemTotal: 1048576 kB\nMemFree: 2048 kB\nBuffers: 0 kB\nCached: 0 kB\n")

    assert isinstance(read(tree)[0][NODE, "host.memory.available"], int)
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert isinstance(read(tree)[0][NODE, "host.memory.available"], Missing)
    assert 1 << 30 == read(tree)[0][NODE, "host.memory.total"]


def test_power_state_and_bars_without_an_address_are_told(tree: Path) -> None:
    given = "0x00000000fa000000 0x00000000faffffff 0x0000000000040200\n"
    unassigned = "0x0000000000000000 0x0000001fffffffff 0x000000002014220c\n"
    empty = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
    pci(tree, "0000:4e:00.0", resource=given + unassigned + empty * 5, power_state="D3cold")
    pci(tree, "0000:9d:00.0", resource="nonsense")
    found, _ = read(tree)
    one, other = Entity("gpu", pci="0000:4e:00.0"), Entity("gpu", pci="0000:9d:00.0")

    assert ("D3cold", 1) == (found[one, "pci.power-state"], found[one, "pci.bars.unassigned"])
    assert isinstance(found[other, "pci.bars.unassigned"], Missing)
    assert Missing("not-supported") == found[other, "pci.power-state"]


def test_which_of_the_daemons_run_is_told(tree: Path) -> None:
    write(tree, "proc/100/stat", "100 (nv-fabricmanage) S 1 1")
    found = node(tree)

    assert ("running", "not-running") == (found["service.fabricmanager"], found["service.persistenced"])
