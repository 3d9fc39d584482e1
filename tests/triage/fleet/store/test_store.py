"""What is written into a store is read again, once, by whoever wrote it and in whatever order."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path

import pytest

from tests.triage.fleet.places import DAY
from tests.triage.fleet.store.made import answer, failing, swept
from triage.fleet.model import TIMED_OUT, Answer
from triage.fleet.store import contents, read, write
from triage.fleet.store.opened import Store
from triage.fleet.store.schema import content, incident, node, result, sweep
from triage.fleet.store.trouble import Unusable


def told(store: Store, window: read.Window = read.ALL) -> dict[str, list[Answer]]:
    """All answers by node."""
    return store.read(
        lambda connection: {
            name: [each.answer for each in said] for name, said in read.by_node(connection, window, numbers=True)
        }
    )


def rows(store: Store) -> dict[str, int]:
    """How many rows each table has."""

    def count(connection):  # type: ignore[no-untyped-def]
        return {t.name: len(connection.execute(t.select()).all()) for t in (sweep, node, content, result, incident)}

    return store.read(count)


def test_an_answer_comes_back_whole(store: Store) -> None:
    """Facts, parts, numbers, the time heard, incidents and notices."""
    given = answer(replays=7.0, incidents=(failing("g1", 0.5 * DAY),), status="critical")
    write.put(store, swept(), [given])

    assert {"g1": [given]} == told(store)


def test_a_node_that_said_nothing_comes_back_with_its_reason(store: Store) -> None:
    """It is a result too."""
    silent = Answer("g2", TIMED_OUT, "no answer within 45 seconds", took=45.0)
    write.put(store, swept(), [silent])

    assert {"g2": [silent]} == told(store)


def test_what_is_written_twice_is_there_once(store: Store) -> None:
    """As after a connection that broke when nobody knew whether it was done."""
    given = [answer(incidents=(failing("g1", 0.5 * DAY),)), answer("g2")]
    write.put(store, swept(), given)
    before = rows(store)
    write.put(store, swept(), given)
    write.put(store, swept(), given[:1])

    assert before == rows(store)
    assert {"g1": given[:1], "g2": given[1:]} == told(store)


def test_an_answer_takes_the_place_of_none_and_never_the_other_way_round(store: Store) -> None:
    """A sweep's folder that is added later may know more than what was written while it ran."""
    silent = Answer("g1", TIMED_OUT, "no answer within 45 seconds")
    write.put(store, swept(), [silent])
    write.put(store, swept(), [answer()])
    write.put(store, swept(), [silent])

    assert {"g1": [answer()]} == told(store)


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_the_order_in_which_sweeps_come_in_does_not_matter(order: tuple[int, ...], store: Store) -> None:
    """An incident that three sweeps tell is one, as the last of them told it."""
    for day in order:
        open_ = failing("g1", 0.5 * DAY, last_seen_at=f"day {day}", severity="warning" if day < 3 else "critical")
        write.put(store, swept(day), [answer(day=day, incidents=(open_,))])
    said = told(store)["g1"]

    assert [1 * DAY, 2 * DAY, 3 * DAY] == [each.at for each in said]
    assert [(), (), ("day 3",)] == [tuple(i["last_seen_at"] for i in each.incidents) for each in said]
    (row,) = store.read(lambda connection: connection.execute(incident.select()).all())
    assert (1 * DAY, 3 * DAY, "critical") == (row.first_at, row.last_at, row.severity)


def test_an_incident_is_one_although_the_clock_of_its_node_moves(store: Store) -> None:
    """The same line, dated two seconds later; and another one of the same name an hour later."""
    for day, opened in ((1, 1000.0), (2, 1002.0), (3, 4600.0)):
        write.put(store, swept(day), [answer(day=day, incidents=(failing("g1", opened),))])

    assert 2 == rows(store)["incident"]


def test_what_does_not_change_is_kept_once(store: Store) -> None:
    """Ten sweeps: one set of facts, of parts and of names, and ten passing moments."""
    for day in range(1, 11):
        write.put(store, swept(day), [answer(day=day)])

    assert {"sweep": 10, "node": 1, "content": 3 + 10, "result": 10, "incident": 0} == rows(store)


