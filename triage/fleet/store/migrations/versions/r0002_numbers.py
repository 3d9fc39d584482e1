"""The counters and gauges of each GPU beside what its node said: what leaves its own past shows only in them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the names of the numbers, and the numbers; what was written before has none."""
    op.add_column("result", sa.Column("names", sa.BigInteger))
    op.add_column("result", sa.Column("numbers", sa.LargeBinary))
