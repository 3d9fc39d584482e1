"""Messages through Apprise, the real one, to a server of the test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.triage.alert.bodies import START, body
from tests.triage.alert.peers import Peer, answer
from triage.alert import by_apprise, payload, send
from triage.alert.config import Target
from triage.alert.secret import Secret
from triage.alert.send import Message

ROOT = Path(__file__).parents[3]


def target(tmp_path: Path, url: str, **more: object) -> Target:
    path = tmp_path / "url"
    path.write_text(url)
    return Target("chat", "apprise", Secret(str(path)), **more)  # type: ignore[arg-type]


def test_a_message_arrives(tmp_path: Path, peer: Peer) -> None:
    """Title, text and kind, as Apprise's json:// brings them."""
    peer.answer = answer(200)
    told = payload.message("open", body())
    outcome = send.say(target(tmp_path, f"json://127.0.0.1:{peer.port}/in"), [Message("open", body(), "msg_1")], START)

    assert (True, "") == (outcome.taken, outcome.why)
    assert [(told["title"], "failure")] == [(got.json["title"], got.json["type"]) for got in peer.got]
    assert told["body"] == peer.got[0].json["message"]


@pytest.mark.parametrize(
    ("url", "refused", "says"),
    [("json://127.0.0.1:{port}/hunter2", False, "could not deliver"), ("nonsense://hunter2", True, "does not know")],
)
def test_what_does_not_arrive_says_so_and_no_more(tmp_path: Path, url: str, refused: bool, says: str) -> None:
    """The address is a secret, for it holds tokens."""
    outcome = send.say(target(tmp_path, url.format(port=free_port())), [Message("open", body(), "msg_1")], START)

    assert (False, refused) == (outcome.taken, outcome.refused)
    assert says in outcome.why
    assert "hunter2" not in outcome.why


def test_a_peer_that_answers_without_end_is_cut_off(tmp_path: Path, peer: Peer) -> None:
    """In memory and in time, and nobody else suffers: it is a process of its own."""

    def pour(handler: object, _got: object) -> None:
        handler.send_response(200)  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]
        while True:
            handler.wfile.write(b"x" * (1 << 20))  # type: ignore[attr-defined]

    peer.answer = pour
    began = time.monotonic()
    outcome = by_apprise.send(
        f"json://127.0.0.1:{peer.port}", payload.message("open", body()), 1.0, allow_link_local=False
    )

    assert not outcome.taken
    assert time.monotonic() - began < 15


def test_nobody_is_followed_elsewhere(tmp_path: Path, peer: Peer) -> None:
    """Here neither."""
    other = Peer()
    peer.answer = answer(307, Location=f"{other.url}/stolen")
    outcome = send.say(target(tmp_path, f"json://127.0.0.1:{peer.port}"), [Message("open", body(), "msg_1")], START)
    other.close()

    assert not outcome.taken
    assert [] == other.got


def test_addresses_of_the_own_link_are_not_connected_to() -> None:
    """Whatever the plug-in makes of its address; asked without any network."""
    script = (
        "import socket, sys\nfrom triage.alert import by_apprise\nsys.addaudithook(by_apprise._look)\n"
        "try:\n    socket.socket().connect(('169.254.169.254', 80))\nexcept ConnectionRefusedError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)

    assert "an address of the own link or of a metadata service\n" == done.stdout, done.stderr


def test_no_secret_stands_where_others_can_see_it(tmp_path: Path, peer: Peer) -> None:
    """Neither among the words of a command nor in its environment."""
    seen: list[bytes] = []

    def look(handler: object, _got: object) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                words, variables = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            except OSError:
                continue
            seen.append(words)
            if int(process.name) != os.getpid():
                seen.append(variables)
        answer(200)(handler, _got)  # type: ignore[arg-type]

    peer.answer = look
    url = f"json://127.0.0.1:{peer.port}/hunter2"

    assert send.say(target(tmp_path, url), [Message("open", body(), "msg_1")], START).taken
    assert "/hunter2" == peer.got[0].path
    assert any(b"by_apprise" in words for words in seen)
    assert not any(b"hunter2" in words for words in seen)


def test_without_apprise_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "apprise.py").write_text("raise ImportError('none')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    outcome = by_apprise.send(
        "json://127.0.0.1:1", {"title": "", "body": "", "type": "info"}, 5.0, allow_link_local=False
    )

    assert (True, by_apprise.MISSING) == (outcome.refused, outcome.why)
    assert json.dumps(outcome.why)
