"""From a kernel line to a pager, whoever is killed or away in between: a real watch, a real Alertmanager."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from probes.stuck import start_of
from tests.fake_nvml import Scenario
from tests.kernel_ring import address
from tests.patience import WITHIN, until
from tests.triage.alert.conftest import Configure
from tests.triage.alert.peers import Alertmanager, Peer, answer, told
from tests.triage.watch.conftest import Packets, Start, check_lines, inject
from triage.alert.turn import Turn

OFF_BUS = "NVRM: Xid (PCI:{pci}): 79, pid=811, name=python, GPU has fallen off the bus."


def of(peer: Peer, fingerprint: str) -> list[str]:
    return [state for state, name in told(peer) if name == fingerprint]


def opened(hook: Peer) -> list[str]:
    """Return the fingerprints of what a webhook was told to have opened; that it changed since is told besides."""
    said = [got.json for got in list(hook.got)]
    return [told["incident"]["fingerprint"] for told in said if told["event"] == "open"]


@pytest.fixture
def hook(tmp_path: Path) -> Peer:
    (tmp_path / "key").write_text("hunter2hunter2")
    return Peer()


def webhook(hook: Peer, tmp_path: Path, name: str = "hook") -> str:
    return f"{{name: {name}, webhook: {{url: '{hook.url}/in', secret: {{file: {tmp_path / 'key'}}}}}}}"


@pytest.mark.usefixtures("kernel_log")
def test_a_line_of_the_kernel_log_reaches_who_listens_and_so_does_its_end(
    start: Start,
    configure: Configure,
    alertmanager: Alertmanager,
    peer: Peer,
    tmp_path: Path,
) -> None:
    """Written to the real kernel log, told by a real Alertmanager; a person says that it is over."""
    from triage.cli import main

    alertmanager.start()
    alerts = configure(f"{{name: fleet, alertmanager: {{url: '{alertmanager.url}'}}}}")
    watch = start("--alerts", str(alerts), "--every", "2").ready()
    pci = address()
    inject(OFF_BUS.format(pci=pci))
    fingerprint = watch.opened(pci)["fingerprint"]
    until(lambda: of(peer, fingerprint) == ["firing"])
    (alert,) = (a for a in alertmanager.alerts() if a["labels"]["fingerprint"] == fingerprint)
    words = ["incidents", "resolve", fingerprint, "--reason", "riser reseated", "--state-dir", str(tmp_path / "state")]
    assert 0 == main(words)
    until(lambda: of(peer, fingerprint) == ["firing", "resolved"])

    assert ("gpu-off-bus", "critical") == (alert["labels"]["alertname"], alert["labels"]["severity"])
    assert 0 == watch.stop()
    assert [] == [a for a in alertmanager.alerts() if a["labels"]["fingerprint"] == fingerprint]
    check_lines(watch)


def test_what_happens_while_alertmanager_is_away_and_the_watch_is_killed_arrives_once(
    start: Start,
    packets: Packets,
    configure: Configure,
    alertmanager: Alertmanager,
    peer: Peer,
    hook: Peer,
    tmp_path: Path,
) -> None:
    """Nobody who listens hears of any incident twice."""
    hook.answer = answer(503)
    alerts = configure(f"{{name: fleet, alertmanager: {{url: '{alertmanager.url}'}}}}", webhook(hook, tmp_path))
    fingerprints = []
    for turn in range(3):
        watch = start("--kmsg", str(packets.path), "--alerts", str(alerts)).ready()
        for number in range(2):
            packets.write(OFF_BUS.format(pci=f"0000:{0x10 + 2 * turn + number:02x}:00"))
            fingerprints.append(watch.opened(f"0000:{0x10 + 2 * turn + number:02x}:00")["fingerprint"])
        watch.stop(signal.SIGKILL)
    assert [] == told(peer)
    sender = Turn(tmp_path / "state")
    until(sender.take)  # the sender of the last one has ended: what it had said and not noted would be said again
    sender.close()
    alertmanager.start()
    hook.close()
    back = Peer(hook.port)  # another one, so that what was still on its way to the one before is not taken for told
    back.answer = answer(200)
    watch = start("--kmsg", str(packets.path), "--alerts", str(alerts))
    until(lambda: len(told(peer)) >= 6)
    until(lambda: len(opened(back)) >= 6)
    assert 0 == watch.stop()  # what else it has to send it sends now

    assert {("firing", fingerprint): 1 for fingerprint in fingerprints} == Counter(told(peer))
    assert dict.fromkeys(fingerprints, 1) == Counter(opened(back))
    back.close()


def test_a_peer_that_says_nothing_delays_no_line(
    start: Start,
    packets: Packets,
    configure: Configure,
    hook: Peer,
    tmp_path: Path,
) -> None:
    """And another target is told meanwhile."""
    silent, enough = Peer(), threading.Event()

    def say_nothing(*_: object) -> None:
        enough.wait(3 * WITHIN)

    silent.answer = say_nothing
    alerts = configure(webhook(silent, tmp_path, "silent"), webhook(hook, tmp_path))
    watch = start("--kmsg", str(packets.path), "--alerts", str(alerts)).ready()
    packets.write(OFF_BUS.format(pci="0000:10:00"))
    first = watch.opened("0000:10:00")["fingerprint"]
    until(lambda: silent.got)
    packets.write(OFF_BUS.format(pci="0000:11:00"))
    second = watch.opened("0000:11:00")["fingerprint"]
    until(lambda: opened(hook) == [first, second])

    assert 0 == watch.stop()  # which also does not wait for it
    enough.set()
    for peer in (silent, hook):
        peer.close()


def test_what_opened_before_anybody_was_alerted_is_told_when_somebody_is(
    start: Start,
    packets: Packets,
    configure: Configure,
    hook: Peer,
    tmp_path: Path,
) -> None:
    """How things stand is compared, not what happened since."""
    watch = start("--kmsg", str(packets.path))
    packets.write(OFF_BUS.format(pci="0000:10:00"))
    fingerprint = watch.opened("0000:10:00")["fingerprint"]
    watch.stop(signal.SIGKILL)
    watch = start("--kmsg", str(packets.path), "--alerts", str(configure(webhook(hook, tmp_path))))
    until(lambda: hook.got)

    assert ("open", fingerprint) == (hook.got[0].json["event"], hook.got[0].json["incident"]["fingerprint"])
    assert 0 == watch.stop()
    hook.close()


def test_a_new_configuration_is_taken_on_a_signal_and_one_that_is_wrong_is_not(
    start: Start,
    packets: Packets,
    configure: Configure,
    hook: Peer,
    tmp_path: Path,
) -> None:
    """What was told is not told again; a target that is new is told what is open."""
    alerts = configure(webhook(hook, tmp_path))
    watch = start("--kmsg", str(packets.path), "--alerts", str(alerts)).ready()
    packets.write(OFF_BUS.format(pci="0000:10:00"))
    fingerprint = watch.opened("0000:10:00")["fingerprint"]
    until(lambda: opened(hook) == [fingerprint])
    alerts.write_text("targets: [{name: x}]\n")
    watch.process.send_signal(signal.SIGHUP)
    kept = watch.wait_for(lambda line: line.get("what") == "alerts-kept")
    configure(webhook(hook, tmp_path), webhook(hook, tmp_path, "second"))
    watch.process.send_signal(signal.SIGHUP)
    watch.wait_for(lambda line: line.get("what") == "alerts-loaded")
    until(lambda: opened(hook) == [fingerprint] * 2)

    assert "needs exactly one of" in kept["says"]
    assert 0 == watch.stop()
    assert [fingerprint] * 2 == opened(hook)
    check_lines(watch)
    hook.close()


def test_a_sender_that_dies_is_started_again_and_that_is_told(
    start: Start,
    packets: Packets,
    configure: Configure,
    hook: Peer,
    tmp_path: Path,
) -> None:
    watch = start("--kmsg", str(packets.path), "--alerts", str(configure(webhook(hook, tmp_path)))).ready()
    sender = watch.child(b"alert.sender")
    began = start_of(sender)
    os.kill(sender, signal.SIGKILL)
    notice = watch.wait_for(lambda line: line.get("what") == "alerts-off")
    packets.write(OFF_BUS.format(pci="0000:10:00"))
    until(lambda: hook.got)

    assert "has ended (-9)" in notice["says"]
    assert 0 == watch.stop()
    assert began is not None
    assert start_of(sender) != began
    check_lines(watch)
    hook.close()


def test_a_queue_that_cannot_be_written_is_told_and_what_was_found_is_not_lost(
    start: Start,
    packets: Packets,
    configure: Configure,
    hook: Peer,
    tmp_path: Path,
) -> None:
    """It is put down once it can be."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "alerts.db").mkdir()
    watch = start("--kmsg", str(packets.path), "--alerts", str(configure(webhook(hook, tmp_path))))
    packets.write(OFF_BUS.format(pci="0000:10:00"))
    watch.opened("0000:10:00")
    watch.wait_for(lambda line: line.get("what") == "alerts-queue")
    (state / "alerts.db").rmdir()
    until(lambda: hook.got)

    assert 0 == watch.stop()
    assert "open" == hook.got[0].json["event"]
    check_lines(watch)
    hook.close()


def test_a_configuration_that_is_wrong_is_refused_at_the_start(
    start: Start,
    packets: Packets,
    configure: Configure,
    nodes: Scenario,
) -> None:
    """Rather than alerting nobody without anybody's knowing."""
    watch = start("--kmsg", str(packets.path), "--alerts", str(configure("{name: x}")))

    assert 2 == watch.process.wait(WITHIN)
    assert watch.process.stderr is not None
    assert b"alerts.yaml:2:5: target 'x' needs exactly one of" in watch.process.stderr.read()
