"""NVML's events arrive through a child process, and nothing that the driver does holds up who waits for them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from probes import stuck
from probes.nvml_events import Event, Events
from tests.fake_nvml import Scenario, build
from tests.patience import WITHIN

MakeScenario = Callable[[int], Scenario]


def listening(made: Scenario, library: Path) -> Events:
    return Events(library_env=made.env(library))


def next_event(events: Events, seconds: float = WITHIN) -> Event:
    (event,) = events.wait(seconds)
    return event


def ready(events: Events) -> None:
    """Wait until every GPU was registered."""
    until = time.monotonic() + WITHIN
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


def test_a_gpu_that_is_lost_is_said_to_tell_nothing(scenario: MakeScenario, fake_nvml: Path) -> None:
    """Though the library remembers its name and registers for its events."""
    made = scenario(2)
    made.gpu(1).on("nvmlDeviceGetMemoryInfo", "GPU_IS_LOST")
    with listening(made, fake_nvml) as events:
        ready(events)

        assert [None, "lost"] == [why for _, _, why in events.told.values()]


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


def test_a_gpu_that_refuses_keeps_no_other_from_telling(scenario: MakeScenario, fake_nvml: Path) -> None:
    """And it is said which one is silent, and why."""
    made = scenario(2)
    made.gpu(0).on("nvmlDeviceRegisterEvents", "NO_PERMISSION")
    with listening(made, fake_nvml) as events:
        ready(events)
        made.event(gpu=0, data=13).event(gpu=1, data=79)
        event = next_event(events)

    assert ("0000:11:00.0", 79) == (event.gpu and event.gpu.pci, event.data)
    assert "GPU 0: no-permission" == events.source.reason
    assert [(), ("xid",)] == [kinds if not kinds else kinds[:1] for _, kinds, _ in (events.told[0], events.told[1])]


def test_only_what_a_gpu_offers_is_asked_of_it(scenario: MakeScenario, fake_nvml: Path) -> None:
    made = scenario(1)
    made.gpu(0).set("events", 8)
    with listening(made, fake_nvml) as events:
        ready(events)

        assert ("xid",) == events.told[0][1]


def test_a_child_that_crashes_is_told(scenario: MakeScenario, fake_nvml: Path) -> None:
    """Nothing more can come, and nobody waits for it."""
    with listening(scenario(1).on("nvmlEventSetWait_v2", "crash"), fake_nvml) as events:
        while events.listening:
            events.wait(5.0)

    assert "the child that listened ended" == events.source.reason


def test_a_library_that_cannot_wait_is_told_to(scenario: MakeScenario, tmp_path: Path) -> None:
    old = build(tmp_path / "old", omit=("nvmlEventSetWait_v2",))
    with listening(scenario(1), old) as events:
        while events.listening:
            events.wait(5.0)

    assert "NVML could not be used (not-supported)" in str(events.source.reason)


def test_waits_that_fail_are_told_and_go_on(scenario: MakeScenario, fake_nvml: Path) -> None:
    made = scenario(1).on("nvmlEventSetWait_v2", "UNKNOWN")
    with listening(made, fake_nvml) as events:
        ready(events)
        until = time.monotonic() + 20
        while events.source.reason is None and time.monotonic() < until:
            events.wait(0.1)
        assert "waiting failed (error:UNKNOWN)" == events.source.reason
        made.clear("do.nvmlEventSetWait_v2").event(gpu=0, data=79)

        assert 79 == next_event(events).data
        assert events.source.reason is None


def test_no_listener_is_started_beside_a_child_that_hangs(
    scenario: MakeScenario, fake_nvml: Path, tmp_path: Path
) -> None:
    with subprocess.Popen(["sleep", "60"]) as hung:
        stuck.note(tmp_path / "state", hung.pid, time.time() - 60, "nvmlDeviceGetTotalEccErrors")
        with Events(library_env=scenario(1).env(fake_nvml), state_dir=tmp_path / "state") as events:
            assert [] == events.wait(0.1)
            assert not events.listening
        hung.kill()

    assert f"process {hung.pid} of an earlier sweep still hangs" in str(events.source.reason)
