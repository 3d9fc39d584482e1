"""Where a store is: a file for SQLite, or the URL of a PostgreSQL server.  A password in it is never shown."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from triage.fleet.store.trouble import Unusable

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

VARIABLE = "GPU_TRIAGE_STORE"
INSTALL = "the store of a fleet needs SQLAlchemy and Alembic: pip install 'gpu-triage[fleet]'"
INSTALL_POSTGRES = "PostgreSQL needs psycopg: pip install 'gpu-triage[fleet,postgres]'"
FORMS = "write fleet.db, sqlite:///PATH or postgresql://USER@HOST/DATABASE"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_SECRET = re.compile(r"(?i)((?:password|passwd|sslpassword|sslkeypassword)\s*=\s*)('[^']*'|[^\s&]+)")


def given(word: str | None) -> str | None:
    """Return the address that was given on the command line, else that of the environment.

    Raises:
        Unusable: if the command line names a password: every user of this machine can read it there.
    """
    if word is None:
        return os.environ.get(VARIABLE) or None
    if _SCHEME.match(word) and _has_password(word):
        raise Unusable(
            f"{hidden(word)}: a password on the command line can be read by every user of this machine;"
            f" put it into ~/.pgpass (or PGPASSFILE), or the whole URL into {VARIABLE}"
        )
    return word


def parse(address: str) -> URL:
    """Return the address as SQLAlchemy takes it.

    Raises:
        Unusable: if it is none, or what it needs is not installed.
    """
    try:
        from sqlalchemy.engine import make_url
        from sqlalchemy.engine.url import URL
        from sqlalchemy.exc import ArgumentError
    except ImportError:
        raise Unusable(INSTALL) from None
    scheme = _SCHEME.match(address)
    if scheme is None:
        if not address or "\0" in address:
            raise Unusable(f"the store has no name; {FORMS}")
        return URL.create("sqlite", database=str(Path(address).expanduser()))
    try:
        url = make_url(address)
        kind = scheme[1].lower()
        if kind == "sqlite":
            if url.host or url.query or not url.database or url.database == ":memory:":
                raise Unusable(f"{hidden(address)}: not a file; {FORMS}")
            return URL.create("sqlite", database=url.database)
        if kind not in ("postgresql", "postgres"):
            raise Unusable(f"{hidden(address)}: a store is SQLite or PostgreSQL; {FORMS}")
        url = url.set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise Unusable(f"{hidden(address)}: not an address; {FORMS}") from None
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise Unusable(INSTALL_POSTGRES) from None
    return url


def hidden(text: str) -> str:
    """Return a text that may hold the address of a store without the passwords in it."""
    text = re.sub(r"(://[^\s:/@]*):[^\s/]*@", r"\1:***@", text)
    return _SECRET.sub(r"\1***", text)


def _has_password(address: str) -> bool:
    return hidden(address) != address
