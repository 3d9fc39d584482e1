"""PCIe read from files that stand for /sys: paths up to the root, AER by kind, DPC, and the neighbours."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest

from probes import host, pci_sysfs
from probes.model import LOST, NO_PERMISSION, NODE, NOT_SUPPORTED, Entity, Missing, Value
from tests.probes.test_host import node, pci, write

GPU = Entity("gpu", pci="0000:4e:00.0")
ROOT_PORT, SWITCH_UP, SWITCH_DOWN = "0000:40:01.0", "0000:4b:00.0", "0000:4c:00.0"
DEEP = f"{ROOT_PORT}/{SWITCH_UP}/{SWITCH_DOWN}"
CORRECTABLE = "RxErr {}\nBadTLP 2\nBadDLLP 1\nRollover 0\nTimeout 4\nNonFatalErr 0\nTOTAL_ERR_COR {}\n"
UNCORRECTED = "Undefined 0\nDLP 0\nSDES {}\nCmpltTO {}\nTOTAL_ERR_{} {}\n"


def found(root: Path) -> dict[tuple[Entity, str], Value]:
    told = list(pci_sysfs.read(root, time.monotonic() + 10))
    values = {(each.entity, each.name): each.value for each in told}
    assert len(values) == len(told)  # nothing is said twice
    return values


def of_gpu(root: Path, address: str = "0000:4e:00.0") -> dict[str, Value]:
    return {name: value for (entity, name), value in found(root).items() if entity == Entity("gpu", pci=address)}


def config(*capabilities: tuple[int, bytes]) -> bytes:
    """A port's configuration: 256 bytes, and then a list of extended capabilities (id, what follows the head)."""
    space, place = bytearray(4096), 0x100
    for number, (identity, rest) in enumerate(capabilities, 1):
        following = 0 if number == len(capabilities) else place + 0x40
        struct.pack_into("<I", space, place, identity | 1 << 16 | following << 20)
        space[place + 4 : place + 4 + len(rest)] = rest
        place += 0x40
    return bytes(space)


def dpc(control: int, status: int) -> bytes:
    return config((0x0001, b""), (0x001D, struct.pack("<HHH", 0, control, status)))


def port(root: Path, path: str, space: bytes | None = None, **files: str) -> None:
    place = f"sys/devices/pci0000:00/{path}"
    for name, text in {"class": "0x060400", **files}.items():
        write(root, f"{place}/{name}", text)
    if space is not None:
        (root / place / "config").write_bytes(space)
    link = root / "sys/bus/pci/devices" / Path(path).name
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(root / place)


def test_every_port_up_to_the_root_is_told_with_its_errors_by_kind(tmp_path: Path) -> None:
    pci(tmp_path, "0000:4e:00.0", port=DEEP)
    port(tmp_path, ROOT_PORT, aer_dev_correctable=CORRECTABLE.format(7, 14))
    port(tmp_path, f"{ROOT_PORT}/{SWITCH_UP}", aer_dev_fatal=UNCORRECTED.format(1, 0, "FATAL", 1))
    port(tmp_path, DEEP, aer_dev_nonfatal=UNCORRECTED.format(0, 3, "NONFATAL", 3), current_link_width="8")
    told = found(tmp_path)

    assert 14 == told[Entity("port", pci=ROOT_PORT), "pci.aer.correctable"]
    assert 7 == told[Entity("port", pci=ROOT_PORT), "pci.aer.correctable.rxerr"]
    assert (Entity("port", pci=ROOT_PORT), "pci.aer.correctable.rollover") not in told
    assert 1 == told[Entity("port", pci=SWITCH_UP), "pci.aer.fatal.sdes"]
    assert 8 == told[Entity("port", pci=SWITCH_DOWN), "pci.link.width"]
    assert SWITCH_DOWN == told[GPU, "pci.port"]
    assert {"receiver": 7, "packets": 3, "replays": 4, "surprise-down": 1, "completion-timeouts": 3} == {
        name.rpartition(".")[2]: value
        for (entity, name), value in told.items()
        if entity == GPU and name.startswith("pci.path.aer.")
    }


