"""Bringing a store to this version's schema: a new one at its first writing, an older one only when told to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from triage.fleet.store.schema import VERSION_TABLE, VERSIONS
from triage.fleet.store.trouble import Outdated

HERE = Path(__file__).parent / "migrations"
_LOCK = 0x6770752D74726961
"""Of PostgreSQL's advisory locks the one under which schemas are changed."""


def version(connection: Connection) -> str | None:
    """Return the version of the schema, None if nothing of ours is there."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def check(found: str | None, shown: str) -> None:
    """Refuse a schema that this version does not speak.

    Raises:
        Outdated: with what would help.
    """
    if found == VERSIONS[-1]:
        return
    if found is None:
        raise Outdated(f"{shown}: no store of gpu-triage; `fleet sweep --store` and `fleet store add` make one")
    if found in VERSIONS:
        raise Outdated(
            f"{shown}: of an older version (schema {found}, this is {VERSIONS[-1]});"
            " bring it up to date, once every writer is: gpu-triage fleet store migrate"
        )
    raise Outdated(
        f"{shown}: written by a newer gpu-triage (schema {found}, this one knows {VERSIONS[-1]}); update this one"
    )


def migrate(connection: Connection, to: str = VERSIONS[-1]) -> tuple[str | None, str]:
    """Bring the schema to a version within the transaction that is open; others that want the same wait for it.

    Returns:
        The version before and the one after.

    Raises:
        Outdated: if it is newer than what this version knows.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    before = version(connection)
    if before is not None and before not in VERSIONS:
        check(before, str(connection.engine.url.render_as_string(hide_password=True)))
    if before is not None and VERSIONS.index(before) >= VERSIONS.index(to):
        return before, before
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    script = ScriptDirectory(str(HERE))

    def upgrade(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs(to, revision)

    with EnvironmentContext(config, script, fn=upgrade) as environment:
        environment.configure(connection=connection, version_table=VERSION_TABLE, transactional_ddl=True)
        environment.run_migrations()
    return before, to