def test_a_window_holds_the_sweeps_that_began_in_it(store: Store) -> None:
    """Both ends count, and so do the incidents that were told in it."""
    for day in range(1, 6):
        open_ = failing("g1", (day - 0.5) * DAY)
        write.put(store, swept(day), [answer(day=day, incidents=(open_,))])
    said = told(store, read.Window(2 * DAY, 4 * DAY))["g1"]

    assert [(2 * DAY, 1), (3 * DAY, 1), (4 * DAY, 1)] == [(each.at, len(each.incidents)) for each in said]
    assert {} == told(store, read.Window(90 * DAY))


def test_sweeps_are_listed_with_what_became_of_them_and_found_by_their_names(store: Store) -> None:
    """`last`, `last-1`, and the beginning of a key that no other has."""
    write.put(store, swept(1), [answer(), Answer("g2", TIMED_OUT, "late")])
    write.end(store, swept(1), 1 * DAY + 60, complete=True)
    write.put(store, swept(2), [answer(day=2)])
    found = store.read(read.sweeps)

    assert [("sweep-0001", 1, 1, True), ("sweep-0002", 1, 0, False)] == [
        (each.key, each.answered, each.silent, each.complete) for each in found
    ]
    assert (found[1], found[0], found[1]) == tuple(read.named(found, w) for w in ("last", "last-1", "sweep-0002"))
    for wrong, why in (("swee", "more than one"), ("nope", "no such sweep"), ("last-9", "there are 2")):
        with pytest.raises(LookupError, match=why):
            read.named(found, wrong)


def test_what_is_older_goes_and_what_is_needed_stays(store: Store) -> None:
    """A node that is gone leaves nothing; facts that a later sweep names stay, and so does an incident that goes on."""
    goes_on, over = failing("g1", 0.2 * DAY), failing("g1", 0.3 * DAY, "gpu-off-bus")
    write.put(store, swept(1), [answer(incidents=(goes_on, over)), answer("gone")])
    write.put(store, swept(40), [answer(day=40, incidents=(goes_on,))])
    deleted, all_of_it = write.prune(store, 10 * DAY)

    assert (2, True) == (deleted, all_of_it)
    assert {"sweep": 1, "node": 1, "content": 4, "result": 1, "incident": 1} == rows(store)
    assert {"g1": [answer(day=40, incidents=(goes_on,))]} == told(store)
    assert (0, True) == write.prune(store, 10 * DAY)


def test_names_and_texts_that_no_database_takes_are_kept_cleaned(store: Store) -> None:
    """NULs and halves of characters, which a node may send."""
    write.put(store, swept(), [answer("a\0b\udc80"), Answer("g\0", TIMED_OUT, "\0\udfff" * 5000)])
    said = told(store)

    assert ["a\ufffdb?", "g\ufffd"] == sorted(said)
    assert len(str(said["g\ufffd"][0].reason)) <= write.MOST_TEXT


def test_a_file_is_for_its_owner_only_and_no_link(tmp_path: Path) -> None:
    """It tells which serial number sits where."""
    with Store(str(tmp_path / "fleet.db")) as store:
        write.put(store, swept(), [answer()])
    assert 0o600 == stat.S_IMODE(os.stat(tmp_path / "fleet.db").st_mode)
    (tmp_path / "link.db").symlink_to(tmp_path / "fleet.db")

    with Store(str(tmp_path / "link.db")) as store, pytest.raises(Unusable, match="symbolic link"):
        write.put(store, swept(), [answer()])


def test_a_store_that_is_not_there_or_none_is_said(tmp_path: Path) -> None:
    """Reading makes no file."""
    (tmp_path / "not.db").write_bytes(b"no database" * 999)
    for name, why in (("missing.db", "no such file"), ("not.db", "not a database"), (".", "unable to open|directory")):
        with Store(str(tmp_path / name)) as store, pytest.raises(Unusable, match=why):
            store.read(read.sweeps)
    assert not (tmp_path / "missing.db").exists()


def test_a_content_that_is_damaged_is_said(store: Store) -> None:
    """Not guessed around."""
    write.put(store, swept(), [answer()])
    store.write(lambda connection: connection.execute(content.update().values(body=b"\x78\x9cgarbage")))

    with pytest.raises(contents.Damaged):
        told(store)
