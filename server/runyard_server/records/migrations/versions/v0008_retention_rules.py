"""Retention rules, and whether a run's files went by one"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("files_removed_at", sa.Float(53)))
    op.create_table(
        "retention_rules",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("older_than_days", sa.Float(53)),
        sa.Column("keep_newest", sa.BigInteger()),
        sa.Column("daily", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("applied_at", sa.Float(53)),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_retention_rules")),
    )
