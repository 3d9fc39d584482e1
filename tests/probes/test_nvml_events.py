"""NVML's events arrive through a child process, and nothing that the driver does holds up who waits for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from probes.nvml_events import Event, Events
from tests.fake_nvml import Scenario

MakeScenario = Callable[[int], Scenario]


def listening(made: Scenario, library: Path) -> Events:
    return Events(library_env=made.env(library))


def next_event(events: Events, seconds: float = 20.0) -> Event:
    (event,) = events.wait(seconds)
    return event


def ready(events: Events) -> None:
    """Wait until every GPU was registered."""
    until = time.monotonic() + 20
    while not events.source.readable and events.listening and time.monotonic() < until:
        events.wait(0.05)


def test_an_xid_arrives_with_its_number_and_its_gpu(scenario: MakeScenario, fake_nvml: Path) -> None:
    """Whoever listens learns which GPU it was, not only its index."""
    made = scenario(2)
    with listening(made, fake_nvml) as events:
        ready(events)
        made.event(gpu=1, data=79)
        event = next_event(events)
        source = events.source

    assert ("xid", 79) == (event.kind, event.data)
    assert event.gpu is not None
    assert "0000:11:00.0" == event.gpu.pci
    assert (True, None, 1) == (source.readable, source.reason, source.records)


def test_nothing_that_happens_is_nothing_told(scenario: MakeScenario, fake_nvml: Path) -> None:
    """And the wait ends when it was told to."""
    with listening(scenario(1), fake_nvml) as events:
        ready(events)

        assert [] == events.wait(0.2)
        assert events.listening


def test_a_gpu_that_offers_no_events_is_said_to(scenario: MakeScenario, fake_nvml: Path) -> None:
    """Silence is then no sign of health."""
    made = scenario(1).on("nvmlDeviceGetSupportedEventTypes", "NOT_SUPPORTED")
    with listening(made, fake_nvml) as events:
        ready(events)
        events.wait(5.0)

    assert not events.source.readable
    assert "GPU 0: not-supported" in str(events.source.reason)


def test_a_library_that_is_not_there_is_said_to(tmp_path: Path) -> None:
    with Events(library_env={"LD_LIBRARY_PATH": str(tmp_path)}) as events:
        events.wait(20.0)

    assert not events.listening
    assert "libnvidia-ml.so.1 was not found" in str(events.source.reason)


def test_no_child_is_left_when_it_is_closed(scenario: MakeScenario, fake_nvml: Path) -> None:
    events = listening(scenario(1), fake_nvml)
    ready(events)
    process = events._process
    assert process is not None
    events.close()

    assert not os.path.exists(f"/proc/{process.pid}")
    assert [] == events.wait(0.1)


def test_a_driver_that_holds_up_the_wait_is_found_out(scenario: MakeScenario, fake_nvml: Path) -> None:
    """There is a sign of life every second; without one the child is ended and the call named."""
    made = scenario(1).on("nvmlEventSetWait_v2", "hang")
    with listening(made, fake_nvml) as events:
        while events.listening:
            assert [] == events.wait(10.0)

    assert "NVML did not answer in nvmlEventSetWait_v2" in str(events.source.reason)
