"""Bringing one target up to date, whatever it and the network do, on a clock that the test sets."""

from __future__ import annotations

import base64
import hmac
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.patience import until
from tests.ports import free_port
from tests.triage.alert.bodies import START, body, change
from tests.triage.alert.peers import Alertmanager, Got, Peer, answer, told
from tests.triage.alert.test_payload import PAGERDUTY
from triage.alert import courier
from triage.alert.config import Target
from triage.alert.courier import Courier
from triage.alert.queue import Queue, open_queue
from triage.alert.secret import Secret
from triage.alert.sender import forget
from triage.alert.waiting import waiting
from triage.history.place import Unavailable
from triage.report import iso

Json = dict[str, Any]
SECRET = "hunter2hunter2hunter2hunter2hunt"


class Days:
    """A queue, a target, and a clock that jumps to when there is something to do."""

    def __init__(self, directory: Path, target: Target) -> None:
        self.target, self.now = target, START
        self.notices: list[tuple[str, str]] = []
        self.queue: Queue = open_queue(directory)
        self.queue.targets([target.name], 1, START)
        self._courier = Courier(
            target, "gpu-0417", lambda: self.now, lambda what, says: self.notices.append((what, says))
        )

    def put(self, *bodies: Json) -> None:
        self.queue.put([change(told) for told in bodies], self.now)

    def turn(self) -> float:
        again = self._courier.turn(self.queue)
        forget(self.queue, [self.target], self.now)
        return again

    def pass_(self, seconds: float) -> int:
        """Let so much time pass; return how often there was something to do."""
        end, turns = self.now + seconds, 0
        while (again := self.turn()) <= end:
            turns += 1
            assert turns < 5000
            self.now = max(self.now + 0.001, again)
        self.now = end
        return turns

    def again(self) -> None:
        """As after a kill: only what is on the disk is known."""
        tell = self._courier._tell
        self._courier = Courier(self.target, "gpu-0417", lambda: self.now, tell)

    def waits(self) -> list[tuple[str, str]]:
        (line,) = waiting(self.queue, [self.target], self.now)
        return [(fingerprint.rpartition("/")[2], event) for fingerprint, event, *_ in line.messages]


@pytest.fixture
def key(tmp_path: Path) -> Secret:
    path = tmp_path / "key"
    path.write_text(SECRET)
    return Secret(str(path))


@pytest.fixture
def pager(tmp_path: Path, peer: Peer, key: Secret) -> Iterator[Days]:
    days = Days(tmp_path / "state", Target("pager", "pagerduty", f"{peer.url}/v2/enqueue", key=key))
    yield days
    days.queue.close()


@pytest.fixture
def hook(tmp_path: Path, peer: Peer, key: Secret) -> Iterator[Days]:
    days = Days(tmp_path / "state", Target("hook", "webhook", f"{peer.url}/in", key=key, limit=None))
    yield days
    days.queue.close()


def events(peer: Peer) -> list[tuple[str, str]]:
    """What PagerDuty was sent, which fits what it documents: the action and the last part of the key."""
    for got in peer.got:
        PAGERDUTY.validate(got.json)
    return [(got.json["event_action"], got.json["dedup_key"].rpartition("/")[2]) for got in peer.got]


def sent(peer: Peer) -> list[tuple[str, str]]:
    """What the webhook was sent, and whether it was we who sent it."""
    for got in peer.got:
        said = b".".join((got.headers["webhook-id"].encode(), got.headers["webhook-timestamp"].encode(), got.body))
        mac = base64.b64encode(hmac.digest(SECRET.encode(), said, "sha256")).decode()
        assert f"v1,{mac}" == got.headers["webhook-signature"]
        assert got.headers["webhook-id"] == got.json["id"]
    return [
        (got.json["event"], got.json.get("incident", {"fingerprint": ""})["fingerprint"].rpartition("/")[2])
        for got in peer.got
    ]


def dead(peer: Peer) -> None:
    """Hang up on everybody, as a proxy before a server that is away does."""
    peer.answer = answer(503)


def test_an_incident_is_paged_acknowledged_and_resolved_once_each(pager: Days, peer: Peer) -> None:
    """However often it is looked at; and then it is forgotten."""
    for state in ("open", "acknowledged", "open", "resolved"):
        pager.put(body(state=state))
        pager.pass_(3600)
        pager.pass_(3600)

    assert [("trigger", "one"), ("acknowledge", "one"), ("trigger", "one"), ("resolve", "one")] == events(peer)
    assert [] == pager.queue.incidents()


