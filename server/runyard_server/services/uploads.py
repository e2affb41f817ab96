"""Files that come in parts, as MLflow's clients send large ones.

What is on its way is no content of the store: each part is a half-written file of this process, and goes with it. Put
together, parts are one content like any other. Whoever is not heard of for an hour has given up.
"""

import threading
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from runyard.errors import LimitReachedError, UserErrorException
from runyard_server.artifacts.joining import joined
from runyard_server.artifacts.receive import receive_aside
from runyard_server.artifacts.store import ObjectStore
from runyard_server.domain.clock import Clock

MOST_PARTS = 10_000  # of one file, as where MLflow's own server keeps files in S3
MOST, MOST_OF_A_RUN = 1000, 100  # on their way at once
IDLE_S = 3600.0


class UnknownUploadError(UserErrorException):
    """There is no such upload, or none any more."""

    http_status = 404


@dataclass(frozen=True)
class Part:
    """What came of one part. ``location``: the file that holds it."""

    location: Path
    size: int
    digest: str


@dataclass
class _Upload:
    """A file on its way. ``made``: digest and size of the whole, once it was put together."""

    run_id: str
    path: str
    count: int
    touched_at: float
    parts: dict[int, Part] = field(default_factory=dict)
    made: tuple[str, int] | None = None
    joining: threading.Lock = field(default_factory=threading.Lock)


class UploadService:
    """What was begun, by its id: known to whoever began it, and good for one file of one run."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, _Upload] = {}
        self._lock = threading.Lock()

    def begin(self, run_id: str, path: str, count: int) -> str:
        """The id of a new upload of ``count`` parts.

        Raises:
            UserErrorException: too many parts, or none.
            LimitReachedError: too many files are on their way.
        """
        if not 1 <= count <= MOST_PARTS:
            raise UserErrorException(f"A file has from 1 to {MOST_PARTS:,} parts, not {count:,}. Send larger ones.")
        self.sweep()
        with self._lock:
            on_their_way = [one for one in self._known.values() if one.made is None]
            if len(on_their_way) >= MOST or sum(one.run_id == run_id for one in on_their_way) >= MOST_OF_A_RUN:
                raise LimitReachedError(
                    f"At most {MOST_OF_A_RUN} files of a run, and {MOST:,} in all, come in parts at once. Complete or "
                    "abort some, or send the file whole."
                )
            upload_id = uuid.uuid4().hex
            self._known[upload_id] = _Upload(run_id, path, count, self._clock.now())
        return upload_id

    def run_of(self, upload_id: str) -> str:
        """The run that an upload is for. Raises UnknownUploadError."""
        return self._get(upload_id).run_id

    async def put(self, upload_id: str, number: int, body: AsyncIterator[bytes], length: int | None) -> str:
        """Takes a part, in place of one of the same number; gives its digest.

        Raises:
            UnknownUploadError: see ``run_of``; or it was completed or aborted meanwhile.
            UserErrorException: the upload has no part of that number.
            StorageFullError: it does not fit on the disk.
        """
        upload = self._get(upload_id)
        if not 1 <= number <= upload.count:
            raise UserErrorException(f"This upload has the parts 1 to {upload.count:,}, and no part {number:,}.")
        self._store.require_room(length or 0)

        def take(location: Path, size: int, digest: str) -> None:
            with upload.joining:
                self._get(upload_id)
                if upload.made is not None:
                    raise UnknownUploadError(_GONE)
                before, upload.parts[number] = upload.parts.get(number), Part(location, size, digest)
            if before is not None:
                before.location.unlink(missing_ok=True)

        return await receive_aside(body, self._store, length or 0, take)

    def join(self, upload_id: str, run_id: str, path: str, named: Mapping[int, str]) -> tuple[str, int]:
        """Makes one content of an upload's parts: its digest and its size in bytes. Asked again, it says the same.

        Args:
            named: the digest of each part, by its number: all that the upload has.
        Raises:
            UnknownUploadError: there is none of that id for this file.
            UserErrorException: a part is missing, or is another one than was said.
            StorageFullError: it does not fit on the disk; the parts are gone.
        """
        with self._get(upload_id, run_id, path).joining:
            upload = self._get(upload_id, run_id, path)  # it may have been aborted meanwhile
            if upload.made is not None:
                return upload.made
            parts = [self._part(upload, number, named) for number in range(1, upload.count + 1)]
            if len(named) > len(parts):
                raise UserErrorException(f"This upload has the parts 1 to {upload.count:,}; more were named.")
            try:
                made = joined(self._store, [part.location for part in parts], sum(part.size for part in parts))
            except BaseException:
                self._drop(upload_id)
                raise
            upload.parts.clear()
            upload.made = made
            self._get(upload_id)  # which is the last that was heard of it: putting it together may have taken long
            return made

    def abort(self, upload_id: str, run_id: str, path: str) -> None:
        """Forgets an upload, and removes what came of it. Raises UnknownUploadError."""
        with self._get(upload_id, run_id, path).joining:
            self._drop(upload_id)

    def sweep(self) -> None:
        """Forgets what nobody was heard of for an hour."""
        before = self._clock.now() - IDLE_S
        with self._lock:
            idle = [(upload_id, one) for upload_id, one in self._known.items() if one.touched_at < before]
        for upload_id, one in idle:
            if one.joining.acquire(blocking=False):  # else something is done with it at this moment
                try:
                    if one.touched_at < before:
                        self._drop(upload_id)
                finally:
                    one.joining.release()

    def _get(self, upload_id: str, run_id: str | None = None, path: str | None = None) -> _Upload:
        with self._lock:
            upload = self._known.get(upload_id)
            if upload is None or (run_id is not None and (upload.run_id, upload.path) != (run_id, path)):
                raise UnknownUploadError(_GONE)
            upload.touched_at = self._clock.now()
            return upload

    def _part(self, upload: _Upload, number: int, named: Mapping[int, str]) -> Part:
        part = upload.parts.get(number)
        if part is None or number not in named:
            raise UserErrorException(
                f"Part {number:,} of {upload.count:,} is missing. Send it, then complete the upload."
            )
        if part.digest != named[number]:
            raise UserErrorException(f"Part {number:,} has other bytes than its ETag says. Send it again.")
        return part

    def _drop(self, upload_id: str) -> None:
        with self._lock:
            upload = self._known.pop(upload_id, None)
        for part in upload.parts.values() if upload is not None else ():
            part.location.unlink(missing_ok=True)


_GONE = (
    "There is no such upload of this file: it was completed or aborted, nothing came of it for an hour, or the server was "
    "started again. Begin it anew."
)
