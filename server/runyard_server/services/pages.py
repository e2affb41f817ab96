"""Addresses that open in a browser without a login, and the cookie that a browser keeps of one; and the server's own."""

import re
from collections.abc import Callable
from urllib.parse import quote, urlsplit

from runyard_server.services.tokens import Identity, TokenService


class PageService:
    """Makes addresses that open in a browser: each carries a page ticket, good for a week of reading."""

    def __init__(self, address: Callable[[], str], tokens: TokenService, public_url: str = "") -> None:
        self._address = address
        self._public_url = public_url
        self._tokens = tokens

    def run(self, run_id: str, by: Identity | None = None) -> str:
        """The page of a run. ``by``: who is told its address."""
        return f"{self._address()}/runs/{quote(run_id, safe='')}?ticket={self._tokens.ticket(by)}"

    def root_for(self, host: str) -> str:
        """The server's address for a client whose request named this host: a proxy with TLS may stand between them."""
        return self._public_url if urlsplit(self._public_url).netloc == host else f"http://{host}"


def cookie_name(host: str) -> str:
    """Name of the cookie at a Host header's value.

    Browsers send the cookies of a host to all of its ports; each workspace's server has its own name
    there, so that two of them open side by side do not overwrite each other's.
    """
    port = re.search(r":(\d{1,5})$", host)
    return f"runyard-{port[1]}" if port else "runyard"
