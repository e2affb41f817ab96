"""Following a run: server-sent events of its status and of its logs, as they happen."""

import asyncio
import codecs
import json
from collections.abc import AsyncIterator, Iterable
from time import monotonic
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from runyard.errors import UserErrorException
from runyard.protocol.codec import to_json
from runyard.protocol.runs import RunRecord
from runyard_server.api.context import services
from runyard_server.routes import Routes
from runyard_server.services.container import Services
from runyard_server.services.hub import ANYTHING, Change
from runyard_server.services.reading import is_log

router = Routes()

KEEP_ALIVE_S = 15.0
CHUNK_BYTES = 256 << 10
# Between two looks for a page, which asks for metrics: a job that writes all the time wakes it at each piece.
PAGE_REST_S = 0.1
# Between two words of metrics, for each page that hears of them: at each it asks for its curves anew. Of a few pages
# each looks as often as it likes, of twenty-five once a second.
MEASURED_REST_S = 0.04


@router.get("/runs/{run_id}/follow")
async def follow(
    run_id: str,
    request: Request,
    logs: bool = True,
    prefix: str = "azureml-logs/",
    offsets: str = "{}",
    metrics: bool = False,
) -> StreamingResponse:
    """Events until the run has ended and all of its logs were sent.

    ``status``: the run's record (its ``spec`` left out). ``log``: ``{"name", "end", "text"}``, for each
    log whose name begins with ``prefix``; ``end`` is the byte offset after the text, and text that is
    no UTF-8 comes with replacement marks. ``metrics``, where they are asked for: there are more of them.
    ``end``: nothing more comes. ``offsets``: JSON of log name to the ``end`` that the caller has already,
    for going on after a broken connection.
    """
    held = services(request)
    await run_in_threadpool(held.runs.get, run_id)  # an unknown run is told as such, not as a broken stream
    follower = Follower(held, run_id, prefix if logs else None, _checked_offsets(offsets), metrics)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(follower.events(), media_type="text/event-stream", headers=headers)


class Follower:
    """One follower's place in a run's story. The server holds nothing for it between events."""

    def __init__(
        self, held: Services, run_id: str, prefix: str | None, offsets: dict[str, int], metrics: bool = False
    ) -> None:
        self._held = held
        self._run_id = run_id
        self._prefix = prefix
        self._metrics = metrics
        self._version = -1
        self._offsets = offsets
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    async def events(self) -> AsyncIterator[str]:
        """The events as text."""
        watches = self._prefix is not None or self._metrics
        with self._held.hub.following(self._run_id, watches, self._metrics) as news:
            changes = {ANYTHING}  # whatever there is
            measured, measured_at = False, 0.0  # what is not told yet, and when that was told last
            while True:
                grown = {change.grown for change in changes if self._prefix is not None and change.grown}
                measured = measured or self._metrics and Change(measured=True) in changes
                record: RunRecord | None = None
                logs: list[dict[str, Any]] = []
                more = False
                if ANYTHING in changes:
                    record, logs, more = await run_in_threadpool(self._look)
                elif grown:
                    logs, more = await run_in_threadpool(self._new_text_of, grown)
                for log in logs:
                    yield _event("log", log)
                if record is not None:
                    yield _event("status", {**to_json(record), "spec": None})
                wait_s = measured_at + MEASURED_REST_S * self._held.hub.measuring() - monotonic()
                if measured and (wait_s <= 0 or self._ended):
                    measured, measured_at = False, monotonic()
                    yield _event("metrics", {})
                if more:
                    changes = news.take() | {ANYTHING}
                    continue
                if self._ended:
                    yield _event("end", {})
                    return
                try:
                    async with asyncio.timeout(wait_s if measured else KEEP_ALIVE_S):
                        await news.wait()
                except TimeoutError:
                    if measured:
                        changes = set()
                        continue
                    yield ": still here\n\n"
                if self._metrics:
                    await asyncio.sleep(PAGE_REST_S)
                changes = news.take() or {ANYTHING}

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
            if name.startswith(self._prefix) and size > self._offsets.get(name, 0):
                found += self._read(name, ended, size)
                more = more or self._offsets[name] < size
        return found, more

    def _new_text_of(self, names: Iterable[str]) -> tuple[list[dict[str, Any]], bool]:
        """New text of logs that have grown; neither the run nor its other logs are looked at."""
        assert self._prefix is not None
        found, more = [], False
        for name in sorted(names):
            if name.startswith(self._prefix) and is_log(name):
                before = self._offsets.get(name, 0)
                found += self._read(name)
                more = more or self._offsets[name] - before >= CHUNK_BYTES
        return found, more

    def _read(self, name: str, ended: bool = False, size: int = 0) -> list[dict[str, Any]]:
        """A log's next piece; it ends with the log's last one of ``size`` bytes where the run has ended."""
        offset = self._offsets.get(name, 0)
        data = self._held.reading.read(self._run_id, name, offset, CHUNK_BYTES)
        self._offsets[name] = offset + len(data)
        decoder = self._decoders.setdefault(name, codecs.getincrementaldecoder("utf-8")("replace"))
        text = decoder.decode(data, final=ended and self._offsets[name] >= size)
        # Bytes that the decoder holds back are not told yet: an "end" never splits a character.
        return [{"name": name, "end": self._offsets[name] - len(decoder.getstate()[0]), "text": text}] if text else []


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
