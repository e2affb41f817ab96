"""A version whose migration breaks when it has changed tables and rows already."""

import sqlalchemy as sa
from alembic import op

from runyard_server.records.migrate import HEAD

revision = "9001"
down_revision = HEAD
branch_labels = depends_on = None


def upgrade():
    op.create_table("colours", sa.Column("name", sa.String(40), primary_key=True))
    op.execute("DELETE FROM run_events")
    with op.batch_alter_table("runs", recreate="auto") as runs:
        runs.add_column(sa.Column("colour", sa.String(40), nullable=True))
    op.execute("INSERT INTO no_such_table VALUES (1)")
