"""Brief readings take the place of older ones only where they are of the same GPU and nothing is amiss."""

from __future__ import annotations

from probes.model import LOST, NODE, Entity, Missing, Reading, Source
from triage.watch.counters import Swept, brought_up

GPU = Entity("gpu", "0000:10:00.0", "GPU-1", "165", 0, "H100")
NVML, HOST = Source("nvml", "libnvidia-ml.so.1", True, 1.0, 2.0), Source("host", "/", True, 1.0, 2.0)
LAST = Swept(
    [
        Reading(NODE, "gpu.count", 1, "count", 1.0),
        Reading(GPU, "gpu.state", "ok", "text", 1.0),
        Reading(GPU, "gpu.rows.failure", False, "flag", 1.0),
        Reading(GPU, "gpu.vbios", "96.00", "text", 1.0),
        Reading(GPU, "pci.driver", "nvidia", "text", 1.0),
    ],
    [NVML, HOST],
    1.0,
)
WELL = [
    Reading(NODE, "gpu.count", 1, "count", 9.0),
    Reading(GPU, "gpu.state", "ok", "text", 9.0),
    Reading(GPU, "gpu.rows.failure", True, "flag", 9.0),
]
LATER = [NVML._replace(end=9.0)]


def test_what_was_read_again_is_new_and_the_rest_is_as_old_as_it_is() -> None:
    """In its old place, under the entity that says most."""
    new = brought_up(
        LAST, [reading._replace(entity=reading.entity._replace(serial=None)) for reading in WELL], LATER, 9.0
    )

    assert new is not None
    assert [9.0, 9.0, 9.0, 1.0, 1.0] == [reading.at for reading in new.readings]
    assert {NODE, GPU} == {reading.entity for reading in new.readings}
    assert [*LATER, HOST] == new.sources


def test_a_gpu_that_is_not_well_is_read_as_a_whole() -> None:
    """So is one that did not answer, another board, another number of them, and an NVML that fails."""
    lost = [*WELL[:1], WELL[1]._replace(value="lost"), WELL[2]._replace(value=Missing(LOST))]
    silent = [*WELL, Reading(GPU, "gpu.responsive", Missing("timed-out"), "flag", 9.0)]
    other = [*WELL[:1], *(reading._replace(entity=GPU._replace(uuid="GPU-2")) for reading in WELL[1:])]
    fewer = [WELL[0]._replace(value=0)]

    assert [None] * 4 == [brought_up(LAST, told, LATER, 9.0) for told in (lost, silent, other, fewer)]
    assert brought_up(LAST, WELL, [NVML._replace(readable=False)], 9.0) is None