def test_errors_that_nothing_counts_are_unknown_and_not_none(tmp_path: Path) -> None:
    pci(tmp_path, "0000:4e:00.0", port=DEEP)

    assert Missing(NOT_SUPPORTED) == of_gpu(tmp_path)["pci.path.aer.receiver"]


@pytest.mark.parametrize("said", ["", "RxErr", "RxErr x\nTOTAL_ERR_COR 1\n", "RxErr 1\n", "\0" * 50, "9" * 4000])
def test_counters_that_are_none_are_unknown(tmp_path: Path, said: str) -> None:
    pci(tmp_path, "0000:4e:00.0", aer_dev_correctable=said)
    value = of_gpu(tmp_path)["pci.aer.correctable"]

    assert isinstance(value, Missing)


# DPC


@pytest.mark.parametrize(
    ("space", "state"),
    [
        (dpc(0x1, 0x0), "armed"),
        (dpc(0x0, 0x0), "off"),
        (dpc(0x1, 0x1F01), "triggered"),
        (dpc(0xFFFF, 0xFFFF), Missing(LOST)),
        (config((0x0001, b"")), Missing(NOT_SUPPORTED)),
        (b"\0" * 4096, Missing(NOT_SUPPORTED)),
        (b"\xff" * 4096, Missing(LOST)),
        (b"\0" * 64, Missing(NO_PERMISSION)),
        (b"", Missing(NO_PERMISSION)),
        (struct.pack("<I", 0x100 << 20 | 2).rjust(0x104, b"\0").ljust(4096, b"\0"), Missing("error:not-a-list")),
        (config((0x001D, b""))[:0x106], Missing("error:unpack requires a buffer of 4 bytes")),
    ],
)
def test_whether_a_port_has_cut_off_what_is_below_is_told(tmp_path: Path, space: bytes, state: Value) -> None:
    """A list that leads in circles, ones and zeroes, and what only root may read."""
    pci(tmp_path, "0000:4e:00.0", port=ROOT_PORT)
    port(tmp_path, ROOT_PORT, space)
    told = found(tmp_path)

    assert state == told[Entity("port", pci=ROOT_PORT), "pci.dpc"]
    assert state == told[GPU, "pci.path.dpc"]


def test_a_port_that_sleeps_is_not_woken(tmp_path: Path) -> None:
    pci(tmp_path, "0000:4e:00.0", port=ROOT_PORT)
    port(tmp_path, ROOT_PORT, dpc(1, 1))
    write(tmp_path, f"sys/devices/pci0000:00/{ROOT_PORT}/power/runtime_status", "suspended\n")

    assert Missing("error:asleep") == of_gpu(tmp_path)["pci.path.dpc"]


def test_a_port_that_cut_off_its_gpu_is_found_though_nothing_is_below_it(tmp_path: Path) -> None:
    """The kernel takes the GPU out of sysfs; that the port can do it is how it is found."""
    pci(tmp_path, "0000:4e:00.0", port=ROOT_PORT)
    port(tmp_path, ROOT_PORT, dpc(1, 0))
    port(tmp_path, SWITCH_DOWN, dpc(1, 1))
    (tmp_path / "sys/bus/pci_express/devices" / f"{SWITCH_DOWN}:pcie208").mkdir(parents=True)
    told = found(tmp_path)

    assert (1, SWITCH_DOWN) == (told[NODE, "pci.dpc.triggered"], told[NODE, "pci.dpc.which"])
    assert "armed" == told[GPU, "pci.path.dpc"]


# Beside its neighbours


def widths(root: Path, *lanes: str, speeds: tuple[str, ...] = ()) -> list[tuple[Value | None, Value | None]]:
    for number, width in enumerate(lanes):
        speed = speeds[number] if speeds else "32.0 GT/s PCIe"
        pci(root, f"0000:{number:02x}:00.0", current_link_width=width, current_link_speed=speed)
    told = [of_gpu(root, f"0000:{number:02x}:00.0") for number in range(len(lanes))]
    return [(one.get("pci.link.narrower-than-siblings"), one.get("pci.link.slower-than-siblings")) for one in told]


