"""Outlines of sealed chunks of metrics, by which a long curve is drawn without its points being read"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "metric_outlines",
        sa.Column("chunk_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(1), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("low_step", sa.BigInteger()),
        sa.Column("high_step", sa.BigInteger()),
        sa.Column("low_time", sa.Float(53), nullable=False),
        sa.Column("high_time", sa.Float(53), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["chunk_id"], ["metric_chunks.id"], name=op.f("fk_metric_outlines_chunk_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("chunk_id", name=op.f("pk_metric_outlines")),
    )
