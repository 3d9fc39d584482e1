"""A sweep's way into its store: nothing waits for the store, and what is not in it is known at the end."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.patience import until
from tests.triage.fleet.places import DAY
from tests.triage.fleet.store.made import swept
from triage.fleet.model import ANSWERED, FAILED, TIMED_OUT, Answer
from triage.fleet.store import read, write
from triage.fleet.store.opened import Store
from triage.fleet.store.stream import Stream
from triage.fleet.store.trouble import Unreachable, Unusable

CAPTURE = Path(__file__).parents[3] / "fixtures" / "h200-healthy-redacted.tar.gz"


def begun(store: Store, **more: Any) -> Stream:
    given: dict[str, Any] = {"root": None, "overlays": (), "now": DAY, "tz_offset": 0.0, "jobs": 1, "places": {}}
    return Stream(store, swept(), **{**given, **more})


def kept(store: Store) -> dict[str, str]:
    return store.read(lambda c: {name: said[0].answer.state for name, said in read.by_node(c)})


def test_captures_are_read_aside_and_written_with_what_the_inventory_knows(tmp_path: Path, store: Store) -> None:
    """Under the name by which the node was asked."""
    shutil.copy(CAPTURE, tmp_path / "n1.tar.gz")
    (tmp_path / "n2.tar.gz").write_bytes(b"\x1f\x8bno capture")
    going = begun(store, places={"n1": {"rack": "r7"}})
    going.add("n1", 1.25, str(tmp_path / "n1.tar.gz"))
    going.add("n2", 0.5, str(tmp_path / "n2.tar.gz"))
    going.silent(Answer("n3", TIMED_OUT, "late"))
    ended = going.end()

    assert ([], None) == (ended.unsaved, ended.reason)
    assert {"n1": ANSWERED, "n2": FAILED, "n3": TIMED_OUT} == {each.node: each.state for each in ended.answers}
    assert {each.node: each.state for each in ended.answers} == kept(store)
    ((told,),) = store.read(lambda c: [said for _, said in read.by_node(c, only=["n1"])])
    assert (1.25, "r7", 1) == (told.answer.took, told.answer.facts["rack"], len(told.answer.gpus))


def test_a_store_that_is_away_for_a_while_gets_everything(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is kept and tried again."""
    plain, tries = write.put, []

    def shaky(*words: Any, **more: Any) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise Unreachable("the server is away")
        plain(*words, **more)

    monkeypatch.setattr(write, "put", shaky)
    going = begun(store)
    going.silent(Answer("n1", TIMED_OUT, "late"))
    until(lambda: len(tries) >= 3)
    ended = going.end()

    assert ([], None) == (ended.unsaved, ended.reason)
    assert {"n1": TIMED_OUT} == kept(store)


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (Unreachable("the server is away"), "the server is away"),
        (Unusable("permission denied"), "permission denied"),
        (ZeroDivisionError("x"), "internal error, ZeroDivisionError: x; please report it"),
    ],
)
def test_what_is_not_in_the_store_is_known_and_nothing_hangs(
    error: Exception, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All answers are there for the report."""

    def never(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(write, "put", never)
    with Store(str(tmp_path / "fleet.db")) as store:
        going = begun(store)
        for n in range(200):
            going.silent(Answer(f"n{n:03}", TIMED_OUT, "late"))
        ended = going.end()

    assert 200 == len(ended.answers) == len(ended.unsaved)
    assert why == ended.reason


def test_a_process_that_dies_costs_the_nodes_it_read_and_not_the_sweep(tmp_path: Path, store: Store) -> None:
    """As the kernel ends it when memory runs out; the captures are in the folder."""
    os.mkfifo(tmp_path / "n1.tar.gz")
    shutil.copy(CAPTURE, tmp_path / "n2.tar.gz")
    going = begun(store)
    going.add("n2", 0.0, str(tmp_path / "n2.tar.gz"))
    until(lambda: going._answers)
    for pid in list(going._pool._processes):
        os.kill(pid, signal.SIGKILL)
    going.add("n1", 0.0, str(tmp_path / "n1.tar.gz"))
    ended = going.end()

    assert {"n1": FAILED, "n2": ANSWERED} == {each.node: each.state for each in ended.answers}
    assert {"n1": FAILED, "n2": ANSWERED} == kept(store)


def interrupt(thread: int) -> None:
    """Press Ctrl-C once a thread waits for the store to have written."""

    def waits() -> bool:
        frame = sys._current_frames().get(thread)
        while frame is not None and frame.f_code is not threading.Thread.join.__code__:
            frame = frame.f_back
        return frame is not None and frame.f_back is not None and frame.f_back.f_code is Stream.end.__code__

    until(waits)
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_the_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that takes its time is left behind, and what it has not acknowledged is named."""
    free = threading.Event()
    monkeypatch.setattr(write, "put", lambda *_, **__: free.wait(60))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Store(str(tmp_path / "fleet.db")) as store:
            going = begun(store)
            going.silent(Answer("n1", TIMED_OUT, "late"))
            threading.Thread(target=interrupt, args=(threading.get_ident(),)).start()
            began = time.monotonic()
            ended = going.end()
    finally:
        free.set()
        signal.signal(signal.SIGINT, before)

    assert time.monotonic() - began < 50  # it would take sixty
    assert (["n1"], "interrupted") == (ended.unsaved, ended.reason)