def test_one_gpu_that_is_narrower_than_the_others_is_told(tmp_path: Path) -> None:
    assert [False, True, False, False] == [narrow for narrow, _ in widths(tmp_path, "16", "8", "16", "16")]
    assert [True, False] == [of_gpu(tmp_path, f"0000:{n:02x}:00.0")["pci.link.narrow"] for n in (1, 2)]


@pytest.mark.parametrize("lanes", [("16", "8"), ("16", "8", "4"), ("8", "8", "8"), ("16", "63", "8")])
def test_where_nothing_is_usual_nothing_is_narrower(tmp_path: Path, lanes: tuple[str, ...]) -> None:
    """Two cannot say which of them is odd; one that no longer answers has no width."""
    assert not any(narrow is True for narrow, _ in widths(tmp_path, *lanes))


def test_gpus_of_another_model_are_no_neighbours(tmp_path: Path) -> None:
    for number in range(3):
        pci(tmp_path, f"0000:{number:02x}:00.0", device=f"0x233{number}", current_link_width=str(4 << number))

    assert "pci.link.narrower-than-siblings" not in of_gpu(tmp_path, "0000:00:00.0")


def test_a_slot_that_is_narrow_by_design_is_not_called_narrow(tmp_path: Path) -> None:
    pci(tmp_path, "0000:4e:00.0", port=ROOT_PORT, current_link_width="8")
    port(tmp_path, ROOT_PORT, max_link_width="8", current_link_width="8")

    assert False is of_gpu(tmp_path)["pci.link.narrow"]


def test_a_window_of_ports_without_an_address_is_no_fault(tmp_path: Path) -> None:
    """Machines with many GPUs have too few I/O ports for all, and no driver needs them."""
    pci(tmp_path, "0000:4e:00.0", resource="\n".join([
        "0x00000000d0000000 0x00000000d0ffffff 0x0000000000040200",
        "0x0000000000000000 0x00000000000000ff 0x0000000000040101",
        "0x0000000000000000 0x0000003fffffffff 0x000000000014220c",
    ]))  # fmt: skip

    assert 1 == of_gpu(tmp_path)["pci.bars.unassigned"]


# What the kernel was told


def test_parameters_of_the_kernel_are_told_and_nothing_confidential(tmp_path: Path) -> None:
    write(
        tmp_path, "proc/cmdline",
        'BOOT_IMAGE=/vmlinuz root=/dev/mapper/secret pci=noaer,realloc=off intel_iommu=on iommu=pt pcie_aspm="off" '
        "modprobe.blacklist=nouveau,foo ip=10.1.2.3 nomodeset\n",
    )  # fmt: skip
    told = {name: value for name, value in node(tmp_path).items() if name.startswith("kernel.parameter.")}

    assert {
        "pci.noaer": True, "pci.nomsi": False, "pci.realloc": False, "nomodeset": True, "pcie-aspm": "off",
        "pcie-ports": "default", "iommu": "pt", "intel-iommu": "on", "amd-iommu": "default",
        "nvidia.blocked": False, "nouveau.blocked": True,
    } == {name.removeprefix("kernel.parameter."): value for name, value in told.items()}  # fmt: skip
    assert "10.1.2.3" not in str(told)


def test_without_a_command_line_no_parameter_is_known(tmp_path: Path) -> None:
    told = [value for name, value in node(tmp_path).items() if name.startswith("kernel.parameter.")]

    assert 11 == len(told)
    assert {Missing(NOT_SUPPORTED)} == set(told)


def test_this_machines_bus_is_read_without_a_word_of_error() -> None:
    host.probe(10.0)
    told = {each.name: each.value for each in pci_sysfs.read(Path("/"), time.monotonic() + 10)}

    assert isinstance(told["pci.gpus"], int) or not os.path.isdir("/sys/bus/pci/devices")
