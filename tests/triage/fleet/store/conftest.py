"""Every test of a store runs against both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres_server
from tests.postgres_server import PostgresServer
from triage.fleet.store.opened import Store


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    postgres_server.need()
    with PostgresServer() as up:
        yield up


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store."""
    if request.param == "sqlite":
        return str(tmp_path / "fleet.db")
    found: PostgresServer = request.getfixturevalue("server")
    return found.database()


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    with Store(address, 20.0) as opened:
        yield opened
