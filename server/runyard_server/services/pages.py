"""Addresses of pages, for people."""

from collections.abc import Callable
from urllib.parse import quote

from runyard_server.services.tokens import TokenService


class PageService:
    """Makes addresses that open in a browser: each carries a page ticket, good for a week of reading."""

    def __init__(self, address: Callable[[], str], tokens: TokenService) -> None:
        self._address = address
        self._tokens = tokens

    def run(self, run_id: str) -> str:
        """The page of a run."""
        return f"{self._address()}/runs/{quote(run_id, safe='')}?ticket={self._tokens.ticket()}"
