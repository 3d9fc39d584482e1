"""The tables of a store, the same in SQLite and PostgreSQL.

Numbers that name sweeps, nodes and contents are taken from what they name (63
bits of a hash), so that any writer knows them without asking and writing twice
is writing once.  `tests/triage/fleet/store/test_migrate.py` holds this page
against what the migrations make.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

VERSIONS = ("0001", "0002")
"""The revisions of `migrations/`, oldest first."""
VERSION_TABLE = "gpu_triage_schema"

metadata = MetaData()

sweep = Table(
    "sweep",
    metadata,
    Column("id", BigInteger, nullable=False),
    Column("key", Text, nullable=False, unique=True),
    Column("began_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("complete", Boolean, nullable=False),
    Column("via", Text, nullable=False),
    Column("asked", Integer, nullable=False),
    Column("nodes", Text, nullable=False),
    Column("tool", Text, nullable=False),
    PrimaryKeyConstraint("id"),
    Index("sweep_by_time", "began_at"),
)
"""`key` is the sweep's own; `asked` nodes were asked, `nodes` is their folded set."""

node = Table(
    "node", metadata, Column("id", BigInteger, nullable=False), Column("name", Text, nullable=False, unique=True),
    PrimaryKeyConstraint("id"),
)  # fmt: skip

content = Table(
    "content",
    metadata,
    Column("node", BigInteger, nullable=False),
    Column("id", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("node", "id"),
    ForeignKeyConstraint(["node"], ["node.id"]),
)
"""What a node said that it may say again: facts, parts, the passing state, names of numbers; JSON, by zlib."""

result = Table(
    "result",
    metadata,
    Column("sweep", BigInteger, nullable=False),
    Column("node", BigInteger, nullable=False),
    Column("began_at", Float, nullable=False),
    Column("at", Float),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("took", Float, nullable=False),
    Column("status", Text, nullable=False),
    Column("heard_from", Float),
    Column("heard_to", Float),
    Column("facts", BigInteger),
    Column("parts", BigInteger),
    Column("moment", BigInteger),
    Column("names", BigInteger),
    Column("numbers", LargeBinary),
    PrimaryKeyConstraint("node", "began_at", "sweep"),
    ForeignKeyConstraint(["sweep"], ["sweep.id"]),
    ForeignKeyConstraint(["node"], ["node.id"]),
    Index("result_by_sweep", "sweep"),
)
"""What one node said in one sweep; `began_at` is the sweep's.  `facts` to `names` are contents of the node."""

incident = Table(
    "incident",
    metadata,
    Column("node", BigInteger, nullable=False),
    Column("id", BigInteger, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("opened_at", Float),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("rule", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("family", Text, nullable=False),
    Column("leaf", Text),
    Column("confidence", Float, nullable=False),
    Column("serial", Text),
    Column("uuid", Text),
    Column("pci", Text),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("node", "id"),
    ForeignKeyConstraint(["node"], ["node.id"]),
    Index("incident_by_time", "last_at"),
)
"""An incident of a node, told in the sweeps begun from `first_at` to `last_at`; the rest is what the last one said."""


def number(*words: str) -> int:
    """Return what names this in the store: 63 bits of a hash."""
    digest = hashlib.sha256("\0".join(words).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> 1
