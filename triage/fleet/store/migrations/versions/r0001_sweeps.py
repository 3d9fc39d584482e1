"""Sweeps, nodes, what they said and their incidents."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "sweep",
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("began_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
        sa.Column("complete", sa.Boolean, nullable=False),
        sa.Column("via", sa.Text, nullable=False),
        sa.Column("asked", sa.Integer, nullable=False),
        sa.Column("nodes", sa.Text, nullable=False),
        sa.Column("tool", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("sweep_by_time", "sweep", ["began_at"])
    op.create_table(
        "node",
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "content",
        sa.Column("node", sa.BigInteger, nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("node", "id"),
        sa.ForeignKeyConstraint(["node"], ["node.id"]),
    )
    op.create_table(
        "result",
        sa.Column("sweep", sa.BigInteger, nullable=False),
        sa.Column("node", sa.BigInteger, nullable=False),
        sa.Column("began_at", sa.Float, nullable=False),
        sa.Column("at", sa.Float),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("took", sa.Float, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("heard_from", sa.Float),
        sa.Column("heard_to", sa.Float),
        sa.Column("facts", sa.BigInteger),
        sa.Column("parts", sa.BigInteger),
        sa.Column("moment", sa.BigInteger),
        sa.PrimaryKeyConstraint("node", "began_at", "sweep"),
        sa.ForeignKeyConstraint(["sweep"], ["sweep.id"]),
        sa.ForeignKeyConstraint(["node"], ["node.id"]),
    )
    op.create_index("result_by_sweep", "result", ["sweep"])
    op.create_table(
        "incident",
        sa.Column("node", sa.BigInteger, nullable=False),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("opened_at", sa.Float),
        sa.Column("first_at", sa.Float, nullable=False),
        sa.Column("last_at", sa.Float, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("family", sa.Text, nullable=False),
        sa.Column("leaf", sa.Text),
        sa.Column("confidence", sa.Float, nullable=False),
        sa.Column("serial", sa.Text),
        sa.Column("uuid", sa.Text),
        sa.Column("pci", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("node", "id"),
        sa.ForeignKeyConstraint(["node"], ["node.id"]),
    )
    op.create_index("incident_by_time", "incident", ["last_at"])
