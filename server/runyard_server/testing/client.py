"""A browser or program that speaks to an application in memory: no socket, no thread of its own."""

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp

PATIENCE_S = 120.0  # an answer that never ends, as a stream's, is a test's failure


class Client:
    """Sends requests one after the other; keeps cookies as a browser does, follows no redirect.

    Args:
        headers: sent with every request.
        raises: whether what the application breaks on is raised here, instead of an answer of 500.
    """

    def __init__(
        self, app: ASGIApp, base_url: str, headers: dict[str, str] | None = None, raises: bool = False
    ) -> None:
        self._transport = httpx.ASGITransport(app=app, raise_app_exceptions=raises)
        self._base_url = base_url
        self._headers = headers or {}
        self.cookies = httpx.Cookies()

    def request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """As ``httpx.Client.request``.

        Raises:
            TimeoutError: the answer does not end.
        """

        async def once() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=self._transport, base_url=self._base_url, headers=self._headers, cookies=self.cookies
            ) as client:
                async with asyncio.timeout(PATIENCE_S):
                    answer = await client.request(method, path, **kwargs)
                self.cookies = client.cookies
                return answer

        return asyncio.run(once())

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.request("GET", path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.request("POST", path, **kwargs)
