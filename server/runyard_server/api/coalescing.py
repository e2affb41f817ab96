"""One answer for all who wait in line for the same page.

Twenty-five open tables of runs ask every few seconds for the same thing. Who comes while somebody else's request for
it still waits in line is given that one's answer: it was made after both had asked, so it is as new as one of their own.
"""

import asyncio
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What the query must say, by route. Their answers depend on the address and on the visitor's role alone. The page of a
# run is none of them: it names the run that its button would make, another one for each who presses it.
SHARED: Mapping[tuple[str, str], bytes] = {
    ("GET", "/runs"): b"",
    ("GET", "/runs/{run_id}/live"): b"parts=metrics",
    ("GET", "/charts"): b"",
    ("GET", "/compare"): b"",
    ("GET", "/experiments"): b"",
}

_Key = tuple[str, bytes, str]


class Coalescing:
    """ASGI middleware between the guard and the lanes, which tell it (``begins``) that a request is in work."""

    def __init__(self, app: ASGIApp, shared: Mapping[tuple[str, str], bytes] = SHARED) -> None:
        self._app = app
        self._shared = shared
        # What those will be answered that are still in line: all of an answer, or None where there is none to share.
        self._awaited: dict[_Key, asyncio.Future[list[Message] | None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = self._key(scope)
        if key is None:
            await self._app(scope, receive, send)
            return
        while (awaited := self._awaited.get(key)) is not None:
            messages = await asyncio.shield(awaited)
            if messages is not None:
                await _send(messages, send)
                return
        await self._first(key, scope, receive, send)

    async def _first(self, key: _Key, scope: Scope, receive: Receive, send: Send) -> None:
        awaited: asyncio.Future[list[Message] | None] = asyncio.get_running_loop().create_future()
        self._awaited[key] = awaited
        messages: list[Message] = []

        def begins() -> None:
            if self._awaited.get(key) is awaited:
                del self._awaited[key]  # who comes now may know of more than is read for this answer

        async def keep(message: Message) -> None:
            messages.append(message)

        scope["state"]["begins"] = begins
        try:
            await self._app(scope, receive, keep)
            awaited.set_result(messages)
        finally:
            begins()  # it may have been refused, or never come to its turn
            if not awaited.done():
                awaited.set_result(None)
        await _send(messages, send)

    def _key(self, scope: Scope) -> _Key | None:
        asked = scope["query_string"]
        wanted = self._shared.get((scope["method"], scope["state"]["route"]))
        # A first visit, with its ticket, is answered with a cookie.
        if wanted is None or wanted not in asked or b"ticket=" in asked:
            return None
        return scope["path"], asked, scope["state"]["identity"].role


async def _send(messages: list[Message], send: Send) -> None:
    for message in messages:
        await send(message)


def in_work(scope: Scope) -> None:
    """Tells whoever put the request in line that its work begins."""
    begins: Callable[[], None] | None = scope["state"].get("begins")
    if begins is not None:
        begins()