def test_what_changed_while_it_was_away_is_told_as_it_stands(pager: Days, peer: Peer) -> None:
    """No page hangs open, none is for what is over, and none comes twice."""
    dead(peer)
    pager.put(body("came-and-went"), body("stays"), body("back"))
    pager.pass_(60)
    peer.answer = answer(202)
    pager.put(body("known"))
    known = [pager.pass_(120)]
    assert known
    first = [event for event in events(peer) if event[1] == "known"]
    dead(peer)
    pager.put(body("known", "resolved"), body("later"), body("back", "resolved"))
    pager.pass_(600)
    pager.put(body("later", "resolved"), body("back"))
    pager.pass_(3000)
    peer.got.clear()
    peer.answer = answer(202)
    pager.pass_(120)

    assert [("trigger", "known")] == first
    assert ("resolve", "known") in events(peer)
    assert not [event for event in events(peer) if event == ("trigger", "later")]
    assert len(events(peer)) == len(set(events(peer)))
    assert [] == pager.waits()


def test_an_outage_of_an_hour_costs_few_attempts_and_loses_nothing(hook: Days, peer: Peer) -> None:
    """A hundred incidents wait for one peer that is asked once a minute, not a hundred times."""
    dead(peer)
    hook.put(*(body(str(number)) for number in range(100)))
    hook.pass_(3600)
    attempts = len(peer.got)
    peer.got.clear()
    peer.answer = answer(200)
    hook.pass_(120)

    assert attempts < 150
    assert {("open", str(number)) for number in range(100)} == set(sent(peer))
    assert 100 == len(sent(peer))
    assert ["alerts-waiting", "alerts-taken"] == [what for what, _ in hook.notices]
    assert "503" in hook.notices[0][1]


