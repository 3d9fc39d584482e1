"""A store of the schema before becomes one of today's when it is told to, and keeps everything."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from tests.triage.fleet.places import DAY
from tests.triage.fleet.store.made import answer, failing, swept
from tests.triage.fleet.store.test_store import told
from triage.fleet.store import migrate, read, write
from triage.fleet.store.contents import take_apart
from triage.fleet.store.opened import Store
from triage.fleet.store.schema import VERSION_TABLE, VERSIONS, metadata, number
from triage.fleet.store.trouble import Outdated


def old(store: Store, version: str) -> None:
    """Make a store of an earlier version, with an answer in it, as that version wrote it."""
    given, taken = answer("g1"), take_apart(answer("g1"))

    def work(connection):  # type: ignore[no-untyped-def]
        migrate.migrate(connection, version)
        run = connection.execute
        run(
            text("INSERT INTO sweep VALUES (:id, 'sweep-0001', 86400.0, NULL, :no, 'ssh', 1, 'g1', '0.1')"),
            {"id": number("sweep-0001"), "no": False},
        )
        run(text("INSERT INTO node VALUES (:id, 'g1')"), {"id": number("g1")})
        for key, body in taken.contents.items():
            run(text("INSERT INTO content VALUES (:node, :id, :body)"), {"node": number("g1"), "id": key, "body": body})
        columns = {name: key for name, key in taken.columns.items() if name != "names"}
        run(
            text(
                "INSERT INTO result(sweep, node, began_at, at, state, took, status, heard_from, heard_to, facts,"
                " parts, moment) VALUES (:sweep, :node, 86400.0, 86400.0, 'answered', 1.5, 'ok', 0.0, 86400.0,"
                " :facts, :parts, :moment)"
            ),
            {"sweep": number("sweep-0001"), "node": number("g1"), **columns},
        )
        assert given.at == DAY

    # As that version would: without looking whether it is today's.
    store._try(work, {"begin": "BEGIN IMMEDIATE"}, None)


@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_an_older_store_is_refused_until_it_is_migrated_and_keeps_what_it_has(version: str, store: Store) -> None:
    """Other writers may still be of the older version, so nothing happens by itself."""
    old(store, version)
    for use in (lambda: store.read(read.sweeps), lambda: write.put(store, swept(2), [answer(day=2)])):
        with pytest.raises(Outdated, match="gpu-triage fleet store migrate"):
            use()
    assert (version, VERSIONS[-1]) == store.migrate()
    assert (VERSIONS[-1], VERSIONS[-1]) == store.migrate()
    write.put(store, swept(2), [answer(day=2, incidents=(failing("g1", 1.5 * DAY),))])
    before, after = told(store)["g1"]

    bare = tuple(gpu._replace(numbers={}) for gpu in answer().gpus)
    assert answer()._replace(gpus=bare) == before
    assert answer().gpus == after.gpus
    assert 1 == len(after.incidents)


def test_a_newer_store_is_left_alone(store: Store) -> None:
    """Whatever stands in it, this version does not know what it means."""
    write.put(store, swept(), [answer()])
    store.write(lambda connection: connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")))
    fresh = Store(str(store.url.render_as_string(hide_password=False)).replace("+psycopg", ""))
    for use in (lambda: fresh.read(read.sweeps), lambda: write.put(fresh, swept(2), [answer()]), fresh.migrate):
        with pytest.raises(Outdated, match="newer gpu-triage") as refused:
            use()
        assert "s3cret" not in str(refused.value)
    fresh.close()


def test_a_database_that_is_no_store_is_said(store: Store) -> None:
    """Reading makes nothing in it."""
    store._try(lambda connection: None, {"begin": "BEGIN IMMEDIATE"}, None)

    with pytest.raises(Outdated, match="no store of gpu-triage"):
        store.read(read.sweeps)


def test_what_the_migrations_make_is_what_the_tables_say(store: Store) -> None:
    """Both describe one schema."""
    write.put(store, swept(), [answer()])

    def differences(connection):  # type: ignore[no-untyped-def]
        options = {"version_table": VERSION_TABLE, "compare_type": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    assert [] == store.read(differences)
