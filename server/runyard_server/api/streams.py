"""Bytes in and out: bodies taken as they come, packs and files sent in big pieces."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import StreamingResponse

from runyard.protocol.digest import HEADER, KNOWN, LARGE
from runyard.protocol.files import FileEntry
from runyard_server.api.context import services
from runyard_server.artifacts.send import Outgoing, file_pieces, pack_length, pack_pieces


def content_length(request: Request) -> int | None:
    """The body's size in bytes, None where the sender did not say it."""
    said = request.headers.get("content-length", "")
    return int(said) if said.isdigit() else None


def invitation(request: Request, invite: Callable[[], tuple[str, str] | None]) -> dict[str, Any]:
    """A socket's name and a ticket for it as JSON, for who is on the same machine; the socket admits nobody else."""
    near = request.client is not None and request.client.host in ("127.0.0.1", "::1")
    name, ticket = (invite() if near else None) or (None, None)
    return {"socket": name, "ticket": ticket}


def lent(request: Request, entries: Sequence[Outgoing]) -> dict[str, Any]:
    """Where files can be fetched as open files, and their names in the order in which they come."""
    invited = invitation(request, lambda: services(request).objects.lend(entries))
    return {**invited, "paths": [entry.name for entry in entries]}


def listed(request: Request, entries: Iterable[FileEntry]) -> list[FileEntry]:
    """Files as they are told: to a client or job of before without the digest of a large one, which it cannot check."""
    knows = request.headers.get(HEADER) == KNOWN
    return [entry if knows or entry.size < LARGE else replace(entry, digest="") for entry in entries]


def pack_response(entries: Sequence[Outgoing]) -> StreamingResponse:
    """A pack of files."""
    return StreamingResponse(
        pack_pieces(entries),
        media_type="application/octet-stream",
        headers={"Content-Length": str(pack_length(entries)), **_QUIET},
    )


def file_response(location: Path, name: str, size: int, asked: str | None = None) -> StreamingResponse:
    """One file, to be saved and never shown: it may hold scripts of whoever wrote it.

    Args:
        name: the file's name for the person.
        asked: a Range header; ``bytes=<first>-<last>`` or ``bytes=<first>-`` is honoured.
    """
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}", "Accept-Ranges": "bytes"}
    first, last = _range(asked, size) or (0, size - 1)
    partial = (first, last) != (0, size - 1)
    if partial:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    length = last - first + 1
    return StreamingResponse(
        file_pieces(location, length, first),
        status_code=206 if partial else 200,
        media_type="application/octet-stream",
        headers={"Content-Length": str(length), **headers, **_QUIET},
    )


_QUIET = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "private, no-store",
}


def _range(asked: str | None, size: int) -> tuple[int, int] | None:
    """The first and last byte asked for, None where all are sent (a range that cannot be served included)."""
    if asked is None or not asked.startswith("bytes=") or "," in asked:
        return None
    first, _, last = asked[len("bytes=") :].partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        return None
    end = min(int(last), size - 1) if last else size - 1
    return (int(first), end) if int(first) <= end else None
