"""The proof that what was written is what is stored."""

from dataclasses import asdict, dataclass
from typing import Any

from runyard_server.records import runs, streams
from runyard_server.records.engine import Database
from runyard_server.services.files import FileService
from runyard_server.services.logs import LogService

_OF_ITS_OWN = ("metrics/", "tensorboard/")  # streams that are stored in records, and in no file of the run


@dataclass(frozen=True)
class StreamProof:
    """One stream's two counts in bytes; ``written`` is None while its writer has not ended."""

    name: str
    written: int | None
    stored: int
    records: int

    @property
    def holds(self) -> bool:
        return self.written is None or self.written == self.stored


class VerificationService:
    """Compares, for a run, what its writers counted with what lies here."""

    def __init__(self, database: Database, logs: LogService, files: FileService) -> None:
        self._database = database
        self._logs = logs
        self._files = files

    def verify(self, run_id: str) -> dict[str, Any]:
        """``{"ok", "streams": [{"name", "written", "stored", "records"}], "files": {"count", "damaged"}}``.

        Every stored file is read and hashed again.
        """
        with self._database.read() as connection:
            rows = streams.of_run(connection, run_id)
            run = runs.find(connection, run_id)
        if run is not None and run.files_removed_at is not None:  # its logs went with them
            rows = [row for row in rows if row.name.startswith(_OF_ITS_OWN)]
        sizes = dict(self._logs.list(run_id))
        sizes.update({entry.path: entry.size for entry in self._files.list(run_id)})
        proofs = []
        for row in rows:
            # Of an event file the stream counts what was taken from it; the file itself is proven as a file.
            stored = row.stored if row.name.startswith(_OF_ITS_OWN) else sizes.get(row.name, 0)
            proofs.append(StreamProof(row.name, row.written, stored, row.records))
        count, damaged = self._files.check(run_id)
        return {
            "ok": all(proof.holds for proof in proofs) and not damaged,
            "streams": [asdict(proof) for proof in proofs],
            "files": {"count": count, "damaged": damaged},
        }
