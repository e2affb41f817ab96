"""Routes of the pages: HTML made by the server, readable before any script runs."""

from fastapi import FastAPI


def install(app: FastAPI) -> None:
    """Adds the pages to the application."""
