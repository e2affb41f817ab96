"""Request bodies that are taken whole, up to a size."""

from fastapi import Request

from runyard.errors import UserErrorException

MOST_BYTES = 16 << 20


async def whole_body(request: Request, most_bytes: int = MOST_BYTES) -> bytes:
    """The request's body.

    Raises:
        UserErrorException: it has more than ``most_bytes``; the rest is not read.
    """
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > most_bytes:
            raise UserErrorException(f"At most {most_bytes:,} bytes are taken in one request. Send it in parts.")
        pieces.append(piece)
    return b"".join(pieces)
