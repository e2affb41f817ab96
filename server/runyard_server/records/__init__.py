"""Rows: SQLAlchemy is the port, SQLite and PostgreSQL its two ways to run."""
