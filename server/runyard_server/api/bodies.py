"""Request bodies that are taken whole: up to a size, and JSON ones only if what they say can be kept."""

import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from runyard.errors import BodyTooLargeError, UserErrorException

MOST_BYTES = 16 << 20


async def whole_body(request: Request, most_bytes: int = MOST_BYTES) -> bytes:
    """The request's body.

    Raises:
        BodyTooLargeError: it has more than ``most_bytes``; the rest is not read.
    """
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > most_bytes:
            raise BodyTooLargeError(f"At most {most_bytes:,} bytes are taken in one request. Send it in parts.")
        pieces.append(piece)
    return b"".join(pieces)


class JsonRoute(APIRoute):
    """A route that refuses, in a JSON body, what no database keeps.

    That is a text with a NUL or half of a surrogate pair, and a whole number of more than 64 bits. Both show in the
    bytes, so that any other body costs one search.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle

        async def checked(request: Request) -> Response:
            await refuse_what_cannot_be_kept(await request.body())
            return await handle(request)

        return checked


async def refuse_what_cannot_be_kept(body: bytes) -> None:
    """As ``JsonRoute`` says.

    Raises:
        UserErrorException: there is such a thing in the body.
    """
    if _SUSPECT.search(body):
        await run_in_threadpool(_check, body)


_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|[0-9]{19}")
_LEAST, _GREATEST = -(1 << 63), (1 << 63) - 1


def _check(body: bytes) -> None:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return  # no JSON, or more brackets in each other than are read: told as such where it is read
    waiting = [said]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            _check_text(value)
        elif isinstance(value, int) and not _LEAST <= value <= _GREATEST:
            raise UserErrorException(f"The number {str(value)[:30]}... has more than 64 bits, which cannot be kept.")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise UserErrorException(f"The text {text[:60]!r} has a NUL character, which cannot be kept.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UserErrorException(f"The text {text[:60]!r} has half of a surrogate pair, no character.") from None
