"""Indexes with which a list costs what it shows, however long the history is"""

from collections.abc import Sequence

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    for name in ("experiment_id_created_at", "status_created_at", "parent_id"):
        op.drop_index(op.f(f"ix_runs_{name}"), table_name="runs")
    for column in ("experiment_id", "status", "parent_id", "target"):
        op.create_index(op.f(f"ix_runs_{column}_created_at_id"), "runs", [column, "created_at", "id"])
    for column in ("min", "max"):
        op.create_index(op.f(f"ix_metric_summaries_name_{column}"), "metric_summaries", ["name", column])
