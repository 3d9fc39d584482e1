"""Network cards are read from a tree of files that stands for /; a card that hangs is a FIFO nobody writes to."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from probes import infiniband
from probes.model import NODE, Entity, Missing, Source, Value

BUS = "sys/devices/pci0000:15"


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text + "\n")


def device(root: Path, way: str, vendor: str, kind: str) -> Path:
    place = root / BUS / way
    write(root, f"{BUS}/{way}/vendor", vendor)
    write(root, f"{BUS}/{way}/class", kind)
    link = root / "sys/bus/pci/devices" / place.name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(place)
    return place


def card(root: Path, name: str, way: str, state: str = "4: ACTIVE", physical: str = "5: LinkUp", **counts: str) -> Path:
    place = device(root, way, "0x15b3", "0x020700")
    folder = f"{place.relative_to(root)}/infiniband/{name}"
    write(root, f"{folder}/fw_ver", "28.39.2048")
    write(root, f"{folder}/node_guid", "b8ce:f603:0012:3456")
    port = f"{folder}/ports/1"
    for file, text in (("state", state), ("phys_state", physical), ("rate", "400 Gb/sec (4X NDR)")):
        write(root, f"{port}/{file}", text)
    write(root, f"{port}/link_layer", "InfiniBand")
    for counter in infiniband.COUNTERS:
        write(root, f"{port}/counters/{counter}", counts.get(counter, "0"))
    for counter in infiniband.HW_COUNTERS:
        write(root, f"{port}/hw_counters/{counter}", counts.get(counter, "0"))
    (root / folder / "device").symlink_to(place)
    driver = root / "sys/bus/pci/drivers/mlx5_core"
    driver.mkdir(parents=True, exist_ok=True)
    (place / "driver").symlink_to(driver)
    link = root / "sys/class/infiniband" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(root / folder)
    return root / folder


def read(root: Path, seconds: float = 10.0) -> tuple[dict[tuple[Entity, str], Value], Source]:
    told = infiniband.probe(time.monotonic() + seconds, root)
    assert told is not None
    found = {(reading.entity, reading.name): reading.value for reading in told[0]}
    assert len(found) == len(told[0])  # nothing is said twice
    return found, told[1]


def node(root: Path, seconds: float = 10.0) -> dict[str, Value]:
    return {name: value for (entity, name), value in read(root, seconds)[0].items() if entity == NODE}


SWITCH = "0000:15:01.0/0000:16:00.0"


def test_a_port_is_described_and_which_gpus_share_its_switch(tmp_path: Path) -> None:
    card(tmp_path, "mlx5_0", f"{SWITCH}/0000:17:00.0/0000:18:00.0", symbol_error="7", out_of_sequence="3")
    device(tmp_path, f"{SWITCH}/0000:17:01.0/0000:19:00.0", "0x10de", "0x030200")
    device(tmp_path, "0000:15:02.0/0000:3a:00.0/0000:3b:00.0/0000:3c:00.0", "0x10de", "0x030200")
    found, source = read(tmp_path)
    whole = Entity("port", pci="0000:18:00.0", name="mlx5_0")
    port = whole._replace(name="mlx5_0/1")

    assert "active" == found[port, "ib.state"]
    assert "linkup" == found[port, "ib.physical-state"]
    assert 400e9 == found[port, "ib.rate"]
    assert "InfiniBand" == found[port, "ib.link-layer"]
    assert 7 == found[port, "ib.symbol-error"]
    assert 3 == found[port, "ib.out-of-sequence"]
    assert "mlx5_core" == found[whole, "ib.driver"]
    assert "28.39.2048" == found[whole, "ib.firmware"]
    assert "b8ce:f603:0012:3456" == found[whole, "ib.guid"]
    assert "0000:19:00.0" == found[whole, "ib.gpus-beside"]
    assert source.readable
    assert source.reason is None


def test_a_port_that_was_up_and_is_down_is_lost_and_one_never_cabled_is_not(tmp_path: Path) -> None:
    card(tmp_path, "mlx5_0", "0000:18:00.0")
    card(tmp_path, "mlx5_1", "0000:2a:00.0", "1: DOWN", "2: Polling", link_downed="3")
    card(tmp_path, "mlx5_2", "0000:3a:00.0", "1: DOWN", "2: Polling")
    card(tmp_path, "mlx5_3", "0000:4a:00.0", "1: DOWN", "3: Disabled", link_downed="1")
    found = node(tmp_path)

    assert (4, 1, 1) == (found["network.ports"], found["network.ports.active"], found["network.ports.lost"])
    assert 4 == found["network.link-downed"]


def test_counters_that_the_card_does_not_have_are_unknown(tmp_path: Path) -> None:
    card(tmp_path, "mlx5_0", "0000:18:00.0", symbol_error=str((1 << 64) - 1), link_downed="N/A (no PMA)")
    found = node(tmp_path)

    assert Missing("not-supported") == found["network.symbol-error"]
    assert Missing("not-supported") == found["network.link-downed"]
    assert 0 == found["network.ports.lost"]


def test_a_card_whose_firmware_hangs_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    folder = card(tmp_path, "mlx5_0", "0000:18:00.0")
    card(tmp_path, "mlx5_1", "0000:2a:00.0", symbol_error="9")
    (folder / "ports/1/state").unlink()
    os.mkfifo(folder / "ports/1/state")
    hung = os.open(folder / "ports/1/state", os.O_RDWR)  # so that its reader waits for words, not for a writer
    try:
        began = time.monotonic()
        found, source = read(tmp_path, 3.0)
    finally:
        os.close(hung)
    took = time.monotonic() - began
    one, other = (Entity("port", pci, name=name) for pci, name in
                  (("0000:18:00.0", "mlx5_0"), ("0000:2a:00.0", "mlx5_1")))  # fmt: skip

    assert took < 30
    assert "28.39.2048" == found[one, "ib.firmware"]
    assert Missing("timed-out") == found[one._replace(name="mlx5_0/1"), "ib.state"]
    assert Missing("timed-out") == found[one._replace(name="mlx5_0/1"), "ib.symbol-error"]
    assert 9 == found[other._replace(name="mlx5_1/1"), "ib.symbol-error"]
    assert source.readable
    assert source.reason == "mlx5_0 did not answer in time; read devlink health of the card"
    assert Missing("timed-out") == found[NODE, "network.ports.lost"]


@pytest.mark.parametrize("text", ["", "\x1b]0;x\x07", "9" * 5000, "-1", "lots"])
def test_nonsense_is_no_number_and_reaches_nobody_raw(tmp_path: Path, text: str) -> None:
    card(tmp_path, "mlx5_0", "0000:18:00.0", state=text, physical=text, symbol_error=text)
    found, _ = read(tmp_path)

    assert isinstance(found[NODE, "network.symbol-error"], Missing)
    assert all(value.isprintable() for value in found.values() if isinstance(value, str))


def test_a_node_without_a_card_has_no_such_source(tmp_path: Path) -> None:
    assert infiniband.probe(time.monotonic() + 1, tmp_path) is None
    (tmp_path / "sys/class/infiniband").mkdir(parents=True)
    assert infiniband.probe(time.monotonic() + 1, tmp_path) is None
