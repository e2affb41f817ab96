"""How the tables came to be: one module per change, applied in order by Alembic."""
