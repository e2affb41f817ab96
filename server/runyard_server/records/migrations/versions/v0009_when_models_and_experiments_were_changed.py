"""When experiments, versions of models and names of models were changed last"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Nothing is known of what was changed before: it counts as changed when it was made.
    op.add_column("experiments", sa.Column("changed_at", sa.Float(53)))
    op.add_column("models", sa.Column("changed_at", sa.Float(53)))