def test_killed_in_the_middle_it_goes_on_where_it_was(hook: Days, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was taken and not noted is sent once more under the same name, and nothing else is."""
    rng = random.Random(4)

    class Killed(Exception):
        pass

    def maybe_kill(handler: BaseHTTPRequestHandler, got: Got) -> None:
        answer(200)(handler, got)
        kill[0] = rng.random() < 0.3

    kill = [False]
    peer.answer = maybe_kill
    note = hook.queue.note

    def noted(*given: Any, **how: Any) -> None:
        if kill[0]:
            kill[0] = False
            raise Killed
        note(*given, **how)

    monkeypatch.setattr(hook.queue, "note", noted)
    for number in range(40):
        hook.put(body(str(number)))
        for _ in range(20):
            try:
                hook.pass_(0.5)
                break
            except Killed:
                hook.again()
    hook.pass_(120)

    names: dict[str, set[tuple[str, str]]] = {}
    for got, what in zip(peer.got, sent(peer), strict=True):
        names.setdefault(got.headers["webhook-id"], set()).add(what)
    assert 40 == len(names) < len(peer.got)
    assert [1] * 40 == [len(what) for what in names.values()]


def test_one_incident_that_a_peer_chokes_on_does_not_hold_up_the_others(hook: Days, peer: Peer) -> None:
    """It is tried again behind them."""

    def chokes(handler: BaseHTTPRequestHandler, got: Got) -> None:
        answer(500 if got.json["incident"]["fingerprint"].endswith("/poison") else 200)(handler, got)

    peer.answer = chokes
    hook.put(body("poison"), *(body(str(number)) for number in range(5)))
    hook.pass_(60)

    assert [str(number) for number in range(5)] == [name for _, name in sent(peer) if name != "poison"]
    assert [("poison", "open")] == hook.waits()


def test_what_is_refused_is_not_tried_again_and_told_once(pager: Days, peer: Peer) -> None:
    """Until somebody says so; nothing of the secret is in what is told, even if the peer quotes it."""
    peer.answer = answer(
        400, b'{"status":"invalid event","errors":["routing_key ' + SECRET.encode() + b' is unknown"]}'
    )
    pager.put(body("a"), body("b"))
    pager.pass_(7200)
    refused = pager.queue.refusals()

    assert 2 == len(peer.got)
    assert ["a", "b"] == [fingerprint.rpartition("/")[2] for _, _, fingerprint, _, _ in refused]
    assert ["alerts-refused"] == [what for what, _ in pager.notices]
    assert "routing_key *** is unknown" in pager.notices[0][1]
    assert SECRET not in json.dumps([pager.notices, refused])
    peer.answer = answer(202)
    assert 2 == pager.queue.retry("pager")
    pager.pass_(60)
    assert {("trigger", "a"), ("trigger", "b")} == set(events(peer)[2:])
    assert [] == pager.queue.refusals()


def test_a_new_configuration_is_a_reason_to_try_again(pager: Days, peer: Peer) -> None:
    peer.answer = answer(404)
    pager.put(body())
    pager.pass_(60)
    pager.queue.targets(["pager"], 1, pager.now)
    pager.pass_(60)
    assert 1 == len(peer.got)
    peer.answer = answer(202)
    pager.queue.targets(["pager"], 2, pager.now)
    pager.pass_(60)

    assert [("trigger", "one")] == events(peer)[1:]


def test_who_asks_to_be_left_alone_is(hook: Days, peer: Peer) -> None:
    """For as long as Retry-After says."""
    peer.answer = answer(429, Retry_After="600")
    hook.put(body("a"), body("b"))
    hook.pass_(590)
    assert 1 == len(peer.got)
    peer.answer = answer(200)
    hook.pass_(30)

    assert {("open", "a"), ("open", "b")} == set(sent(peer)[1:])


def test_a_storm_is_a_few_messages_and_one_that_says_how_many_more(tmp_path: Path, peer: Peer, key: Secret) -> None:
    """The others follow as the limit allows; what is over by then was never told and is not."""
    days = Days(tmp_path / "state", Target("pager", "pagerduty", peer.url, key=key, limit=10))
    days.put(*(body(f"{number:03d}") for number in range(100)))
    days.pass_(1)
    first = events(peer)
    days.pass_(599)
    more = events(peer)[len(first) :]
    days.put(*(body(f"{number:03d}", "resolved") for number in range(100)))
    peer.got.clear()
    days.pass_(3600)

    assert ([("trigger", f"{number:03d}") for number in range(10)], ("trigger", "pager")) == (first[:-1], first[-1])
    assert 10 == len(more)
    over = events(peer)
    assert {("resolve", f"{number:03d}") for number in range(20)} | {("resolve", "pager")} == set(over)
    assert len(over) == len(set(over))
    days.queue.close()


def test_an_incident_that_changes_all_the_time_is_told_twice_a_minute(hook: Days, peer: Peer) -> None:
    """With what is newest by then."""
    for seen in range(1, 121):
        hook.put({**body(), "seen": seen})
        hook.pass_(1)
    hook.pass_(60)

    assert ["open"] + ["update"] * 4 == [event for event, _ in sent(peer)]
    assert 120 == peer.got[-1].json["incident"]["seen"]


def test_a_clock_that_was_set_back_silences_nobody(hook: Days, peer: Peer) -> None:
    """Pauses that would last for years are not kept."""
    hook.now = START + 10 * 365 * 86400
    dead(peer)
    hook.put(body("a"))
    hook.pass_(60)
    hook.now = START
    hook.again()
    peer.answer = answer(200)
    hook.pass_(1)

    assert ("open", "a") == sent(peer)[-1]


def test_a_secret_that_cannot_be_read_is_a_reason_to_wait(pager: Days, peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "key").rename(tmp_path / "away")
    pager.put(body())
    pager.pass_(120)
    assert [] == peer.got
    assert "cannot be read: no such file" in pager.notices[0][1]
    (tmp_path / "away").rename(tmp_path / "key")
    pager.pass_(120)

    assert [("trigger", "one")] == events(peer)


def test_nothing_is_sent_that_could_not_be_noted(hook: Days, peer: Peer) -> None:
    """On a full disk it would be sent again and again."""
    hook.put(body())
    pages = hook.queue.db.execute("PRAGMA page_count").fetchone()[0]
    hook.queue.db.execute("CREATE TABLE filling(x)")
    hook.queue.db.execute(
        "CREATE TRIGGER full BEFORE INSERT ON delivery BEGIN INSERT INTO filling VALUES(zeroblob(1 << 20)); END"
    )
    hook.queue.db.execute(f"PRAGMA max_page_count = {pages + 2}")
    for _ in range(3):
        with pytest.raises(Unavailable, match="is full; free some space"):
            hook.turn()
    assert [] == peer.got
    hook.queue.db.execute("DROP TRIGGER full")
    hook.pass_(1)

    assert [("open", "one")] == sent(peer)


def test_what_nobody_could_be_told_for_a_week_is_given_up_and_said(pager: Days, peer: Peer) -> None:
    """Only what is over: what is open still matters."""
    pager.put(body("over"), body("open"))
    pager.pass_(60)
    dead(peer)
    pager.put(body("over", "resolved"), body("fresh"))
    pager.pass_(120)
    pager.now += courier.GIVE_UP
    pager.pass_(120)

    assert ["alerts-waiting", "alerts-refused"] == [what for what, _ in pager.notices]
    assert "could not be told for 7 days" in pager.notices[1][1]
    assert [("fresh", "open")] == pager.waits()


def test_alertmanager_is_told_again_while_it_is_open_and_after_its_end(
    tmp_path: Path, alertmanager: Alertmanager, peer: Peer
) -> None:
    """The real one: a severity that changes moves the alert, and the end of it reaches who listens."""
    days = Days(tmp_path / "state", Target("fleet", "alertmanager", alertmanager.url, limit=None))
    alertmanager.start()
    days.now = began = time.time()
    fingerprint = body()["fingerprint"]
    days.put(body(at=began))
    days.pass_(600)
    until(lambda: told(peer) == [("firing", fingerprint)])
    alertmanager.stop()  # it keeps no alerts: only whoever sends them again can tell it
    alertmanager.start()
    days.pass_(61)
    assert [fingerprint] == [alert["labels"]["fingerprint"] for alert in alertmanager.alerts()]
    days.now = time.time()
    days.put(body(severity="warning", at=began))
    days.pass_(31)
    assert ["warning"] == [alert["labels"]["severity"] for alert in alertmanager.alerts()]
    over = body(state="resolved", severity="warning", at=began)
    over["history"]["resolved_at"] = iso(time.time())
    days.now = time.time()
    days.put(over)
    days.turn()
    until(lambda: alertmanager.alerts() == [])
    until(lambda: told(peer)[-1] == ("resolved", fingerprint))

    again = [days.turn() - days.now]
    assert [60] == [round(pause) for pause in again]
    days.queue.close()


def test_alertmanager_that_was_away_for_an_hour_hears_of_all_and_of_none_twice(
    tmp_path: Path, alertmanager: Alertmanager, peer: Peer
) -> None:
    """The real one, on a clock that jumps; who fills the queue and who empties it are killed in between."""
    days = Days(tmp_path / "state", Target("fleet", "alertmanager", alertmanager.url, limit=None))
    days.now = began = time.time() - 3700
    for number in range(0, 60, 10):
        days.put(*(body(str(each), at=began) for each in range(number, number + 10)))
        days.pass_(600)
        days.again()
    days.put(body("0", "resolved", at=began))
    alertmanager.start()
    days.now = time.time()
    days.pass_(0.1)
    until(lambda: len(told(peer)) >= 59)
    days.pass_(120)
    time.sleep(0.4)

    wanted = {("firing", body(str(number))["fingerprint"]): 1 for number in range(1, 60)}
    assert wanted == Counter(told(peer))
    assert ["alerts-waiting", "alerts-taken"] == [what for what, _ in days.notices]
    days.queue.close()


def test_what_is_sent_again_and_refused_then_is_listed_once_and_not_any_more_when_it_is_taken(
    tmp_path: Path, peer: Peer
) -> None:
    days = Days(tmp_path / "state", Target("fleet", "alertmanager", peer.url, limit=None))
    days.put(body())
    days.pass_(1)
    peer.answer = answer(401)
    days.pass_(600)
    assert 1 == len(days.queue.refusals())
    assert ["alerts-refused"] == [what for what, _ in days.notices]
    peer.answer = answer(200)
    days.pass_(61)

    assert [] == days.queue.refusals()
    days.queue.close()


def test_alertmanager_that_refuses_one_alert_gets_the_others(tmp_path: Path, peer: Peer) -> None:
    """They go together, and one by one where that is refused."""

    def picky(handler: BaseHTTPRequestHandler, got: Got) -> None:
        names = [alert["labels"]["fingerprint"].rpartition("/")[2] for alert in got.json]
        answer(400 if "bad" in names else 200)(handler, got)

    peer.answer = picky
    days = Days(tmp_path / "state", Target("fleet", "alertmanager", f"{peer.url}/base", limit=None))
    days.put(body("a"), body("bad"), body("b"))
    days.pass_(10)

    assert {"/base/api/v2/alerts"} == {got.path for got in peer.got}
    assert [3, 1, 1, 1] == [len(got.json) for got in peer.got]
    assert ["bad"] == [fingerprint.rpartition("/")[2] for _, _, fingerprint, _, _ in days.queue.refusals()]
    days.queue.close()


def test_who_lets_nobody_in_is_not_asked_for_each_alert(tmp_path: Path, peer: Peer) -> None:
    """An answer about us is one about all of them."""
    peer.answer = answer(401)
    days = Days(tmp_path / "state", Target("fleet", "alertmanager", peer.url, limit=None))
    days.put(*(body(str(number)) for number in range(10)))
    days.pass_(10)

    assert 1 == len(peer.got)
    assert 10 == len(days.queue.refusals())
    assert 1 == len(days.notices)
    days.queue.close()


def test_nobody_there_may_not_have_been_told(tmp_path: Path, key: Secret) -> None:
    """So that nothing is resolved that was never opened."""
    days = Days(tmp_path / "state", Target("pager", "pagerduty", f"http://127.0.0.1:{free_port()}", key=key))
    days.put(body())
    days.pass_(60)
    assert [False] == [known.unsure for known in days.queue.deliveries("pager").values()]
    days.put(body(state="resolved"))
    days.pass_(60)

    assert [] == days.waits()
    assert [] == days.queue.incidents()
    days.queue.close()
