"""Brings a database to this version's tables."""

from runyard_server.records.engine import Database, create_all


def upgrade(database: Database) -> None:
    """Creates or migrates the tables."""
    create_all(database.engine)
