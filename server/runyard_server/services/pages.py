"""Addresses that open in a browser without a login, and the cookie that a browser keeps of one."""

import re
from collections.abc import Callable
from urllib.parse import quote

from runyard_server.services.tokens import Identity, TokenService


class PageService:
    """Makes addresses that open in a browser: each carries a page ticket, good for a week of reading."""

    def __init__(self, address: Callable[[], str], tokens: TokenService) -> None:
        self._address = address
        self._tokens = tokens

    def run(self, run_id: str, by: Identity | None = None) -> str:
        """The page of a run. ``by``: who is told its address."""
        return f"{self._address()}/runs/{quote(run_id, safe='')}?ticket={self._tokens.ticket(by)}"


def cookie_name(host: str) -> str:
    """Name of the cookie at a Host header's value.

    Browsers send the cookies of a host to all of its ports; each workspace's server has its own name
    there, so that two of them open side by side do not overwrite each other's.
    """
    port = re.search(r":(\d{1,5})$", host)
    return f"runyard-{port[1]}" if port else "runyard"
