"""`lspci -vvv` tells of links what sysfs would have told."""

from __future__ import annotations

import io
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from probes.model import LOST, NO_PERMISSION, Missing, Value
from triage.intake import Intake
from triage.sections import lspci

DATA = Path(__file__).parent / "data"


def told() -> dict[tuple[str, str], dict[str, Value]]:
    intake = Intake([str(DATA / "lspci-vvv.txt")], now=4102444800.0)
    assert [] == list(intake)
    found: dict[tuple[str, str], dict[str, Value]] = {}
    for reading in intake.readings:
        found.setdefault((reading.entity.kind, str(reading.entity.pci)), {})[reading.name] = reading.value
    assert ["lspci"] == [source.kind for source in intake.sources]
    return found


def test_a_gpu_its_link_and_the_port_above_it() -> None:
    found = told()

    link = {
        "pci.answers": True, "pci.link.width": 8, "pci.link.width.max": 16, "pci.link.speed": 16e9,
        "pci.link.speed.max": 32e9,
    }  # fmt: skip
    assert {
        "pci.device-id": "0x2330", "pci.driver": "nvidia", "pci.port": "0000:4d:01.0", "pci.link.narrow": True, **link,
    } == found[("gpu", "0000:4e:00.0")]  # fmt: skip
    assert link == found[("port", "0000:4d:01.0")]


def test_a_gpu_that_does_not_answer_has_no_link() -> None:
    found = told()[("gpu", "0000:5f:00.0")]

    assert False is found["pci.answers"]
    assert {Missing(LOST)} == {value for name, value in found.items() if name.startswith("pci.link.")}


def test_what_only_root_may_see_is_missing_for_want_of_permission() -> None:
    found = told()[("switch", "0000:a1:00.0")]

    assert Missing(NO_PERMISSION) == found["pci.link.width"]
    assert "pci.answers" not in found


def test_other_vendors_devices_are_not_gpus_of_ours() -> None:
    assert ("gpu", "0000:61:00.0") not in told()


def test_a_short_listing_says_nothing_of_links() -> None:
    """`lspci -nn` has a line for each device and no more."""
    line = "4e:00.0 3D controller [0302]: NVIDIA Corporation GH100 [10de:2330] (rev a1)"

    assert [("pci.device-id", "0x2330")] == [(r.name, r.value) for r in lspci.readings([line], 0.0)]


def test_a_drivers_name_reaches_no_terminal_raw_and_no_link_is_infinitely_fast() -> None:
    listing = f"""4e:00.0 3D controller: NVIDIA Corporation GH100 [10de:2330]
\tControl: I/O+
\t\tLnkSta:\tSpeed {"9" * 400}GT/s, Width x16
\tKernel driver in use: nvi\x1b[2Jdia\a
"""
    found = {reading.name: reading.value for reading in lspci.readings(listing.split("\n"), 0.0)}

    assert r"nvidia\x07" == found["pci.driver"]
    assert float("inf") not in found.values()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=1000), st.integers(0, 2000))
def test_nothing_raises(noise: bytes, place: int) -> None:
    content = (DATA / "lspci-vvv.txt").read_bytes()
    intake = Intake(["-"], now=0.0, stdin=io.BytesIO(content[:place] + noise + content[place:]))
    list(intake)

    assert len(intake.sources) >= 1
