"""`check --alert` and `gpu-triage alert`, as cron and people run them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.patience import until
from tests.ports import free_port
from tests.triage.alert.bodies import START, body, change
from tests.triage.alert.conftest import Configure
from tests.triage.alert.peers import Alertmanager, Peer, answer, told
from tests.triage.cli.conftest import Run
from tests.triage.cli.test_check import LOST, WELL
from tests.triage.cli.test_schema import fits
from triage import doctor
from triage.alert.queue import open_queue
from triage.alert.states import Delivery
from triage.alert.turn import Turn

Json = dict[str, Any]
SECRET = "hunter2hunter2hunter2hunter2hunt"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def pager(tmp_path: Path, peer: Peer) -> str:
    (tmp_path / "key").write_text(SECRET)
    return f"{{name: oncall, pagerduty: {{url: '{peer.url}/v2/enqueue', key: {{file: {tmp_path / 'key'}}}}}}}"


def actions(peer: Peer) -> list[str]:
    return [got.json["event_action"] for got in peer.got]


def test_cron_alerts_once_and_says_when_it_is_over(
    run: Run, run_with_node: Run, configure: Configure, pager: str, peer: Peer, state: Path
) -> None:
    """Sweep after sweep; the answer and the exit code are those of the sweep."""
    words = ("check", "--alert", "--alerts", str(configure(pager)), "--state-dir", str(state))
    done = [run_with_node(LOST, *words) for _ in range(2)]
    assert ["trigger"] == actions(peer)
    fingerprint = peer.got[0].json["dedup_key"]
    run("incidents", "resolve", fingerprint, "--reason", "riser reseated", "--state-dir", str(state))
    done.append(run_with_node(WELL, *words))

    assert ["trigger", "resolve"] == actions(peer)
    assert {fingerprint} == {got.json["dedup_key"] for got in peer.got}
    assert [2, 2, 0] == [each.returncode for each in done]
    assert [""] * 3 == [each.stderr for each in done]
    assert done[0].stdout.startswith("GPU-TRIAGE CRITICAL")


def test_what_could_not_be_sent_waits_for_the_next_sweep_and_that_is_told(
    run_with_node: Run, run: Run, configure: Configure, alertmanager: Alertmanager, peer: Peer, state: Path
) -> None:
    """Within the deadline; then it arrives, once."""
    fleet = f"{{name: fleet, alertmanager: {{url: '{alertmanager.url}'}}}}"
    words = ("--alerts", str(configure(fleet)), "--state-dir", str(state))
    began = time.monotonic()
    away = run_with_node(LOST, "check", "--alert", "--deadline", "8", *words)
    seconds = time.monotonic() - began
    waits = fits("alert-queue", run("alert", "queue", "--format", "json", *words).stdout)
    said = run("alert", "queue", *words).stdout
    alertmanager.start()
    back = run_with_node(LOST, "check", "--alert", *words)
    until(lambda: told(peer))

    assert 2 == away.returncode
    assert "gpu-triage: alerts: 1 message for fleet wait: connection refused\n" == away.stderr
    assert seconds < 90
    assert [(1, "connection refused")] == [(target["waiting"], target["why"]) for target in waits["targets"]]
    assert "1 waits since" in said
    assert "open " in said
    assert "" == back.stderr
    assert [("firing", waits["targets"][0]["messages"][0]["fingerprint"])] == told(peer)


def test_beside_a_watch_the_watch_sends(
    run_with_node: Run, configure: Configure, pager: str, peer: Peer, state: Path
) -> None:
    """Two that send would page twice."""
    turn = Turn(state)
    assert turn.take()
    words = ("check", "--alert", "--deadline", "8", "--alerts", str(configure(pager)), "--state-dir", str(state))
    done = run_with_node(LOST, *words)
    turn.close()

    assert [] == peer.got
    assert "1 message for oncall wait" in done.stderr
    with open_queue(state) as queue:
        assert ["open"] == [incident.state for incident in queue.incidents()]


def test_a_peer_that_says_nothing_holds_a_sweep_up_no_longer_than_its_deadline(
    run_with_node: Run, configure: Configure, pager: str, peer: Peer, state: Path
) -> None:
    """The answer comes first, and is the same."""
    peer.answer = lambda *_: time.sleep(180)
    words = ("check", "--alert", "--deadline", "8", "--alerts", str(configure(pager)), "--state-dir", str(state))
    began = time.monotonic()
    done = run_with_node(LOST, *words)

    assert time.monotonic() - began < 90
    assert 2 == done.returncode
    assert done.stdout.startswith("GPU-TRIAGE CRITICAL")
    assert "1 message for oncall wait" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--alert",), "nobody is alerted, for there is no"),
        (("--alert", "--alerts", "/none.yaml"), "/none.yaml:1:1: cannot be read"),
        (("--alerts", "/none.yaml"), "add --alert"),
        (("--alert", "--no-history", "--alerts", "/none.yaml"), "leave out --no-history"),
    ],
)
def test_an_alert_that_cannot_be_is_refused(run_with_node: Run, words: tuple[str, ...], says: str) -> None:
    done = run_with_node(WELL, "check", *words)

    assert 3 == done.returncode
    assert says in done.stdout
    assert done.stdout.startswith("GPU-TRIAGE UNKNOWN: ")


def test_a_test_says_of_each_target_whether_it_took_it(
    run: Run, configure: Configure, pager: str, peer: Peer, tmp_path: Path
) -> None:
    """It leaves nothing open, is plainly a test, and prints no secret."""
    hook = f"{{name: hook, webhook: {{url: '{peer.url}/services/T0/B0', secret: {{file: {tmp_path / 'key'}}}}}}}"
    away = f"{{name: away, alertmanager: {{url: 'http://127.0.0.1:{free_port()}'}}}}"
    alerts = str(configure(pager, hook, away))
    done = run("alert", "test", "--alerts", alerts)
    one = run("alert", "test", "oncall", "--alerts", alerts, "--format", "json")
    peer.answer = answer(403, b"no such key: " + SECRET.encode())
    refused = run("alert", "test", "oncall", "--alerts", alerts)

    lines = done.stdout.splitlines()
    assert 3 == done.returncode
    assert [["taken", "oncall"], ["taken", "hook"], ["FAILED", "away"]] == [line.split()[:2] for line in lines]
    assert "connection refused" in lines[2]
    assert (0, True) == (one.returncode, json.loads(one.stdout)["targets"][0]["taken"])
    assert (3, True) == (refused.returncode, "403: no such key: ***" in refused.stdout)
    assert SECRET not in done.stdout + done.stderr + one.stdout + refused.stdout
    assert "T0" not in done.stdout
    events = [got for got in peer.got if got.path == "/v2/enqueue"][:2]
    assert ["trigger", "resolve"] == [got.json["event_action"] for got in events]
    assert "info" == events[0].json["payload"]["severity"]
    assert "TEST" in events[0].json["payload"]["summary"].upper()
    assert ["test"] == [got.json["event"] for got in peer.got if got.path != "/v2/enqueue"]


def test_a_name_that_is_none_and_a_file_that_is_none_are_refused(run: Run, configure: Configure, pager: str) -> None:
    unknown = run("alert", "test", "oncal", "--alerts", str(configure(pager)))
    nobody = run("alert", "queue")

    assert (2, True) == (unknown.returncode, "there are oncall" in unknown.stderr)
    assert (2, True) == (nobody.returncode, "nobody is alerted" in nobody.stderr)


def test_what_was_refused_is_listed_and_let_go_again(
    run: Run, run_with_node: Run, configure: Configure, pager: str, peer: Peer, state: Path
) -> None:
    words = ("--alerts", str(configure(pager)), "--state-dir", str(state))
    peer.answer = answer(400, b"bad")
    first = run_with_node(LOST, "check", "--alert", *words)
    listed = run("alert", "queue", *words).stdout
    second = run_with_node(LOST, "check", "--alert", *words)
    peer.answer = answer(202)
    again = run("alert", "retry", *words).stdout
    run_with_node(LOST, "check", "--alert", *words)

    assert "alerts-refused: target oncall refused open of" in first.stderr
    assert "REFUSED" in listed
    assert "400: bad" in " ".join(listed.split())
    assert "" == second.stderr
    assert "1 refused message will be tried again by the next sender\n" == again
    assert ["trigger", "trigger"] == actions(peer)
    assert "REFUSED" not in run("alert", "queue", *words).stdout


def test_the_doctor_says_whether_alerts_arrive(
    configure: Configure, pager: str, peer: Peer, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody to alert, a file that is wrong, a secret that is away, what waits, what was refused, all well."""

    def says() -> tuple[str, str]:
        found = doctor.alerts(state, START)
        assert not found.needed
        assert found.state in ("readable",) or found.remedy
        return found.state, found.why or ""

    monkeypatch.setattr("triage.alert.config.standard_file", lambda: None)
    assert ("absent", "nobody is alerted") == says()
    path = configure(pager)
    monkeypatch.setattr("triage.alert.config.standard_file", lambda: path)
    assert ("readable", "") == says()
    with open_queue(state) as queue:
        queue.targets(["oncall"], 1, START)
        queue.put([change(body())], START)
        standing = queue.standing("oncall")
        queue.note("oncall", standing._replace(why="connection refused", due=START + 30, since=START - 60), ())
    assert ("partly", "1 wait for oncall since 2026-11-18T11:06:40.000Z: connection refused") == says()
    with open_queue(state) as queue:
        (incident,) = queue.incidents()
        known = queue.deliveries("oncall").get(incident.fingerprint)
        done = (known or Delivery())._replace(version=incident.version, why="it answers 400")
        queue.refuse("oncall", incident.fingerprint, done, "open", START)
    assert ("partly", "1 refused, the last by oncall: it answers 400") == says()
    (tmp_path / "key").unlink()
    assert "target oncall: its secret in file" in says()[1]
    path.write_text("targets: []\n")
    assert "unreadable" == says()[0]
