"""Archived runs, and what is kept of deleted ones"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_MARK = "mlflow.deleted"  # the tag by which runs were hidden from MLflow's clients alone

_runs = sa.table(
    "runs",
    *(sa.column(name) for name in ("id", "created_at", "ended_at", "archived_at")),
    sa.column("tags", sa.JSON().with_variant(JSONB(), "postgresql")),
)
_facts = sa.table("run_facts", *(sa.column(name) for name in ("run_id", "source", "name")))


def upgrade() -> None:
    op.add_column("runs", sa.Column("archived_at", sa.Float(53)))
    op.create_table(
        "deleted_runs",
        sa.Column("id", sa.String(300), nullable=False),
        sa.Column("experiment", sa.String(255), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.String(300)),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("submitted_by", sa.String(255)),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("ended_at", sa.Float(53)),
        sa.Column("deleted_at", sa.Float(53), nullable=False),
        sa.Column("deleted_by", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deleted_runs")),
    )
    op.create_index(op.f("ix_deleted_runs_deleted_at_id"), "deleted_runs", ["deleted_at", "id"])
    _archive_what_was_hidden(op.get_bind())


def _archive_what_was_hidden(connection: sa.Connection) -> None:
    marks = sa.and_(_facts.c.source == "tag", _facts.c.name == _MARK)
    for run_id in list(connection.execute(sa.select(_facts.c.run_id).where(marks)).scalars()):
        row = connection.execute(sa.select(_runs).where(_runs.c.id == run_id)).one()
        values = {
            "archived_at": row.ended_at or row.created_at,
            "tags": {key: value for key, value in row.tags.items() if key != _MARK},
        }
        connection.execute(sa.update(_runs).where(_runs.c.id == run_id).values(**values))
    connection.execute(sa.delete(_facts).where(marks))
