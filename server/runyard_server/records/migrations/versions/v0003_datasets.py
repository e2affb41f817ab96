"""Datasets that a workspace keeps, and the models' links to them"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(255)),
        sa.Column("version", sa.Integer()),
        sa.Column("definition", _JSON, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("tags", _JSON, nullable=False),
        sa.Column("run_id", sa.String(300)),
        sa.Column("unregistered_at", sa.Float(53)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_datasets_name_version")),
    )
    op.create_index(op.f("ix_datasets_run_id"), "datasets", ["run_id"])
    op.add_column("models", sa.Column("datasets", _JSON))
