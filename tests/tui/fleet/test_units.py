"""Names of numbers tell their units, as a real GPU's probes gave them."""

from __future__ import annotations

import io
from pathlib import Path

from probes.model import Missing
from triage.capture import read
from triage.found import Found
from triage.streams import blocks
from tui.fleet.units import unit_of, value_of

CAPTURE = Path(__file__).parents[2] / "fixtures" / "h200-healthy-redacted.tar.gz"


def test_a_real_gpus_numbers_come_back_as_they_were() -> None:
    found = Found("capture")
    list(read(blocks(io.BytesIO(CAPTURE.read_bytes())), found))
    told = [r for r in found.readings if r.entity.kind == "gpu" and not isinstance(r.value, (str, Missing))]

    assert len(told) > 40
    for reading in told:
        assert reading.unit == unit_of(reading.name), reading.name
        assert reading.value == value_of(float(reading.value), reading.unit)  # type: ignore[arg-type]


def test_what_nobody_knows_is_a_count() -> None:
    assert ("count", "ratio", "flag") == tuple(map(unit_of, ("gpu.new", "gpu.nvlink.3.ber.symbol", "gpu.slowdown.hw")))
