"""Alembic's entry: migrates the connection that ``records.migrate`` hands over."""

from alembic import context

from runyard_server.records.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    version_table="runyard_version",  # beside another program's tables in one database nothing clashes
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
