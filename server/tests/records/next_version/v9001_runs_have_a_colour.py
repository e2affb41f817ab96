"""A version after the present one, as the tests imagine it: every kind of change that a version may bring."""

import sqlalchemy as sa
from alembic import op

from runyard_server.records.migrate import HEAD

revision = "9001"
down_revision = HEAD
branch_labels = depends_on = None


def upgrade():
    op.create_table("colours", sa.Column("name", sa.String(40), primary_key=True))
    op.execute("INSERT INTO colours VALUES ('grey')")
    # On SQLite a table is made anew for such a change: every row of `runs` moves, and nine tables refer to them.
    with op.batch_alter_table("runs", recreate="auto") as runs:
        runs.add_column(sa.Column("colour", sa.String(40), nullable=False, server_default="grey"))
        runs.create_foreign_key("fk_runs_colour", "colours", ["colour"], ["name"])
        runs.create_index("ix_runs_colour", ["colour"])
    with op.batch_alter_table("experiments", recreate="auto") as experiments:
        experiments.alter_column("name", type_=sa.String(300), existing_type=sa.String(255), existing_nullable=False)
