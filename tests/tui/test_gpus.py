"""GPUs beside each other."""

from __future__ import annotations

from probes.model import Entity, Missing, Reading
from probes.pci import without_address
from tests.tui import samples
from tui.facts import Gpu
from tui.gpus import GpuFacts, checks, gpus_of, value_words, why_unknown
from tui.screens.node import gpu_row

GPU = Entity("gpu", "0000:1b:00.0")


def _reading(value: object, unit: str = "count") -> Reading:
    return Reading(GPU, "gpu.x", value, unit, 0.0)  # type: ignore[arg-type]


def test_every_reading_that_is_not_known_is_a_question_mark_and_says_why() -> None:
    for reason in ("not-supported", "no-permission", "lost", "timed-out", "not-installed", "error:999"):
        assert "?" == value_words(_reading(Missing(reason)))
        assert reason == why_unknown(_reading(Missing(reason)))
    assert ("?", "not read") == (value_words(None), why_unknown(None))


def test_values_are_said_with_their_unit() -> None:
    said = [
        (0, "count", "0"),
        (48211, "count", "48,211"),
        (True, "flag", "yes"),
        (False, "flag", "no"),
        (61, "celsius", "61 C"),
        (418.2, "watts", "418 W"),
        (0.99, "ratio", "99%"),
        (71 << 30, "bytes", "71.0 GiB"),
        (4 << 20, "bytes", "4 MiB"),
        (1_980_000_000, "hertz", "1980 MHz"),
        (32e9, "transfers-per-second", "32 GT/s"),
        ("", "text", "?"),
        ("ok", "text", "ok"),
    ]
    for value, unit, words in said:
        assert words == value_words(_reading(value, unit))


def test_incidents_and_readings_of_one_gpu_meet_whichever_name_each_used() -> None:
    known = gpus_of(samples.known(), samples.readings())

    assert list(range(8)) == [own.gpu.index for own in known]
    assert ["gpu-off-bus"] == [incident.rule for incident in known[3].incidents]
    assert ["gsp-fault"] == [incident.rule for incident in known[0].incidents]
    assert ["warning", "ok", "ok", "critical", "ok"] == [own.state for own in known[:5]]


def test_a_gpu_without_readings_is_not_called_well() -> None:
    assert "unknown" == GpuFacts(Gpu(pci="0000:1b:00.0"), {}, ()).state


def test_a_gpu_that_the_driver_calls_lost_is_not_unknown() -> None:
    own = GpuFacts(Gpu(index=3), {"gpu.state": _reading("lost", "text")}, ())

    assert ("critical", "lost") == (own.state, own.told)


def test_what_stands_apart_comes_first_and_what_is_unknown_last() -> None:
    known = gpus_of(samples.known(), samples.readings())
    found = checks(known[2], known)

    assert [("gpu.temperature", "46% above peers"), ("gpu.clock.sm", "11% below peers")] == [
        (check.name, check.note) for check in found if check.apart
    ]
    assert found[0].name == "gpu.temperature"
    assert ("91 C", "58-65 C", "92 C") == (found[0].now, found[0].peers, found[0].limit)
    lost = checks(known[3], known)
    assert not any(check.apart for check in lost if not check.known)
    assert not lost[-1].known


def test_one_gpu_alone_has_no_peers_to_differ_from() -> None:
    known = gpus_of(samples.known(incidents=[]), samples.readings()[1:18])

    assert {"-"} == {check.peers for check in checks(known[0], known)}


def test_a_gpu_that_told_no_address_has_none_on_its_line() -> None:
    """What stands for it within the program is no address to read out to somebody at the rack."""
    own = GpuFacts(Gpu(without_address(5), None, None, 5, None), {}, ())
    assert ("5", "?", "?") == tuple(text for _, text in gpu_row(own, False).cells[:3])
