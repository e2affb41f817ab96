"""Following a run: server-sent events of its status and of its logs, as they happen."""

import asyncio
import codecs
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from runyard.errors import UserErrorException
from runyard.protocol.codec import to_json
from runyard.protocol.runs import RunRecord
from runyard_server.api.context import services
from runyard_server.services.container import Services

router = APIRouter()

KEEP_ALIVE_S = 15.0
CHUNK_BYTES = 256 << 10


@router.get("/runs/{run_id}/follow")
async def follow(
    run_id: str, request: Request, logs: bool = True, prefix: str = "azureml-logs/", offsets: str = "{}"
) -> StreamingResponse:
    """Events until the run has ended and all of its logs were sent.

    ``status``: the run's record (its ``spec`` left out). ``log``: ``{"name", "end", "text"}``, for each
    log whose name begins with ``prefix``; ``end`` is the byte offset after the text, and text that is
    no UTF-8 comes with replacement marks. ``end``: nothing more comes. ``offsets``: JSON of log name
    to the ``end`` that the caller has already, for going on after a broken connection.
    """
    held = services(request)
    await run_in_threadpool(held.runs.get, run_id)  # an unknown run is told as such, not as a broken stream
    follower = Follower(held, run_id, prefix if logs else None, _checked_offsets(offsets))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(follower.events(), media_type="text/event-stream", headers=headers)


class Follower:
    """One follower's place in a run's story. The server holds nothing for it between events."""

    def __init__(self, held: Services, run_id: str, prefix: str | None, offsets: dict[str, int]) -> None:
        self._held = held
        self._run_id = run_id
        self._prefix = prefix
        self._version = -1
        self._offsets = offsets
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    async def events(self) -> AsyncIterator[str]:
        """The events as text."""
        with self._held.hub.following(self._run_id) as news:
            while True:
                news.clear()
                record, logs, more = await run_in_threadpool(self._look)
                for log in logs:
                    yield _event("log", log)
                if record is not None:
                    yield _event("status", {**to_json(record), "spec": None})
                if more:
                    continue
                if self._ended:
                    yield _event("end", {})
                    return
                try:
                    await asyncio.wait_for(news.wait(), KEEP_ALIVE_S)
                except TimeoutError:
                    yield ": still here\n\n"

    _ended = False

    def _look(self) -> tuple[RunRecord | None, list[dict[str, Any]], bool]:
        record = self._held.runs.get(self._run_id)
        # The record is read first: a log that grew since is read now or after the next news.
        logs, more = self._new_text(record.status.is_terminal)
        self._ended = record.status.is_terminal and not more
        changed = record.version != self._version
        self._version = record.version
        return (record if changed else None), logs, more

    def _new_text(self, ended: bool) -> tuple[list[dict[str, Any]], bool]:
        if self._prefix is None:
            return [], False
        found, more = [], False
        for name, size in self._held.reading.list(self._run_id):
            offset = self._offsets.get(name, 0)
            if not name.startswith(self._prefix) or size <= offset:
                continue
            data = self._held.reading.read(self._run_id, name, offset, CHUNK_BYTES)
            self._offsets[name] = offset + len(data)
            whole = self._offsets[name] >= size
            more = more or not whole
            decoder = self._decoders.setdefault(name, codecs.getincrementaldecoder("utf-8")("replace"))
            text = decoder.decode(data, final=ended and whole)
            if text:
                # Bytes that the decoder holds back are not told yet: an "end" never splits a character.
                found.append({"name": name, "end": offset + len(data) - len(decoder.getstate()[0]), "text": text})
        return found, more


def _checked_offsets(text: str) -> dict[str, int]:
    try:
        said = json.loads(text)
    except ValueError as fault:
        raise UserErrorException(f"offsets must be a JSON object: {fault}.") from fault
    if not isinstance(said, dict) or not all(isinstance(value, int) and value >= 0 for value in said.values()):
        raise UserErrorException("offsets must be a JSON object of log names to byte offsets.")
    return said


def _event(kind: str, data: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"
